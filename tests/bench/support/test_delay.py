"""Delays: buckets are narrow enough, and percentiles are those of the samples."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest

from bench.support.delay import Delays, together
from bench.support.native import native


def of_samples(delays_ns: list[int]) -> Delays:
    lib = native().lib
    buckets = np.zeros(lib.bench_delay_buckets(), np.uint64)
    for delay_ns in delays_ns:
        buckets[lib.bench_delay_bucket(delay_ns)] += np.uint64(1)
    return Delays(buckets)


def test_a_bucket_is_an_eighth_of_a_microsecond_or_a_hundredth_wide() -> None:
    lib = native().lib
    before = -1
    for bucket in range(lib.bench_delay_buckets()):
        largest = lib.bench_delay_of(bucket)
        assert lib.bench_delay_bucket(largest) == bucket
        assert lib.bench_delay_bucket(before + 1) == bucket
        assert largest - before <= max(128, 0.008 * largest)
        before = largest
    assert lib.bench_delay_bucket(-5) == 0
    assert lib.bench_delay_bucket(1 << 62) == lib.bench_delay_buckets() - 1


def test_percentiles_are_those_of_the_samples() -> None:
    seed = random.randrange(1 << 32)
    sys.stdout.write(f"seed {seed}\n")
    draws = random.Random(seed)
    samples = sorted(round(draws.lognormvariate(11, 1)) for _ in range(20_000))
    found = of_samples(samples)
    for share in (0.5, 0.99, 0.999):
        exact_us = samples[int(np.ceil(share * len(samples))) - 1] / 1000
        assert found.percentile_us(share) == pytest.approx(exact_us, rel=0.01, abs=0.14)


def test_a_percentile_is_not_told_of_too_few_samples() -> None:
    found = of_samples([1_000] * 1_500)
    assert found.figures() == {"p50": 1.0, "p99": 1.0, "p999": None, "samples": 1_500}
    assert of_samples([]).figures() == {"p50": None, "p99": None, "p999": None, "samples": 0}


def test_differences_and_sums() -> None:
    early = of_samples([1_000] * 30)
    both = of_samples([1_000] * 30 + [50_000] * 30)
    assert (both - early).percentile_us(0.5) == pytest.approx(50, rel=0.01)
    assert together([early, both]).samples == 90
