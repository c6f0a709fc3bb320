"""SDES with CNAME: vectors, padding to words, refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError
from rtp.rtcp.compound import RtcpPacket, parse_compound
from rtp.rtcp.source_description import build_cname, parse_cnames


def test_vector() -> None:
    packet = build_cname(0x01020304, "ab")
    assert packet.serialise() == bytes.fromhex("81ca0003 01020304 01026162 00000000")
    assert parse_cnames(packet) == {0x01020304: "ab"}


def test_other_items_and_chunks() -> None:
    body = bytes.fromhex(
        "00000001 0201 78 0101 79 00 00"  # NAME x, CNAME y
        "00000002 0201 7a 00"  # NAME z: no CNAME
        "00000003 0101 77 00"
    )
    assert parse_cnames(RtcpPacket(202, 3, body)) == {1: "y", 3: "w"}


@given(st.integers(0, 2**32 - 1), st.text(min_size=1, max_size=60))
def test_round_trip(ssrc: int, cname: str) -> None:
    data = build_cname(ssrc, cname).serialise()
    assert len(data) % 4 == 0
    assert parse_cnames(parse_compound(data)[0]) == {ssrc: cname}


@given(st.integers(0, 31), st.binary(max_size=40))
def test_any_body_parses_or_raises_the_named_error(count: int, body: bytes) -> None:
    refused = None
    try:
        parse_cnames(RtcpPacket(202, count, body))
    except RtpParseError as error:
        refused = error
    assert refused is None or refused.kind is ParseErrorKind.BAD_SDES
    assert refused is None or 0 <= refused.offset <= len(body)


def test_every_truncation_is_refused() -> None:
    body = build_cname(1, "someone@host").body
    text_end = 4 + 2 + len("someone@host")
    for size in range(text_end):
        with pytest.raises(RtpParseError):
            parse_cnames(RtcpPacket(202, 1, body[:size]))


def test_wrong_type_is_refused() -> None:
    with pytest.raises(RtpParseError) as caught:
        parse_cnames(RtcpPacket(200, 0, b""))
    assert caught.value.kind is ParseErrorKind.WRONG_PACKET_TYPE


@pytest.mark.parametrize(("ssrc", "cname"), [(0, ""), (0, "x" * 256), (-1, "x"), (2**32, "x")])
def test_what_does_not_fit_is_our_own_error(ssrc: int, cname: str) -> None:
    with pytest.raises(RtpValueError):
        build_cname(ssrc, cname)
