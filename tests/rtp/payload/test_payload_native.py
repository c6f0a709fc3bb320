"""Native parsers: vectors, against the twin on random and broken input, never past the end.

Each input ends where a page without access begins, so a read past the end kills the run.
"""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rtp.errors import ParseErrorKind, RtpParseError
from rtp.packet import HeaderExtension, RtpPacket
from rtp.payload import h264, opus, reference, rtp_header, vp8
from rtp.payload.h264_packets import packetize
from rtp.payload.marks import Marks
from tests.rtp.guarded_page import GuardedPage

START = Marks.FRAME_START
END = Marks.FRAME_END
KEY = Marks.KEY
GOP = Marks.GOP_START
DISCARDABLE = Marks.DISCARDABLE
SEED = 20_240_707


GUARDED = GuardedPage()


def check_all(data: bytes) -> None:
    """Every native parser agrees with its twin on `data`."""
    view = GUARDED.place(data)
    for begins in (-1, 0, 1):
        for marker in (False, True):
            expected = reference.h264_marks(data, begins, marker)
            assert h264.marks(view, begins, marker) == expected
            assert vp8.marks(view, begins, marker) == reference.vp8_marks(data, begins, marker)
    assert vp8.descriptor_bytes(view) == reference.vp8_descriptor_bytes(data)
    assert opus.marks(view) == reference.opus_marks(data)
    assert rtp_header.looks_like_rtcp(view) == reference.is_rtcp(data)
    assert rtp_header.parse(view) == reference_header(data)


def reference_header(
    data: bytes,
) -> tuple[int, bool, int, int, int, int, int] | ParseErrorKind:
    try:
        return reference.parse_rtp_header(data)
    except RtpParseError as error:
        return error.kind


def nal(nal_type: int, reference_idc: int, body: bytes) -> bytes:
    return bytes([reference_idc << 5 | nal_type]) + body


def test_marks_have_the_native_values() -> None:
    assert h264.mark_values() == {mark.name: mark.value for mark in Marks}


SPS = nal(7, 3, b"\x42\xc0\x1e")
PPS = nal(8, 3, b"\xce")
IDR = nal(5, 3, b"\x88abc")
P_FIRST = nal(1, 2, b"\x9aabc")
P_LATER = nal(1, 2, b"\x1aabc")
B_FIRST = nal(1, 0, b"\x9aabc")
B_LATER = nal(1, 0, b"\x1aabc")
AUD = nal(9, 0, b"\xf0")
SEI = nal(6, 0, b"\x05\x01x\x80")


def stap(*nals: bytes) -> bytes:
    return b"\x78" + b"".join(len(n).to_bytes(2, "big") + n for n in nals)


