"""RTCP sender reports: the pair of NTP and RTP time that lip-sync rests on, and what was sent.

Builds SR without report blocks, alone or in a compound with the CNAME; reads the sender's part of
any SR and passes over its report blocks and profile extensions. Source: RFC 3550 6.4.1.
"""

import struct
from dataclasses import dataclass

from rtp.constants import (
    RTCP_REPORT_BLOCK_BYTES,
    RTCP_SENDER_INFO_BYTES,
    RTCP_SENDER_REPORT,
)
from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError
from rtp.rtcp.compound import RtcpPacket, parse_compound, serialise_compound
from rtp.rtcp.source_description import build_cname

_SENDER_INFO = struct.Struct("!IQIII")


@dataclass(frozen=True, slots=True)
class SenderReport:
    """ntp_timestamp: 64 bits, see `rtp.ntp`; rtp_timestamp: the same instant in RTP units.

    packet_count and octet_count (payload only, without headers and padding) wrap at 32 bits.
    """

    ssrc: int
    ntp_timestamp: int
    rtp_timestamp: int
    packet_count: int
    octet_count: int

    @classmethod
    def parse(cls, packet: RtcpPacket) -> "SenderReport":
        """Raises RtpParseError if it is no SR, or shorter than its report count says."""
        if packet.packet_type != RTCP_SENDER_REPORT:
            raise RtpParseError(ParseErrorKind.WRONG_PACKET_TYPE, 0)
        if len(packet.body) < RTCP_SENDER_INFO_BYTES + packet.count * RTCP_REPORT_BLOCK_BYTES:
            raise RtpParseError(ParseErrorKind.TOO_SHORT, len(packet.body))
        return cls(*_SENDER_INFO.unpack_from(packet.body))

    def build(self) -> RtcpPacket:
        """The SR without report blocks. Raises RtpValueError if a field does not fit."""
        try:
            body = _SENDER_INFO.pack(
                self.ssrc,
                self.ntp_timestamp,
                self.rtp_timestamp,
                self.packet_count,
                self.octet_count,
            )
        except struct.error as error:
            raise RtpValueError(f"field out of range in {self}") from error
        return RtcpPacket(RTCP_SENDER_REPORT, 0, body)


def serialise_sender_report(report: SenderReport, cname: str) -> bytes:
    """One datagram, SR then SDES CNAME: the least that RFC 3550 6.1 lets a sender send."""
    return serialise_compound([report.build(), build_cname(report.ssrc, cname)])


def parse_sender_reports(data: bytes) -> list[SenderReport]:
    """The sender reports in one datagram of RTCP, often none. Raises RtpParseError."""
    return [
        SenderReport.parse(packet)
        for packet in parse_compound(data)
        if packet.packet_type == RTCP_SENDER_REPORT
    ]
