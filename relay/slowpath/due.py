"""Which broadcast is due when, without looking at all of them after each event.

A broadcast's time depends on its subscribers and ways, which change in many places; but whoever
changes it has looked it up before. So the look-ups note what may have changed, and the time of
these alone is asked for again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from heapq import heappop, heappush
from itertools import count
from typing import TypeVar, overload

from relay.slowpath.broadcast import Broadcast

K = TypeVar("K")
T = TypeVar("T")


class Due:
    """Times of broadcasts; those noted since are asked for theirs when it matters."""

    def __init__(self) -> None:
        self._noted: dict[Broadcast, None] = {}  # in order, so that a run is the same again
        self._times: dict[Broadcast, int] = {}
        self._heap: list[tuple[int, int, Broadcast]] = []  # with those whose time is another now
        self._pushed = count()

    def note(self, broadcast: Broadcast) -> None:
        """It may be due at another time now."""
        self._noted[broadcast] = None

    def forget(self, broadcast: Broadcast) -> None:
        """It is over."""
        self._noted.pop(broadcast, None)
        self._times.pop(broadcast, None)

    def next_us(self) -> int | None:
        """When the first one is due."""
        for broadcast in self._noted:
            time_us = broadcast.next_timer_us()
            if time_us is None:
                self._times.pop(broadcast, None)
            elif time_us != self._times.get(broadcast):
                self._times[broadcast] = time_us
                heappush(self._heap, (time_us, next(self._pushed), broadcast))
        self._noted.clear()
        while self._heap:
            time_us, _, broadcast = self._heap[0]
            if self._times.get(broadcast) == time_us:
                return time_us
            heappop(self._heap)
        return None

    def take(self, now_us: int, most: int) -> list[Broadcast]:
        """Those that are due, at most so many, each once, and noted again."""
        found: list[Broadcast] = []
        while len(found) < most and (time_us := self.next_us()) is not None and time_us <= now_us:
            _, _, broadcast = heappop(self._heap)
            del self._times[broadcast]
            found.append(broadcast)
        for broadcast in found:
            self.note(broadcast)
        return found


class Noting(dict[K, Broadcast]):
    """Broadcasts by a key. Who takes one out may change it; `seen` is for those who only look."""

    def __init__(self, due: Due) -> None:
        super().__init__()
        self._due = due

    def seen(self) -> Collection[Broadcast]:
        """All, to read."""
        return super().values()

    def look_at(self, key: K) -> Broadcast | None:
        """To read."""
        return super().get(key)

    def __getitem__(self, key: K) -> Broadcast:
        found = super().__getitem__(key)
        self._due.note(found)
        return found

    def __setitem__(self, key: K, broadcast: Broadcast) -> None:
        super().__setitem__(key, broadcast)
        self._due.note(broadcast)

    def __delitem__(self, key: K) -> None:
        self._due.forget(super().__getitem__(key))
        super().__delitem__(key)

    @overload
    def get(self, key: K, default: None = None, /) -> Broadcast | None: ...
    @overload
    def get(self, key: K, default: Broadcast, /) -> Broadcast: ...
    @overload
    def get(self, key: K, default: T, /) -> Broadcast | T: ...
    def get(self, key: K, default: object = None, /) -> object:
        found = super().get(key)
        if found is None:
            return default
        self._due.note(found)
        return found

    def all(self) -> Iterator[Broadcast]:
        """To change."""
        for broadcast in tuple(super().values()):
            self._due.note(broadcast)
            yield broadcast
