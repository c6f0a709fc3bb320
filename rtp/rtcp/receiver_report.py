"""RTCP receiver reports, and the report blocks that receiver and sender reports share.

In: one packet of a compound. Out: what a receiver says of each source it hears, or the packet that
says it. Profile extensions after the blocks are passed over. Source: RFC 3550 6.4.1 and 6.4.2.
"""

import struct
from dataclasses import dataclass

from rtp.constants import (
    RTCP_MAX_COUNT,
    RTCP_RECEIVER_REPORT,
    RTCP_REPORT_BLOCK_BYTES,
    RTCP_SENDER_INFO_BYTES,
    RTCP_SENDER_REPORT,
)
from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError
from rtp.rtcp.compound import RtcpPacket

_SSRC = struct.Struct("!I")
_BLOCK = struct.Struct("!IB3sIIII")
_LOST_BYTES = 3
_LOST_HIGHEST = (1 << 23) - 1
_LOST_LOWEST = -(1 << 23)
_BLOCKS_AT = {
    RTCP_SENDER_REPORT: RTCP_SENDER_INFO_BYTES,
    RTCP_RECEIVER_REPORT: _SSRC.size,
}


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What one receiver says of one source.

    fraction_lost: in 1/256 since its last report. cumulative_lost: 24 bits, signed, below zero
    after duplicates. interarrival_jitter: RTP clock units. last_sr: middle 32 bits of the NTP time
    of the newest SR; delay_since_last_sr: 16.16 seconds (see `rtp.ntp`); both 0 without an SR.
    """

    ssrc: int
    fraction_lost: int
    cumulative_lost: int
    extended_highest_sequence_number: int
    interarrival_jitter: int
    last_sr: int
    delay_since_last_sr: int

    @classmethod
    def parse(cls, data: bytes) -> "ReportBlock":
        """From exactly 24 bytes; all values are valid."""
        ssrc, fraction_lost, lost, *rest = _BLOCK.unpack(data)
        return cls(ssrc, fraction_lost, int.from_bytes(lost, "big", signed=True), *rest)

    def serialise(self) -> bytes:
        """24 bytes. Raises RtpValueError if a field does not fit."""
        if not _LOST_LOWEST <= self.cumulative_lost <= _LOST_HIGHEST:
            raise RtpValueError(f"cumulative_lost is {self.cumulative_lost}")
        try:
            return _BLOCK.pack(
                self.ssrc,
                self.fraction_lost,
                self.cumulative_lost.to_bytes(_LOST_BYTES, "big", signed=True),
                self.extended_highest_sequence_number,
                self.interarrival_jitter,
                self.last_sr,
                self.delay_since_last_sr,
            )
        except struct.error as error:
            raise RtpValueError(f"field out of range in {self}") from error


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """ssrc: of the one who reports; at most 31 blocks, none if it has heard nobody."""

    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()

    @classmethod
    def parse(cls, packet: RtcpPacket) -> "ReceiverReport":
        """Raises RtpParseError if it is no RR, or shorter than its report count says."""
        if packet.packet_type != RTCP_RECEIVER_REPORT:
            raise RtpParseError(ParseErrorKind.WRONG_PACKET_TYPE, 0)
        blocks = tuple(parse_report_blocks(packet))
        return cls(int.from_bytes(packet.body[: _SSRC.size], "big"), blocks)

    def build(self) -> RtcpPacket:
        """The RR. Raises RtpValueError if a field or the count of blocks does not fit."""
        if len(self.blocks) > RTCP_MAX_COUNT:
            raise RtpValueError(f"{len(self.blocks)} report blocks")
        if not 0 <= self.ssrc <= 0xFFFFFFFF:
            raise RtpValueError(f"ssrc is {self.ssrc}")
        body = _SSRC.pack(self.ssrc) + b"".join(block.serialise() for block in self.blocks)
        return RtcpPacket(RTCP_RECEIVER_REPORT, len(self.blocks), body)


def parse_report_blocks(packet: RtcpPacket) -> list[ReportBlock]:
    """The blocks of an SR or RR, often none. Raises RtpParseError as `ReceiverReport.parse`."""
    first = _BLOCKS_AT.get(packet.packet_type)
    if first is None:
        raise RtpParseError(ParseErrorKind.WRONG_PACKET_TYPE, 0)
    end = first + packet.count * RTCP_REPORT_BLOCK_BYTES
    if len(packet.body) < end:
        raise RtpParseError(ParseErrorKind.TOO_SHORT, len(packet.body))
    return [
        ReportBlock.parse(packet.body[at : at + RTCP_REPORT_BLOCK_BYTES])
        for at in range(first, end, RTCP_REPORT_BLOCK_BYTES)
    ]
