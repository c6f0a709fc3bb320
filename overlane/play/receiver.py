"""A UDP socket on which a track arrives, with the kernel's receive times.

The event loop may be late on a busy machine; the kernel's stamp is not. It is of the realtime
clock, so it is turned into an age first, and a clock that was set meanwhile is noticed by an age
that cannot be.
"""

import asyncio
import contextlib
import ipaddress
import socket
import struct
import time
from collections.abc import Callable

from overlane.play.admission import Source
from overlane.play.errors import PlayError

# asm-generic's SO_TIMESTAMPNS, of x86 and Arm; Python has no name for it.
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
_RECEIVE_BUFFER_BYTES = 4 << 20  # a key frame's burst and a loop that is late
_MAX_DATAGRAM_BYTES = 2048
_BATCH = 256  # datagrams read before the loop gets its turn again
_OLDEST_US = 1_000_000  # ours: no datagram waits longer for a loop that works


class Receiver:
    """Calls `on_datagram(data, arrival_us, source)` in the loop; times of CLOCK_MONOTONIC.

    A datagram that is too long for RTP over the Internet comes as an empty one.
    """

    def __init__(
        self, local_address: str, on_datagram: Callable[[bytes, int, Source], None]
    ) -> None:
        self._on_datagram = on_datagram
        self._loop = asyncio.get_running_loop()
        self._socket = _open(local_address)
        self._loop.add_reader(self._socket.fileno(), self._read)

    @property
    def address(self) -> str:
        """Where to send to, "host:port"."""
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def send(self, data: bytes, target: Source) -> None:
        """RTCP, to where media comes from. What the kernel does not take is lost, as on a path."""
        with contextlib.suppress(OSError):
            self._socket.sendto(data, target)

    def close(self) -> None:
        """Reads what has arrived before it closes."""
        self._loop.remove_reader(self._socket.fileno())
        self._read()
        self._socket.close()

    def _read(self) -> None:
        for _ in range(_BATCH):
            try:
                data, ancillary, flags, source = self._socket.recvmsg(_MAX_DATAGRAM_BYTES, 64)
            except BlockingIOError:
                return
            if flags & socket.MSG_TRUNC:
                data = b""
            self._on_datagram(data, _arrival_us(ancillary), source[:2])


def _open(local_address: str) -> socket.socket:
    try:
        version = ipaddress.ip_address(local_address).version
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM)
        opened.bind((local_address, 0))
    except (OSError, ValueError) as error:
        raise PlayError(f"cannot listen on {local_address}: {error}") from error
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return opened


def _arrival_us(ancillary: list[tuple[int, int, bytes]]) -> int:
    """When the kernel took the datagram, or now if it does not say."""
    now_us = time.monotonic_ns() // 1_000
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS) and len(data) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            stamped_us = seconds * 1_000_000 + nanoseconds // 1_000
            return arrival_us(now_us, time.time_ns() // 1_000, stamped_us)
    return now_us


def arrival_us(now_us: int, realtime_us: int, stamped_us: int) -> int:
    """The realtime stamp on the monotonic clock. After a jump of the realtime clock it would lie in
    the future, or further back than a datagram waits: then, now."""
    age_us = realtime_us - stamped_us
    return now_us - age_us if 0 <= age_us < _OLDEST_US else now_us
