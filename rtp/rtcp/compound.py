"""RTCP compound packets: split one datagram into packets and check it as a whole.

In: the payload of one datagram. Out: its packets, each with the body that follows the common header
and without padding. Source: RFC 3550 6.1 and A.2, with RFC 5506 (a reduced-size packet need not
begin with a report, so the first packet's type is not checked).
"""

import struct
from dataclasses import dataclass

from rtp.constants import (
    RTCP_FIRST_MULTIPLEXED_TYPE,
    RTCP_HEADER_BYTES,
    RTCP_LAST_MULTIPLEXED_TYPE,
    RTCP_MAX_COUNT,
    RTP_VERSION,
)
from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError

_COMMON = struct.Struct("!BBH")
_PADDING_BIT = 0x20


@dataclass(frozen=True, slots=True)
class RtcpPacket:
    """One packet of a compound. count: the five bits that packet types use as count or format."""

    packet_type: int
    count: int
    body: bytes

    def serialise(self) -> bytes:
        """Common header and body. Raises RtpValueError if they do not fit."""
        words, rest = divmod(len(self.body), 4)
        if rest or words > 0xFFFF:
            raise RtpValueError(f"RTCP body of {len(self.body)} bytes")
        if not 0 <= self.count <= RTCP_MAX_COUNT or not _is_rtcp_type(self.packet_type):
            raise RtpValueError(f"RTCP type {self.packet_type}, count {self.count}")
        return _COMMON.pack(RTP_VERSION << 6 | self.count, self.packet_type, words) + self.body


def parse_compound(data: bytes) -> list[RtcpPacket]:
    """All packets of one datagram, at least one; one bad packet spoils it all (RtpParseError)."""
    if not data:
        raise RtpParseError(ParseErrorKind.TOO_SHORT, 0)
    packets = []
    offset = 0
    while offset < len(data):
        packet, offset = _parse_one(data, offset)
        packets.append(packet)
    return packets


def serialise_compound(packets: list[RtcpPacket]) -> bytes:
    """One datagram; RFC 3550 6.1 wants a report first and an SDES with CNAME in it."""
    return b"".join(packet.serialise() for packet in packets)


def _is_rtcp_type(packet_type: int) -> bool:
    return RTCP_FIRST_MULTIPLEXED_TYPE <= packet_type <= RTCP_LAST_MULTIPLEXED_TYPE


def _parse_one(data: bytes, offset: int) -> tuple[RtcpPacket, int]:
    body_start = offset + RTCP_HEADER_BYTES
    if len(data) < body_start:
        raise RtpParseError(ParseErrorKind.TOO_SHORT, len(data))
    first, packet_type, words = _COMMON.unpack_from(data, offset)
    end = body_start + 4 * words
    if first >> 6 != RTP_VERSION:
        raise RtpParseError(ParseErrorKind.BAD_VERSION, offset)
    if not _is_rtcp_type(packet_type):
        raise RtpParseError(ParseErrorKind.WRONG_PACKET_TYPE, offset + 1)
    if end > len(data):
        raise RtpParseError(ParseErrorKind.LENGTH_MISMATCH, offset + 2)
    padding_bytes = 0
    if first & _PADDING_BIT:
        padding_bytes = _parse_padding(data, body_start, end)
    body = bytes(data[body_start : end - padding_bytes])
    return RtcpPacket(packet_type, first & RTCP_MAX_COUNT, body), end


def _parse_padding(data: bytes, body_start: int, end: int) -> int:
    """RFC 3550 6.4.1: only the last packet is padded, by a multiple of four."""
    count = data[end - 1] if end > body_start else 0
    if end != len(data) or count == 0 or count % 4 or count > end - body_start:
        raise RtpParseError(ParseErrorKind.BAD_PADDING, end - 1)
    return count
