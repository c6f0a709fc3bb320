"""Ids of streams: 32-bit numbers that are drawn once.

A counter, so nothing need be remembered of streams that are over: a number comes again only after
2^32 - 1 others, more than a year at 100 new streams a second, and never while its stream lives.
"""

from __future__ import annotations

from collections.abc import Container

LARGEST_ID = 0xFFFFFFFF  # 0 is not an id


class StreamIds:
    """next_id: where to go on, from a saved state; without one, a random number, so that ids from
    before a restart are unlikely to come again soon."""

    def __init__(self, next_id: int) -> None:
        self.next_id = (next_id - 1) % LARGEST_ID + 1

    def draw(self, living: Container[int]) -> int:
        """An id in 1 .. 2^32 - 1 that no living stream has."""
        while True:
            drawn = self.next_id
            self.next_id = drawn % LARGEST_ID + 1
            if drawn not in living:
                return drawn
