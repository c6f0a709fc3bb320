"""The search for the highest rate that passes.

Rates grow by a factor until one fails (or shrink until one passes), then the gap is halved on a
logarithmic scale until it is at most RESOLUTION. A search is stepped from outside, so that two of
them can take turns and a drift of the machine meets both.
"""

from __future__ import annotations

import math

RESOLUTION = 1.05


class RateSearch:
    """Asks for `rate` until it is None; `found` is then the highest rate that passed."""

    def __init__(self, start: float, factor: float, *, lowest: float = 1_000) -> None:
        self._factor = factor
        self._lowest = lowest
        self._passed: float | None = None
        self._failed: float | None = None
        self.rate: float | None = start

    @property
    def found(self) -> float | None:
        """None: not even the lowest rate passed."""
        return self._passed

    @property
    def is_bracketed(self) -> bool:
        """A rate has passed and a higher one has failed."""
        return self._passed is not None and self._failed is not None

    def on_result(self, passed: bool) -> None:
        assert self.rate is not None
        if passed:
            self._passed = self.rate
        else:
            self._failed = self.rate
        self.rate = self._next()

    def _next(self) -> float | None:
        if self._failed is None:
            assert self._passed is not None
            return self._passed * self._factor
        if self._passed is None:
            return (
                max(self._failed / self._factor, self._lowest)
                if self._failed > self._lowest
                else None
            )
        if self._failed / self._passed <= RESOLUTION:
            return None
        return math.sqrt(self._failed * self._passed)
