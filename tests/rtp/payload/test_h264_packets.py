"""Access units to payloads and back: vectors, round trips, refusals, and a real encoder."""

from fractions import Fraction
from functools import cache

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from hypothesis import given
from hypothesis import strategies as st

from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError
from rtp.payload import h264
from rtp.payload.h264_packets import (
    AccessUnitAssembler,
    access_unit_hash,
    assemble,
    canonical,
    packetize,
    split_annexb,
    split_avcc,
)
from rtp.payload.marks import Marks

SPS = b"\x67\x42\xc0\x1e"
PPS = b"\x68\xce\x3c\x80"
IDR = b"\x65" + b"\x88" * 40

nal_units = st.builds(
    lambda idc, nal_type, body, last: bytes([idc << 5 | nal_type]) + body + bytes([last]),
    st.integers(0, 3),
    st.integers(1, 23),
    st.binary(max_size=90).map(lambda b: b.replace(b"\0\0", b"\0\3")),
    st.integers(1, 255),
)
access_units = st.lists(nal_units, min_size=1, max_size=8)


def test_split_annexb_takes_both_start_codes_and_trailing_zeros() -> None:
    data = b"\0\0\0\1" + SPS + b"\0\0\1" + PPS + b"\0\0\0\0\0\1" + IDR + b"\0\0"
    assert split_annexb(data) == [SPS, PPS, IDR]
    assert split_annexb(b"\0\0\1" + IDR) == [IDR]
    assert split_annexb(b"") == split_annexb(b"\0\0\0") == []


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"x", ParseErrorKind.NO_START_CODE),
        (b"\0\0\2", ParseErrorKind.NO_START_CODE),
        (b"x\0\0\1" + IDR, ParseErrorKind.NO_START_CODE),
        (b"\0\0\1", ParseErrorKind.EMPTY_NAL),
        (b"\0\0\1\0\0\1" + IDR, ParseErrorKind.EMPTY_NAL),
    ],
)
def test_split_annexb_refusals(data: bytes, kind: ParseErrorKind) -> None:
    with pytest.raises(RtpParseError) as caught:
        split_annexb(data)
    assert caught.value.kind is kind


@given(access_units, st.lists(st.sampled_from([b"", b"\0", b"\0\0"]), min_size=9, max_size=9))
def test_start_codes_do_not_change_the_hash(nals: list[bytes], zeros: list[bytes]) -> None:
    data = b"".join(z + b"\0\0\1" + nal for z, nal in zip(zeros, nals, strict=False)) + zeros[-1]
    assert split_annexb(data) == nals
    assert split_annexb(canonical(nals)) == nals
    assert access_unit_hash(split_annexb(data)) == access_unit_hash(nals)


def test_hash_is_stable() -> None:
    # b2sum -l 128 of 00 00 00 01 67 42 c0 1e 00 00 00 01 68 ce 3c 80
    assert access_unit_hash([SPS, PPS]) == "cac66cf4427ab8029b928c5b551c4a2e"


@given(access_units, st.sampled_from([1, 2, 4]))
def test_split_avcc_round_trip(nals: list[bytes], length_size: int) -> None:
    data = b"".join(len(nal).to_bytes(length_size, "big") + nal for nal in nals)
    assert split_avcc(data, length_size) == nals
    with pytest.raises(RtpParseError) as caught:
        split_avcc(data[:-1], length_size)
    assert caught.value.kind is ParseErrorKind.TOO_SHORT


def test_split_avcc_refusals() -> None:
    with pytest.raises(RtpParseError) as caught:
        split_avcc(b"\0\0", 2)
    assert caught.value.kind is ParseErrorKind.EMPTY_NAL
    with pytest.raises(RtpParseError) as caught:
        split_avcc(b"\0\0\0", 4)
    assert caught.value.kind is ParseErrorKind.TOO_SHORT
    with pytest.raises(RtpValueError):
        split_avcc(b"", 3)


def test_packetize_vectors() -> None:
    assert packetize([SPS, PPS, IDR], 24) == [
        b"\x78\x00\x04" + SPS + b"\x00\x04" + PPS,
        b"\x7c\x85" + b"\x88" * 22,
        b"\x7c\x45" + b"\x88" * 18,
    ]
    assert packetize([SPS, IDR], 41) == [SPS, IDR]
    assert packetize([], 100) == []


