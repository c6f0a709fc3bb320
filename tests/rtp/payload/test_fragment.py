"""Packets cut into smaller ones: vectors, the twin, and what a receiver joins from the pieces.

Input and output each end where a page without access begins.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath import Codec
from overlane.play.reassembly import VideoReassembler
from rtp import constants as c
from rtp.errors import RtpParseError
from rtp.packet import HeaderExtension, RtpPacket
from rtp.payload import (
    codec,
    fragment,
    h264,
    h265,
    reference,
    reference_av1,
    reference_h265,
    reference_vp9,
    vp8,
)
from rtp.payload.h264_packets import access_unit_hash, assemble, packetize, split_annexb
from rtp.payload.marks import Marks
from tests.rtp.encoders import CASES, encode
from tests.rtp.guarded_page import PAGE, GuardedPage
from tests.rtp.muxer import mux
from tests.support.units import encoded, hevc_nals_of, obus_sent, sent

CODEC = codec.numbers()
OPUS, H264, VP8 = CODEC["OPUS"], CODEC["H264"], CODEC["VP8"]
H265, VP9, AV1 = CODEC["H265"], CODEC["VP9"], CODEC["AV1"]
SPLITTERS = {
    OPUS: None,
    H264: reference.split_h264,
    H265: reference_h265.split,
    VP8: reference.split_vp8,
    VP9: reference_vp9.split,
    AV1: reference_av1.split,
}
LIMIT = 1_436
SOURCE, TARGET = GuardedPage(), GuardedPage()
SEED = 6_184


def cut(data: bytes, codec: int, limit: int) -> list[bytes] | None:
    """The native pieces, which are the twin's too; None if it cannot be split."""
    view = SOURCE.place(data) if len(data) <= PAGE else memoryview(data)
    result = fragment.fragments(view, codec, limit, TARGET.place(bytes(limit)))
    try:
        expected = reference.fragments(data, SPLITTERS[codec], limit)
    except RtpParseError:
        assert result is None
        return None
    assert result is not None
    count, pieces = result
    if expected is None:
        assert (count, pieces) == (-1, [])
        return None
    assert pieces == expected
    assert count == len(pieces)
    assert max(map(len, pieces)) <= limit
    return pieces


def rtp(payload: bytes, *, marker: bool = True, number: int = 65_535) -> bytes:
    """With all that a header can have."""
    extension = HeaderExtension(0xBEDE, b"\x10\x01\x00\x00")
    return RtpPacket(96, number, 90, 7, payload, marker, (1, 2), extension, 3).serialise()


HEADER_BYTES = 12 + 8 + 8


def payloads_of(pieces: list[bytes] | None) -> list[bytes]:
    assert pieces is not None
    return [RtpPacket.parse(piece).payload for piece in pieces]


def cut_payload(payload: bytes, codec: int, room: int) -> list[bytes]:
    return payloads_of(cut(rtp(payload), codec, HEADER_BYTES + room))


def stap(*nals: bytes) -> bytes:
    return b"\x78" + b"".join(len(n).to_bytes(2, "big") + n for n in nals)


AUD = b"\x09\xf0"
SPS = b"\x67\x42\xc0\x1e"
SLICE = b"\x65\x88" + bytes(range(38))


def test_codecs() -> None:
    assert {member.name: member.value for member in Codec} == CODEC


def test_a_nal_unit_becomes_fu_a() -> None:
    body = SLICE[1:]  # 39 bytes in 14 to a packet: three of 13
    assert cut_payload(SLICE, H264, 16) == [
        b"\x7c\x85" + body[:13],
        b"\x7c\x05" + body[13:26],
        b"\x7c\x45" + body[26:],
    ]


@pytest.mark.parametrize("ends", [0x00, 0x80, 0x40, 0xC0])
def test_a_fu_a_keeps_its_ends(ends: int) -> None:
    body = bytes(range(30))
    assert cut_payload(bytes([0x7C, ends | 5]) + body, H264, 17) == [
        bytes([0x7C, ends & 0x80 | 5]) + body[:15],
        bytes([0x7C, ends & 0x40 | 5]) + body[15:],
    ]


def test_an_aggregate_goes_unit_by_unit() -> None:
    body = SLICE[1:]
    assert cut_payload(stap(AUD, SLICE, SPS), H264, 22) == [
        AUD,
        b"\x7c\x85" + body[:20],
        b"\x7c\x45" + body[20:],
        SPS,
    ]


