"""The ingest ports: encoders' packets in any order, against the twins of parser and splitter.

The lowest bit of a record's kind says which port, the next whether its RTCP port, the upper four
how long after the one before, in units of 40 ms. Everything forwarded goes to one neighbour.
"""

from __future__ import annotations

from collections.abc import Callable

from fastpath import Codec, Engine, Media, PortKind
from rtp.errors import ParseErrorKind, RtpParseError
from rtp.packet import HeaderExtension, RtpPacket
from rtp.payload import (
    fragment,
    h264,
    opus,
    reference,
    reference_av1,
    reference_h265,
    reference_vp9,
    rtp_header,
    vp8,
)
from rtp.rtcp.compound import parse_compound
from rtp.rtcp.sender_report import SenderReport, serialise_sender_report
from tests.fuzz import records
from tests.fuzz.targets import overlay_twin as twin
from tests.fuzz.targets.exact import exact
from tests.fuzz.targets.payload import TwinMarker
from tests.fuzz.targets.promises import check_memory, check_verdict, packet_verdicts
from tests.fuzz.targets.target import Target
from tests.support.chain import ENCODER, key, key_slice, other_slice, rtp

NEXT = ("10.0.0.3", 7000)
STEP_US = 40_000
MAX_RTP_BYTES = 1436
SETTLE_US = 10_000_000
PORTS = (  # payload types of each
    {96: Codec.H264, 98: Codec.H265, 99: Codec.VP9},
    {111: Codec.OPUS, 97: Codec.VP8, 100: Codec.AV1},
)
RTX_TYPE, RTX_OF = 101, 96  # the track whose encoder is asked again
FIRST_SEQ = 0xFFFFFFFC  # the streams' numbers wrap
SPLITTERS = {
    Codec.H264: reference.split_h264,
    Codec.H265: reference_h265.split,
    Codec.VP8: reference.split_vp8,
    Codec.VP9: reference_vp9.split,
    Codec.AV1: reference_av1.split,
    Codec.OPUS: None,
}
MARKS = {Codec.H264: reference.h264_marks, Codec.VP8: reference.vp8_marks}
# Whose marks depend on what came before, too: their own targets compare those.
MARKERS: dict[Codec, Callable[[], TwinMarker]] = {
    Codec.H265: reference_h265.Marker,
    Codec.VP9: reference_vp9.Marker,
    Codec.AV1: reference_av1.Marker,
}
GOP_START, FRAME_END, FRAME_START, DISCARDABLE, KEY = 1, 2, 4, 8, 16

Header = tuple[int, bool, int, int, int, int, int]


def rtp_time(packet: bytes) -> int:
    return int.from_bytes(packet[4:8])