@given(access_units, st.integers(16, 120))
def test_assembled_is_what_was_packetized(nals: list[bytes], max_payload: int) -> None:
    payloads = packetize(nals, max_payload)
    assert max(map(len, payloads)) <= max_payload
    assert assemble(payloads) == nals
    assert all(h264.marks(payload, 0, False) is not None for payload in payloads)


def test_assembler_begins_anew_after_finish() -> None:
    assembler = AccessUnitAssembler()
    for nals in ([SPS, PPS, IDR], [IDR], [SPS]):
        for payload in packetize(nals, 20):
            assembler.feed(payload)
        assert assembler.finish() == nals


def test_assembler_can_be_reset_after_an_error() -> None:
    first, *_ = packetize([IDR], 20)
    assembler = AccessUnitAssembler()
    assembler.feed(first)
    with pytest.raises(RtpParseError):
        assembler.finish()
    assembler.reset()
    assembler.feed(SPS)
    assert assembler.finish() == [SPS]


FRAGMENTS = packetize([IDR], 20)


@pytest.mark.parametrize(
    ("payloads", "kind"),
    [
        pytest.param([], ParseErrorKind.NO_PAYLOAD, id="nothing"),
        pytest.param([b""], ParseErrorKind.NO_PAYLOAD, id="empty payload"),
        pytest.param([b"\x7c"], ParseErrorKind.TRUNCATED_FRAGMENT, id="short fragment"),
        pytest.param([b"\x78\0"], ParseErrorKind.TRUNCATED_AGGREGATE, id="short aggregate"),
        pytest.param([b"\x78"], ParseErrorKind.TRUNCATED_AGGREGATE, id="empty aggregate"),
        pytest.param([b"\x78\0\0"], ParseErrorKind.EMPTY_NAL, id="empty NAL unit"),
        pytest.param([b"\x79abcdef"], ParseErrorKind.UNSUPPORTED_NAL_TYPE, id="STAP-B"),
        pytest.param([b"\x78\0\1\x7c"], ParseErrorKind.UNSUPPORTED_NAL_TYPE, id="nested"),
        pytest.param([b"\x7c\x9c"], ParseErrorKind.UNSUPPORTED_NAL_TYPE, id="fragment of FU-A"),
        pytest.param(FRAGMENTS[1:], ParseErrorKind.FRAGMENT_WITHOUT_START, id="start lost"),
        pytest.param(FRAGMENTS[:-1], ParseErrorKind.FRAGMENT_UNFINISHED, id="end lost"),
        pytest.param(
            [FRAGMENTS[0], *FRAGMENTS], ParseErrorKind.FRAGMENT_UNFINISHED, id="start again"
        ),
        pytest.param(
            [FRAGMENTS[0], SPS], ParseErrorKind.FRAGMENT_UNFINISHED, id="other NAL unit between"
        ),
        pytest.param(
            [FRAGMENTS[0], b"\x5c\x41abc"],
            ParseErrorKind.FRAGMENT_WITHOUT_START,
            id="fragment of another NAL unit",
        ),
    ],
)
def test_assembler_refusals(payloads: list[bytes], kind: ParseErrorKind) -> None:
    with pytest.raises(RtpParseError) as caught:
        assemble(payloads)
    assert caught.value.kind is kind


@given(st.lists(st.binary(max_size=12), max_size=6))
def test_any_payloads_assemble_or_raise_the_named_error(payloads: list[bytes]) -> None:
    try:
        nals = assemble(payloads)
    except RtpParseError:
        return
    assert all(nals)


@pytest.mark.parametrize(
    ("nals", "max_payload"), [([b""], 100), ([b"\x7cabc"], 100), ([SPS], 15), ([SPS], 65_536)]
)
def test_what_cannot_be_packetized_is_our_own_error(nals: list[bytes], max_payload: int) -> None:
    with pytest.raises(RtpValueError):
        packetize(nals, max_payload)


# A real encoder -----------------------------------------------------------------------------------