def test_vp8_repeats_the_descriptor() -> None:
    frame = bytes(range(40))
    assert cut_payload(b"\xb0\xf0\x80\x01\x02\x03" + frame, VP8, 20) == [
        b"\xb0\xf0\x80\x01\x02\x03" + frame[:14],
        b"\xa0\xf0\x80\x01\x02\x03" + frame[14:28],
        b"\xa0\xf0\x80\x01\x02\x03" + frame[28:],
    ]
    assert cut_payload(b"\x02" + frame, VP8, 30) == [b"\x02" + frame[:20], b"\x02" + frame[20:]]


def ap(*nals: bytes) -> bytes:
    return b"\x60\x01" + b"".join(len(n).to_bytes(2) + n for n in nals)


HEVC_SLICE = b"\x26\x01" + bytes(range(38))
HEVC_SPS = b"\x42\x01\x01\x00"


def test_a_nal_unit_of_h265_becomes_fu() -> None:
    body = HEVC_SLICE[2:]  # 38 bytes in 13 to a packet: three, of 13 and 12
    assert cut_payload(HEVC_SLICE, H265, 16) == [
        b"\x62\x01\x93" + body[:13],
        b"\x62\x01\x13" + body[13:26],
        b"\x62\x01\x53" + body[26:],
    ]
    above = b"\x03\x0b" + body  # an enhancement layer and a temporal id stay
    assert [p[:3] for p in cut_payload(above, H265, 25)] == [b"\x63\x0b\x81", b"\x63\x0b\x41"]


@pytest.mark.parametrize("ends", [0x00, 0x80, 0x40, 0xC0])
def test_a_fu_of_h265_keeps_its_ends(ends: int) -> None:
    body = bytes(range(30))
    assert cut_payload(bytes([0x62, 1, ends | 19]) + body, H265, 18) == [
        bytes([0x62, 1, ends & 0x80 | 19]) + body[:15],
        bytes([0x62, 1, ends & 0x40 | 19]) + body[15:],
    ]


def test_an_aggregate_of_h265_goes_unit_by_unit() -> None:
    body = HEVC_SLICE[2:]
    assert cut_payload(ap(HEVC_SPS, HEVC_SLICE, HEVC_SPS), H265, 22) == [
        HEVC_SPS,
        b"\x62\x01\x93" + body[:19],
        b"\x62\x01\x53" + body[19:],
        HEVC_SPS,
    ]


def test_vp9_repeats_the_descriptor_without_its_structure() -> None:
    frame = bytes(range(40))
    structure = b"\x18\x01\x40\x00\xf0\x00"  # a resolution and an empty group
    assert cut_payload(b"\xae\x85\x01\x00\x07" + structure + frame, VP9, 28) == [
        b"\xaa\x85\x01\x00\x07" + structure + frame[:17],
        b"\xa4\x85\x01\x00\x07" + frame[17:],
    ]
    assert cut_payload(b"\x04" + frame, VP9, 30) == [b"\x00" + frame[:20], b"\x04" + frame[20:]]
    assert cut_payload(b"\x08" + frame, VP9, 30) == [b"\x08" + frame[:20], b"\x00" + frame[20:]]


def test_av1_sends_each_obu_by_itself() -> None:
    tiles = bytes(range(40))
    payload = b"\x28\x02\x0a\x0b\x30" + tiles  # W=2, N; the second one without a length
    assert cut_payload(payload, AV1, 31) == [
        b"\x18\x0a\x0b",
        b"\x50\x30" + tiles[:20],
        b"\x90" + tiles[20:],
    ]


@pytest.mark.parametrize("ends", [0x00, 0x80, 0x40, 0xC0])
def test_av1_keeps_the_ends_of_the_packet(ends: int) -> None:
    tiles = bytes(range(40))
    assert cut_payload(bytes([ends | 0x10]) + tiles, AV1, 21) == [
        bytes([ends & 0x80 | 0x50]) + tiles[:20],
        bytes([ends & 0x40 | 0x90]) + tiles[20:],
    ]


