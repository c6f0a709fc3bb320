"""The two ends of a measurement: an encoder that keeps a rate, receivers that count."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

from bench.support.native import check, native
from bench.support.network import Address, udp_socket
from bench.support.threads import PinnedThread

BURST_PACKETS = 16  # one frame, one send; decides what GRO can join (method.burst_packets)
BURSTS_PER_GOP = 32


@contextlib.contextmanager
def ahead_of_others() -> Iterator[None]:
    """Let this thread, where it may, go before the sink on their common core: it keeps a rate."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


class Generator:
    """One H.264 stream; its numbers go on from one call of `generate` to the next."""

    def __init__(self, target: Address, packet_bytes: int) -> None:
        self._socket = udp_socket()
        self._socket.connect(target)
        self._native: Any = native().ffi.new(
            "struct generator *",
            {
                "fd": self._socket.fileno(),
                "packet_bytes": packet_bytes,
                "packets_per_burst": BURST_PACKETS,
                "bursts_per_gop": BURSTS_PER_GOP,
                "sequence_number": 65_000,
            },
        )

    def generate(self, bursts: int, packets_per_s: float) -> float:
        """Send `bursts` bursts evenly, in this thread; how many seconds it took."""
        interval_ns = BURST_PACKETS / packets_per_s * 1e9
        with ahead_of_others():
            taken_ns = native().lib.bench_generate(self._native, bursts, interval_ns)
        return check(taken_ns, "generator") / 1e9

    def close(self) -> None:
        self._socket.close()


class Sink:
    """Receivers on sockets of their own, drained by one native thread."""

    def __init__(self, count: int, packet_bytes: int, *, gro: bool, cores: set[int]) -> None:
        self._sockets: list[socket.socket] = [udp_socket(gro=gro) for _ in range(count)]
        self._stop = os.eventfd(0)
        ffi, lib = native().ffi, native().lib
        self._fds = ffi.new("int[]", [one.fileno() for one in self._sockets])
        self._native: Any = ffi.new(
            "struct sink *",
            {
                "fds": self._fds,
                "count": count,
                "stop_fd": self._stop,
                "packet_bytes": packet_bytes,
            },
        )
        self.thread = PinnedThread(
            "sink",
            lambda: check(lib.bench_sink(self._native), "sink"),
            lambda: os.eventfd_write(self._stop, 1),
            cores,
        )

    @property
    def packets(self) -> int:
        ffi, lib = native().ffi, native().lib
        return int(lib.bench_read(ffi.addressof(self._native, "packets")))

    @property
    def odd_bytes(self) -> int:
        ffi, lib = native().ffi, native().lib
        return int(lib.bench_read(ffi.addressof(self._native, "odd_bytes")))

    def ports(self) -> list[int]:
        return [one.getsockname()[1] for one in self._sockets]

    def close(self) -> None:
        self.thread.close()
        os.close(self._stop)
        for one in self._sockets:
            one.close()