ENCODER_PARAMS = "bframes=3:b-adapt=0:b-pyramid=normal:slices=4:keyint=12:scenecut=0:threads=1"


@cache
def encode(extra: str) -> tuple[bytes, ...]:
    """36 moving frames by libx264, each access unit as it left the encoder (annex B)."""
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = 320, 192, "yuv420p"
    codec.time_base, codec.bit_rate = Fraction(1, 30), 1_500_000
    codec.options = {"preset": "veryfast", "x264-params": ENCODER_PARAMS + extra}
    noise = np.random.default_rng(7).integers(0, 255, (192, 400, 3), dtype=np.uint8)
    packets = []
    for number in range(36):
        image = np.ascontiguousarray(noise[:, 2 * number : 2 * number + 320])
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = number
        packets += codec.encode(frame)
    packets += codec.encode(None)
    return tuple(bytes(packet) for packet in packets)


def nal_type(nal: bytes) -> int:
    return nal[0] & 0x1F


def visible_type(payload: bytes) -> int:
    """The type of the NAL unit, of which the payload may be a fragment."""
    return payload[1] & 0x1F if nal_type(payload) == 28 else nal_type(payload)


ENCODINGS = pytest.mark.parametrize("extra", ["", ":aud=1", ":repeat-headers=1:aud=1:open-gop=0"])
SIZES = pytest.mark.parametrize("max_payload", [200, 1_188])


def test_the_encoder_gives_what_these_tests_need() -> None:
    units = [split_annexb(data) for data in encode("")]
    slices = [[nal for nal in nals if nal_type(nal) in (1, 5)] for nals in units]
    assert len(units) == 36
    assert {len(part) for part in slices} == {4}
    assert sum(nal_type(part[0]) == 5 for part in slices) == 3
    discardable = sum(part[0][0] & 0x60 == 0 for part in slices)
    assert 12 <= discardable < 24  # of three B frames the middle one is referred to


@ENCODINGS
@SIZES
def test_encoded_access_units_survive(extra: str, max_payload: int) -> None:
    for data in encode(extra):
        nals = split_annexb(data)
        payloads = packetize(nals, max_payload)
        assert max(map(len, payloads)) <= max_payload
        assert access_unit_hash(assemble(payloads)) == access_unit_hash(nals)


@ENCODINGS
@SIZES
def test_marks_agree_with_the_access_units(extra: str, max_payload: int) -> None:
    for data in encode(extra):
        nals = split_annexb(data)
        payloads = packetize(nals, max_payload)
        marks = [
            Marks(h264.marks(p, int(n == 0), n == len(payloads) - 1) or 0)
            for n, p in enumerate(payloads)
        ]
        is_key = any(nal_type(nal) == 5 for nal in nals)
        slices = [nal for nal in nals if nal_type(nal) in (1, 5)]
        is_discardable = all(nal[0] & 0x60 == 0 for nal in slices)

        starts = [Marks.FRAME_START in m for m in marks]
        ends = [Marks.FRAME_END in m for m in marks]
        assert starts == [True] + [False] * (len(marks) - 1)
        assert ends == [False] * (len(marks) - 1) + [True]
        assert any(Marks.KEY in m for m in marks) == is_key
        assert any(Marks.DISCARDABLE in m for m in marks) == is_discardable
        assert [n for n, m in enumerate(marks) if Marks.GOP_START in m] == [0] * is_key
        # What holds slices has the mark of the whole access unit.
        for payload, mark in zip(payloads, marks, strict=True):
            if visible_type(payload) in (1, 5):
                assert (Marks.KEY in mark, Marks.DISCARDABLE in mark) == (is_key, is_discardable)


@ENCODINGS
def test_first_packets_are_recognised_without_the_preceding_one(extra: str) -> None:
    for data in encode(extra):
        payloads = packetize(split_annexb(data), 200)
        marks = [Marks(h264.marks(payload, -1, False) or 0) for payload in payloads]
        starts = [n for n, mark in enumerate(marks) if Marks.FRAME_START in mark]
        first_slice = [visible_type(payload) in (1, 5) for payload in payloads].index(True)
        # Nothing after the packet with macroblock 0 looks like a beginning.
        assert starts[0] == 0
        assert starts[-1] == first_slice
