"""Several packets of one track through a parser and its twin: what is kept between them counts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from tests.rtp.guarded_page import GuardedPage

GUARDED = GuardedPage()


class Marker(Protocol):
    def marks(self, payload: bytes, begins: int, marker: bool, /) -> int | None: ...


class NativeMarker(Protocol):
    def marks(self, payload: memoryview, begins: int, marker: bool, /) -> int | None: ...


def check(native: NativeMarker, twin: Marker, packets: Sequence[tuple[bytes, int, bool]]) -> None:
    """packets: payload, begins, marker. Each input ends where a page without access begins."""
    for place, (payload, begins, marker) in enumerate(packets):
        found = native.marks(GUARDED.place(payload), begins, marker)
        expected = twin.marks(payload, begins, marker)
        assert found == expected, (place, payload.hex(), begins, marker)


def mutated(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of them, as a rule with a few octets changed, cut off or added."""
    data = bytearray(rng.choice(seeds))
    if data and rng.random() < 0.6:
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(min(len(data), 14))] = rng.choice((0, 0xFF, rng.randrange(256)))
    if rng.random() < 0.2:
        del data[rng.randrange(len(data) + 1) :]
    if rng.random() < 0.3:
        data += rng.randbytes(rng.randrange(40))
    return bytes(data)


def random_story(rng: random.Random, seeds: Sequence[bytes]) -> list[tuple[bytes, int, bool]]:
    return [(mutated(rng, seeds), rng.choice((-1, 0, 0, 1)), rng.random() < 0.5) for _ in range(8)]
