"""An H.264 encoder whose frames say what refers to what, and a judge of what became of them.

Key frames, P frames that each refer to the one before, and b frames that refer to the P before them
and that nothing refers to; any number of packets (slices) each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

NAL = {"K": 0x65, "P": 0x41, "b": 0x01}
TICKS_A_SECOND = 90_000
TEXT = 24  # bytes that tell a packet apart


@dataclass(frozen=True)
class Piece:
    """What a packet says it is: frame `frame` (from 0) of this kind, packet `place` of `count`."""

    kind: str
    frame: int
    place: int
    count: int


def piece_of(packet: bytes) -> Piece:
    """Of an RTP packet of `Pictures`."""
    kind, frame, place, count = packet[14 : 14 + TEXT].decode().split()
    return Piece(kind, int(frame), int(place), int(count))


@dataclass
class Pictures:
    """`frame` makes the next one."""

    first_number: int = 65_400
    first_timestamp: int = 0xFFFFFFFF - 100_000
    payload_type: int = 96
    ssrc: int = 0x1234
    name: str = ""  # behind the text, up to the first dot
    frames: list[str] = field(default_factory=list)  # kinds
    numbers: int = 0

    def frame(self, kind: str, size: int, at_us: int, *, largest: int = 1_000) -> list[bytes]:
        """Its packets, together `size` bytes or a little more."""
        count = max(1, size // largest)
        made = []
        for place in range(count):
            text = f"{kind} {len(self.frames):06} {place:04} {count:04}".encode().ljust(TEXT)
            body = bytes([NAL[kind], 0x48 if place else 0x88]) + text + self.name.encode() + b"."
            ticks = self.first_timestamp + at_us * TICKS_A_SECOND // 1_000_000
            marker = 0x80 if place == count - 1 else 0
            header = struct.pack(
                ">BBHII",
                0x80,
                marker | self.payload_type,
                (self.first_number + self.numbers) & 0xFFFF,
                ticks & 0xFFFFFFFF,
                self.ssrc,
            )
            made.append(header + body.ljust(max(min(size, largest), len(body)), b"."))
            self.numbers += 1
        self.frames.append(kind)
        return made


def whole_frames(pieces: Iterable[Piece]) -> set[int]:
    """The frames of which every packet is there."""
    found: dict[int, set[int]] = {}
    counts: dict[int, int] = {}
    for piece in pieces:
        found.setdefault(piece.frame, set()).add(piece.place)
        counts[piece.frame] = piece.count
    return {frame for frame, places in found.items() if len(places) == counts[frame]}


def undecodable(pieces: list[Piece], kinds: list[str]) -> list[int]:
    """Frames of which something was sent, though what they refer to was not sent whole before."""
    whole = whole_frames(pieces)
    bad = []
    for frame in sorted({piece.frame for piece in pieces}):
        reference = frame
        while kinds[reference] != "K":
            reference -= 1
            while kinds[reference] == "b":
                reference -= 1
            if reference not in whole:
                bad.append(frame)
                break
    return bad


def in_order(pieces: list[Piece]) -> bool:
    """Whether packets came as they were made."""
    return all((a.frame, a.place) < (b.frame, b.place) for a, b in pairwise(pieces))
