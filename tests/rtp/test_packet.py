"""RTP packets: byte vectors, round trips, refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError
from rtp.packet import HeaderExtension, RtpPacket

PLAIN = bytes.fromhex("80e0ffff0001e240deadbeef") + b"\x65\x88payload"
FULL = bytes.fromhex(
    "b2 60 0001 00000002 00000003"  # padding, extension, two CSRC
    "00000004 00000005"
    "bede 0001 10ff0000"
    "aabb 00 02"
)

u32 = st.integers(0, 2**32 - 1)
packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence_number=st.integers(0, 65_535),
    timestamp=u32,
    ssrc=u32,
    payload=st.binary(max_size=64),
    marker=st.booleans(),
    csrc=st.lists(u32, max_size=15).map(tuple),
    extension=st.none()
    | st.builds(
        HeaderExtension,
        st.integers(0, 65_535),
        st.binary(max_size=16).map(lambda b: b[: len(b) // 4 * 4]),
    ),
    padding_bytes=st.integers(0, 255),
)


def test_plain_packet() -> None:
    packet = RtpPacket.parse(PLAIN)
    assert packet == RtpPacket(
        payload_type=96,
        sequence_number=65_535,
        timestamp=123_456,
        ssrc=0xDEADBEEF,
        payload=b"\x65\x88payload",
        marker=True,
    )
    assert packet.serialise() == PLAIN


def test_csrc_extension_and_padding() -> None:
    packet = RtpPacket.parse(FULL)
    assert packet.csrc == (4, 5)
    assert packet.extension == HeaderExtension(0xBEDE, b"\x10\xff\x00\x00")
    assert packet.payload == b"\xaa\xbb"
    assert packet.padding_bytes == 2
    assert not packet.marker
    assert packet.serialise() == FULL


@given(packets)
def test_round_trip(packet: RtpPacket) -> None:
    assert RtpPacket.parse(packet.serialise()) == packet


@pytest.mark.parametrize(
    ("data", "kind", "offset"),
    [
        (b"", ParseErrorKind.TOO_SHORT, 0),
        (PLAIN[:11], ParseErrorKind.TOO_SHORT, 11),
        (PLAIN + bytes(65_536), ParseErrorKind.TOO_LONG, 65_535),
        (b"\x40" + PLAIN[1:], ParseErrorKind.BAD_VERSION, 0),
        (FULL[:19], ParseErrorKind.CSRC_TRUNCATED, 19),
        (FULL[:23], ParseErrorKind.EXTENSION_TRUNCATED, 23),
        (FULL[:27], ParseErrorKind.EXTENSION_TRUNCATED, 27),
        (FULL[:28], ParseErrorKind.BAD_PADDING, 27),
        (FULL[:-1] + b"\x00", ParseErrorKind.BAD_PADDING, 31),
        (FULL[:-1] + b"\x05", ParseErrorKind.BAD_PADDING, 31),
    ],
)
def test_refusals(data: bytes, kind: ParseErrorKind, offset: int) -> None:
    with pytest.raises(RtpParseError) as caught:
        RtpPacket.parse(data)
    assert (caught.value.kind, caught.value.offset) == (kind, offset)


def test_padding_may_fill_the_whole_payload() -> None:
    packet = RtpPacket.parse(FULL[:-1] + b"\x04")
    assert packet.payload == b""
    assert packet.padding_bytes == 4


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_raise_the_named_error(data: bytes) -> None:
    packet, refused = None, None
    try:
        packet = RtpPacket.parse(data)
    except RtpParseError as error:
        refused = error
    assert packet is None or len(packet.serialise()) == len(data)
    assert refused is None or 0 <= refused.offset <= len(data)


@pytest.mark.parametrize(
    "packet",
    [
        RtpPacket(128, 0, 0, 0),
        RtpPacket(96, 65_536, 0, 0),
        RtpPacket(96, 0, -1, 0),
        RtpPacket(96, 0, 0, 2**32),
        RtpPacket(96, 0, 0, 0, csrc=(0,) * 16),
        RtpPacket(96, 0, 0, 0, csrc=(2**32,)),
        RtpPacket(96, 0, 0, 0, padding_bytes=256),
        RtpPacket(96, 0, 0, 0, extension=HeaderExtension(0, b"abc")),
        RtpPacket(96, 0, 0, 0, extension=HeaderExtension(65_536, b"")),
        RtpPacket(96, 0, 0, 0, extension=HeaderExtension(0, bytes(4 * 65_536))),
    ],
)
def test_what_does_not_fit_is_our_own_error(packet: RtpPacket) -> None:
    with pytest.raises(RtpValueError):
        packet.serialise()
