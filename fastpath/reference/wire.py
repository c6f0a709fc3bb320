"""The overlay header and its tag, byte by byte. Source: the layout in ARCHITECTURE.md."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum

from fastpath.reference.siphash import siphash24

VERSION = 12  # outside the ranges of RFC 7983
FIXED = struct.Struct(">BBBBBBHIIII")
HEADER_BYTES = 24
TAG_BYTES = 8
REPAIR_BLOCK_BYTES = 4
DESTINATION_BYTES = 20
MAX_SEGMENTS = 6
MAX_OVERLAY_BYTES = 1472  # 1,500 less IPv4 and UDP headers
MAX_RTP_BYTES = 1436  # leaves room for the repair block
SMALLEST_RTP_BYTES = 12
TAGGED_PAYLOAD_BYTES = 16  # of media; other types are tagged whole
LOW_32 = 0xFFFFFFFF

Digest = Callable[[bytes, bytes], int]


class PacketType(IntEnum):
    MEDIA = 0
    FEEDBACK = 1
    PROBE = 2
    CONTROL = 3
    DATAGRAM = 4
    PADDING = 5
    HELLO = 6


class Flag(IntEnum):
    WIDE_IDS = 1
    SEALED = 2
    REPAIR = 4
    REROUTED = 8
    DUPLICATE = 16
    DESTINATION = 32


class TrafficClass(IntEnum):
    CONTROL = 0
    AUDIO = 1
    VIDEO = 2
    PROBE = 6


@dataclass(frozen=True, slots=True)
class Header:
    """All fields as they stand on the wire; 32-bit numbers are low halves."""

    type: int
    flags: int = 0
    left: int = 0
    count: int = 0
    hop_limit: int = 1
    traffic_class: int = TrafficClass.CONTROL
    marks: int = 0
    epoch: int = 0
    delay: int = 0
    stream_id: int = 0
    stream_seq: int = 0
    hop_seq: int = 0
    send_ts: int = 0
    repairs_hop_seq: int = 0

    @property
    def header_bytes(self) -> int:
        """Length without the tag: it grows by what flags and the number of segments announce."""
        segments = self.count * (4 if self.flags & Flag.WIDE_IDS else 2)
        destination = DESTINATION_BYTES if self.flags & Flag.DESTINATION else 0
        repair = REPAIR_BLOCK_BYTES if self.flags & Flag.REPAIR else 0
        return HEADER_BYTES + segments + destination + repair

    def pack(self) -> bytes:
        """The header without its tag; segments and destination are zeros."""
        fixed = FIXED.pack(
            VERSION << 4 | self.type,
            self.flags,
            self.left << 4 | self.count,
            self.hop_limit,
            self.traffic_class << 5 | self.marks,
            self.epoch,
            self.delay,
            self.stream_id,
            self.stream_seq,
            self.hop_seq,
            self.send_ts,
        )
        repair = self.repairs_hop_seq.to_bytes(4) if self.flags & Flag.REPAIR else b""
        return fixed + bytes(self.header_bytes - len(fixed) - len(repair)) + repair


def parse(data: bytes) -> Header | str:
    """The header of a datagram, or the verdict that refuses it."""
    if len(data) < HEADER_BYTES + TAG_BYTES:
        return "truncated"
    first, flags, route, hop_limit, traffic, epoch, delay, *numbers = FIXED.unpack_from(data)
    if first >> 4 != VERSION:
        return "wrong_version"
    if first & 15 > PacketType.HELLO:
        return "unknown_type"
    left, count = route >> 4, route & 15
    if count > MAX_SEGMENTS or left > count:
        return "malformed"
    route_and_class = left, count, hop_limit, traffic >> 5, traffic & 31
    header = Header(first & 15, flags, *route_and_class, epoch, delay, *numbers)
    end = header.header_bytes
    if len(data) < end + TAG_BYTES:
        return "truncated"
    if flags & Flag.REPAIR:
        repairs = int.from_bytes(data[end - REPAIR_BLOCK_BYTES : end])
        return replace(header, repairs_hop_seq=repairs)
    return header


def tag(
    header: bytes, payload: bytes, key: bytes, hop_seq: int, digest: Digest = siphash24
) -> bytes:
    """Covers the header, the high half of hop_seq, the payload's length, and the payload.

    Of media only 16 bytes of it: the first ones, or the last ones if it is sealed, so that a relay
    need not read what it forwards.
    """
    covered = payload
    if header[0] & 15 in (PacketType.MEDIA, PacketType.DATAGRAM):
        is_sealed = header[1] & Flag.SEALED
        covered = payload[-TAGGED_PAYLOAD_BYTES:] if is_sealed else payload[:TAGGED_PAYLOAD_BYTES]
    lengths = struct.pack(">II", hop_seq >> 32, len(payload))
    return digest(header + lengths + covered, key).to_bytes(8)
