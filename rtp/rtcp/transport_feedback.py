"""Transport-wide feedback: which packets arrived, and when, by a number that all streams share.

In: one packet of a compound, or arrivals. Out: arrivals, or the packet that tells them.
Source: draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1. Its native reader: `transport_cc`.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rtp.constants import (
    RTCP_TRANSPORT_FEEDBACK,
    TRANSPORT_CC_FORMAT,
    TRANSPORT_CC_REFERENCE_US,
    TRANSPORT_CC_UNIT_US,
)
from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError
from rtp.rtcp.feedback import Feedback

_HEAD = struct.Struct("!HHI")
_NO, _SMALL, _LARGE = range(3)  # symbols, 3.1.1
_VECTOR, _TWO_BITS = 0x8000, 0x4000
_LONGEST_RUN = 0x1FFF
_TWO_BIT_SYMBOLS = 7
_MAX_PACKETS = 0xFFFF


@dataclass(frozen=True, slots=True)
class TransportFeedback:
    """arrivals_us: by transport number, in the order of the numbers from `base` on; None for a
    packet that has not arrived. Times are multiples of 250 us of the receiver's clock, of which
    the first is within 24 bits of 64 ms."""

    sender_ssrc: int
    media_ssrc: int
    base: int
    report: int
    arrivals_us: tuple[int | None, ...] = field(default=())

    def by_number(self) -> Mapping[int, int | None]:
        return {(self.base + at) & 0xFFFF: time for at, time in enumerate(self.arrivals_us)}


def build_transport_feedback(feedback: TransportFeedback) -> Feedback:
    """Raises RtpValueError for none or too many packets, or times that do not fit."""
    times = feedback.arrivals_us
    arrived = [time for time in times if time is not None]
    if not 0 < len(times) <= _MAX_PACKETS:
        raise RtpValueError(f"a report is about 1 to {_MAX_PACKETS} packets, not {len(times)}")
    reference = arrived[0] // TRANSPORT_CC_REFERENCE_US if arrived else 0
    if not -(1 << 23) <= reference < 1 << 23:
        raise RtpValueError(f"{arrived[0]} us is no time of 24 bits in 64 ms")
    before = reference * TRANSPORT_CC_REFERENCE_US // TRANSPORT_CC_UNIT_US
    symbols, deltas = [], b""
    for time in times:
        if time is None:
            symbols.append(_NO)
            continue
        delta = time // TRANSPORT_CC_UNIT_US - before
        before += delta
        if not -(1 << 15) <= delta < 1 << 15:
            raise RtpValueError(f"a delta of {delta} units does not fit 16 bits")
        symbols.append(_SMALL if 0 <= delta <= 0xFF else _LARGE)
        deltas += delta.to_bytes(1) if 0 <= delta <= 0xFF else delta.to_bytes(2, signed=True)
    head = _HEAD.pack(feedback.base, len(times), (reference & 0xFFFFFF) << 8 | feedback.report)
    fci = head + b"".join(_chunks(symbols)) + deltas
    fci += bytes(-len(fci) % 4)  # 3.1: zeros up to a whole word
    return Feedback(
        RTCP_TRANSPORT_FEEDBACK, TRANSPORT_CC_FORMAT, feedback.sender_ssrc, feedback.media_ssrc, fci
    )


def _chunks(symbols: list[int]) -> Iterator[bytes]:
    """Runs where they are longer than what a vector of two-bit symbols holds."""
    at = 0
    while at < len(symbols):
        end = at
        while end < len(symbols) and symbols[end] == symbols[at] and end - at < _LONGEST_RUN:
            end += 1
        if end - at >= _TWO_BIT_SYMBOLS or end == len(symbols):
            yield (symbols[at] << 13 | end - at).to_bytes(2)
            at = end
            continue
        word = _VECTOR | _TWO_BITS
        for place, symbol in enumerate(symbols[at : at + _TWO_BIT_SYMBOLS]):
            word |= symbol << 2 * (_TWO_BIT_SYMBOLS - 1 - place)
        yield word.to_bytes(2)
        at += _TWO_BIT_SYMBOLS


def parse_transport_feedback(feedback: Feedback) -> TransportFeedback:
    """Raises RtpParseError (offset: in the FCI) if it is none, or shorter than it says."""
    if (feedback.packet_type, feedback.format) != (RTCP_TRANSPORT_FEEDBACK, TRANSPORT_CC_FORMAT):
        raise RtpParseError(ParseErrorKind.WRONG_PACKET_TYPE, 0)
    fci = feedback.fci
    if len(fci) < _HEAD.size:
        raise RtpParseError(ParseErrorKind.TOO_SHORT, len(fci))
    base, count, last = _HEAD.unpack_from(fci)
    symbols, at = _symbols(fci, count)
    reference = (last >> 8) - (1 << 24 if last >> 31 else 0)
    units = reference * TRANSPORT_CC_REFERENCE_US // TRANSPORT_CC_UNIT_US
    times: list[int | None] = []
    for symbol in symbols:
        if symbol == _NO:
            times.append(None)
            continue
        if at + symbol > len(fci):
            raise RtpParseError(ParseErrorKind.TOO_SHORT, at)
        units += int.from_bytes(fci[at : at + symbol], signed=symbol == _LARGE)
        at += symbol
        times.append(units * TRANSPORT_CC_UNIT_US)
    return TransportFeedback(
        feedback.sender_ssrc, feedback.media_ssrc, base, last & 0xFF, tuple(times)
    )


def _symbols(fci: bytes, count: int) -> tuple[list[int], int]:
    """Of each packet, and where the deltas begin."""
    symbols: list[int] = []
    at = _HEAD.size
    if count == 0:
        raise RtpParseError(ParseErrorKind.LENGTH_MISMATCH, at)
    while len(symbols) < count:
        if at + 2 > len(fci):
            raise RtpParseError(ParseErrorKind.TOO_SHORT, at)
        word = int.from_bytes(fci[at : at + 2])
        at += 2
        if not word & _VECTOR:
            if not word & _LONGEST_RUN:
                raise RtpParseError(ParseErrorKind.LENGTH_MISMATCH, at - 2)
            symbols += [word >> 13] * (word & _LONGEST_RUN)
        elif word & _TWO_BITS:
            symbols += [word >> 2 * place & 3 for place in reversed(range(_TWO_BIT_SYMBOLS))]
        else:
            symbols += [word >> place & 1 for place in reversed(range(2 * _TWO_BIT_SYMBOLS))]
    symbols = symbols[:count]
    if max(symbols) > _LARGE:
        raise RtpParseError(ParseErrorKind.LENGTH_MISMATCH, _HEAD.size)
    return symbols, at