def test_each_header_is_the_original() -> None:
    pieces = cut(rtp(SLICE), H264, HEADER_BYTES + 16)
    assert pieces is not None
    parsed = [RtpPacket.parse(piece) for piece in pieces]
    assert [piece.marker for piece in parsed] == [False, False, True]
    for piece in parsed:
        assert (piece.payload_type, piece.timestamp, piece.ssrc) == (96, 90, 7)
        assert piece.sequence_number == 65_535
        assert (piece.csrc, piece.padding_bytes) == ((1, 2), 0)
        assert piece.extension == HeaderExtension(0xBEDE, b"\x10\x01\x00\x00")
    unmarked = cut(rtp(SLICE, marker=False), H264, HEADER_BYTES + 16)
    assert unmarked is not None
    assert not any(RtpPacket.parse(piece).marker for piece in unmarked)


@pytest.mark.parametrize("codec", SPLITTERS)
@pytest.mark.parametrize("payload", [b"", b"\0", SLICE], ids=len)
def test_what_fits_goes_alone_whatever_it_holds(codec: int, payload: bytes) -> None:
    room = len(payload)
    assert cut_payload(payload, codec, room) == [payload]


@pytest.mark.parametrize(
    ("codec", "payload"),
    [
        pytest.param(OPUS, bytes(40), id="Opus"),
        pytest.param(9, SLICE, id="unknown codec"),
        pytest.param(H264, b"\x60" + bytes(40), id="NAL type 0"),
        pytest.param(H264, b"\x79" + bytes(40), id="STAP-B"),
        pytest.param(H264, b"\x7d" + bytes(40), id="FU-B"),
        pytest.param(H264, b"\x7c\x80" + bytes(40), id="FU-A of type 0"),
        pytest.param(H264, b"\x7c\x9c" + bytes(40), id="FU-A of FU-A"),
        pytest.param(H264, stap(SLICE, b""), id="aggregate with an empty NAL unit"),
        pytest.param(H264, stap(SLICE) + b"\0", id="aggregate with half a length"),
        pytest.param(H264, stap(SLICE, AUD)[:-1], id="truncated aggregate"),
        pytest.param(H264, stap(SLICE, b"\x78\0"), id="aggregate in an aggregate"),
        pytest.param(VP8, b"\x90\xf0\x80\x01", id="truncated descriptor"),
        pytest.param(H265, b"\x64\x01" + bytes(40), id="PACI"),
        pytest.param(H265, b"\x26\x00" + bytes(40), id="temporal id of 0"),
        pytest.param(H265, b"\x62\x01\xb0" + bytes(40), id="FU of an AP"),
        pytest.param(H265, ap(HEVC_SLICE, b"\x26"), id="AP with half a NAL unit"),
        pytest.param(H265, ap(HEVC_SLICE, HEVC_SPS)[:-1], id="truncated AP"),
        pytest.param(VP9, b"\x1c" + bytes(40), id="flexible without a picture id"),
        pytest.param(VP9, b"\x0a\x08\x06" + b"\x0c\1\2\3" * 6 + bytes(4), id="large structure"),
        pytest.param(AV1, b"\x00\x29" + bytes(40), id="OBU past the end"),
        pytest.param(AV1, b"\x00\x00" + bytes(40), id="empty OBU"),
    ],
)
def test_what_cannot_be_cut(codec: int, payload: bytes) -> None:
    room = min(len(payload) - 1, 20)
    data = rtp(payload)
    result = fragment.fragments(data, codec, HEADER_BYTES + room, bytearray(HEADER_BYTES + room))
    assert result == (-1, [])
    if codec in SPLITTERS:
        assert cut(data, codec, HEADER_BYTES + room) is None


@pytest.mark.parametrize("limit", [1, 11, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 15])
def test_a_header_too_large_for_the_limit(limit: int) -> None:
    assert cut(rtp(SLICE), H264, limit) is None


def test_no_more_pieces_than_the_bound() -> None:
    room = 16
    longest = b"\x65" + bytes(128 * (room - 2))
    assert len(cut_payload(longest, H264, room)) == 128
    assert cut(rtp(longest + b"\0"), H264, HEADER_BYTES + room) is None
    assert len(cut_payload(stap(*[AUD] * 128), H264, room)) == 128
    assert cut(rtp(stap(*[AUD] * 129)), H264, HEADER_BYTES + room) is None


