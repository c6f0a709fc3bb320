"""The ingest ports: encoders' packets in any order, against the twin of the parser and the stream.

Records with an even kind go to the H.264 port, odd ones to the Opus port; the kind's upper bits say
how long after the one before, in units of 40 ms. Everything forwarded goes to one neighbour.
"""

from __future__ import annotations

from fastpath import Codec, Engine, Media, PortKind
from rtp.errors import ParseErrorKind, RtpParseError
from rtp.packet import HeaderExtension, RtpPacket
from rtp.payload import h264, opus, reference, rtp_header
from tests.fuzz import records
from tests.fuzz.targets import overlay_twin as twin
from tests.fuzz.targets.exact import exact
from tests.fuzz.targets.promises import check_memory, check_verdict, packet_verdicts
from tests.fuzz.targets.target import Target
from tests.support.chain import ENCODER, key, key_slice, other_slice, rtp

NEXT = ("10.0.0.3", 7000)
STEP_US = 40_000
MAX_RTP_BYTES = 1436
PAYLOAD_TYPES = (96, 111)
STREAM_IDS = (0xAA, 0xBB)
FIRST_SEQS = (0xFFFFFFFC, 1)  # the first stream's numbers wrap
SETTLE_US = 10_000_000

Header = tuple[int, bool, int, int, int, int, int]


class Producer:
    """An engine with two encoders and a neighbour."""

    def __init__(self) -> None:
        self.now_us = 1_000_000
        self.engine = Engine(
            streams=2, cursors=2, node_links=1, viewer_links=1, ports=3, slab_bytes=1 << 18
        )
        overlay = self.engine.open_port(PortKind.OVERLAY)
        link = self.engine.add_link(
            port=overlay, address=NEXT, peer_node=3, hello_key=key("hello"), rate_bps=10**9
        )
        self.engine.offer_keys(link, receive_key=key("in"), send_key=key("out"), send_now=True)
        self.ports = []
        self.streams = []
        self.cursors = []
        for which, codec in enumerate((Codec.H264, Codec.OPUS)):
            port = self.engine.open_port(PortKind.INGEST)
            stream = self.engine.add_stream(
                stream_id=STREAM_IDS[which],
                media=(Media.VIDEO, Media.AUDIO)[which],
                first_stream_seq=FIRST_SEQS[which],
                upstream=None,
            )
            self.engine.set_ingest(
                port, stream=stream, codec=codec, payload_type=PAYLOAD_TYPES[which]
            )
            self.cursors.append(self.engine.add_cursor(stream=stream, link=link))
            self.ports.append(port)
            self.streams.append(stream)
        self.turn()

    def turn(self, *datagrams: tuple[int, tuple[str, int], memoryview]) -> list[bytes]:
        return [data for _, _, data in self.engine.turn(self.now_us, datagrams)]

    def receive(self, which: int, data: bytes) -> None:
        """A packet in; the same out if it was taken, marked, with a number of the ring."""
        self.turn()
        before = packet_verdicts(self.engine)
        sent = self.turn((self.ports[which], ENCODER, exact(data)))
        after = packet_verdicts(self.engine)
        changed = check_verdict(before, after, 0, len(sent), self.engine.events())
        assert changed == expected(which, data) or expected(which, data) is None, changed
        stats = self.engine.stream_stats(self.streams[which])
        check_memory(self.engine.memory())
        if self.engine.cursor_stats(self.cursors[which]).lapped:
            return  # a loss larger than the ring: the neighbour waits for a key frame
        for leg in sent:
            found = twin.parse(leg)
            assert isinstance(found, dict)
            assert found["stream_id"] == STREAM_IDS[which]
            assert leg[found["header_bytes"] + twin.TAG_BYTES :] == data
            assert (stats.next_stream_seq - found["stream_seq"]) % 2**32 <= stats.capacity
            assert found["marks"] & ~_GOP == _marks(which, data, found["marks"])
        assert len(sent) == (changed == {"ingested"}), changed


_GOP = 1


def _header(data: bytes) -> Header | ParseErrorKind:
    try:
        return reference.parse_rtp_header(data)
    except RtpParseError as error:
        return error.kind


def _marks(which: int, data: bytes, sent: int) -> int | None:
    """The twin's marks without GOP_START, which the stream decides, told whether a frame starts."""
    *_, start, size = reference.parse_rtp_header(data)
    payload = data[start : start + size]
    if which == 1:
        return reference.opus_marks(payload)
    marks = reference.h264_marks(payload, int(bool(sent & 4)), data[1] >= 128)
    return None if marks is None else marks & ~_GOP


