"""One engine in virtual time, and a neighbour whose datagrams are written here byte by byte."""

from __future__ import annotations

import struct

from fastpath import Engine, Media, PortKind
from fastpath.events import Event
from fastpath.wire import tag
from tests.support.chain import STREAM_ID, key, other_slice, rtp

Address = tuple[str, int]
PEER: Address = ("10.0.0.2", 7000)
MEDIA, FEEDBACK, PROBE, CONTROL, DATAGRAM, PADDING, HELLO = range(7)
SEALED, REPAIR = 2, 4
HEADER_BYTES = 24
OVERHEAD_BYTES = 32  # header and tag of a Stream-FIB leg
CLASS_VIDEO = 2


def header(
    *,
    kind: int = MEDIA,
    version: int = 12,
    flags: int = 0,
    left: int = 0,
    count: int = 0,
    hop_limit: int = 8,
    traffic_class: int = CLASS_VIDEO,
    marks: int = 0,
    epoch: int = 0,
    delay: int = 0,
    stream_id: int = STREAM_ID,
    stream_seq: int = 1,
    hop_seq: int = 1,
    send_ts: int = 0,
    rest: bytes = b"",
) -> bytes:
    """The overlay header without its tag; rest: segments, destination and repair block."""
    return (
        struct.pack(
            ">BBBBBBHIIII",
            version << 4 | kind,
            flags,
            left << 4 | count,
            hop_limit,
            traffic_class << 5 | marks,
            epoch,
            delay,
            stream_id,
            stream_seq & 0xFFFFFFFF,
            hop_seq & 0xFFFFFFFF,
            send_ts,
        )
        + rest
    )


def seal(head: bytes, payload: bytes, tag_key: bytes, hop_seq_high: int = 0) -> bytes:
    """A whole datagram with a tag that fits."""
    return head + tag(head, payload, tag_key, hop_seq_high).to_bytes(8) + payload


def items(*numbers: int) -> bytes:
    """Items of a request or VOID: one base each, empty bitmaps."""
    return b"".join(struct.pack(">II", number & 0xFFFFFFFF, 0) for number in numbers)


def media_payload(index: int = 1, size: int = 100) -> bytes:
    return rtp(index, 3000 * index, other_slice(f"{index:06}".encode().ljust(size, b".")))


class PeerBench:
    """`link` joins the engine to PEER; `stream` comes from there."""

    def __init__(self, *, keyed: bool = True, with_stream: bool = True, **options: object) -> None:
        sizes: dict[str, object] = {
            "streams": 8,
            "cursors": 8,
            "node_links": 4,
            "viewer_links": 4,
            "ports": 8,
            "slab_bytes": 4 << 20,
        }
        self.engine = Engine(**(sizes | options))  # type: ignore[arg-type]
        self.now_us = 1_000_000
        self.port = self.engine.open_port(PortKind.OVERLAY)
        self.receive_key, self.send_key, self.hello_key = key("peer"), key("engine"), key("hello")
        self.link = self.engine.add_link(
            port=self.port,
            address=PEER,
            peer_node=2,
            hello_key=self.hello_key,
            rate_bps=100_000_000,
        )
        if keyed:
            self.engine.offer_keys(
                self.link, receive_key=self.receive_key, send_key=self.send_key, send_now=True
            )
        self.stream = -1
        if with_stream:
            self.stream = self.engine.add_stream(
                stream_id=STREAM_ID, media=Media.VIDEO, first_stream_seq=1, upstream=self.link
            )
        self.hop_seq = 0
        self.events: list[Event] = []
        self.turn()

    def turn(
        self, *datagrams: bytes, source: Address = PEER, port: int | None = None
    ) -> list[bytes]:
        """Hand over datagrams now; what the engine sends."""
        at = self.port if port is None else port
        sent = self.engine.turn(self.now_us, [(at, source, data) for data in datagrams])
        self.events += self.engine.events()
        return [data for _, _, data in sent]

    def wait(self, duration_us: int) -> list[tuple[int, bytes]]:
        """Let that much time pass, turn by turn; what the engine sends and when."""
        end_us = self.now_us + duration_us
        sent = []
        while (due_us := self.engine.next_timer_us()) is not None and due_us <= end_us:
            self.now_us = max(self.now_us, due_us)
            sent += [(self.now_us, data) for data in self.turn()]
        self.now_us = end_us
        return sent

    def packet(
        self,
        payload: bytes,
        *,
        hop_seq: int | None = None,
        tag_key: bytes | None = None,
        **fields: int,
    ) -> bytes:
        """An authentic datagram with the next hop_seq, or the given one (which may pass 2^32)."""
        if hop_seq is None:
            hop_seq = self.hop_seq = self.hop_seq + 1
        rest = fields.pop("repairs", 0)
        flags = fields.pop("flags", 0) | (REPAIR if rest else 0)
        head = header(
            hop_seq=hop_seq,
            flags=flags,
            rest=rest.to_bytes(4) if rest else b"",
            **fields,
        )
        return seal(head, payload, tag_key or self.receive_key, hop_seq >> 32)

    def media(self, stream_seq: int = 1, *, hop_seq: int | None = None, **fields: int) -> bytes:
        """A video packet, no key frame unless `marks` say so."""
        payload = media_payload(stream_seq)
        return self.packet(payload, hop_seq=hop_seq, tag_key=None, stream_seq=stream_seq, **fields)

    def probe(self, *, hop_seq: int | None = None) -> bytes:
        return self.packet(struct.pack(">QQI", self.now_us, 0, 0), kind=PROBE, hop_seq=hop_seq)

    def counted(self) -> dict[str, int]:
        """Counters that are not 0."""
        return {name: n for name, n in self.engine.verdicts().items() if n}

    def state(self) -> object:
        """All that can be read from outside, save the named counters."""
        engine = self.engine
        return (
            engine.link_stats(self.link),
            engine.stream_stats(self.stream) if self.stream >= 0 else None,
            engine.memory(),
            engine.next_timer_us(),
        )