def test_the_largest_datagram() -> None:
    payload = b"\x65" + bytes(65_507 - 13)
    pieces = cut(RtpPacket(96, 1, 2, 3, payload).serialise(), H264, LIMIT)
    assert pieces is not None
    assert len(pieces) == 47
    assert assemble(payloads_of(pieces)) == [payload]


# Any packet ---------------------------------------------------------------------------------------

nal_units = st.builds(
    lambda idc, nal_type, body: bytes([idc << 5 | nal_type]) + body,
    st.integers(0, 3),
    st.integers(1, 23),
    st.binary(max_size=150),
)
access_units = st.lists(nal_units, min_size=1, max_size=6)


@given(access_units, st.integers(40, 400), st.integers(16, 100))
@settings(max_examples=300)
def test_a_receiver_joins_the_same_nal_units(nals: list[bytes], size: int, room: int) -> None:
    whole = [*packetize(nals, size), stap(*nals)]
    for payload in whole:
        pieces = cut_payload(payload, H264, room)
        if payload[0] & c.NAL_TYPE_MASK != c.NAL_FU_A:
            assert assemble(pieces) == assemble([payload])
    joined = [p for payload in whole[:-1] for p in cut_payload(payload, H264, room)]
    assert assemble(joined) == nals


@given(access_units, st.integers(40, 400), st.integers(16, 100))
@settings(max_examples=200)
def test_marks_of_the_pieces(nals: list[bytes], size: int, room: int) -> None:
    for payload in [*packetize(nals, size), stap(*nals)]:
        whole = Marks(h264.marks(payload, 1, True) or 0)
        pieces = cut_payload(payload, H264, room)
        last = len(pieces) - 1
        marks = [Marks(h264.marks(p, int(n == 0), n == last) or 0) for n, p in enumerate(pieces)]
        assert [Marks.FRAME_START in m for m in marks] == [n == 0 for n in range(len(pieces))]
        assert [Marks.FRAME_END in m for m in marks] == [n == last for n in range(len(pieces))]
        assert any(Marks.KEY in m for m in marks) == (Marks.KEY in whole)
        if Marks.DISCARDABLE in whole:
            assert any(Marks.DISCARDABLE in m for m in marks)
        if payload[0] & c.NAL_TYPE_MASK != c.NAL_STAP_A:  # one NAL unit: each piece is as it was
            kind = Marks.KEY | Marks.DISCARDABLE
            assert {m & kind for m in marks} == {whole & kind}


def test_only_the_first_piece_shows_a_beginning() -> None:
    for payload in (SLICE, b"\x7c\x85" + SLICE[1:]):
        marks = [Marks(h264.marks(p, -1, False) or 0) for p in cut_payload(payload, H264, 16)]
        assert [Marks.FRAME_START in m for m in marks] == [True] + [False] * (len(marks) - 1)


@given(st.binary(min_size=1, max_size=400), st.integers(17, 100))
def test_pieces_are_equal_but_for_the_last(body: bytes, room: int) -> None:
    sizes = [len(piece) for piece in cut_payload(b"\x02" + body, VP8, room)]
    assert len(set(sizes[:-1])) <= 1
    assert 0 <= sizes[0] - sizes[-1] < len(sizes)


def test_random_payloads_agree_with_the_twin() -> None:
    rng = random.Random(SEED)
    for _ in range(5_000):
        codec = rng.choice(list(SPLITTERS))
        head = rng.choice((0x7C, 0x78, 0x65, 0x10, 0x90, 0x62, 0x08, rng.randrange(256)))
        payload = bytes([head]) + rng.choice((b"\x01", b"")) + rng.randbytes(rng.randrange(90))
        if rng.random() < 0.2:
            nals = [b"\x26\x01" + rng.randbytes(rng.randrange(40)) for _ in range(3)]
            payload = rng.choice((ap(*nals), b"".join([b"\0", *(b"\x05" + n[:5] for n in nals)])))
        elif rng.random() < 0.4:
            nals = [rng.randbytes(rng.randrange(40)) for _ in range(rng.randrange(5))]
            payload = stap(*nals)[: rng.randrange(200)]
        data = bytearray(rtp(payload, marker=rng.random() < 0.5))
        if rng.random() < 0.3:
            data[rng.choice((0, 0, 22, 23, len(data) - 1))] ^= 1 << rng.randrange(8)
        cut(bytes(data), codec, HEADER_BYTES + rng.randrange(-1, 60))