@pytest.mark.parametrize(
    ("payload", "begins", "expected"),
    [
        pytest.param(IDR, 1, KEY | START | GOP, id="key slice begins"),
        pytest.param(IDR, 0, KEY, id="key slice continues"),
        pytest.param(IDR, -1, KEY | START | GOP, id="key slice with macroblock 0"),
        pytest.param(nal(5, 3, b"\x08"), -1, KEY, id="later key slice"),
        pytest.param(P_FIRST, 1, START, id="P begins"),
        pytest.param(P_FIRST, -1, START, id="P with macroblock 0"),
        pytest.param(P_LATER, -1, Marks(0), id="later P slice"),
        pytest.param(P_LATER, 1, START, id="the timestamp overrules the content"),
        pytest.param(P_FIRST, 0, Marks(0), id="the same timestamp overrules the content"),
        pytest.param(B_FIRST, -1, START | DISCARDABLE, id="B"),
        pytest.param(nal(1, 1, b"\x9aabc"), -1, START, id="B that others refer to"),
        pytest.param(nal(1, 0, b"\xe0abc"), -1, START | DISCARDABLE, id="P that nobody refers to"),
        pytest.param(stap(B_FIRST, B_LATER), 1, START | DISCARDABLE, id="slices of one B frame"),
        pytest.param(stap(SEI, P_FIRST, B_LATER), 1, START, id="one slice is enough"),
        pytest.param(B_LATER, 0, DISCARDABLE, id="later B slice"),
        pytest.param(nal(2, 0, b"\x80"), -1, START | DISCARDABLE, id="partition A"),
        pytest.param(nal(3, 0, b"\x80"), -1, DISCARDABLE, id="partition B never begins"),
        pytest.param(AUD, -1, START, id="delimiter, not discardable"),
        pytest.param(SEI, 0, Marks(0), id="SEI, not discardable"),
        pytest.param(SPS, -1, KEY | START | GOP, id="SPS"),
        pytest.param(PPS, -1, KEY | START | GOP, id="PPS"),
        pytest.param(nal(10, 0, b""), -1, Marks(0), id="end of sequence"),
        pytest.param(nal(1, 2, b""), -1, Marks(0), id="slice without a body"),
        pytest.param(stap(SPS, PPS, SEI), -1, KEY | START | GOP, id="head of a key frame"),
        pytest.param(stap(AUD, SPS, PPS), 1, KEY | START | GOP, id="delimiter and head"),
        pytest.param(stap(AUD, B_FIRST), -1, START | DISCARDABLE, id="delimiter and B"),
        pytest.param(stap(B_LATER, AUD), -1, DISCARDABLE, id="only the first decides"),
        pytest.param(stap(B_FIRST, P_LATER), 0, Marks(0), id="B and P slices"),
        pytest.param(stap(PPS, B_FIRST), 0, KEY, id="a parameter set is not discarded"),
        pytest.param(b"\x7c\x85\x88", -1, KEY | START | GOP, id="first fragment of a key slice"),
        pytest.param(b"\x7c\x05\x88", -1, KEY, id="middle fragment"),
        pytest.param(b"\x7c\x45\x88", 1, KEY | START | GOP, id="last fragment, new timestamp"),
        pytest.param(b"\x1c\x81\x88", -1, START | DISCARDABLE, id="first fragment of B"),
        pytest.param(b"\x1c\x41\x88", 0, DISCARDABLE, id="last fragment of B"),
        pytest.param(b"\x5c\x81\x18", -1, Marks(0), id="first fragment of a later slice"),
        pytest.param(b"\x5c\x81", -1, Marks(0), id="empty fragment"),
        pytest.param(b"\x1c\xc1\x88", -1, START | DISCARDABLE, id="whole in one fragment"),
    ],
)
def test_h264_marks(payload: bytes, begins: int, expected: Marks) -> None:
    assert h264.marks(payload, begins, False) == expected
    assert h264.marks(payload, begins, True) == expected | END
    check_all(payload)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x00abc", id="type 0"),
        *[pytest.param(bytes([t]) + b"\x00\x01\x65", id=f"type {t}") for t in (25, 26, 27)],
        *[pytest.param(bytes([t]) + b"\x85\x01\x65", id=f"type {t}") for t in (29, 30, 31)],
        pytest.param(b"\x78", id="STAP-A with nothing in it"),
        pytest.param(b"\x78\x00", id="STAP-A with half a length"),
        pytest.param(b"\x78\x00\x01", id="STAP-A with a length alone"),
        pytest.param(b"\x78\x00\x00", id="STAP-A with an empty NAL unit"),
        pytest.param(b"\x78\x00\x00\x00\x01\x65", id="STAP-A with an empty NAL unit first"),
        pytest.param(b"\x78\x00\x03\x65\x88", id="STAP-A past the end"),
        pytest.param(b"\x78\xff\xff\x65\x88", id="STAP-A far past the end"),
        pytest.param(b"\x78\x00\x01\x65\x00", id="STAP-A with a byte too many"),
        pytest.param(b"\x78\x00\x01\x65\x00\x01\x78", id="STAP-A in a STAP-A"),
        pytest.param(b"\x78\x00\x02\x7c\x85", id="FU-A in a STAP-A"),
        pytest.param(b"\x7c", id="FU-A without header"),
        pytest.param(b"\x7c\x80\x88", id="FU-A of type 0"),
        pytest.param(b"\x7c\x9c\x88", id="FU-A of FU-A"),
    ],
)
def test_malformed_h264(payload: bytes) -> None:
    assert h264.marks(payload, 1, True) is None
    check_all(payload)


def test_opus_marks() -> None:
    assert opus.marks(b"\xfc") == START | END | KEY
    assert opus.marks(b"") is None


@pytest.mark.parametrize("payload", ["78", "0800", "08fffe", "7b03", "fb8100"])
def test_opus_in_silence_is_sound_like_any_other(payload: str) -> None:
    """DTX: a packet of one or two bytes (RFC 7587 3.1.3), or frames without a byte."""
    data = bytes.fromhex(payload)
    assert opus.marks(data) == START | END | KEY
    check_all(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x80\xc8", True),
        (b"\x80\xc0", True),
        (b"\x80\xdf", True),
        (b"\x80\xbf", False),
        (b"\x80\xe0", False),
        (b"\x80\x60", False),
        (b"\x80", False),
        (b"", False),
    ],
)
def test_is_rtcp(data: bytes, expected: bool) -> None:
    assert rtp_header.looks_like_rtcp(data) is expected
    assert reference.is_rtcp(data) is expected


