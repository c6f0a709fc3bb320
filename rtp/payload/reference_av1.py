"""Plain-Python twin of `av1` and of its part of `fragment`, for tests and for reading."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntFlag

from rtp.payload.marks import Marks
from rtp.payload.reference_bits import Bits

SEQUENCE_HEADER, FRAME_HEADER, FRAME = 1, 3, 6
KEY_FRAME, INTER_FRAME, SWITCH_FRAME = 0, 1, 3
SELECT = 2
MAX_LEB128_BYTES = 8


class Flags(IntFlag):
    """The aggregation header without its count."""

    CONTINUES = 0x80
    GOES_ON = 0x40
    NEW_SEQUENCE = 0x08


def leb128(data: bytes) -> tuple[int, int] | None:
    """A value below 2^32 and the bytes it took; None if it is broken (AV1 4.10.5)."""
    value = 0
    for index, octet in enumerate(data[:MAX_LEB128_BYTES]):
        value |= (octet & 0x7F) << 7 * index
        if octet < 0x80:
            return (value, index + 1) if value < 1 << 32 else None
    return None


def elements(payload: bytes) -> list[bytes] | None:
    """The OBUs of one payload and parts of such; None if their lengths do not add up."""
    if len(payload) < 2:
        return None
    count = payload[0] >> 4 & 3
    rest = payload[1:]
    found: list[bytes] = []
    while len(found) < count if count else rest:
        size = len(rest)
        if len(found) + 1 != count:
            prefix = leb128(rest)
            if prefix is None:
                return None
            size, rest = prefix[0], rest[prefix[1] :]
        if not 0 < size <= len(rest):
            return None
        found.append(rest[:size])
        rest = rest[size:]
    return found


@dataclass(frozen=True, slots=True)
class Sequence:
    """The sequence header as far as frame headers depend on it (5.5)."""

    is_reduced_still: bool = False
    has_decoder_model: bool = False
    frame_id_bits: int = 0
    screen_content_tools: int = SELECT
    integer_mv: int = SELECT
    order_hint_bits: int = 0


def sequence_of(data: bytes) -> Sequence | None:
    """None if it is cut off."""
    bits = Bits(data)
    bits.take(4)
    sequence = Sequence(is_reduced_still=bool(bits.take(1)))
    if sequence.is_reduced_still:
        bits.take(5)
    else:
        sequence = replace(sequence, has_decoder_model=_skip_operating_points(bits))
    widths = bits.take(4) + 1, bits.take(4) + 1
    bits.take(sum(widths))
    if not sequence.is_reduced_still:
        sequence = _read_tools(bits, sequence)
    return None if bits.is_past_end else sequence


def _skip_operating_points(bits: Bits) -> bool:
    """Whether there is a decoder model."""
    delay_bits = 0
    if bits.take(1):
        bits.take(64)
        if bits.take(1):
            _skip_uvlc(bits)
        if bits.take(1):
            delay_bits = bits.take(5) + 1
            bits.take(42)
    has_display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if has_display_delay and bits.take(1):
            bits.take(4)
    return delay_bits > 0


def _skip_uvlc(bits: Bits) -> None:
    zeros = 0
    while zeros < 32 and not bits.is_past_end and not bits.take(1):
        zeros += 1
    if zeros < 32:
        bits.take(zeros)


def _read_tools(bits: Bits, sequence: Sequence) -> Sequence:
    frame_id_bits = bits.take(4) + bits.take(3) + 3 if bits.take(1) else 0
    bits.take(7)
    has_order_hint = bits.take(1)
    if has_order_hint:
        bits.take(2)
    screen_content_tools = SELECT if bits.take(1) else bits.take(1)
    integer_mv = SELECT
    if screen_content_tools and not bits.take(1):
        integer_mv = bits.take(1)
    return replace(
        sequence,
        frame_id_bits=frame_id_bits,
        screen_content_tools=screen_content_tools,
        integer_mv=integer_mv,
        order_hint_bits=bits.take(3) + 1 if has_order_hint else 0,
    )


class Marker:
    """One track's marks; see `av1.pyx`."""

    def __init__(self) -> None:
        self._sequence: Sequence | None = None
        self._in_key = False
        self._needed: list[bool] = []

    def marks(self, payload: bytes, begins: int, marker: bool) -> int | None:
        """Of the track's next packet, None if it is malformed."""
        found = elements(payload)
        is_new_sequence = bool(payload and payload[0] & Flags.NEW_SEQUENCE)
        is_rest = bool(payload and payload[0] & Flags.CONTINUES)
        if found is None or (is_rest and is_new_sequence):
            return None
        if begins:
            self._in_key = False
            self._needed = []
        for element in found[1:] if is_rest else found:
            self._read(element)
        self._in_key |= is_new_sequence
        marks = Marks.KEY if self._in_key else Marks(0)
        if not self._in_key and self._needed and not any(self._needed):
            marks |= Marks.DISCARDABLE
        if begins > 0 or (begins < 0 and is_new_sequence):
            marks |= Marks.FRAME_START | (Marks.GOP_START if self._in_key else Marks(0))
        return int(marks | (Marks.FRAME_END if marker else Marks(0)))

    def _read(self, obu: bytes) -> None:
        kind, has_extension, has_size = obu[0] >> 3 & 15, obu[0] & 4, obu[0] & 2
        body = obu[2:] if has_extension else obu[1:]
        if has_size and body:
            size = leb128(body)
            body = body[size[1] :] if size else b""
        if kind == SEQUENCE_HEADER:
            self._sequence = sequence_of(body)
        elif kind in (FRAME_HEADER, FRAME):
            self._read_frame(Bits(body))

    def _read_frame(self, bits: Bits) -> None:
        sequence = self._sequence
        if sequence is not None and sequence.is_reduced_still:
            self._in_key = True
            self._needed.append(True)
            return
        is_existing, frame_type, is_shown = bits.take(1), bits.take(2), bits.take(1)
        if not is_existing and is_shown and frame_type == KEY_FRAME and not bits.is_past_end:
            self._in_key = True
        is_sealed = sequence is None or sequence.has_decoder_model
        if is_existing or not is_shown or frame_type in (KEY_FRAME, SWITCH_FRAME) or is_sealed:
            self._needed.append(True)
            return
        assert sequence is not None
        is_resilient = bits.take(1)
        bits.take(1)
        tools = sequence.screen_content_tools
        if tools == SELECT:
            tools = bits.take(1)
        if tools and sequence.integer_mv == SELECT:
            bits.take(1)
        bits.take(sequence.frame_id_bits + 1 + sequence.order_hint_bits)
        if frame_type == INTER_FRAME and not is_resilient:
            bits.take(3)
        updates = bits.take(8)
        self._needed.append(updates != 0 or bits.is_past_end)


def split(payload: bytes, room: int) -> list[bytes] | None:
    """One payload as several of at most `room` bytes; None if malformed."""
    found = elements(payload)
    if found is None:
        return None
    pieces = []
    for element in found:
        count = -(-len(element) // (room - 1))
        size = -(-len(element) // count)
        parts = [element[start : start + size] for start in range(0, len(element), size)]
        for index, part in enumerate(parts):
            flags = Flags.CONTINUES if index > 0 else Flags(0)
            flags |= Flags.GOES_ON if index < len(parts) - 1 else Flags(0)
            pieces.append(bytes([flags | 1 << 4]) + part)
    outer = payload[0]
    first = pieces[0][0] | outer & (Flags.CONTINUES | Flags.NEW_SEQUENCE)
    pieces[0] = bytes([first]) + pieces[0][1:]
    pieces[-1] = bytes([pieces[-1][0] | outer & Flags.GOES_ON]) + pieces[-1][1:]
    return pieces