# Real encoders ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["H265 in slices", "VP9 with layers", "AV1 with a pyramid"])
def test_what_other_encoders_send_is_whole_after_cutting(name: str) -> None:
    case, too_large = CASES[name], 0
    for frame in encode(name, packet_bytes=1_472):
        payloads: list[bytes] = []
        for datagram in frame.datagrams:
            pieces = cut(datagram, CODEC[case.codec], LIMIT)
            too_large += len(pieces or []) > 1
            payloads += payloads_of(pieces)
        assert sent(case.codec, payloads) == encoded(case.codec, frame.data)
    assert too_large > 20


nal_units_of_h265 = st.builds(
    lambda kind, layer, tid, body: bytes([kind << 1 | layer >> 5, (layer & 31) << 3 | tid]) + body,
    st.integers(0, 47),
    st.integers(0, 63),
    st.integers(1, 7),
    st.binary(min_size=1, max_size=150),
)


@given(st.lists(nal_units_of_h265, min_size=1, max_size=5), st.integers(16, 100))
def test_a_receiver_joins_the_same_nal_units_of_h265(nals: list[bytes], room: int) -> None:
    pieces = cut_payload(ap(*nals), H265, room)
    assert hevc_nals_of(pieces) == nals
    whole, cutting = h265.Marker(), h265.Marker()
    kinds = Marks(whole.marks(ap(*nals), 1, True) or 0) & (Marks.KEY | Marks.DISCARDABLE)
    found = [Marks(cutting.marks(p, 0, False) or 0) for p in pieces]
    assert any(Marks.KEY in m for m in found) == (Marks.KEY in kinds)


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=5), st.integers(16, 100))
def test_a_receiver_joins_the_same_obus(obus: list[bytes], room: int) -> None:
    payload = b"\x08" + b"".join(varint(len(obu)) + obu for obu in obus)
    assert obus_sent(cut_payload(payload, AV1, room)) == obus


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 0x7F | 0x80, value >> 7])


@given(st.sampled_from(["08", "0c", "8a05", "aa850107"]), st.binary(min_size=80, max_size=400))
def test_a_receiver_joins_the_same_vp9_frame(head: str, frame: bytes) -> None:
    flags = bytes.fromhex(head)
    structure = b"\x18\x01\x40\x00\xf0\x00" if flags[0] & 2 else b""
    others = b"\x07" if flags[0] & 0x20 else b""
    payload = flags + others + structure + frame
    assert sent("VP9", cut_payload(payload, VP9, 40)) == sent("VP9", [payload])


def test_what_x264_and_libavformat_send_is_whole_after_cutting() -> None:
    frames = mux("libx264", 14, 12, 1_472)
    reassembler = VideoReassembler()
    number, hashes, too_large = 65_500, [], 0
    for frame in frames:
        for datagram in frame.datagrams:
            pieces = cut(datagram, H264, LIMIT)
            assert pieces is not None
            too_large += len(pieces) > 1
            for piece in pieces:
                units = reassembler.receive(RtpPacket.parse(piece), number, 0)
                hashes += [access_unit_hash(unit.nals) for unit in units]
                number += 1
    assert too_large > 20
    assert hashes == [access_unit_hash(split_annexb(frame.data)) for frame in frames]


def test_what_libvpx_and_libavformat_send_is_whole_after_cutting() -> None:
    too_large = 0
    for frame in mux("libvpx", 14, 12, 1_472):
        payloads: list[bytes] = []
        marks: list[Marks] = []
        for datagram in frame.datagrams:
            pieces = cut(datagram, VP8, LIMIT)
            assert pieces is not None
            too_large += len(pieces) > 1
            packets = [RtpPacket.parse(piece) for piece in pieces]
            payloads += [packet.payload for packet in packets]
            marks += [Marks(vp8.marks(p.payload, -1, p.marker) or 0) for p in packets]
        assert b"".join(p[vp8.descriptor_bytes(p) :] for p in payloads) == frame.data
        assert [Marks.FRAME_START in m for m in marks] == [n == 0 for n in range(len(marks))]
        assert [Marks.FRAME_END in m for m in marks] == [n == 0 for n in range(len(marks))][::-1]
        assert (Marks.GOP_START in marks[0]) == frame.is_key
    assert too_large > 20