def test_rtp_header_with_everything() -> None:
    packet = RtpPacket(
        payload_type=111,
        marker=True,
        sequence_number=65_535,
        timestamp=0xFFFFFFFF,
        ssrc=0x89ABCDEF,
        payload=b"media",
        csrc=(1, 2, 3),
        extension=HeaderExtension(0xBEDE, b"\x10\x01\x00\x00"),
        padding_bytes=3,
    )
    fields = (111, True, 65_535, 0xFFFFFFFF, 0x89ABCDEF, 12 + 12 + 8, 5)
    assert rtp_header.parse(packet.serialise()) == fields


def test_rtp_header_too_long_for_its_lengths() -> None:
    data = b"\x80" + bytes(65_534)
    assert rtp_header.parse(data) == reference_header(data) == (0, False, 0, 0, 0, 12, 65_523)
    assert rtp_header.parse(data + b"\0") is ParseErrorKind.TOO_LONG


def corpus() -> list[bytes]:
    """Well-formed packets of every kind."""
    long_nal = nal(5, 3, b"\x88" + bytes(range(200)))
    payloads = packetize([AUD, SPS, PPS, SEI, long_nal, P_LATER], 64)
    payloads += [stap(AUD, B_FIRST, P_LATER), B_FIRST, IDR, b"\x1c\x81\x88", b"\xfc\xff"]
    headers = [
        RtpPacket(96, 65_535, 1, 2, payload, bool(n % 2), (7,) * (n % 4), extension, n % 3)
        for n, payload in enumerate(payloads)
        for extension in (None, HeaderExtension(0xBEDE, bytes(4 * (n % 3))))
    ]
    return payloads + [packet.serialise() for packet in headers]


def test_every_prefix_agrees_with_the_twin() -> None:
    for data in corpus():
        for size in range(len(data) + 1):
            check_all(data[:size])


def test_random_mutations_agree_with_the_twin() -> None:
    rng = random.Random(SEED)
    seeds = corpus()
    for _ in range(20_000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(min(len(data), 24))] = rng.choice((0, 1, 0xFF, rng.randrange(256)))
        check_all(bytes(data[: rng.randint(0, len(data))]))


@given(st.binary(max_size=80))
@settings(max_examples=1000)
@example(b"")
def test_any_bytes_agree_with_the_twin(data: bytes) -> None:
    check_all(data)


@given(
    st.lists(st.binary(max_size=6), max_size=5),
    st.sampled_from([b"\x78", b"\x18"]),
    st.binary(max_size=3),
)
@settings(max_examples=500)
def test_aggregates_agree_with_the_twin(nals: list[bytes], head: bytes, rest: bytes) -> None:
    check_all(head + stap(*nals)[1:] + rest)


@given(st.integers(0, 3), st.integers(0, 255), st.binary(max_size=3))
@settings(max_examples=500)
def test_fragments_agree_with_the_twin(idc: int, header: int, body: bytes) -> None:
    check_all(bytes([idc << 5 | 28, header]) + body)


@given(st.integers(0x80, 0xBF), st.binary(min_size=11, max_size=11), st.integers(0, 3), st.binary())
@settings(max_examples=500)
def test_rtp_headers_agree_with_the_twin(first: int, fixed: bytes, words: int, rest: bytes) -> None:
    csrc = bytes(4 * (first & 0x0F))
    extension = b"\xbe\xde" + words.to_bytes(2, "big")
    check_all(bytes([first]) + fixed + csrc + extension + rest)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"\x67\x42\x00", True),
        (b"\x68\xce", False),
        (b"\x65\x88", False),
        (b"\x18\x00\x02\x67\x42\x00\x02\x68\xce", True),
        (b"\x18\x00\x02\x68\xce\x00\x02\x67\x42", True),
        (b"\x18\x00\x02\x68\xce\x00\x02\x65\x88", False),
        (b"\x7c\x87\x42", True),
        (b"\x7c\x07\x42", False),  # not its beginning
        (b"\x7c\x85\x88", False),
        (b"\x18\x00\xff\x68", False),
        (b"\x67", False),
        (b"", False),
    ],
)
def test_has_sps(payload: bytes, expected: bool) -> None:
    assert h264.has_sps(payload) is expected
