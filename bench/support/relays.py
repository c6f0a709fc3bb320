"""What is measured: the engine, and the bare loop of the same system calls."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any, Protocol

from bench.support.native import check, native
from bench.support.network import SOL_UDP, UDP_GRO, Address, udp_socket
from bench.support.threads import PinnedThread
from fastpath import Codec, Engine, Media, PortKind

VIEWER_RATE_BPS = 10**12  # never the limit
SO_TIMESTAMPNS = 35  # asm-generic/socket.h
IP_RECVERR = 11  # linux/in.h


@dataclass(frozen=True)
class Sent:
    packets: int
    batches: int


class Relay(Protocol):
    """Takes one stream on `ingest` and sends it to all ports it was made with."""

    name: str
    ingest: Address
    thread: PinnedThread

    def sent(self) -> Sent: ...
    def close(self) -> None: ...


class EngineRelay:
    """One worker with plain RTP in and plain RTP viewers."""

    name = "engine"

    def __init__(self, ports: list[int], cores: set[int]) -> None:
        self.engine = Engine(
            streams=1,
            cursors=len(ports),
            node_links=1,
            viewer_links=len(ports),
            ports=2,
            slab_bytes=64 << 20,
        )
        stream = self.engine.add_stream(
            stream_id=1, media=Media.VIDEO, first_stream_seq=1, upstream=None
        )
        ingest = udp_socket()
        self.ingest: Address = ingest.getsockname()
        port = self.engine.open_port(PortKind.INGEST, ingest.detach())
        self.engine.set_ingest(port, stream=stream, codec=Codec.H264, payload_type=96)
        out = self.engine.open_port(PortKind.VIEWER, udp_socket().detach())
        self.thread = PinnedThread("engine", self.engine.run, self.engine.stop, cores)
        for number, receiver in enumerate(ports):
            self.engine.add_viewer_cursor(
                stream=stream,
                link=self.engine.add_viewer_link(rate_bps=VIEWER_RATE_BPS),
                port=out,
                address=("127.0.0.1", receiver),
                ssrc=number + 1,
                payload_type=96,
                first_sequence_number=65_000,
            )

    def sent(self) -> Sent:
        self.engine.events()  # or its box fills up
        counted = self.engine.verdicts()
        return Sent(counted["sent_packets"], counted["sent_batches"])

    def close(self) -> None:
        self.thread.close()


class LoopRelay:
    """bench/native/loop.c, with the socket options that the engine sets on its ports."""

    name = "loop"

    def __init__(self, ports: list[int], cores: set[int]) -> None:
        ffi, lib = native().ffi, native().lib
        self._in, self._out = udp_socket(), udp_socket()
        for one in (self._in, self._out):
            one.setsockopt(SOL_UDP, UDP_GRO, 1)
            one.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._out.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        self.ingest: Address = self._in.getsockname()
        self._stop = os.eventfd(0)
        self._ports = ffi.new("uint16_t[]", ports)
        self._native: Any = ffi.new(
            "struct loop *",
            {
                "in_fd": self._in.fileno(),
                "out_fd": self._out.fileno(),
                "stop_fd": self._stop,
                "ports": self._ports,
                "destinations": len(ports),
            },
        )
        self.thread = PinnedThread(
            "loop",
            lambda: check(lib.bench_loop(self._native), "loop"),
            lambda: os.eventfd_write(self._stop, 1),
            cores,
        )

    def sent(self) -> Sent:
        return Sent(self._counter("sent_packets"), self._counter("sent_batches"))

    def close(self) -> None:
        self.thread.close()
        os.close(self._stop)
        self._in.close()
        self._out.close()

    def _counter(self, name: str) -> int:
        ffi, lib = native().ffi, native().lib
        return int(lib.bench_read(ffi.addressof(self._native, name)))
