"""A network for models of flows: events in virtual time, and bottlenecks with a drop-tail queue.

Pure Python and one event per packet sent: what a rate controller meets, without an engine around
it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from heapq import heappop, heappush

Event = Callable[[], None]
Trace = Sequence[tuple[float, float]]  # (from second, bit/s), in order

QUEUE_US = 300_000  # RFC 8867 4.2: the bottleneck's queue, drop-tail


class Timeline:
    """Events in order of time; those of one time in the order in which they were planned."""

    def __init__(self) -> None:
        self.now_us = 0
        self._events: list[tuple[int, int, Event]] = []
        self._planned = 0

    def at(self, time_us: int, event: Event) -> None:
        self._planned += 1
        heappush(self._events, (max(time_us, self.now_us), self._planned, event))

    def run(self, until_us: int) -> None:
        while self._events and self._events[0][0] <= until_us:
            self.now_us, _, event = heappop(self._events)
            event()
        self.now_us = until_us


class Bottleneck:
    """A link of a rate that changes, a queue that holds so much time, and perhaps random loss.

    Packets are given in the order of time. Propagation is the flows' own matter.
    """

    def __init__(
        self, trace: Trace, *, queue_us: int = QUEUE_US, loss: float = 0.0, seed: int = 1
    ) -> None:
        self.trace = tuple(trace)
        self._from_us = [round(second * 1e6) for second, _ in trace]
        self._bps = [bps for _, bps in trace]
        self._step = 0
        self._free_us = 0.0
        self._queue_us = queue_us
        self._loss = loss
        self._random = random.Random(seed)

    def send(self, now_us: int, size: int) -> tuple[int, int] | None:
        """When it is through, and how long it waited, in us; None: dropped."""
        start_us = max(float(now_us), self._free_us)
        wait_us = start_us - now_us
        if wait_us > self._queue_us or (self._loss and self._random.random() < self._loss):
            return None
        self._free_us = self._served_us(start_us, size * 8.0)
        return round(self._free_us), round(wait_us)

    def _served_us(self, start_us: float, bits: float) -> float:
        while True:
            last = self._step + 1 == len(self._bps)
            if not last and start_us >= self._from_us[self._step + 1]:
                self._step += 1
                continue
            us = bits * 1e6 / self._bps[self._step]
            if last or start_us + us <= self._from_us[self._step + 1]:
                return start_us + us
            end_us = self._from_us[self._step + 1]
            bits -= (end_us - start_us) * self._bps[self._step] / 1e6
            start_us = end_us

    def bits(self, begin_us: int, end_us: int) -> float:
        """What it can carry in this time."""
        total = 0.0
        for i, bps in enumerate(self._bps):
            start = max(begin_us, self._from_us[i])
            end = self._from_us[i + 1] if i + 1 < len(self._bps) else end_us
            total += max(min(end, end_us) - start, 0) * bps / 1e6
        return total
