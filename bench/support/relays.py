"""What is measured: the engine, and the two C loops beside it."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.support.case import Case
from bench.support.native import BenchError, check, native
from bench.support.network import SOL_UDP, UDP_GRO, Address, udp_socket
from bench.support.threads import PinnedThread, Tasks
from bench.support.traffic import FIRST_STREAM_ID, FIRST_STREAM_SEQ, Generator
from fastpath import Codec, Engine, Media, PortKind

LINK_RATE_BPS = 10**12  # never the limit
SO_TIMESTAMPNS = 35  # asm-generic/socket.h
IP_RECVERR = 11  # linux/in.h
KEY_BYTES = 16
START_S = 10.0
GIVE_UP_US = 200_000  # after a trial that lost packets nobody answers the engine's requests
SLOTS_OF_ONE_STREAM = 4_096  # the engine's largest ring
SLOTS_A_STREAM = 128
MAX_SLOTS = 1 << 17  # 256 MiB
SLAB_BYTES = 64 << 20
MAX_SLAB_BYTES = 1 << 30
SLAB_BYTES_A_STREAM = 512 << 10  # 2 s of a stream of 1 Mbit/s, in 2 KiB blocks
OURS = ("engine", "loop", "loop_plus")
SIZES = ("1", "2", "3-4", "5-8", "9-16", "17-32", "33-64")  # of batches, in packets


@dataclass(frozen=True)
class Sent:
    packets: int
    batches: int
    sizes: tuple[int, ...] = (0,) * len(SIZES)  # batches by their size

    def __sub__(self, earlier: Sent) -> Sent:
        sizes = tuple(a - b for a, b in zip(self.sizes, earlier.sizes, strict=True))
        return Sent(self.packets - earlier.packets, self.batches - earlier.batches, sizes)


@dataclass(frozen=True)
class Place:
    """What a relay is made for: where packets come from, where they go, and where it runs."""

    case: Case
    generator: Generator
    ports: Sequence[int]  # of the receivers, on the loopback address; one a link
    cores: set[int]
    receive_key: bytes = field(default_factory=lambda: secrets.token_bytes(KEY_BYTES))
    send_key: bytes = field(default_factory=lambda: secrets.token_bytes(KEY_BYTES))

    @property
    def source(self) -> Address:
        return self.generator.address

    @property
    def groups(self) -> int:
        return len(self.ports) // self.case.fanout

    def links_of(self, stream: int) -> range:
        first = stream % self.groups * self.case.fanout
        return range(first, first + self.case.fanout)


class Relay(Protocol):
    """Takes what comes on `ingest` and sends it to the ports it was made for."""

    @property
    def name(self) -> str: ...

    @property
    def ingest(self) -> Address: ...

    @property
    def thread(self) -> Tasks:
        """Whose CPU time is its own."""

    def sent(self) -> Sent | None:
        """So far; None: it does not tell."""

    def is_settled(self) -> bool:
        """Nothing of the last trial occupies it any more."""

    def close(self) -> None: ...


RelayMaker = Callable[[Place], Relay | None]  # None: it cannot do this case


class EngineRelay:
    """One worker: a node between nodes, or with plain RTP in and plain RTP viewers.

    options: of the Engine, besides its sizes."""

    def __init__(
        self, place: Place, name: str = "engine", options: Mapping[str, Any] | None = None
    ) -> None:
        self.name = name
        case = place.case
        self.engine = Engine(
            node_id=1,
            streams=case.streams,
            cursors=case.streams * case.fanout,
            node_links=case.link_count + 1,
            viewer_links=case.link_count,
            ports=2,
            slab_bytes=min(max(SLAB_BYTES, case.streams * SLAB_BYTES_A_STREAM), MAX_SLAB_BYTES),
            repair_give_up_us=GIVE_UP_US,
            **(options or {}),
        )
        ingest = udp_socket()
        self.ingest: Address = ingest.getsockname()
        kind = PortKind.OVERLAY if case.is_overlay else PortKind.INGEST
        port = self.engine.open_port(kind, ingest.detach())
        self.thread = PinnedThread(name, self.engine.run, self.engine.stop, place.cores)
        self._upstream: int | None = None
        if case.is_overlay:
            self._add_nodes(place, port)
        else:
            self._add_viewers(place, port)
        self._wait_for_commands(case.fanout)

    def _wait_for_commands(self, fanout: int) -> None:
        """Until the worker has applied the last of them: what came earlier would be lost."""
        until = time.monotonic() + START_S
        while self.engine.stream_stats(self._last_stream).subscribers < fanout:
            self.thread.check()
            if time.monotonic() > until:
                raise BenchError(f"{self.name}: not ready after {START_S} s")
            time.sleep(0.001)

    def _add_nodes(self, place: Place, port: int) -> None:
        hello_key = secrets.token_bytes(KEY_BYTES)

        def add_link(address: Address, peer_node: int) -> int:
            link = self.engine.add_link(
                port=port,
                address=address,
                peer_node=peer_node,
                hello_key=hello_key,
                rate_bps=LINK_RATE_BPS,
            )
            self.engine.offer_keys(
                link, receive_key=place.receive_key, send_key=place.send_key, send_now=True
            )
            return link

        self._upstream = add_link(place.source, 2)
        links = [
            add_link(("127.0.0.1", receiver), 3 + number)
            for number, receiver in enumerate(place.ports)
        ]
        for number in range(place.case.streams):
            stream = self.engine.add_stream(
                stream_id=FIRST_STREAM_ID + number,
                media=Media.VIDEO,
                first_stream_seq=FIRST_STREAM_SEQ,
                upstream=self._upstream,
            )
            for link in place.links_of(number):
                self.engine.add_cursor(stream=stream, link=links[link])
            self._last_stream = stream

    def _add_viewers(self, place: Place, port: int) -> None:
        stream = self.engine.add_stream(
            stream_id=FIRST_STREAM_ID, media=Media.VIDEO, first_stream_seq=1, upstream=None
        )
        self._last_stream = stream
        self.engine.set_ingest(port, stream=stream, codec=Codec.H264, payload_type=96)
        out = self.engine.open_port(PortKind.VIEWER, udp_socket().detach())
        for number, receiver in enumerate(place.ports):
            self.engine.add_viewer_cursor(
                stream=stream,
                link=self.engine.add_viewer_link(rate_bps=LINK_RATE_BPS),
                port=out,
                address=("127.0.0.1", receiver),
                ssrc=number + 1,
                payload_type=96,
                first_sequence_number=FIRST_STREAM_SEQ,
            )

    def sent(self) -> Sent:
        self.engine.events()  # or its box fills up
        counted = self.engine.verdicts()
        return Sent(
            counted["sent_packets"], counted["sent_batches"], tuple(self.engine.batch_sizes())
        )

    def is_settled(self) -> bool:
        """Holes are given up, so no more requests are made for them; and nothing is shed."""
        if self.engine.overload().step > 0:
            return False
        return self._upstream is None or self.engine.link_stats(self._upstream).holes_open == 0

    def close(self) -> None:
        self.thread.close()


class LoopRelay:
    """bench/native/loop.c, with the socket options that the engine sets on its ports.

    buffers: that a recvmmsg fills; 0: as many as the engine's."""

    def __init__(
        self,
        place: Place,
        name: str = "loop",
        *,
        use_gro: bool = True,
        use_gso: bool = True,
        buffers: int = 0,
    ) -> None:
        self.name = name
        self._in, self._out = udp_socket(), udp_socket()
        for one in (self._in, self._out):
            one.setsockopt(SOL_UDP, UDP_GRO, int(use_gro))
            one.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._out.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        self.ingest: Address = self._in.getsockname()
        self._stop = os.eventfd(0)
        ffi = native().ffi
        self._ports = ffi.new("uint16_t[]", list(place.ports))
        self._route: Any = ffi.new(
            "struct route *",
            {
                "in_fd": self._in.fileno(),
                "out_fd": self._out.fileno(),
                "stop_fd": self._stop,
                "is_overlay": place.case.is_overlay,
                "ports": self._ports,
                "links": len(place.ports),
                "fanout": place.case.fanout,
                "streams": place.case.streams,
                "first_stream_id": FIRST_STREAM_ID,
                "buffers": buffers,
                "one_by_one": not use_gso,
            },
        )
        self.thread = self._start(place)

    def _start(self, place: Place) -> PinnedThread:
        return self._run(lambda: native().lib.bench_loop(self._route), place.cores)

    def _run(self, loop: Callable[[], int], cores: set[int]) -> PinnedThread:
        return PinnedThread(
            self.name,
            lambda: check(loop(), self.name),
            lambda: os.eventfd_write(self._stop, 1),
            cores,
        )

    def sent(self) -> Sent:
        ffi, lib = native().ffi, native().lib
        tally = self._route.sent
        sizes = tuple(int(lib.bench_read(tally.batch_sizes + i)) for i in range(len(SIZES)))
        packets, batches = (
            int(lib.bench_read(ffi.addressof(tally, name))) for name in ("packets", "batches")
        )
        return Sent(packets, batches, sizes)

    def is_settled(self) -> bool:
        return True

    def close(self) -> None:
        self.thread.close()
        os.close(self._stop)
        self._in.close()
        self._out.close()


def ring_slots(streams: int) -> int:
    """A power of two: as much memory as the engine's rings walk through."""
    if streams == 1:
        return SLOTS_OF_ONE_STREAM
    return int(min(1 << (streams * SLOTS_A_STREAM - 1).bit_length(), MAX_SLOTS))


class LoopPlusRelay(LoopRelay):
    """bench/native/loop_plus.c."""

    def __init__(self, place: Place, name: str = "loop_plus") -> None:
        super().__init__(place, name)

    def _start(self, place: Place) -> PinnedThread:
        ffi, lib = native().ffi, native().lib
        self._plus = lib.loop_plus_open(
            self._route, ring_slots(place.case.streams), place.receive_key, place.send_key
        )
        if self._plus == ffi.NULL:
            raise BenchError("loop_plus: no memory for its ring and history")
        return self._run(lambda: lib.bench_loop_plus(self._plus), place.cores)

    def close(self) -> None:
        super().close()
        native().lib.loop_plus_close(self._plus)


def makers() -> dict[str, RelayMaker]:
    """Ours by their names: the engine and the loops that do as it does."""
    return {"engine": EngineRelay, "loop": LoopRelay, "loop_plus": LoopPlusRelay}
