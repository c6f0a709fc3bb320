"""Puts units back into the order of sending, for the decoder. Pure; time is an argument.

A unit goes out when it follows the last one, or when it has waited as long as the playout buffer
lasts; what comes after its place was passed is too late for a decoder and is counted.
"""

import heapq
from typing import Generic, Protocol, TypeVar


class Unit(Protocol):
    """A whole access unit or audio packet; first and last are extended sequence numbers."""

    @property
    def epoch(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...
    @property
    def completed_us(self) -> int: ...
    @property
    def key(self) -> bool: ...


UnitT = TypeVar("UnitT", bound=Unit)


class UnitOrder(Generic[UnitT]):
    """Begins with the first key unit."""

    def __init__(self, wait_us: int) -> None:
        self._wait_us = wait_us
        self._heap: list[tuple[int, int, int, UnitT]] = []
        self._pushed = 0
        self._next: tuple[int, int] | None = None
        self.late = 0

    def push(self, unit: UnitT) -> None:
        if self._next is not None and (unit.epoch, unit.first) < self._next:
            self.late += 1
            return
        self._pushed += 1  # breaks ties: a unit that grew is pushed again
        heapq.heappush(self._heap, (unit.epoch, unit.first, self._pushed, unit))

    def ready(self, now_us: int) -> list[UnitT]:
        """Units whose turn has come."""
        units: list[UnitT] = []
        while self._heap:
            epoch, first, _, unit = self._heap[0]
            follows = self._next == (epoch, first)
            if not follows and now_us < unit.completed_us + self._wait_us:
                break
            heapq.heappop(self._heap)
            if self._next is not None and (epoch, first) < self._next:
                self.late += 1
            elif self._next is not None or unit.key:
                self._next = (epoch, unit.last + 1)
                units.append(unit)
        return units

    def drain(self) -> list[UnitT]:
        """All that is left, at the end."""
        return self.ready(1 << 62)
