"""Plain-Python twin of `h265` and of its part of `fragment`, for tests and for reading."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rtp import constants as c
from rtp.payload.marks import Marks

LAST_SUB_LAYER_TYPE = 14
FIRST_IRAP, LAST_BLA, CRA = 16, 18, 21
LAST_SLICE = 31
LAST_SINGLE = 47
RASL = frozenset({8, 9})
HEAD_TYPES = frozenset({32, 33, 34, 35, 39, 41, 42, 43, 44})
SEQUENCE_ENDS = frozenset({36, 37})
PARAMETER_SETS = frozenset({c.HEVC_VPS, c.HEVC_SPS, c.HEVC_PPS})


@dataclass(frozen=True, slots=True)
class Unit:
    """A NAL unit as one packet shows it; body: without the header; is_begun: from its start."""

    type: int
    layer: int
    temporal_id: int
    body: bytes
    is_begun: bool = True

    @property
    def is_slice(self) -> bool:
        return self.type <= LAST_SLICE

    @property
    def is_key(self) -> bool:
        is_irap = FIRST_IRAP <= self.type <= CRA
        return self.layer == 0 and (is_irap or self.type in PARAMETER_SETS)

    @property
    def opens_access_unit(self) -> bool:
        is_first_slice = self.is_slice and self.body[:1] >= b"\x80"
        return self.is_begun and (is_first_slice or self.type in HEAD_TYPES)


def nal_type(data: bytes) -> int:
    return data[0] >> 1 & 0x3F


def units_of(payload: bytes) -> list[Unit] | None:
    """The packet's NAL units, None if it is malformed."""
    if len(payload) < 2 or not payload[1] & 7:
        return None
    if nal_type(payload) == c.HEVC_FU:
        if len(payload) < 3:
            return None
        header = bytes([payload[0] & 0x81 | (payload[2] & 0x3F) << 1, payload[1]])
        units = [replace(_unit(header + payload[3:]), is_begun=payload[2] >= 0x80)]
    elif nal_type(payload) == c.HEVC_AP:
        nals = split_ap(payload)
        if nals is None:
            return None
        units = [_unit(nal) for nal in nals]
    else:
        units = [_unit(payload)]
    return units if all(unit.type <= LAST_SINGLE for unit in units) else None


def split_ap(payload: bytes) -> list[bytes] | None:
    """NAL units of an aggregation packet (RFC 7798 4.4.2); None if they do not add up."""
    nals = []
    rest = payload[2:]
    while rest:
        size = int.from_bytes(rest[:2])
        nal, rest = rest[2 : 2 + size], rest[2 + size :]
        if size < 2 or len(nal) < size or not nal[1] & 7:
            return None
        nals.append(nal)
    return nals or None


def _unit(nal: bytes) -> Unit:
    layer = (nal[0] & 1) << 5 | nal[1] >> 3
    return Unit(nal_type(nal), layer, (nal[1] & 7) - 1, nal[2:])


@dataclass(slots=True)
class _State:
    has_sps: bool = False
    highest_tid: int = 0
    has_irap: bool = False
    in_irap: bool = False
    skips_rasl: bool = False

    def follow(self, unit: Unit) -> None:
        """What this unit changes for those after it."""
        if unit.layer > 0:
            return
        if unit.is_slice:
            self.highest_tid = max(self.highest_tid, unit.temporal_id)
        if FIRST_IRAP <= unit.type <= CRA and not self.in_irap:
            self.skips_rasl = unit.type <= LAST_BLA or not self.has_irap
            self.has_irap = self.in_irap = True
        if unit.type == c.HEVC_SPS and unit.is_begun and unit.body:
            self.has_sps = True
            self.highest_tid = unit.body[0] >> 1 & 7
        if unit.type in SEQUENCE_ENDS:
            self.has_irap = False

    def is_needed(self, unit: Unit) -> bool:
        """Whether some picture may refer to this slice's."""
        if unit.layer > 0:
            return True
        if self.skips_rasl and unit.type in RASL:
            return False
        is_sub_layer_reference = unit.type > LAST_SUB_LAYER_TYPE or unit.type % 2 == 1
        return is_sub_layer_reference or not self.has_sps or unit.temporal_id < self.highest_tid


class Marker:
    """One track's marks; see `h265.pyx`."""

    def __init__(self) -> None:
        self._state = _State()

    def marks(self, payload: bytes, begins: int, marker: bool) -> int | None:
        """Of the track's next packet, None if it is malformed."""
        units = units_of(payload)
        if units is None:
            return None
        if begins:
            self._state.in_irap = False
        needed = []
        for unit in units:
            self._state.follow(unit)
            if unit.is_slice:
                needed.append(self._state.is_needed(unit))
        is_key = any(unit.is_key for unit in units)
        marks = Marks.KEY if is_key else Marks(0)
        if not is_key and needed and not any(needed):
            marks |= Marks.DISCARDABLE
        if begins > 0 or (begins < 0 and units[0].opens_access_unit):
            marks |= Marks.FRAME_START | (Marks.GOP_START if is_key else Marks(0))
        return int(marks | (Marks.FRAME_END if marker else Marks(0)))


def has_sps(payload: bytes) -> bool:
    """A sequence parameter set is, or begins, in a payload that `Marker.marks` accepts."""
    units = units_of(payload)
    return units is not None and any(unit.type == c.HEVC_SPS and unit.is_begun for unit in units)


def split(payload: bytes, room: int) -> list[bytes] | None:
    """One payload as several of at most `room` bytes; None if malformed."""
    units = units_of(payload)
    if units is None or len(payload) < 4:
        return None
    if nal_type(payload) == c.HEVC_FU:
        ends = payload[2] & (c.FU_START | c.FU_END)
        return _cut(payload[:2], payload[2] & 0x3F, payload[3:], room, ends)
    nals = split_ap(payload) if nal_type(payload) == c.HEVC_AP else [payload]
    ends = c.FU_START | c.FU_END
    return [
        piece
        for nal in nals or []
        for piece in (
            [nal] if len(nal) <= room else _cut(nal[:2], nal_type(nal), nal[2:], room, ends)
        )
    ]


def _cut(header: bytes, kind: int, body: bytes, room: int, ends: int) -> list[bytes]:
    count = -(-len(body) // (room - 3))
    size = -(-len(body) // count)
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    heads = [kind] * len(parts)
    heads[0] |= ends & c.FU_START
    heads[-1] |= ends & c.FU_END
    indicator = bytes([header[0] & 0x81 | c.HEVC_FU << 1, header[1]])
    return [indicator + bytes([head]) + part for head, part in zip(heads, parts, strict=True)]
