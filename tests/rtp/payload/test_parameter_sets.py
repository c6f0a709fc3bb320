"""Parameter sets out of session descriptions and back: vectors, round trips, refusals, x264."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError
from rtp.payload import h264
from rtp.payload.h264_packets import assemble, split_annexb, split_stap_a
from rtp.payload.marks import Marks
from rtp.payload.parameter_sets import (
    build_fmtp,
    parameter_sets_of,
    parse_sprop,
    stap_a_from_sprop,
)
from tests.rtp.muxer import mux

SPS = b"\x67\x42\xc0\x1e\xd9"
PPS = b"\x68\xce\x3c\x80"
SPROP = "Z0LAHtk=,aM48gA=="


def test_vectors() -> None:
    assert parse_sprop(SPROP) == [SPS, PPS]
    assert stap_a_from_sprop(SPROP) == b"\x78\x00\x05" + SPS + b"\x00\x04" + PPS
    assert build_fmtp(SPS, PPS) == (
        f"packetization-mode=1;profile-level-id=42C01E;sprop-parameter-sets={SPROP}"
    )


@pytest.mark.parametrize("value", ["Z0LAHtk,aM48gA", SPROP + ",", " Z0LAHtk= , aM48gA== "])
def test_what_cameras_write(value: str) -> None:
    assert parse_sprop(value) == [SPS, PPS]


def test_the_payload_begins_a_gop() -> None:
    marks = Marks(h264.marks(stap_a_from_sprop(SPROP), -1, False) or 0)
    assert marks == Marks.KEY | Marks.FRAME_START | Marks.GOP_START


sets = st.tuples(
    st.binary(min_size=3, max_size=60).map(lambda body: b"\x67" + body),
    st.lists(st.binary(max_size=40).map(lambda body: b"\x68" + body), min_size=1, max_size=3),
)


@given(sets)
def test_round_trip(found: tuple[bytes, list[bytes]]) -> None:
    sps, pps = found
    fmtp = dict(p.split("=", 1) for p in build_fmtp(sps, *pps).split(";"))
    assert split_stap_a(stap_a_from_sprop(fmtp["sprop-parameter-sets"])) == [sps, *pps]
    assert bytes.fromhex(fmtp["profile-level-id"]) == sps[1:4]


def test_those_of_x264() -> None:
    found = parameter_sets_of(split_annexb(mux("libx264", 14, 12, 1_472)[0].data))
    assert [nal[0] & 0x1F for nal in found] == [7, 8]
    sprop = build_fmtp(*found).split("sprop-parameter-sets=")[1]
    assert assemble([stap_a_from_sprop(sprop)]) == found


@pytest.mark.parametrize(
    ("value", "kind", "offset"),
    [
        ("", ParseErrorKind.NO_PARAMETER_SET, 0),
        ("Z0LAHtk=", ParseErrorKind.NO_PARAMETER_SET, 8),
        ("aM48gA==", ParseErrorKind.NO_PARAMETER_SET, 8),
        ("Z0LAHtk=,ZYg=", ParseErrorKind.NO_PARAMETER_SET, 9),
        ("Z0LAHtk=,a*48gA==", ParseErrorKind.BAD_BASE64, 9),
        ("Z0LAHtk=,a", ParseErrorKind.BAD_BASE64, 9),
        ("Z0LAHtk=,ä", ParseErrorKind.BAD_BASE64, 9),
        (
            f"Z0LAHtk=,{b64encode(PPS + bytes(65_535)).decode()}",
            ParseErrorKind.TOO_LONG,
            9 + 87_388,
        ),
    ],
)
def test_refusals(value: str, kind: ParseErrorKind, offset: int) -> None:
    with pytest.raises(RtpParseError) as caught:
        stap_a_from_sprop(value)
    assert (caught.value.kind, caught.value.offset) == (kind, offset)


@given(st.text(alphabet="Z0LAHtk=,aM48g* ", max_size=30))
def test_any_text_parses_or_raises_the_named_error(value: str) -> None:
    refused, nals = None, []
    try:
        nals = parse_sprop(value)
    except RtpParseError as error:
        refused = error
    assert refused is None or 0 <= refused.offset <= len(value)
    assert refused is not None or {nal[0] & 0x1F for nal in nals} == {7, 8}


@pytest.mark.parametrize(
    "nals", [[PPS, PPS], [SPS], [SPS, SPS], [b"\x67\x42\xc0", PPS], [b"", PPS], [SPS, b""]]
)
def test_what_is_no_pair_is_our_own_error(nals: list[bytes]) -> None:
    with pytest.raises(RtpValueError):
        build_fmtp(*nals)
