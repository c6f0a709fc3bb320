"""Many endpoints joined by emulated links in virtual time: what a lab uses instead of the kernel.

Input: (source, destination, datagram) and the time. Output: the same triples when they arrive. One
event queue serves all links. Arrivals come in order of time and, at the same microsecond, in order
of sending, so a run depends on the seed and on what is sent, and on nothing else. A link's luck
depends on the network's seed and on its own two addresses: adding a link changes no other.
"""

from __future__ import annotations

import random
from heapq import heappop, heappush

from lab.errors import NoLinkError
from lab.link import LinkConfig, LinkCounters, LinkModel

Address = tuple[str, int]
Delivery = tuple[Address, Address, bytes]
"""Source, destination, UDP payload."""


class VirtualNetwork:
    """A set of one-way links between addresses, and the datagrams on them."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._links: dict[tuple[Address, Address], LinkModel] = {}
        self._heap: list[tuple[int, int, bool, LinkModel, Delivery]] = []  # arrival, number, copy
        self._number = 0
        self._no_link = 0

    def connect(
        self, a: Address, b: Address, config_ab: LinkConfig, config_ba: LinkConfig | None = None
    ) -> None:
        """Join two addresses in both directions, replacing links they had.

        config_ba: the way back; None = like the way there. Datagrams under way still arrive.
        """
        self.add_link(a, b, self._new_link(a, b, config_ab))
        self.add_link(b, a, self._new_link(b, a, config_ab if config_ba is None else config_ba))

    def add_link(self, src: Address, dst: Address, link: LinkModel) -> None:
        """Use this link from src to dst; several pairs may share one, and so its bottleneck."""
        self._links[src, dst] = link

    def link(self, src: Address, dst: Address) -> LinkModel:
        """The link in use from src to dst. Raises NoLinkError if there is none."""
        try:
            return self._links[src, dst]
        except KeyError:
            raise NoLinkError(f"no link from {src} to {dst}") from None

    def set_config(self, src: Address, dst: Address, config: LinkConfig, now_us: int) -> None:
        """Change one direction at run time: loss, delay, rate, or a cut. Raises NoLinkError."""
        self.link(src, dst).set_config(config, now_us)

    def send(self, src: Address, dst: Address, data: bytes, now_us: int) -> None:
        """Send a UDP payload; dropped and counted if the pair has no link.

        Raises ClockError if `now_us` is before an earlier send on the same link.
        """
        link = self._links.get((src, dst))
        if link is None:
            self._no_link += 1
            return
        is_copy = False
        for arrival_us in link.admit(len(data), now_us):
            heappush(self._heap, (arrival_us, self._number, is_copy, link, (src, dst, data)))
            is_copy = True
        self._number += 1

    def next_timer_us(self) -> int | None:
        """When the next datagram arrives anywhere; None if nothing is under way."""
        return self._heap[0][0] if self._heap else None

    def receive(self, now_us: int) -> list[Delivery]:
        """Take all that has arrived by now."""
        heap = self._heap
        arrived = []
        while heap and heap[0][0] <= now_us:
            _, number, is_copy, link, delivery = heappop(heap)
            link.on_delivered(number, len(delivery[2]), is_copy=is_copy)
            arrived.append(delivery)
        return arrived

    @property
    def no_link(self) -> int:
        """Datagrams dropped because no link joins their addresses."""
        return self._no_link

    def counters(self) -> LinkCounters:
        """Sum over the links in use, a shared link once."""
        links = {id(link): link for link in self._links.values()}
        return sum((link.counters() for link in links.values()), LinkCounters())

    def _new_link(self, src: Address, dst: Address, config: LinkConfig) -> LinkModel:
        # A text seed is hashed with SHA-512, the same in every process.
        name = f"{self._seed} {src} {dst}"
        return LinkModel(config, random.Random(name), random.Random(f"{name} more"))
