"""RTCP compound packets: vectors, round trips, refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError
from rtp.rtcp.compound import RtcpPacket, parse_compound, serialise_compound

EMPTY_RR = bytes.fromhex("80c9000100000001")
PLI = bytes.fromhex("81ce00020000000100000002")
PADDED_RR = bytes.fromhex("a0c9000200000001 00000004")

rtcp_packets = st.builds(
    RtcpPacket,
    packet_type=st.integers(192, 223),
    count=st.integers(0, 31),
    body=st.binary(max_size=64).map(lambda b: b[: len(b) // 4 * 4]),
)


def test_two_packets() -> None:
    packets = [RtcpPacket(201, 0, b"\0\0\0\1"), RtcpPacket(206, 1, b"\0\0\0\1\0\0\0\2")]
    assert parse_compound(EMPTY_RR + PLI) == packets
    assert serialise_compound(packets) == EMPTY_RR + PLI


def test_padding_of_the_last_packet_is_taken_off() -> None:
    assert parse_compound(EMPTY_RR + PADDED_RR) == [RtcpPacket(201, 0, b"\0\0\0\1")] * 2


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", ParseErrorKind.TOO_SHORT),
        (EMPTY_RR[:3], ParseErrorKind.TOO_SHORT),
        (EMPTY_RR + PLI[:2], ParseErrorKind.TOO_SHORT),
        (EMPTY_RR[:6], ParseErrorKind.LENGTH_MISMATCH),
        (b"\x00" + EMPTY_RR[1:], ParseErrorKind.BAD_VERSION),
        (b"\x80\x60" + EMPTY_RR[2:], ParseErrorKind.WRONG_PACKET_TYPE),
        (PADDED_RR + EMPTY_RR, ParseErrorKind.BAD_PADDING),
        (PADDED_RR[:-1] + b"\x00", ParseErrorKind.BAD_PADDING),
        (PADDED_RR[:-1] + b"\x03", ParseErrorKind.BAD_PADDING),
        (PADDED_RR[:-1] + b"\x0c", ParseErrorKind.BAD_PADDING),
        (bytes.fromhex("a0c90000"), ParseErrorKind.BAD_PADDING),
    ],
)
def test_refusals(data: bytes, kind: ParseErrorKind) -> None:
    with pytest.raises(RtpParseError) as caught:
        parse_compound(data)
    assert caught.value.kind is kind
    assert 0 <= caught.value.offset <= len(data)


@given(st.lists(rtcp_packets, min_size=1, max_size=5))
def test_round_trip(packets: list[RtcpPacket]) -> None:
    assert parse_compound(serialise_compound(packets)) == packets


@given(st.binary(max_size=100))
def test_any_bytes_parse_or_raise_the_named_error(data: bytes) -> None:
    packets, refused = [], None
    try:
        packets = parse_compound(data)
    except RtpParseError as error:
        refused = error
    assert packets or refused is not None
    assert refused is None or 0 <= refused.offset <= len(data)


@pytest.mark.parametrize(
    "packet",
    [RtcpPacket(201, 0, b"abc"), RtcpPacket(201, 32, b""), RtcpPacket(96, 0, b"")],
)
def test_what_does_not_fit_is_our_own_error(packet: RtcpPacket) -> None:
    with pytest.raises(RtpValueError):
        packet.serialise()