class Producer:
    """An engine with two ingest ports, six tracks and a neighbour."""

    def __init__(self) -> None:
        self.now_us = 1_000_000
        self.engine = Engine(
            streams=6, cursors=6, node_links=1, viewer_links=1, ports=5, slab_bytes=1 << 18
        )
        overlay = self.engine.open_port(PortKind.OVERLAY)
        self.link = self.engine.add_link(
            port=overlay, address=NEXT, peer_node=3, hello_key=key("hello"), rate_bps=10**9
        )
        self.engine.offer_keys(self.link, receive_key=key("in"), send_key=key("out"), send_now=True)
        self.ports: list[int] = []
        self.rtcp_ports: list[int] = []
        self.streams: dict[int, int] = {}
        self.cursors: dict[int, int] = {}
        for tracks in PORTS:
            port = self.engine.open_port(PortKind.INGEST)
            self.ports.append(port)
            self.rtcp_ports.append(self.engine.open_port(PortKind.INGEST_RTCP, rtp_port=port))
            for payload_type, codec in tracks.items():
                self._add_track(port, payload_type, codec)
        self.turn()

    def _add_track(self, port: int, payload_type: int, codec: Codec) -> None:
        """The stream's id is the payload type."""
        stream = self.engine.add_stream(
            stream_id=payload_type,
            media=Media.AUDIO if codec == Codec.OPUS else Media.VIDEO,
            first_stream_seq=FIRST_SEQ,
            upstream=None,
            clock_rate=48_000 if codec == Codec.OPUS else 90_000,
            group=1,
        )
        self.engine.set_ingest(
            port,
            stream=stream,
            codec=codec,
            payload_type=payload_type,
            nack=payload_type == RTX_OF,
            rtx_payload_type=RTX_TYPE if payload_type == RTX_OF else 0,
        )
        self.streams[payload_type] = stream
        self.cursors[payload_type] = self.engine.add_cursor(stream=stream, link=self.link)

    def turn(self, *datagrams: tuple[int, tuple[str, int], memoryview]) -> list[bytes]:
        """What leaves; RTCP to the encoder must be whole."""
        sent = []
        for _, destination, data in self.engine.turn(self.now_us, datagrams):
            if destination == ENCODER:
                assert parse_compound(data)
            else:
                sent.append(data)
        return sent

    def receive(self, port: int, data: bytes) -> set[str]:
        """A datagram in; its verdict, and all that is sent in answer."""
        self.turn()
        before = packet_verdicts(self.engine)
        sent = self.turn((port, ENCODER, exact(data)))
        after = packet_verdicts(self.engine)
        changed = check_verdict(before, after, 0, len(sent), self.engine.events())
        check_memory(self.engine.memory())
        self.legs = [leg for leg in sent if leg[0] & 15 == twin.MEDIA]
        return changed

    def receive_rtp(self, which: int, data: bytes) -> None:
        """A packet to an RTP port; the same or its pieces out, if it was taken."""
        changed = self.receive(self.ports[which], data)
        expected = _verdicts(which, data)
        assert expected is None or (len(changed) == 1 and changed <= expected), changed
        if changed != {"ingested"}:
            assert not self.legs, changed
            return
        payload_type = data[1] & 0x7F
        if payload_type == RTX_TYPE:
            self._check_rtx(data)
            return
        if self.engine.cursor_stats(self.cursors[payload_type]).lapped:
            return  # a loss larger than the ring: the neighbour waits for a key frame
        codec = PORTS[which][payload_type]
        pieces = [data]
        if len(data) > MAX_RTP_BYTES:
            pieces = reference.fragments(data, SPLITTERS[codec], MAX_RTP_BYTES) or []
        # The stream's RTP time goes on where an encoder begins anew; all else is as it was sent.
        packets = [leg[32:] for leg in self.legs]
        assert [each[:4] + each[8:] for each in packets] == [each[:4] + each[8:] for each in pieces]
        assert len({rtp_time(each) - rtp_time(data) & 0xFFFFFFFF for each in packets}) == 1
        stats = self.engine.stream_stats(self.streams[payload_type])
        for leg, piece in zip(self.legs, pieces, strict=True):
            found = twin.parse(leg)
            assert isinstance(found, dict)
            assert found["stream_id"] == payload_type
            assert (stats.next_stream_seq - found["stream_seq"]) % 2**32 <= stats.capacity
            self._check_marks(codec, piece, found["marks"], is_whole=len(pieces) == 1)

    def _check_rtx(self, data: bytes) -> None:
        """The packet that it stands for, if that is not cut: under the track's type and number."""
        *_, start, size = reference.parse_rtp_header(data)
        if len(self.legs) == 1 and start + size - 2 <= MAX_RTP_BYTES:
            packet = self.legs[0][32:]
            assert (packet[1] & 0x7F, packet[2:4]) == (RTX_OF, data[start : start + 2])
            assert packet[12:] == data[12:start] + data[start + 2 : start + size]

    def _check_marks(self, codec: Codec, packet: bytes, marks: int, *, is_whole: bool) -> None:
        """As the twin's, told whether a frame starts; GOP_START is the stream's to say."""
        *_, start, size = reference.parse_rtp_header(packet)
        payload = packet[start : start + size]
        if codec == Codec.OPUS:
            assert marks == reference.opus_marks(payload)
        elif codec in MARKERS:
            alone = MARKERS[codec]().marks(payload, -1, packet[1] >= 128)
            assert alone is not None
            assert marks & FRAME_END == alone & FRAME_END
            assert not (marks & DISCARDABLE and marks & KEY)
        elif is_whole:
            found = MARKS[codec](payload, int(bool(marks & FRAME_START)), packet[1] >= 128)
            assert found is not None
            assert marks & ~GOP_START == found & ~GOP_START


def _header(data: bytes) -> Header | ParseErrorKind:
    try:
        return reference.parse_rtp_header(data)
    except RtpParseError as error:
        return error.kind


def _verdicts(which: int, data: bytes) -> set[str] | None:
    """Those that are possible, as far as one packet alone decides it."""
    if not data:
        return {"truncated"}
    if reference.is_rtcp(data):
        return {"ingest_rtcp", "ingest_rtcp_malformed", "ingest_rtcp_unknown"}
    found = _header(data)
    if isinstance(found, ParseErrorKind):
        return {"ingest_malformed"}
    is_taken = found[0] in PORTS[which] or (found[0], which) == (RTX_TYPE, 0)
    return None if is_taken else {"ingest_payload_type"}