def expected(which: int, data: bytes) -> set[str] | None:
    """The verdict, as far as one packet alone decides it."""
    if not data:
        return {"truncated"}
    if reference.is_rtcp(data):
        return {"ingest_rtcp"}
    found = _header(data)
    if isinstance(found, ParseErrorKind):
        return {"ingest_malformed"}
    if found[0] != PAYLOAD_TYPES[which]:
        return {"ingest_payload_type"}
    return {"ingest_oversized"} if len(data) > MAX_RTP_BYTES else None


def run(data: bytes) -> None:
    producer = Producer()
    fed = 0
    for kind, body in records.split(data):
        view = exact(body)
        header = rtp_header.parse(view)
        assert header == _header(body)
        assert rtp_header.looks_like_rtcp(view) == reference.is_rtcp(body)
        if isinstance(header, tuple):
            payload = view[header[5] : header[5] + header[6]]
            for begins in (-1, 0, 1):
                twin_marks = reference.h264_marks(payload.tobytes(), begins, header[1])
                assert h264.marks(payload, begins, header[1]) == twin_marks
            assert opus.marks(payload) == reference.opus_marks(payload.tobytes())
        producer.now_us += STEP_US * (kind >> 4)
        producer.receive(kind & 1, body)
        fed += 1
    assert sum(packet_verdicts(producer.engine).values()) == fed
    for stream in producer.streams:
        producer.engine.remove_stream(stream)
    producer.now_us += SETTLE_US
    producer.turn()
    memory = producer.engine.memory()
    assert memory.small_blocks[0] == memory.large_blocks[0] == 0


# -- seeds


def opus_packet(number: int, ssrc: int = 9) -> bytes:
    return rtp(number, 960 * number, b"\x78opus", payload_type=111, ssrc=ssrc)


def video(number: int, payload: bytes, *, ssrc: int = 1, marker: bool = True) -> bytes:
    return rtp(number, 3000 * number, payload, ssrc=ssrc, marker=marker)


def seeds() -> list[bytes]:
    """Loss, order, wrap, padding, restart, jump, extensions, each refusal."""
    numbers = [65_533, 65_534, 1, 0, 65_535, 2, 2]
    p_slices = [(0, video(n, other_slice(bytes(n % 50)))) for n in numbers]
    rich = RtpPacket(
        96, 1, 3000, 1, key_slice(b"x"), True, (1, 2, 3), HeaderExtension(0xBEDE, b"\x10\1\0\0"), 4
    ).serialise()
    padding = RtpPacket(96, 3, 6000, 1, b"", False, padding_bytes=8).serialise()
    stories: list[list[records.Record]] = [
        [(0, video(65_533, key_slice())), *p_slices],
        [(1, opus_packet(n)) for n in (65_535, 0, 2, 1)],
        [(0, rich), (0, video(2, other_slice())), (0, padding), (0, video(4, other_slice()))],
        [(0, video(5, other_slice())), (0, padding), (0, video(4, other_slice()))],
        [
            (0, video(1, key_slice())),
            (0, video(9, key_slice(), ssrc=2)),
            (0x80, video(10, key_slice(), ssrc=2)),
            (0, video(2, other_slice())),
        ],
        [
            (1, opus_packet(1)),
            (0xF1, opus_packet(2)),
            (0xF1, opus_packet(9, 5)),
            (0xF1, opus_packet(10, 5)),
        ],
        [
            (0, video(1, key_slice())),
            (0, video(9000, other_slice())),
            (0, video(9001, other_slice())),
            (0, video(8990, other_slice())),
            (0, video(2, other_slice())),
        ],
        [(0, video(n, other_slice(bytes(1300)))) for n in range(60)],
        [
            (0, video(1, b"\x09\xf0", marker=False)),
            (0, rtp(2, 3000, key_slice())),
            (0, rtp(3, 3000, b"\x65\x18")),
        ],
        [
            (0, b"\x80\xc8\0\6" + bytes(24)),
            (0, b"\x80\x60"),
            (0, opus_packet(1)),
            (0, b""),
            (0, video(1, b"\x1e")),
            (0, video(1, other_slice(bytes(1500)))),
            (1, opus_packet(1)[:12]),
        ],
    ]
    return [records.join(story) for story in stories]


TARGET = Target("rtp", run, seeds, is_story=True, most_bytes=8_000)
