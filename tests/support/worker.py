"""Engines in threads of their own on loopback sockets."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from fastpath import Codec, Engine, Media, PortKind
from fastpath.events import Event
from tests.support.chain import STREAM_ID, key

Address = tuple[str, int]
UDP_SEGMENT = 103  # linux/udp.h
SOCKET_BYTES = 4 << 20


def udp_socket() -> socket.socket:
    """A bound loopback socket with as much room as the kernel gives."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
    made.bind(("127.0.0.1", 0))
    return made


def send_segments(sender: socket.socket, data: bytes, packet_bytes: int, to: Address) -> None:
    """Many packets of one size in one call."""
    control = [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("=H", packet_bytes))]
    sender.sendmsg([data], control, 0, to)


def wait_until(is_done: Callable[[], bool], limit_s: float = 10.0) -> bool:
    """Poll; False if the time is over."""
    end = time.monotonic() + limit_s
    while not is_done():
        if time.monotonic() > end:
            return False
        time.sleep(0.0005)
    return True


def open_fds() -> set[str]:
    """The process's open file descriptors and what they are."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except FileNotFoundError:
            continue  # the listing's own
    return found


class Worker:
    """One engine; `with` runs it."""

    def __init__(self, **options: object) -> None:
        sizes: dict[str, object] = {
            "streams": 8,
            "cursors": 256,
            "node_links": 4,
            "viewer_links": 256,
            "ports": 8,
            "slab_bytes": 32 << 20,
        }
        self.engine = Engine(**(sizes | options))  # type: ignore[arg-type]
        self.events: list[Event] = []
        self.thread_id = 0
        self._thread = threading.Thread(target=self._run)

    def open(self, kind: PortKind) -> tuple[int, Address]:
        """A port on a new socket, and its address."""
        made = udp_socket()
        address = made.getsockname()
        return self.engine.open_port(kind, made.detach()), (address[0], address[1])

    def take_events(self) -> list[Event]:
        self.events += self.engine.events()
        return self.events

    def _run(self) -> None:
        self.thread_id = threading.get_native_id()
        self.engine.run()

    def __enter__(self) -> Worker:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.engine.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()


class Pair:
    """Two workers joined by one link: RTP comes in at `ingest`, `second` serves the viewers."""

    def __init__(self, *, first_link_bps: int = 10_000_000_000, **options: object) -> None:
        self.first, self.second = Worker(**options), Worker(**options)
        first_port, first_address = self.first.open(PortKind.OVERLAY)
        second_port, second_address = self.second.open(PortKind.OVERLAY)
        self.down = self.first.engine.add_link(
            port=first_port,
            address=second_address,
            peer_node=2,
            hello_key=key("hello"),
            rate_bps=first_link_bps,
        )
        self.up = self.second.engine.add_link(
            port=second_port,
            address=first_address,
            peer_node=1,
            hello_key=key("hello"),
            rate_bps=first_link_bps,
        )
        for engine, link, mine, theirs in (
            (self.first.engine, self.down, "first", "second"),
            (self.second.engine, self.up, "second", "first"),
        ):
            engine.offer_keys(link, receive_key=key(theirs), send_key=key(mine), send_now=True)
        self.first_stream = self.first.engine.add_stream(
            stream_id=STREAM_ID, media=Media.VIDEO, first_stream_seq=1, upstream=None
        )
        self.second_stream = self.second.engine.add_stream(
            stream_id=STREAM_ID, media=Media.VIDEO, first_stream_seq=1, upstream=self.up
        )
        self.first.engine.add_cursor(stream=self.first_stream, link=self.down)
        ingest_port, self.ingest = self.first.open(PortKind.INGEST)
        self.first.engine.set_ingest(
            ingest_port, stream=self.first_stream, codec=Codec.H264, payload_type=96
        )
        self.viewer_port, self.viewer_source = self.second.open(PortKind.VIEWER)

    def add_viewer(self, address: Address, *, rate_bps: int = 10_000_000_000) -> int:
        """A cursor of the second worker."""
        engine = self.second.engine
        return engine.add_viewer_cursor(
            stream=self.second_stream,
            link=engine.add_viewer_link(rate_bps=rate_bps),
            port=self.viewer_port,
            address=address,
            ssrc=0xABCD,
            payload_type=100,
            first_sequence_number=65_530,
        )

    def is_linked(self) -> bool:
        return (
            self.first.engine.link_stats(self.down).rtt_us > 0
            and self.second.engine.link_stats(self.up).rtt_us > 0
        )

    def __enter__(self) -> Self:
        self.first.__enter__()
        self.second.__enter__()
        assert wait_until(self.is_linked)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.first.__exit__(kind, error, trace)
        self.second.__exit__(kind, error, trace)
