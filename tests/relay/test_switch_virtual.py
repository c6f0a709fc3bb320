"""Primary paths that break: who goes on, when, and with which packets."""

from __future__ import annotations

import time
from random import Random

import pytest

from tests.relay.overlay import SMALL
from tests.relay.routed_overlay import Routed, watched

TRIALS = 100
PATHS = (("b", "a"), ("d", "a"))


def trial(seed: int, cut: str) -> tuple[int, int, int]:
    """One cut: the gap at the viewer; its bound; what of it the notice took."""
    rng = Random(seed)
    overlay = Routed(seed)
    delays = {ends: rng.randrange(5_000, 90_000) for ends in ("ab", "bc", "ad", "cd")}
    overlay.join(delays, loss=0.01)
    overlay.paths["c"] = PATHS
    encoder, viewer = watched(overlay, settle_us=1_500_000 + rng.randrange(600_000))
    standby = overlay.nodes["c"].node.subscriptions.find("demo").standby
    assert standby is not None, f"seed {seed}"
    overlay.run_for(rng.randrange(20_000))
    cut_us = overlay.now_us
    overlay.cut_link(cut)
    encoder.run_for(1_200_000)
    overlay.run_for(700_000)  # what was lost at the end is still repaired
    gap_us, _ = overlay.longest_gap(viewer, cut_us)
    assert overlay.missing(viewer) == set(), f"seed {seed}"
    (switch,) = overlay.switches("c")
    assert (switch.before, switch.after) == ("b", "d")
    notice_us = delays["bc"] if cut == "ab" else 0
    return gap_us, 200_000 + notice_us + 2 * (delays["cd"] + delays["ad"]), notice_us


@pytest.mark.parametrize("cut", ["bc", "ab"])
def test_a_cut_path_is_replaced_within_its_bound(cut: str) -> None:
    results = [trial(seed, cut) for seed in range(TRIALS)]
    slack = sorted(gap_us - bound_us for gap_us, bound_us, _ in results)
    gaps = sorted(gap_us for gap_us, _, _ in results)
    print(
        f"{cut}: gap p50 {gaps[50]} p99 {gaps[98]} max {gaps[-1]}; "
        f"over its bound by p50 {slack[50]} p99 {slack[98]} max {slack[-1]}"
    )
    assert slack[98] <= 0
