"""The native path against `lab.link.LinkModel`, on the same draws: every fate is equal."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from lab.link import BurstLoss, LinkConfig, LinkModel
from lab.virtual.draws import Draws
from lab.virtual.path import MORE, NativePath

BURSTS = [None, BurstLoss(0.02, 0.25), BurstLoss(0.5, 0.1, loss_bad=0.7, loss_good=0.05)]


def random_config(rng: Random, now_us: int) -> LinkConfig:
    rate_bps = rng.choice([None, None, 1_000_000, 97_000_001])
    trace: tuple[tuple[int, int], ...] = ()
    if rate_bps is None and rng.random() < 0.5:
        times = [0, *sorted(rng.sample(range(1, 3_000_000), rng.randrange(6)))]
        trace = tuple((time_us, rng.choice([30_000, 999_983, 10**9])) for time_us in times)
    return LinkConfig(
        rng.choice([0, 1, 20_000, 150_000]),
        jitter_us=rng.choice([0, 1, 5_000]),
        loss=rng.choice([0.0, 0.1, 1.0]),
        burst_loss=rng.choice(BURSTS),
        reorder=rng.choice([0.0, 0.2]),
        duplicate=rng.choice([0.0, 0.0, 0.3]),
        rate_bps=rate_bps,
        rate_trace=trace,
        trace_origin_us=rng.choice([0, now_us, now_us + 700_001]),
        queue_bytes=rng.choice([3_000, 262_144]),
        queue_us=rng.choice([None, None, 0, 300_000]),
    )


@pytest.mark.parametrize("seed", range(20))
def test_same_draws_same_fates(seed: int) -> None:
    rng = Random(seed)
    config = random_config(rng, 0)
    native = NativePath(config, seed)
    sources = Draws(seed), Draws(seed ^ MORE)
    model = LinkModel(config, *sources)  # type: ignore[arg-type]  # only `random` is used
    now_us = 0
    for _ in range(2_000):
        now_us += rng.choice([0, 0, 10, 1_000, 50_000])
        if rng.random() < 0.01:
            config = replace(random_config(rng, now_us), mtu_bytes=rng.choice([1_500, 600]))
            native.set_config(config, now_us)
            model.set_config(config, now_us)
        size = rng.choice([60, 500, 1_200, 1_472, 1_473])
        assert native.admit(size, now_us) == model.admit(size, now_us), f"seed {seed}"
        assert native.queue_us(now_us) == model.queue_us(now_us), f"seed {seed}"


def test_draws_are_those_of_the_published_generator() -> None:
    """The first number from state 0 is 0xE220A8397B1DCDAF."""
    assert Draws(0).random() == (0xE220A8397B1DCDAF >> 11) / 2**53
