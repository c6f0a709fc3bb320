"""The two ends of a measurement: encoders that keep a rate, receivers that count and time."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from bench.support.case import Case
from bench.support.delay import Delays
from bench.support.native import check, native
from bench.support.network import Address, udp_socket
from bench.support.schedule import Schedule
from bench.support.threads import PinnedThread

FIRST_STREAM_ID = 1
FIRST_STREAM_SEQ = 65_000  # of each stream: RTP sequence numbers wrap soon
SAMPLES_A_TRIAL = 40_000  # packets whose delay is read, or all there are
SAMPLED_AT_ONCE = 4  # datagrams: SAMPLED of sink.c


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
    """All encoders behind one socket; numbers go on from one call of `generate` to the next."""

    def __init__(self, case: Case, key: bytes) -> None:
        ffi = native().ffi
        self.socket = udp_socket()
        self.address: Address = self.socket.getsockname()
        self._tracks = ffi.new("struct track[]", case.streams)
        for track in self._tracks:
            track.stream_seq = FIRST_STREAM_SEQ
        self._native: Any = ffi.new(
            "struct generator *",
            {
                "fd": self.socket.fileno(),
                "is_overlay": case.is_overlay,
                "payload_bytes": case.payload_bytes,
                "first_stream_id": FIRST_STREAM_ID,
                "tracks": self._tracks,
                "key": list(key),
            },
        )

    def connect(self, target: Address) -> None:
        self.socket.connect(target)

    def set_prefix(self, prefix: bytes) -> None:
        """At most 4 bytes before each packet, as a relay's protocol has it."""
        self._native.prefix = list(prefix.ljust(4, b"\0"))
        self._native.prefix_bytes = len(prefix)

    def spread(self, ports: Sequence[int]) -> None:
        """Frames go in turn to these ports of the loopback address."""
        self._ports = native().ffi.new("uint16_t[]", list(ports))
        self._native.ports = self._ports
        self._native.port_count = len(ports)

    def generate(self, schedule: Schedule) -> float:
        """Play the schedule in this thread; how many seconds it took."""
        ffi, lib = native().ffi, native().lib
        frames = ffi.from_buffer("struct frame[]", schedule)
        with ahead_of_others():
            taken_ns = lib.bench_generate(self._native, frames, len(schedule))
        return check(taken_ns, "generator") / 1e9

    def close(self) -> None:
        self.socket.close()


class Sink:
    """Receivers on sockets of their own, drained by one native thread."""

    def __init__(self, case: Case, cores: set[int]) -> None:
        gro = case.receiver == "gro"
        self._sockets: list[socket.socket] = [udp_socket(gro=gro) for _ in range(case.link_count)]
        self._stop = os.eventfd(0)
        ffi, lib = native().ffi, native().lib
        self._fds = ffi.new("int[]", [one.fileno() for one in self._sockets])
        self._delays = ffi.new("uint64_t[]", lib.bench_delay_buckets())
        self._native: Any = ffi.new(
            "struct sink *",
            {
                "fds": self._fds,
                "count": case.link_count,
                "stop_fd": self._stop,
                "is_overlay": case.is_overlay,
                "packet_bytes": case.datagram_bytes,
                "delays": self._delays,
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
        """Of media."""
        return self._counter("packets")

    @property
    def other_datagrams(self) -> int:
        """Overlay datagrams that are not media: a node's probes."""
        return self._counter("other_datagrams")

    @property
    def odd_bytes(self) -> int:
        return self._counter("odd_bytes")

    def sample(self, expected_packets: int) -> None:
        """From now on read the time stamps of about SAMPLES_A_TRIAL of so many packets."""
        ffi, lib = native().ffi, native().lib
        every = max(expected_packets * SAMPLED_AT_ONCE // SAMPLES_A_TRIAL - SAMPLED_AT_ONCE, 1)
        lib.bench_set(ffi.addressof(self._native, "sample_every"), every)

    def delays(self) -> Delays:
        """All delays so far; the difference of two tells of the time between them."""
        return Delays.of(native().ffi.buffer(self._delays))

    def ports(self) -> list[int]:
        return [one.getsockname()[1] for one in self._sockets]

    def close(self) -> None:
        self.thread.close()
        os.close(self._stop)
        for one in self._sockets:
            one.close()

    def _counter(self, name: str) -> int:
        ffi, lib = native().ffi, native().lib
        return int(lib.bench_read(ffi.addressof(self._native, name)))
