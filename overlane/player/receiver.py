"""One UDP socket of the viewer: RTP in, with the kernel's receive times.

SO_TIMESTAMPNS is of the realtime clock; it becomes an age, so that the times given on are of the
monotonic clock, as the manifest's are.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Callable

SO_TIMESTAMPNS = 35  # asm-generic/socket.h; Python has no name for it
RECEIVE_BUFFER_BYTES = 4 << 20  # chosen: seconds of a fast stream, for when decoding has the core
_MAX_DATAGRAM = 2048
_MAX_AGE_US = 1_000_000
_AT_ONCE = 256
_TIMESPEC = struct.Struct("qq")

OnDatagram = Callable[[bytes, int], None]


class Receiver:
    """Calls `on_datagram(data, arrival_us)` for each datagram."""

    def __init__(self, host: str, on_datagram: OnDatagram) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((host, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._on_datagram = on_datagram
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._read)

    @property
    def address(self) -> str:
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, controls, _, _ = self._socket.recvmsg(_MAX_DATAGRAM, 64)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an ICMP error of an earlier datagram
            self._on_datagram(data, _arrival_us(controls))


def _arrival_us(controls: list[tuple[int, int, bytes]]) -> int:
    now_us = time.monotonic_ns() // 1000
    for level, kind, data in controls:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= 16:
            seconds, nanoseconds = _TIMESPEC.unpack(data[:16])
            age_us = time.time_ns() // 1000 - (seconds * 1_000_000 + nanoseconds // 1000)
            if 0 <= age_us <= _MAX_AGE_US:
                return int(now_us - age_us)
    return now_us
