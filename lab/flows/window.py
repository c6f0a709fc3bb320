"""Congestion windows of TCP, in segments: Reno (RFC 5681) and CUBIC (RFC 9438)."""

from __future__ import annotations

from typing import Protocol

FIRST_WINDOW = 10.0  # segments, RFC 6928
LEAST_WINDOW = 2.0  # RFC 5681 3.1, equation 4
CUBIC_C = 0.4  # RFC 9438 5
CUBIC_BETA = 0.7  # RFC 9438 4.6


class Window(Protocol):
    """segments: how many may be under way."""

    segments: float

    def on_ack(self, rtt_us: int, now_us: int, /) -> None:
        """Of one segment, outside of recovery."""
        ...

    def on_loss(self) -> None:
        """At most once per round trip."""
        ...

    def on_timeout(self) -> None:
        """Nothing was acknowledged for too long."""
        ...


class RenoWindow:
    """Slow start, one segment more each round trip, half of it after a loss."""

    def __init__(self) -> None:
        self.segments = FIRST_WINDOW
        self._threshold = float("inf")

    def on_ack(self, _rtt_us: int, _now_us: int) -> None:
        self.segments += 1.0 if self.segments < self._threshold else 1.0 / self.segments

    def on_loss(self) -> None:
        self.segments = self._threshold = max(self.segments / 2, LEAST_WINDOW)

    def on_timeout(self) -> None:
        self._threshold = max(self.segments / 2, LEAST_WINDOW)
        self.segments = 1.0


class CubicWindow:
    """As Reno below its threshold; above, a cubic function of the time since the last loss, or what
    Reno would have if that is more."""

    def __init__(self) -> None:
        self.segments = FIRST_WINDOW
        self._threshold = float("inf")
        self._most = 0.0  # RFC 9438: W_max
        self._reno = 0.0  # W_est
        self._since_us: int | None = None  # of this epoch of growth
        self._k_s = 0.0  # until _most is reached

    def on_ack(self, rtt_us: int, now_us: int) -> None:
        if self.segments < self._threshold:
            self.segments += 1.0
            return
        if self._since_us is None:
            self._begin(now_us)
        assert self._since_us is not None
        ahead_s = (now_us - self._since_us + rtt_us) / 1_000_000
        target = CUBIC_C * (ahead_s - self._k_s) ** 3 + self._most
        # 3 (1 - beta) / (1 + beta) a round trip is as fast as Reno on average (RFC 9438 4.3).
        self._reno += 3 * (1 - CUBIC_BETA) / (1 + CUBIC_BETA) / self.segments
        if target < self._reno:
            self.segments = max(self.segments, self._reno)
        else:
            target = min(max(target, self.segments), 1.5 * self.segments)
            self.segments += (target - self.segments) / self.segments

    def on_loss(self) -> None:
        # Below the last maximum there is somebody new: leave more room (RFC 9438 4.7).
        is_lower = self.segments < self._most
        self._most = self.segments * (1 + CUBIC_BETA) / 2 if is_lower else self.segments
        self.segments = self._threshold = max(self.segments * CUBIC_BETA, LEAST_WINDOW)
        self._since_us = None

    def on_timeout(self) -> None:
        self._most = self.segments
        self._threshold = max(self.segments * CUBIC_BETA, LEAST_WINDOW)
        self.segments = 1.0
        self._since_us = None

    def _begin(self, now_us: int) -> None:
        self._since_us = now_us
        self._reno = self.segments
        self._most = max(self._most, self.segments)
        self._k_s = ((self._most - self.segments) / CUBIC_C) ** (1 / 3)
