"""How long the event loop is held up: nothing that a node is asked or told is seen meanwhile.

Media does not wait for it, but requests, handshakes and switches do. A task sleeps for a short time
again and again, and notes how much later than it should it is woken.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left

from relay.clock import now_us

# chosen: a stall is told too short by less than this, and 100 wake-ups/s cost 1 % of a core
PERIOD_US = 10_000
BOUNDS_US = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)


class LoopWatch:
    """counts[i]: wake-ups late by at most BOUNDS_US[i], and more than the bound before; the last
    one: later than all."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_US) + 1)
        self.sum_us = 0
        self.longest_us = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Within the loop that is to be watched."""
        self._task = asyncio.create_task(self._watch(), name="loop-watch")

    def stop(self) -> None:
        """Once or more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def note(self, late_us: int) -> None:
        self.counts[bisect_left(BOUNDS_US, late_us)] += 1
        self.sum_us += late_us
        self.longest_us = max(self.longest_us, late_us)

    async def _watch(self) -> None:
        while True:
            due_us = now_us() + PERIOD_US
            await asyncio.sleep(PERIOD_US / 1e6)
            self.note(max(0, now_us() - due_us))
