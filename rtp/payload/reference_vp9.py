"""Plain-Python twin of `vp9` and of its part of `fragment`, for tests and for reading."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

from rtp.payload.marks import Marks
from rtp.payload.reference_bits import Bits

MAX_PREFIX_BYTES = 8
MOST_REFERENCES = 3


class Flags(IntFlag):
    """First octet of the descriptor (RFC 9628 4.2)."""

    PICTURE_ID = 0x80
    INTER_PREDICTED = 0x40
    LAYER = 0x20
    FLEXIBLE = 0x10
    FRAME_START = 0x08
    FRAME_END = 0x04
    STRUCTURE = 0x02


@dataclass(frozen=True, slots=True)
class Descriptor:
    """size: all of it; fixed_bytes: without the scalability structure."""

    flags: int
    temporal_id: int
    spatial_id: int
    fixed_bytes: int
    size: int


def descriptor(payload: bytes) -> Descriptor | None:
    """None if it is truncated, nothing follows, or RFC 9628 excludes it; see `vp9.pyx`."""
    octets = list(payload)
    used = 0

    def take(count: int = 1) -> int:
        """The first of so many octets."""
        nonlocal used
        first = octets[used] if used < len(octets) else 0
        used += count
        return first

    flags = take()
    temporal_id = spatial_id = 0
    if flags & Flags.FLEXIBLE and not flags & Flags.PICTURE_ID:
        return None
    if flags & Flags.PICTURE_ID and take() & 0x80:
        take()
    if flags & Flags.LAYER:
        layer = take(1 if flags & Flags.FLEXIBLE else 2)
        temporal_id, spatial_id = layer >> 5, layer >> 1 & 7
    if flags & Flags.FLEXIBLE and flags & Flags.INTER_PREDICTED:
        references = 1
        while take() & 1:
            references += 1
        if references > MOST_REFERENCES:
            return None
    fixed_bytes = used
    if flags & Flags.STRUCTURE:
        structure = take()
        if structure & 0x10:
            take(4 * ((structure >> 5) + 1))
        pictures = take() if structure & 0x08 else 0
        for _ in range(pictures):
            take(take() >> 2 & 3)
    if used >= len(payload):
        return None
    return Descriptor(flags, temporal_id, spatial_id, fixed_bytes, used)


@dataclass(frozen=True, slots=True)
class Frame:
    """What the uncompressed header says; see `vp9.pyx`."""

    is_key: bool = False
    is_unreferenced: bool = False
    is_chained: bool = False


def frame_of(data: bytes) -> Frame | None:
    """None if the header is cut off or is none."""
    bits = Bits(data)
    if bits.take(2) != 2:
        return None
    profile = bits.take(1) | bits.take(1) << 1
    if profile == 3 and bits.take(1):
        return None
    frame = Frame() if bits.take(1) else _new_frame(bits)
    return None if bits.is_past_end else frame


def _new_frame(bits: Bits) -> Frame:
    if bits.take(1) == 0:
        bits.take(2)
        return Frame(is_key=True)
    is_shown, is_resilient = bits.take(1), bits.take(1)
    is_intra_only = not is_shown and bits.take(1)
    if not is_resilient:
        bits.take(2)
    if is_intra_only:
        return Frame(is_chained=not is_resilient)
    updates = bits.take(8)
    is_unreferenced = bool(is_shown and is_resilient and updates == 0)
    return Frame(is_unreferenced=is_unreferenced, is_chained=not is_resilient)


class Marker:
    """One track's marks; see `vp9.pyx`."""

    def __init__(self) -> None:
        self._in_key = False
        self._frame_layer: int | None = None
        self._is_unreferenced = False
        self._has_chained_frame = False

    def marks(self, payload: bytes, begins: int, marker: bool) -> int | None:
        """Of the track's next packet, None if it is malformed."""
        found = descriptor(payload)
        if found is None:
            return None
        if begins:
            self._in_key = False
            self._frame_layer = None
        if found.flags & Flags.FRAME_START:
            self._begin(found, frame_of(payload[found.size :]))
        elif self._frame_layer != found.spatial_id:
            self._frame_layer = None
        opens = bool(found.flags & Flags.FRAME_START) and found.spatial_id == 0
        marks = Marks(0)
        if self._in_key:
            marks |= Marks.KEY | (Marks.GOP_START if opens else Marks(0))
        elif self._frame_layer is not None and self._is_unreferenced:
            marks |= Marks.DISCARDABLE
        if opens or begins > 0:
            marks |= Marks.FRAME_START
        if found.flags & Flags.FRAME_END:
            self._frame_layer = None
        return int(marks | (Marks.FRAME_END if marker else Marks(0)))

    def _begin(self, found: Descriptor, frame: Frame | None) -> None:
        self._frame_layer = found.spatial_id
        if found.spatial_id == 0:
            is_predicted = bool(found.flags & Flags.INTER_PREDICTED)
            self._in_key = frame is not None and frame.is_key and not is_predicted
            if self._in_key:
                self._has_chained_frame = False
        if frame is None or frame.is_chained:
            self._has_chained_frame = True
        is_unreferenced = frame is not None and frame.is_unreferenced
        self._is_unreferenced = is_unreferenced and not self._has_chained_frame


def split(payload: bytes, room: int) -> list[bytes] | None:
    """One payload as several of at most `room` bytes; None if malformed."""
    found = descriptor(payload)
    if found is None or found.fixed_bytes > MAX_PREFIX_BYTES:
        return None
    rest = payload[found.fixed_bytes :]
    count = -(-len(rest) // (room - found.fixed_bytes))
    size = -(-len(rest) // count)
    if found.size - found.fixed_bytes >= size:
        return None  # the structure would be cut
    flags = [payload[0] & ~(Flags.FRAME_START | Flags.STRUCTURE | Flags.FRAME_END)] * count
    flags[0] |= payload[0] & (Flags.FRAME_START | Flags.STRUCTURE)
    flags[-1] |= payload[0] & Flags.FRAME_END
    parts = [rest[start : start + size] for start in range(0, len(rest), size)]
    others = payload[1 : found.fixed_bytes]
    return [bytes([each]) + others + part for each, part in zip(flags, parts, strict=True)]