def check_parsers(data: bytes) -> None:
    """Each native parser and the splitter against its twin, on one packet alone."""
    header = rtp_header.parse(exact(data))
    assert header == _header(data)
    assert rtp_header.looks_like_rtcp(exact(data)) == reference.is_rtcp(data)
    if isinstance(header, ParseErrorKind):
        return
    payload = data[header[5] : header[5] + header[6]]
    for begins in (-1, 0, 1):
        for native, expected in (
            (h264.marks, reference.h264_marks),
            (vp8.marks, reference.vp8_marks),
        ):
            assert native(exact(payload), begins, header[1]) == expected(payload, begins, header[1])
    assert opus.marks(exact(payload)) == reference.opus_marks(payload)
    for codec, split in SPLITTERS.items():
        found = fragment.fragments(data, codec, MAX_RTP_BYTES, bytearray(MAX_RTP_BYTES))
        pieces = reference.fragments(data, split, MAX_RTP_BYTES)
        if found is not None and payload and len(data) > MAX_RTP_BYTES:
            assert (found[1] if found[0] > 0 else None) == pieces


def run(data: bytes) -> None:
    producer = Producer()
    fed = 0
    for kind, body in records.split(data):
        check_parsers(body)
        producer.now_us += STEP_US * (kind >> 4)
        which = kind & 1
        if kind & 2:
            producer.receive(producer.rtcp_ports[which], body)
        else:
            producer.receive_rtp(which, body)
        fed += 1
    assert sum(packet_verdicts(producer.engine).values()) == fed
    for stream in producer.streams.values():
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


OTHERS = (  # port, payload type, payload: each goes whole and cut
    (0, 98, b"\x60\1\0\3\x40\1\x0c\0\4\x42\1\1\x40\0\3\x44\1\xc0"),
    (0, 98, b"\x26\1\x80" + bytes(2000)),
    (0, 98, b"\0\1\x80" + bytes(20)),
    (0, 99, b"\x0c\x82\x49\x83\x42" + bytes(20)),
    (0, 99, b"\x0c\x87\0\2\x4b" + bytes(2000)),
    (1, 100, bytes.fromhex("280d0a0b000000043cffbcfff180403010")),
    (1, 100, bytes.fromhex("10303006000000") + bytes(2000)),
)


def other(number: int, payload_type: int, payload: bytes) -> bytes:
    return rtp(number, 3000 * number, payload, payload_type=payload_type, ssrc=payload_type)


def seeds() -> list[bytes]:
    """Loss, order, wrap, padding, restart, jump, extensions, each refusal."""
    numbers = [65_533, 65_534, 1, 0, 65_535, 2, 2]
    p_slices = [(0, video(n, other_slice(bytes(n % 50)))) for n in numbers]
    rich = RtpPacket(
        96, 1, 3000, 1, key_slice(b"x"), True, (1, 2, 3), HeaderExtension(0xBEDE, b"\x10\1\0\0"), 4
    ).serialise()
    padding = RtpPacket(96, 3, 6000, 1, b"", False, padding_bytes=8).serialise()
    report = serialise_sender_report(SenderReport(1, 1 << 63, 3000, 1, 100), "a@b")
    key_frame = b"\x10\x10\2\0\x9d\1\x2a\x80\2"
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
        [(which, other(n, kind, body)) for which, kind, body in OTHERS for n in (1, 2, 4, 3)],
        [(0, video(1, key_slice())), (2, report), (0xF0, video(2, other_slice())), (0, report)],
        [(0xF0, video(n, other_slice())) for n in range(9)],
        [(0, video(65_535, key_slice(bytes(4000)))), (0, video(0, other_slice(bytes(1500))))],
        [
            (0, video(1, key_slice())),
            (0, video(3, other_slice())),
            (0, video(2, bytes([65]) * 3000)),
        ],
        [(0, video(1, b"\x78" + b"\0\x40" + bytes([65]) * 64 + b"\7\0" + bytes([65]) * 1792))],
        [
            (0, video(65_534, key_slice())),
            (0, video(65_535, other_slice())),
            (0, video(2, other_slice())),
            (0, rtp(7, 0, b"\0\0" + other_slice(), payload_type=RTX_TYPE, ssrc=5)),
            (0, rtp(8, 0, b"\0\1" + other_slice(bytes(1500)), payload_type=RTX_TYPE, ssrc=5)),
            (0, rtp(9, 0, b"\0", payload_type=RTX_TYPE, ssrc=5)),
            (0, rtp(10, 0, b"", payload_type=RTX_TYPE, ssrc=5)),
            (0xF0, video(3, other_slice())),
        ],
        [(1, rtp(n, 3000 * n, key_frame + bytes(900 * n), payload_type=97)) for n in range(4)],
    ]
    return [records.join(story) for story in stories]


TARGET = Target("rtp", run, seeds, is_story=True, most_bytes=8_000)
