"""The links between further workers of this node and of one neighbour, beside their first.

A pair is (worker here, worker there); (0, 0) is the first link, which handshakes and control
messages use, and is not in here. A pair gets its link when a broadcast is to take it, and loses it
some seconds after the last one has left. Its keys follow from the handshake of the first link, so
it costs no round trip. Made anew in one session it has keys of its own by its generation, as its
packets are numbered from 1 again: both sides name theirs, and the higher one holds.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fastpath.stats import DelayHistogram, LinkStats
from relay.handshake import Handshake
from relay.hkdf import hello_key
from relay.slowpath.rate import LinkController
from relay.workers import Workers
from service.address import Address

Pair: TypeAlias = tuple[int, int]

FIRST_PAIR: Pair = (0, 0)
BLOCKED_US = 1_500_000  # chosen: 30 probes; a cut link has been noticed long before
SWEEP_US = 1_000_000
IDLE_US = 5_000_000  # chosen: as long as a subscription may go without a refresh
_RATES = (
    "target_bps",
    "pacing_bps",
    "acked_bps",
)  # of pairs they add up as well, while they are there
_STATES = frozenset(
    {"is_up", "has_keys", "rtt_us", "backlogged", "holes_open", "feedback_loss", "usage", *_RATES}
)
_COUNTERS = tuple(f.name for f in dataclasses.fields(LinkStats) if f.name not in _STATES)


@dataclass(slots=True)
class PairLink:
    """link: the engine's. users: broadcasts that take it. idle_us: since when none does.
    only_listens: it sends nothing before the peer has. silent_us: since when nothing comes; None:
    something does. is_controlled: its rate is found out, not fixed."""

    link: int
    generation: int
    only_listens: bool
    silent_us: int | None
    is_controlled: bool = False
    users: set[str] = field(default_factory=set)
    idle_us: int | None = None


class PairLinks:
    """Of one neighbour. ports: of this node's workers. control: what paces a link of such a
    ceiling. Engine errors of `use` pass through."""

    def __init__(
        self,
        workers: Workers,
        ports: tuple[int, ...],
        peer_node: int,
        secret: bytes,
        handshake: Handshake,
        control: Callable[[int], LinkController | None] = lambda _: None,
    ) -> None:
        self._workers = workers
        self._ports = ports
        self._peer_node = peer_node
        self._hello_key = hello_key(secret)
        self._handshake = handshake
        self._control = control
        self._links: dict[Pair, PairLink] = {}
        self._generations: dict[Pair, int] = {}
        self._gone: Counter[str] = Counter()
        self._gone_delays: DelayHistogram | None = None
        self._sweep_us: int | None = None

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._links)

    def find(self, pair: Pair) -> PairLink | None:
        """None if no broadcast has needed it lately."""
        return self._links.get(pair)

    def pair_of(self, link: int) -> Pair | None:
        """None if it was removed meanwhile."""
        return next((pair for pair, each in self._links.items() if each.link == link), None)

    def use(
        self,
        pair: Pair,
        broadcast: str,
        address: Address,
        rate_bps: int,
        now_us: int,
        heard: int = 0,
    ) -> PairLink:
        """The pair's link, for a broadcast. heard: the generation that the peer named; 0: none."""
        found = self._links.get(pair)
        if found is None:
            before = self._generations.get(pair, 0)
            generation = heard if heard > before else before + 1
            found = self._open(pair, generation, address, rate_bps, now_us)
        elif heard > found.generation or found.only_listens:
            if found.only_listens and found.silent_us is not None:
                found.silent_us = now_us  # from now on something should come
            found.only_listens = False
            self._key(pair, found, max(heard, found.generation))
        found.users.add(broadcast)
        found.idle_us = None
        return found

    def listen(self, pair: Pair, address: Address, rate_bps: int, now_us: int) -> None:
        """What has been asked for may come from there before the answer says so."""
        if pair not in self._links:
            generation = self._generations.get(pair, 0) + 1
            self._open(pair, generation, address, rate_bps, now_us, only_listens=True)

    def set_rate(self, rate_bps: int, start_bps: int) -> None:
        """Each link's, and where its controller begins on another path."""
        for each in self._links.values():
            self._workers.set_link_rate(each.link, rate_bps, start_bps)

    def close(self) -> None:
        """Remove all links; their cursors go with them. The session goes on."""
        for pair in tuple(self._links):
            self._remove(pair)

    def begin_session(self) -> None:
        """The handshake has made new keys: none of the old links can be used."""
        self.close()
        self._generations.clear()

    def on_silence(self, pair: Pair, since_us: int | None) -> None:
        """What the engine says of its link; None: packets come."""
        self._links[pair].silent_us = since_us

    def silent(self, now_us: int) -> list[Pair]:
        """Those on which something should have come for so long that it never will."""
        return [
            pair
            for pair, each in self._links.items()
            if not each.only_listens
            and each.silent_us is not None
            and now_us - each.silent_us >= BLOCKED_US
        ]

    def next_timer_us(self) -> int | None:
        """When `sweep` is due."""
        return self._sweep_us

    def sweep(self, is_used: Callable[[Pair, str], bool], now_us: int) -> None:
        """Remove what no broadcast has taken for IDLE_US."""
        if self._sweep_us is None or now_us < self._sweep_us:
            return
        for pair, each in tuple(self._links.items()):
            each.users = {name for name in each.users if is_used(pair, name)}
            if each.users:
                each.idle_us = None
            elif each.idle_us is None:
                each.idle_us = now_us
            elif now_us - each.idle_us >= IDLE_US:
                self._remove(pair)
        self._sweep_us = now_us + SWEEP_US if self._links else None

    def add_to(self, first: LinkStats) -> LinkStats:
        """The figures of the first link and of all pairs there are and were, as of one link; loss
        and overuse of the worst of them. Rates that are found out of each pair add up; a fixed one
        is what the neighbour's path carries, however many pairs share it."""
        if not self._links and not self._gone:
            return first
        sums = Counter({name: getattr(first, name) for name in _COUNTERS})
        sums.update(self._gone)
        each = [self._workers.link_stats(pair.link) for pair in self._links.values()]
        for stats in each:
            sums.update({name: getattr(stats, name) for name in _COUNTERS})
        holes = sum(stats.holes_open for stats in (first, *each))
        backlogged = sum(stats.backlogged for stats in (first, *each))
        is_found_out = any(pair.is_controlled for pair in self._links.values())
        adding = (first, *each) if is_found_out else (first,)
        rates: dict[str, Any] = {
            name: sum(getattr(stats, name) for stats in adding) for name in _RATES
        }
        loss = max(stats.feedback_loss for stats in (first, *each))
        usage = 1 if any(stats.usage == 1 for stats in (first, *each)) else first.usage
        counters: dict[str, Any] = dict(sums)
        return dataclasses.replace(
            first,
            holes_open=holes,
            backlogged=backlogged,
            feedback_loss=loss,
            usage=usage,
            **rates,
            **counters,
        )

    def add_delays_to(self, first: DelayHistogram) -> DelayHistogram:
        """The same of delays."""
        for each in self._links.values():
            first += self._workers.delays(each.link)
        return first if self._gone_delays is None else first + self._gone_delays

    def _open(
        self,
        pair: Pair,
        generation: int,
        address: Address,
        rate_bps: int,
        now_us: int,
        *,
        only_listens: bool = False,
    ) -> PairLink:
        controller = self._control(rate_bps)
        link = self._workers.add_link(
            port=self._ports[pair[0]],
            address=address,
            peer_node=self._peer_node,
            hello_key=self._hello_key,
            rate_bps=rate_bps,
            controller=controller,
        )
        opened = self._links[pair] = PairLink(
            link, generation, only_listens, now_us, controller is not None
        )
        self._key(pair, opened, generation)
        if self._sweep_us is None:
            self._sweep_us = now_us + SWEEP_US
        return opened

    def _key(self, pair: Pair, each: PairLink, generation: int) -> None:
        each.generation = self._generations[pair] = generation
        receive_key, send_key = self._handshake.pair_keys(*pair, generation)
        self._workers.offer_keys(
            each.link,
            receive_key=receive_key,
            send_key=send_key,
            send_now=not each.only_listens,
        )

    def _remove(self, pair: Pair) -> None:
        link = self._links.pop(pair).link
        stats = self._workers.link_stats(link)
        self._gone.update({name: getattr(stats, name) for name in _COUNTERS})
        delays = self._workers.delays(link)
        self._gone_delays = delays if self._gone_delays is None else self._gone_delays + delays
        self._workers.remove_link(link)
