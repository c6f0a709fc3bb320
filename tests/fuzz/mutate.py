"""Mutations: a few random changes to bytes, or to the records of a story."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from tests.fuzz import records

EDGE_VALUES = (0, 1, 2, 7, 8, 12, 16, 31, 32, 64, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF)
WIDE_VALUES = (*EDGE_VALUES, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)

Mutation = Callable[[Random, bytearray, bytes], None]


def _span(rng: Random, data: bytes | bytearray) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 4, 8, rng.randint(1, 64))))


def flip_bit(rng: Random, data: bytearray, _other: bytes) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def set_byte(rng: Random, data: bytearray, _other: bytes) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def set_number(rng: Random, data: bytearray, _other: bytes) -> None:
    """A 16- or 32-bit number becomes one at an edge, or moves a little."""
    size = rng.choice((2, 4))
    if len(data) < size:
        return
    at = rng.randrange(len(data) - size + 1)
    value = int.from_bytes(data[at : at + size]) + rng.randint(-35, 35)
    if rng.random() < 0.4:
        value = rng.choice(WIDE_VALUES)
    data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size)


def remove(rng: Random, data: bytearray, _other: bytes) -> None:
    start, end = _span(rng, data)
    del data[start:end]


def insert(rng: Random, data: bytearray, _other: bytes) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = bytes([rng.randrange(256)]) * rng.choice((1, 1, 2, 4, rng.randint(1, 200)))


def repeat(rng: Random, data: bytearray, _other: bytes) -> None:
    start, end = _span(rng, data)
    data[start:start] = data[start:end]


def cut(rng: Random, data: bytearray, _other: bytes) -> None:
    del data[rng.randrange(len(data) + 1) :]


def take_over(rng: Random, data: bytearray, other: bytes) -> None:
    """A piece of another input, over what is there or between."""
    start, end = _span(rng, other)
    at = rng.randrange(len(data) + 1)
    data[at : at + (end - start) * rng.randrange(2)] = other[start:end]


OF_BYTES: Sequence[Mutation] = (
    flip_bit, set_byte, set_byte, set_number, set_number, remove, insert, repeat, cut, take_over,
)  # fmt: skip


def mutate_bytes(rng: Random, data: bytes, other: bytes, most: int) -> bytes:
    """One to eight changes. other: an input to take pieces from. Up to `most` bytes."""
    changed = bytearray(data)
    for _ in range(1 << rng.randrange(4)):
        rng.choice(OF_BYTES)(rng, changed, other)
    return bytes(changed[:most])


def mutate_records(rng: Random, data: bytes, other: bytes, most: int) -> bytes:
    """One to four changes of records or inside of one."""
    story = records.split(data) or [(0, b"")]
    donors = records.split(other) or [(0, b"")]
    for _ in range(1 << rng.randrange(3)):
        at = rng.randrange(len(story))
        kind, body = story[at]
        choice = rng.randrange(10)
        if choice < 5:
            story[at] = kind, mutate_bytes(rng, body, rng.choice(donors)[1], 2048)
        elif choice == 5:
            story[at] = rng.randrange(256), body
        elif choice == 6:
            story.insert(rng.randrange(len(story) + 1), rng.choice(donors))
        elif choice == 7:
            story[at:at] = [story[at]] * rng.choice((1, 2, 8))
        elif choice == 8 and len(story) > 1:
            del story[at]
        else:
            first = rng.randrange(len(donors))
            story[at : at + rng.randrange(3)] = donors[first : first + rng.randint(1, 6)]
        story = story or [(0, b"")]
    return records.join(story)[:most]
