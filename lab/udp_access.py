"""An access path in real time: one emulated path that several lanes share, and so one bottleneck.

A lane stands between whoever sends media (a node to a viewer's port, an encoder to a node's) and
who receives it. Senders are told the lane's address instead of the receiver's, which may change:
`aim`. What the receiver sends to where media comes from goes back to the lane's last sender.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from lab.link import EmulatedLink, LinkConfig
from lab.timer_fd import TimerFd, now_us
from lab.udp_link import DirectionCounters, UdpLinkCounters
from lab.udp_socket import (
    MAX_DATAGRAM_BYTES,
    MAX_READS_PER_WAKEUP,
    Address,
    check_address,
    kernel_drops,
    open_socket,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Way:
    """One direction: what is read from one socket of each lane leaves from the other."""

    def __init__(self, link: EmulatedLink, sources: Sequence[socket.socket]) -> None:
        self.link = link
        self.sources = sources
        self.targets: list[Address | None] = [None] * len(sources)
        """Where each lane's datagrams go."""
        self.foreign = self.unaddressed = self.send_errors = self.worst_lateness_us = 0

    def deliver(self, sockets: Sequence[socket.socket]) -> None:
        """Send on from these sockets all that has crossed the path."""
        due_us = self.link.next_timer_us()
        if due_us is None or due_us > (time_us := now_us()):
            return
        self.worst_lateness_us = max(self.worst_lateness_us, time_us - due_us)
        for lane, data in self.link.receive_lanes(time_us):
            target = self.targets[lane]
            if target is None:
                self.unaddressed += 1
                continue
            try:
                sockets[lane].sendto(data, target)
            except OSError:  # buffer full, or no route; the network loses it, as networks do
                self.send_errors += 1

    def counters(self) -> DirectionCounters:
        return DirectionCounters(
            link=self.link.counters(),
            foreign=self.foreign,
            unaddressed=self.unaddressed,
            send_errors=self.send_errors,
            kernel_dropped=sum(map(kernel_drops, self.sources)),
            worst_lateness_us=self.worst_lateness_us,
        )


class UdpAccess:
    """Make one with `open`, inside the loop that will run it."""

    def __init__(
        self,
        forward: LinkConfig,
        back: LinkConfig,
        seed: int,
        inner: list[socket.socket],
        outer: list[socket.socket],
    ) -> None:
        """inner: sockets that senders of media reach; outer: those it leaves from."""
        self._loop = asyncio.get_running_loop()
        self._inner, self._outer = inner, outer
        self._forward = _Way(EmulatedLink(forward, f"{seed} forward"), inner)
        self._back = _Way(EmulatedLink(back, f"{seed} back"), outer)
        self._timer = TimerFd(self._loop, self._deliver)
        self._view = memoryview(bytearray(MAX_DATAGRAM_BYTES))
        self._final: UdpLinkCounters | None = None
        for lane in range(len(inner)):
            self._loop.add_reader(inner[lane].fileno(), self._on_media, lane)
            self._loop.add_reader(outer[lane].fileno(), self._on_answer, lane)

    @classmethod
    async def open(
        cls,
        *,
        lanes: int,
        forward: LinkConfig,
        back: LinkConfig,
        seed: int = 0,
        bind_host: str = "127.0.0.1",
    ) -> UdpAccess:
        """Raises OSError."""
        with contextlib.ExitStack() as undo:
            sockets = [undo.enter_context(open_socket(bind_host)) for _ in range(2 * lanes)]
            access = cls(forward, back, seed, sockets[:lanes], sockets[lanes:])
            undo.pop_all()
        return access

    @property
    def addresses(self) -> list[Address]:
        """Of each lane: where media must be sent."""
        return [sock.getsockname() for sock in self._inner]

    def aim(self, lane: int, receiver: Address) -> None:
        """Its media goes there from now on. Raises AddressError."""
        self._forward.targets[lane] = check_address(receiver)

    def set_config(self, *, forward: LinkConfig, back: LinkConfig) -> None:
        """From now on. See `LinkModel.set_config`."""
        for way, config in ((self._forward, forward), (self._back, back)):
            way.link.set_config(config, now_us())

    def counters(self) -> UdpLinkCounters:
        """a_to_b: in the direction of the media. After `close`, those at closing time."""
        return self._final or UdpLinkCounters(self._forward.counters(), self._back.counters())

    def close(self) -> None:
        """Stop at once; datagrams under way are dropped. May be called again."""
        if self._final is not None:
            return
        self._final = self.counters()
        self._timer.close()
        for sock in (*self._inner, *self._outer):
            self._loop.remove_reader(sock.fileno())
            sock.close()

    def _on_media(self, lane: int) -> None:
        """From anybody: a viewer's node may change."""
        for data, source in self._waiting(self._inner[lane]):
            self._back.targets[lane] = source
            self._forward.link.send(data, now_us(), lane)
        self._deliver()

    def _on_answer(self, lane: int) -> None:
        """From the receiver's host: RTP and RTCP may leave two ports of it."""
        receiver = self._forward.targets[lane]
        for data, source in self._waiting(self._outer[lane]):
            if receiver is None or source[0] != receiver[0]:
                self._back.foreign += 1
            else:
                self._back.link.send(data, now_us(), lane)
        self._deliver()

    def _waiting(self, sock: socket.socket) -> list[tuple[bytes, Address]]:
        """Up to a bound; the rest wakes us again."""
        found = []
        for _ in range(MAX_READS_PER_WAKEUP):
            try:
                size, source = sock.recvfrom_into(self._view)
            except BlockingIOError:
                break
            except OSError:  # an ICMP error of an earlier send; reading it has cleared it
                continue
            found.append((bytes(self._view[:size]), source))
        return found

    def _deliver(self) -> None:
        self._forward.deliver(self._outer)
        self._back.deliver(self._inner)
        times = (self._forward.link.next_timer_us(), self._back.link.next_timer_us())
        self._timer.arm(min((t for t in times if t is not None), default=None))
