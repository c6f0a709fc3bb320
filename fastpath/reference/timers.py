"""One deadline per link, rounded up to a tick of 1 ms; at most 1,023 ticks ahead.

A deadline further away fires early, and its owner sets it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastpath.reference.link import Link

TICK_US = 1000
FURTHEST_TICKS = 1023


@dataclass(slots=True)
class Timers:
    now_tick: int = 0
    _due: dict[Link, tuple[int, int]] = field(default_factory=dict)  # deadline, tick

    def set(self, link: Link, due_us: int) -> None:
        """Arm or move a deadline; the same one again changes nothing."""
        if link in self._due and self._due[link][0] == due_us:
            return
        tick = -(-due_us // TICK_US)
        tick = min(max(tick, self.now_tick), self.now_tick + FURTHEST_TICKS)
        self._due[link] = due_us, tick

    def cancel(self, link: Link) -> None:
        self._due.pop(link, None)

    def pop(self, now_us: int) -> list[Link]:
        """The links whose tick has come."""
        self.now_tick = max(self.now_tick, now_us // TICK_US)
        fired = [link for link, (_, tick) in self._due.items() if tick <= self.now_tick]
        for link in fired:
            del self._due[link]
        return fired

    def next_us(self) -> int | None:
        return min((tick * TICK_US for _, tick in self._due.values()), default=None)
