"""How long the event loop is held up: nothing that a node is asked or told is seen meanwhile.

Media does not wait for it, but requests, handshakes and switches do. A task sleeps for a short time
again and again, and notes how much later than it should it is woken; and for how much of that the
loop's own thread was at work, so that a stall of ours is told from one of the machine's.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left

from relay.clock import now_us

# chosen: a stall is told too short by less than this, and 100 wake-ups/s cost 1 % of a core
PERIOD_US = 10_000
BOUNDS_US = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)


class LoopWatch:
    """counts[i]: wake-ups late by at most BOUNDS_US[i], and more than the bound before; the last
    one: later than all. longest_busy_us: of a delay, what the loop's own work can have made."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_US) + 1)
        self.sum_us = 0
        self.longest_us = 0
        self.longest_busy_us = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Within the loop that is to be watched."""
        self._task = asyncio.create_task(self._watch(), name="loop-watch")

    def stop(self) -> None:
        """Once or more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def note(self, late_us: int, worked_us: int) -> None:
        """worked_us: CPU time of the loop's thread since it was last woken."""
        self.counts[bisect_left(BOUNDS_US, late_us)] += 1
        self.sum_us += late_us
        self.longest_us = max(self.longest_us, late_us)
        self.longest_busy_us = max(self.longest_busy_us, min(late_us, worked_us))

    async def _watch(self) -> None:
        while True:
            due_us, worked_ns = now_us() + PERIOD_US, time.thread_time_ns()
            await asyncio.sleep(PERIOD_US / 1e6)
            worked_ns = time.thread_time_ns() - worked_ns
            self.note(max(0, now_us() - due_us), worked_ns // 1_000)
