"""One RTP packet as a value: parse bytes, serialise fields.

For tests, clients and the edges' slow side; what runs per packet is `payload/rtp_header.pyx`, which
accepts and refuses the same bytes. Source: RFC 3550 5.1 (fixed header, padding), 5.3.1 (extension).
"""

import struct
from dataclasses import dataclass

from rtp.constants import (
    RTP_EXTENSION_HEADER_BYTES,
    RTP_HEADER_BYTES,
    RTP_MAX_CSRC,
    RTP_MAX_PADDING_BYTES,
    RTP_MAX_PAYLOAD_TYPE,
    RTP_VERSION,
    UDP_MAX_BYTES,
)
from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError

_FIXED = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")
_PADDING_BIT = 0x20
_EXTENSION_BIT = 0x10
_CSRC_COUNT_MASK = 0x0F
_MARKER_BIT = 0x80


@dataclass(frozen=True, slots=True)
class HeaderExtension:
    """The one extension RFC 3550 5.3.1 allows. profile: 16 bits; data: whole 32-bit words."""

    profile: int
    data: bytes

    def serialise(self) -> bytes:
        """Profile, length in words, data. Raises RtpValueError if they do not fit."""
        words, rest = divmod(len(self.data), 4)
        if rest:
            raise RtpValueError(f"extension of {len(self.data)} bytes is not whole words")
        _check_range("extension profile", self.profile, 0xFFFF)
        _check_range("extension words", words, 0xFFFF)
        return _EXTENSION.pack(self.profile, words) + self.data


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """Field names of RFC 3550. payload excludes padding; padding_bytes counts its last octet."""

    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes = b""
    marker: bool = False
    csrc: tuple[int, ...] = ()
    extension: HeaderExtension | None = None
    padding_bytes: int = 0

    @classmethod
    def parse(cls, data: bytes) -> "RtpPacket":
        """Raises RtpParseError; the kinds are those of the native parser, in the same order."""
        if len(data) < RTP_HEADER_BYTES:
            raise RtpParseError(ParseErrorKind.TOO_SHORT, len(data))
        if len(data) > UDP_MAX_BYTES:
            raise RtpParseError(ParseErrorKind.TOO_LONG, UDP_MAX_BYTES)
        first, second, sequence_number, timestamp, ssrc = _FIXED.unpack_from(data)
        if first >> 6 != RTP_VERSION:
            raise RtpParseError(ParseErrorKind.BAD_VERSION, 0)
        csrc, after_csrc = _parse_csrc(data, first & _CSRC_COUNT_MASK)
        extension, start = None, after_csrc
        if first & _EXTENSION_BIT:
            extension, start = _parse_extension(data, after_csrc)
        padding_bytes = _parse_padding(data, start) if first & _PADDING_BIT else 0
        return cls(
            payload_type=second & RTP_MAX_PAYLOAD_TYPE,
            sequence_number=sequence_number,
            timestamp=timestamp,
            ssrc=ssrc,
            payload=bytes(data[start : len(data) - padding_bytes]),
            marker=bool(second & _MARKER_BIT),
            csrc=csrc,
            extension=extension,
            padding_bytes=padding_bytes,
        )

    def serialise(self) -> bytes:
        """The packet's bytes; padding is zeros and its count. Raises RtpValueError."""
        self._check()
        first = RTP_VERSION << 6 | len(self.csrc)
        first |= _PADDING_BIT if self.padding_bytes else 0
        first |= _EXTENSION_BIT if self.extension else 0
        second = self.payload_type | (_MARKER_BIT if self.marker else 0)
        parts = [
            _FIXED.pack(first, second, self.sequence_number, self.timestamp, self.ssrc),
            struct.pack(f"!{len(self.csrc)}I", *self.csrc),
            self.extension.serialise() if self.extension else b"",
            self.payload,
        ]
        if self.padding_bytes:
            parts.append(bytes(self.padding_bytes - 1) + bytes([self.padding_bytes]))
        return b"".join(parts)

    def _check(self) -> None:
        _check_range("payload_type", self.payload_type, RTP_MAX_PAYLOAD_TYPE)
        _check_range("sequence_number", self.sequence_number, 0xFFFF)
        _check_range("timestamp", self.timestamp, 0xFFFFFFFF)
        _check_range("ssrc", self.ssrc, 0xFFFFFFFF)
        _check_range("count of csrc", len(self.csrc), RTP_MAX_CSRC)
        for source in self.csrc:
            _check_range("csrc", source, 0xFFFFFFFF)
        _check_range("padding_bytes", self.padding_bytes, RTP_MAX_PADDING_BYTES)


def _check_range(name: str, value: int, highest: int) -> None:
    if not 0 <= value <= highest:
        raise RtpValueError(f"{name} is {value}, outside 0..{highest}")


def _parse_csrc(data: bytes, count: int) -> tuple[tuple[int, ...], int]:
    end = RTP_HEADER_BYTES + 4 * count
    if len(data) < end:
        raise RtpParseError(ParseErrorKind.CSRC_TRUNCATED, len(data))
    return struct.unpack_from(f"!{count}I", data, RTP_HEADER_BYTES), end


def _parse_extension(data: bytes, offset: int) -> tuple[HeaderExtension, int]:
    start = offset + RTP_EXTENSION_HEADER_BYTES
    if len(data) < start:
        raise RtpParseError(ParseErrorKind.EXTENSION_TRUNCATED, len(data))
    profile, words = _EXTENSION.unpack_from(data, offset)
    end = start + 4 * words
    if len(data) < end:
        raise RtpParseError(ParseErrorKind.EXTENSION_TRUNCATED, len(data))
    return HeaderExtension(profile, bytes(data[start:end])), end


def _parse_padding(data: bytes, start: int) -> int:
    """The padding after `start`; its last octet says how much, itself included."""
    count = data[-1] if len(data) > start else 0
    if not 0 < count <= len(data) - start:
        raise RtpParseError(ParseErrorKind.BAD_PADDING, len(data) - 1)
    return count
