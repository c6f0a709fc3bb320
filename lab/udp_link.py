"""An emulated link in real time between two UDP sockets, for nodes that run unchanged.

Two proxy sockets stand between A and B. A is told that B lives at `address_facing_a`, B that A
lives at `address_facing_b`. What A sends to its proxy meets the fate that the link's config and
seed decide, and leaves from the other proxy to B's real address; the reverse likewise.

Datagrams are read directly from the non-blocking sockets, many per wake-up; delivery runs on a
timerfd, and each wake-up of either kind delivers everything due. All of it happens on the event
loop that opened the link: a callback that hogs it delays datagrams; `worst_lateness_us` shows that.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lab.link import EmulatedLink, LinkConfig, LinkCounters
from lab.timer_fd import TimerFd, now_us
from lab.udp_socket import (
    MAX_DATAGRAM_BYTES,
    MAX_READS_PER_WAKEUP,
    Address,
    check_address,
    kernel_drops,
    open_socket,
)

Direction = Literal["ab", "ba"]
Tap = Callable[[Direction, bytes], None]
"""Sees each datagram of a link; called in the loop, so it must be quick."""


@dataclass(frozen=True, slots=True)
class DirectionCounters:
    """One direction of a `UdpLink`."""

    link: LinkCounters
    """What the emulated path did."""
    foreign: int
    """Datagrams ignored because they came from another address, or before one was set."""
    unaddressed: int
    """Arrived at the far end before its address was set, and dropped."""
    send_errors: int
    """Refused by the kernel on the way out of the lab."""
    kernel_dropped: int
    """Lost before the link saw them because its socket buffer was full: the lab was too slow."""
    worst_lateness_us: int
    """Longest time by which a datagram left after its emulated arrival."""


@dataclass(frozen=True, slots=True)
class UdpLinkCounters:
    a_to_b: DirectionCounters
    b_to_a: DirectionCounters


class _End:
    """One proxy socket: reads from the endpoint it faces, and sends to it what the far end sent."""

    def __init__(
        self,
        sock: socket.socket,
        link: EmulatedLink,
        faces: Address | None,
        direction: Direction,
    ) -> None:
        self.sock = sock
        self.link = link  # carries what this end reads
        self.faces = faces
        self.direction = direction
        self.on_sent: Tap | None = None
        self.on_delivered: Tap | None = None
        self.foreign = self.unaddressed = self.send_errors = self.worst_lateness_us = 0
        self._buffer = bytearray(MAX_DATAGRAM_BYTES)
        self._view = memoryview(self._buffer)

    def read(self) -> None:
        """Put what waits in the socket on the link, up to a bound; the rest wakes us again."""
        receive, view = self.sock.recvfrom_into, self._view
        for _ in range(MAX_READS_PER_WAKEUP):
            try:
                size, source = receive(view)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of an earlier send; reading it has cleared it
                continue
            if source != self.faces:
                self.foreign += 1
                continue
            data = bytes(view[:size])
            self.link.send(data, now_us())
            if self.on_sent is not None:
                self.on_sent(self.direction, data)

    def deliver_to(self, far: _End) -> None:
        """Send on from the far end all that has crossed the link."""
        due_us = self.link.next_timer_us()
        if due_us is None or due_us > (time_us := now_us()):
            return
        self.worst_lateness_us = max(self.worst_lateness_us, time_us - due_us)
        send, destination = far.sock.sendto, far.faces
        for _, data in self.link.receive_lanes(time_us):
            if destination is None:
                self.unaddressed += 1
                continue
            try:
                send(data, destination)
            except OSError:  # buffer full, or no route; the network loses it, as networks do
                self.send_errors += 1
                continue
            if self.on_delivered is not None:
                self.on_delivered(self.direction, data)

    def counters(self) -> DirectionCounters:
        return DirectionCounters(
            link=self.link.counters(),
            foreign=self.foreign,
            unaddressed=self.unaddressed,
            send_errors=self.send_errors,
            kernel_dropped=kernel_drops(self.sock),
            worst_lateness_us=self.worst_lateness_us,
        )


class UdpLink:
    """Both directions between A and B; make one with `open`, inside the loop that will run it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, facing_a: _End, facing_b: _End, buffer_bytes: int
    ) -> None:
        self._loop = loop
        self._facing_a = facing_a
        self._facing_b = facing_b
        self._timer = TimerFd(loop, self._deliver)
        self._final: UdpLinkCounters | None = None
        self.receive_buffer_bytes = buffer_bytes
        """Smaller receive buffer of the two sockets, as granted; the kernel counts overhead in."""
        self.address_facing_a: Address = facing_a.sock.getsockname()
        """Where A must send what is for B, and whence B's datagrams reach it."""
        self.address_facing_b: Address = facing_b.sock.getsockname()
        """The same for B."""
        for end in (facing_a, facing_b):
            loop.add_reader(end.sock.fileno(), self._on_readable, end)

    @classmethod
    async def open(
        cls,
        *,
        a: Address | None = None,
        b: Address | None = None,
        config_ab: LinkConfig,
        config_ba: LinkConfig | None = None,
        seed: int = 0,
        bind_host: str = "127.0.0.1",
    ) -> UdpLink:
        """Open the two proxy sockets on free ports and start forwarding.

        a, b: real addresses of the endpoints, numeric IPv4; None = set later.
        config_ba: the way back; None = like the way there. Raises OSError, AddressError.
        """
        faces_a, faces_b = check_address(a), check_address(b)
        back = config_ab if config_ba is None else config_ba
        with contextlib.ExitStack() as undo:
            sock_a, sock_b = (undo.enter_context(open_socket(bind_host)) for _ in range(2))
            granted = min(
                s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) for s in (sock_a, sock_b)
            )
            link = cls(
                asyncio.get_running_loop(),
                _End(sock_a, EmulatedLink(config_ab, f"{seed} ab"), faces_a, "ab"),
                _End(sock_b, EmulatedLink(back, f"{seed} ba"), faces_b, "ba"),
                granted,
            )
            undo.pop_all()
        return link

    @property
    def address_a(self) -> Address | None:
        """A's real address. Set it once known; datagrams from elsewhere are not accepted."""
        return self._facing_a.faces

    @address_a.setter
    def address_a(self, address: Address | None) -> None:
        self._facing_a.faces = check_address(address)

    @property
    def address_b(self) -> Address | None:
        """B's real address, likewise."""
        return self._facing_b.faces

    @address_b.setter
    def address_b(self, address: Address | None) -> None:
        self._facing_b.faces = check_address(address)

    @property
    def config_ab(self) -> LinkConfig:
        return self._facing_a.link.config

    @property
    def config_ba(self) -> LinkConfig:
        return self._facing_b.link.config

    def set_config(
        self, *, config_ab: LinkConfig | None = None, config_ba: LinkConfig | None = None
    ) -> None:
        """Change either direction from now on; None leaves it. See `LinkModel.set_config`."""
        for end, config in ((self._facing_a, config_ab), (self._facing_b, config_ba)):
            if config is not None:
                end.link.set_config(config, now_us())

    def tap(self, *, on_sent: Tap | None = None, on_delivered: Tap | None = None) -> None:
        """Show what enters the link, whatever becomes of it, and what has left it."""
        for end in (self._facing_a, self._facing_b):
            end.on_sent, end.on_delivered = on_sent, on_delivered

    def inject(self, direction: Direction, data: bytes) -> bool:
        """Send a datagram to the receiver of that direction at once, as if its peer had. Returns
        whether the kernel took it."""
        far = self._far(direction)
        if far.faces is None:
            return False
        try:
            far.sock.sendto(data, far.faces)
        except OSError:
            return False
        return True

    def source_fd(self, direction: Direction) -> int:
        """The socket that the receiver of that direction takes for its peer, for a caller that
        injects many datagrams a call. It stays the link's own."""
        return self._far(direction).sock.fileno()

    def _far(self, direction: Direction) -> _End:
        return self._facing_b if direction == "ab" else self._facing_a

    def counters(self) -> UdpLinkCounters:
        """Totals; after `close`, those at closing time."""
        if self._final is not None:
            return self._final
        return UdpLinkCounters(self._facing_a.counters(), self._facing_b.counters())

    def close(self) -> None:
        """Stop at once; datagrams under way are dropped. May be called again."""
        if self._final is not None:
            return
        self._final = self.counters()
        self._timer.close()
        for end in (self._facing_a, self._facing_b):
            self._loop.remove_reader(end.sock.fileno())
            end.sock.close()

    def _on_readable(self, end: _End) -> None:
        end.read()
        self._deliver()

    def _deliver(self) -> None:
        self._facing_a.deliver_to(self._facing_b)
        self._facing_b.deliver_to(self._facing_a)
        times = (self._facing_a.link.next_timer_us(), self._facing_b.link.next_timer_us())
        self._timer.arm(min((t for t in times if t is not None), default=None))
