"""The native engine against its twin on random traffic that is too much for it (about 10 s in all).

Each scenario has times of load, in which what arrives is older than a worker may let it become, and
times of calm in which it is more or less busy. A failure names its seed.
"""

from __future__ import annotations

import random
import sys
from collections import Counter

import pytest

from fastpath.siphash import digest
from tests.support.random_traffic import Traffic

BLOCKS, BLOCK_SEEDS = 3, 40
BEYOND_THE_WINDOW = 79994227264  # numbers missing after unchecked shedding: beyond a replay window
FRESH_SEED = random.SystemRandom().getrandbits(40)
STEP_US = 6_000  # longer than a period of the controller


class Overloaded(Traffic):
    """Most turns follow each other quickly, so that pressure and calm last."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, digest)
        self.pressed = 0  # turns that it goes on
        self.age_us = 0

    def load(self) -> tuple[int, int]:
        rng = self.rng
        if not self.pressed and rng.random() < 0.2:
            self.pressed, self.age_us = rng.choice((0, 3, 8, 40)), rng.choice((5_001, 20_000))
        self.pressed -= self.pressed > 0
        if rng.random() < 0.1:
            self.age_us = max(0, self.age_us - 2_000)  # what is shed helps
        age_us = self.age_us if self.pressed else rng.choice((0, 300, 5_000))
        return self.now_us - age_us, rng.choice((0, 1_000, 5_000, 100_000))

    def step(self) -> None:
        if self.rng.random() < 0.8:
            self.now_us += STEP_US
        super().step()


def run(seed: int) -> Counter[str]:
    traffic = Overloaded(seed)
    try:
        traffic.run(100)
    except Exception as error:
        error.add_note(f"seed {seed}")
        raise
    return Counter(traffic.twins.native.verdicts())


@pytest.mark.parametrize("block", range(BLOCKS))
def test_numbered_scenarios(block: int) -> None:
    reached: Counter[str] = Counter()
    for seed in range(block * BLOCK_SEEDS, (block + 1) * BLOCK_SEEDS):
        reached += run(seed)
    kinds = ("discardable", "video", "until_key", "unchecked_video", "audio", "unchecked_audio")
    assert [kind for kind in kinds if not reached[f"shed_{kind}"]] == []
    assert reached["shed_repair"] > 0


def test_more_is_shed_unchecked_than_a_replay_window() -> None:
    run(BEYOND_THE_WINDOW)


def test_new_scenarios() -> None:
    sys.stdout.write(f"seeds from {FRESH_SEED}\n")
    for seed in range(BLOCK_SEEDS):
        run(FRESH_SEED + seed)
