"""Plain-Python twin of `dependency`, for tests and for reading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rtp.errors import RtpParseError
from rtp.packet import RtpPacket
from rtp.payload.reference_bits import Bits

MANDATORY_BYTES = 3
MOST_TEMPLATES = 64
NEXT_SPATIAL_LAYER, NO_MORE_LAYERS = 2, 3
MOST_DISCARDABLE = 1
ONE_BYTE_FORM, TWO_BYTE_FORM, END_OF_LIST = 0xBEDE, 0x1000, 15


def elements(profile: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Ids and contents of a header extension (RFC 8285 4), up to the first broken one."""
    is_short = profile == ONE_BYTE_FORM
    if not is_short and profile & 0xFFF0 != TWO_BYTE_FORM:
        return
    while data := data.lstrip(b"\0"):
        if is_short:
            number, size, rest = data[0] >> 4, (data[0] & 15) + 1, data[1:]
        elif len(data) > 1:
            number, size, rest = data[0], data[1], data[2:]
        else:
            return
        if (is_short and number == END_OF_LIST) or size > len(rest):
            return
        yield number, rest[:size]
        data = rest[size:]


@dataclass(frozen=True, slots=True)
class Structure:
    """discardable: by template."""

    first_template: int
    targets: int
    discardable: list[bool]


def structure_of(bits: Bits) -> Structure | None:
    """None if it is cut off or has too many templates."""
    first_template, targets = bits.take(6), bits.take(5) + 1
    templates, spatial_layers, following = 0, 1, 0
    while following != NO_MORE_LAYERS:
        if templates == MOST_TEMPLATES or bits.is_past_end:
            return None
        templates += 1
        following = bits.take(2)
        spatial_layers += following == NEXT_SPATIAL_LAYER
    discardable = [_indications(bits, targets) for _ in range(templates)]
    for _ in range(templates):
        while bits.take(1):
            bits.take(4)
    chains = bits.take_below(targets + 1)
    if chains:
        for _ in range(targets):
            bits.take_below(chains)
        bits.take(4 * templates * chains)
    if bits.take(1):
        bits.take(32 * spatial_layers)
    return None if bits.is_past_end else Structure(first_template, targets, discardable)


def _indications(bits: Bits, targets: int) -> bool:
    """Whether all of them are "not present" or "discardable"."""
    return max(bits.take(2) for _ in range(targets)) <= MOST_DISCARDABLE


class Reader:
    """One track's descriptors; see `dependency.pyx`."""

    def __init__(self) -> None:
        self._structure: Structure | None = None
        self._frame: tuple[int, bool] | None = None

    def read(self, data: bytes, extension_id: int) -> bool | None:
        """Whether the packet's frame is discardable; None if no descriptor says."""
        try:
            extension = RtpPacket.parse(data).extension
        except RtpParseError:
            return None
        if extension is None:
            return None
        for number, content in elements(extension.profile, extension.data):
            if number == extension_id:
                return self._read(content)
        return None

    def _read(self, content: bytes) -> bool | None:
        if len(content) < MANDATORY_BYTES:
            return None
        bits = Bits(content)
        begins, _, template_id, frame_number = (bits.take(n) for n in (1, 1, 6, 16))
        if not begins:
            is_same = self._frame is not None and self._frame[0] == frame_number
            return self._frame[1] if self._frame and is_same else None
        found = self._begin(bits, template_id, len(content) > MANDATORY_BYTES)
        self._frame = None if found is None else (frame_number, found)
        return found

    def _begin(self, bits: Bits, template_id: int, is_extended: bool) -> bool | None:
        has_structure = has_active = has_own = 0
        if is_extended:
            has_structure, has_active, has_own, _ = (bits.take(n) for n in (1, 1, 1, 2))
        if has_structure:
            self._structure = structure_of(bits)
        structure = self._structure
        if structure is None:
            return None
        place = (template_id - structure.first_template) % MOST_TEMPLATES
        if place >= len(structure.discardable):
            return None
        if has_active:
            bits.take(structure.targets)
        found = structure.discardable[place]
        if has_own:
            found = _indications(bits, structure.targets)
        return None if bits.is_past_end else found
