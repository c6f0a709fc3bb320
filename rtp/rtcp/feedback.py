"""RTCP feedback: generic NACK, picture loss indication, full intra request.

In: one packet of a compound. Out: what is asked for and of whom, or the packet that asks.
Sources: RFC 4585 6.1 (the frame of all feedback), 6.2.1 (NACK), 6.3.1 (PLI), RFC 5104 4.3.1 (FIR).
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from rtp.constants import (
    FIR_FORMAT,
    FIR_ITEM_BYTES,
    NACK_BLP_BITS,
    NACK_FORMAT,
    NACK_ITEM_BYTES,
    PLI_FORMAT,
    RTCP_FEEDBACK_BYTES,
    RTCP_PAYLOAD_FEEDBACK,
    RTCP_TRANSPORT_FEEDBACK,
)
from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError
from rtp.rtcp.compound import RtcpPacket
from rtp.sequence import add, difference

_SSRCS = struct.Struct("!II")
_NACK_ITEM = struct.Struct("!HH")
_FIR_ITEM = struct.Struct("!IB3x")
_FEEDBACK_TYPES = frozenset({RTCP_TRANSPORT_FEEDBACK, RTCP_PAYLOAD_FEEDBACK})


@dataclass(frozen=True, slots=True)
class Feedback:
    """Any feedback packet. fci: feedback control information, laid out as the format says."""

    packet_type: int
    format: int
    sender_ssrc: int
    media_ssrc: int
    fci: bytes = b""

    @classmethod
    def parse(cls, packet: RtcpPacket) -> "Feedback":
        """Raises RtpParseError if it is no feedback, or too short for both SSRCs."""
        if packet.packet_type not in _FEEDBACK_TYPES:
            raise RtpParseError(ParseErrorKind.WRONG_PACKET_TYPE, 0)
        if len(packet.body) < RTCP_FEEDBACK_BYTES:
            raise RtpParseError(ParseErrorKind.TOO_SHORT, len(packet.body))
        sender_ssrc, media_ssrc = _SSRCS.unpack_from(packet.body)
        fci = packet.body[RTCP_FEEDBACK_BYTES:]
        return cls(packet.packet_type, packet.count, sender_ssrc, media_ssrc, fci)

    def build(self) -> RtcpPacket:
        """Raises RtpValueError if an SSRC does not fit; format and fci when it is serialised."""
        try:
            body = _SSRCS.pack(self.sender_ssrc, self.media_ssrc) + self.fci
        except struct.error as error:
            raise RtpValueError(f"field out of range in {self}") from error
        return RtcpPacket(self.packet_type, self.format, body)


def build_nack(sender_ssrc: int, media_ssrc: int, sequence_numbers: Iterable[int]) -> Feedback:
    """Asks for packets, which lie within half a cycle of each other, in as few items as possible.

    Any order, also across 65535 -> 0. Raises RtpValueError if there are none or one does not fit.
    """
    items = pack_nack_items(sequence_numbers)
    if not items:
        raise RtpValueError("a NACK names at least one sequence number")
    fci = b"".join(_NACK_ITEM.pack(pid, blp) for pid, blp in items)
    return Feedback(RTCP_TRANSPORT_FEEDBACK, NACK_FORMAT, sender_ssrc, media_ssrc, fci)


def parse_nack(feedback: Feedback) -> list[int]:
    """The sequence numbers asked for, in the order of the items. Raises RtpParseError."""
    _require(feedback, RTCP_TRANSPORT_FEEDBACK, NACK_FORMAT, NACK_ITEM_BYTES)
    numbers = []
    for pid, blp in _NACK_ITEM.iter_unpack(feedback.fci):
        numbers.append(pid)
        numbers += [add(pid, bit + 1) for bit in range(NACK_BLP_BITS) if blp >> bit & 1]
    return numbers


def pack_nack_items(sequence_numbers: Iterable[int]) -> list[tuple[int, int]]:
    """(pid, blp): bit n of blp stands for pid + n + 1. See `build_nack`."""
    wanted = set(sequence_numbers)
    if not wanted:
        return []
    if not all(0 <= number <= 0xFFFF for number in wanted):
        raise RtpValueError(f"no sequence numbers: {sorted(wanted)}")
    some = next(iter(wanted))
    items: list[tuple[int, int]] = []
    for number in sorted(wanted, key=lambda n: difference(n, some)):
        bit = difference(number, items[-1][0]) - 1 if items else NACK_BLP_BITS
        if 0 <= bit < NACK_BLP_BITS:
            items[-1] = (items[-1][0], items[-1][1] | 1 << bit)
        else:
            items.append((number, 0))
    return items


def build_pli(sender_ssrc: int, media_ssrc: int) -> Feedback:
    """Asks for a key frame because pictures were lost; it has no further content."""
    return Feedback(RTCP_PAYLOAD_FEEDBACK, PLI_FORMAT, sender_ssrc, media_ssrc)


def is_pli(feedback: Feedback) -> bool:
    """A PLI; what a sender put behind it does not matter."""
    return (feedback.packet_type, feedback.format) == (RTCP_PAYLOAD_FEEDBACK, PLI_FORMAT)


def build_fir(sender_ssrc: int, requests: Iterable[tuple[int, int]]) -> Feedback:
    """Asks for key frames: (SSRC of the media, command number, one higher for each new request).

    The common media SSRC stays 0. Raises RtpValueError if there are none or one does not fit.
    """
    try:
        fci = b"".join(_FIR_ITEM.pack(ssrc, command) for ssrc, command in requests)
    except struct.error as error:
        raise RtpValueError("SSRC or command number of a FIR out of range") from error
    if not fci:
        raise RtpValueError("a FIR names at least one SSRC")
    return Feedback(RTCP_PAYLOAD_FEEDBACK, FIR_FORMAT, sender_ssrc, 0, fci)


def parse_fir(feedback: Feedback) -> list[tuple[int, int]]:
    """(SSRC of the media, command number) of each request. Raises RtpParseError."""
    _require(feedback, RTCP_PAYLOAD_FEEDBACK, FIR_FORMAT, FIR_ITEM_BYTES)
    return list(_FIR_ITEM.iter_unpack(feedback.fci))


def _require(feedback: Feedback, packet_type: int, feedback_format: int, item_bytes: int) -> None:
    """At least one whole item of the right kind. Raises RtpParseError (offset: in the body)."""
    if (feedback.packet_type, feedback.format) != (packet_type, feedback_format):
        raise RtpParseError(ParseErrorKind.WRONG_PACKET_TYPE, 0)
    if not feedback.fci:
        raise RtpParseError(ParseErrorKind.TOO_SHORT, RTCP_FEEDBACK_BYTES)
    if len(feedback.fci) % item_bytes:
        end = RTCP_FEEDBACK_BYTES + len(feedback.fci)
        raise RtpParseError(ParseErrorKind.LENGTH_MISMATCH, end)
