"""What is to happen in Python when, and how randomness is shared out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import TypeAlias

Action: TypeAlias = Callable[[], None]


class Agenda:
    """Actions by time, those of one time in the order they were put in."""

    def __init__(self, now_us: int) -> None:
        self.now_us = now_us
        self._heap: list[tuple[int, int, Action]] = []
        self._number = 0

    def at(self, time_us: int, action: Action) -> None:
        """Not before now."""
        heappush(self._heap, (max(time_us, self.now_us), self._number, action))
        self._number += 1

    def after(self, delay_us: int, action: Action) -> None:
        self.at(self.now_us + delay_us, action)

    def next_us(self) -> int | None:
        return self._heap[0][0] if self._heap else None

    def run_due(self) -> None:
        """All that is due by now, what that adds for now included."""
        while self._heap and self._heap[0][0] <= self.now_us:
            heappop(self._heap)[2]()


class Luck:
    """Random sources that depend on a seed and a purpose, and on nothing else."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def source(self, *purpose: object) -> Random:
        return Random(self.bits(*purpose))

    def bits(self, *purpose: object) -> int:
        """64 of them."""
        text = " ".join(map(str, (self._seed, *purpose)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])

    def token(self, *purpose: object) -> str:
        """64 hex digits."""
        text = " ".join(map(str, (self._seed, *purpose)))
        return hashlib.sha256(text.encode()).hexdigest()
