"""A drop-tail queue before a rate that may change over time: when does a datagram have left?

Bytes on the wire leave one after the other. The backlog is kept as an exact integer, so rounding
never adds up; only the departure of each datagram is rounded, up to the next microsecond. Changes
of the rate that are known beforehand count for what waits already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from lab.errors import ClockError

RateTrace: TypeAlias = tuple[tuple[int, int], ...]
"""(time in us, rate in bit/s), in the order of time."""

MICROBITS_PER_BYTE = 8 * 1_000_000  # unit of the backlog: it drains by rate_bps of them per us


class Bottleneck:
    """Without rates nothing waits. Call `advance` before each `take`."""

    __slots__ = ("_at", "_backlog", "_now_us", "_queue_bytes", "_queue_us", "_rates")

    def __init__(self) -> None:
        self._rates: Sequence[tuple[int, int]] = ()
        self._at = 0  # the rate at _now_us
        self._queue_bytes = 0
        self._queue_us: int | None = None
        self._now_us: int | None = None
        self._backlog = 0  # microbits that have not left at _now_us

    def configure(
        self, rates: Sequence[tuple[int, int]], *, queue_bytes: int, queue_us: int | None
    ) -> None:
        """rates: since when (on the clock of `advance`) each holds; the first one before, too. What
        waits stays, if there is a rate."""
        self._rates = rates
        self._at = 0
        self._queue_bytes = queue_bytes
        self._queue_us = queue_us
        if not rates:
            self._backlog = 0
        elif self._now_us is not None:
            while self._at + 1 < len(rates) and rates[self._at + 1][0] <= self._now_us:
                self._at += 1

    def advance(self, now_us: int) -> None:
        """Move the clock and let go what has left. Raises ClockError if time went back."""
        before_us = self._now_us
        if before_us == now_us:
            return
        if before_us is not None and now_us < before_us:
            raise ClockError(f"time went back from {before_us} to {now_us} us")
        self._now_us = now_us
        if not self._rates:
            return
        rates, at, backlog = self._rates, self._at, self._backlog
        here_us = now_us if before_us is None else before_us
        while at + 1 < len(rates) and rates[at + 1][0] <= now_us:
            backlog -= max(0, rates[at + 1][0] - here_us) * rates[at][1]
            here_us = max(here_us, rates[at + 1][0])
            at += 1
            backlog = max(0, backlog)
        self._at = at
        self._backlog = max(0, backlog - (now_us - here_us) * rates[at][1])

    def take(self, wire_bytes: int) -> int | None:
        """When a datagram that comes now has left; None: the queue is full. An idle bottleneck
        takes any."""
        assert self._now_us is not None
        if not self._rates:
            return self._now_us
        backlog = self._backlog + wire_bytes * MICROBITS_PER_BYTE
        if self._backlog and backlog > self._limit():
            return None
        self._backlog = backlog
        return self._departure_us()

    def wait_us(self) -> int:
        """Until all that waits has left, rounded up."""
        if not self._backlog:
            return 0
        assert self._now_us is not None
        return self._departure_us() - self._now_us

    def _limit(self) -> int:
        if self._queue_us is None:
            return self._queue_bytes * MICROBITS_PER_BYTE
        return self._queue_us * self._rates[self._at][1]

    def _departure_us(self) -> int:
        rates, at, left = self._rates, self._at, self._backlog
        here_us = self._now_us
        assert here_us is not None
        while at + 1 < len(rates):
            until_us = rates[at + 1][0]
            drained = (until_us - here_us) * rates[at][1]
            if drained >= left:
                break
            left -= drained
            here_us = until_us
            at += 1
        return here_us - (-left // rates[at][1])  # minus floor of minus = plus ceiling
