"""One-way delays of packets, from the generator's system call to the sink's: a histogram."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.support.native import native

PERCENTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
NEEDED_ABOVE = 10  # samples beyond a percentile; with fewer it is not stated


@dataclass(frozen=True, eq=False)
class Delays:
    """Buckets of 0.13 us or 0.8 % (sink.c)."""

    buckets: NDArray[np.uint64]

    @classmethod
    def of(cls, memory: object) -> Delays:
        return cls(np.frombuffer(memory, np.uint64).copy())  # type: ignore[call-overload]  # a buffer

    def __sub__(self, earlier: Delays) -> Delays:
        return Delays(self.buckets - earlier.buckets)

    @property
    def samples(self) -> int:
        return int(self.buckets.sum())

    def percentile_us(self, share: float) -> float | None:
        """What this share of packets took at most; None with too few samples to tell."""
        total = self.samples
        if total * (1 - share) < NEEDED_ABOVE:
            return None
        bucket = int(np.searchsorted(np.cumsum(self.buckets), np.ceil(total * share)))
        return float(native().lib.bench_delay_of(bucket) / 1000)

    def figures(self) -> dict[str, float | int | None]:
        found: dict[str, float | int | None] = {}
        for name, share in PERCENTILES.items():
            value = self.percentile_us(share)
            found[name] = None if value is None else round(value, 1)
        found["samples"] = self.samples
        return found


def together(delays: Iterable[Delays]) -> Delays:
    """Of several trials at one rate."""
    return Delays(np.sum([one.buckets for one in delays], axis=0, dtype=np.uint64))
