"""Controllers on flows over a bottleneck: RFC 8867, libwebrtc's scenarios, and what relays meet."""

from __future__ import annotations

import pytest

from bench.support.rate_cases import figures, flows_of, run_case
from bench.support.rate_situations import Situation, situations
from fastpath.rate import Controller, RateConfig, RateKind

KINDS = [RateKind.GCC, RateKind.NADA]


@pytest.mark.parametrize("kind", KINDS)
def test_variable_capacity(kind: RateKind) -> None:
    """RFC 8867 5.1."""
    found = figures(run_case("5.1", flows_of(kind)))
    assert found["use"] >= 0.8  # type: ignore[operator]
    assert found["queue_p95_ms"] <= 150  # type: ignore[operator]
    assert found["loss"] <= 0.01  # type: ignore[operator]


@pytest.mark.parametrize("kind", KINDS)
def test_flows_of_one_kind_share_evenly(kind: RateKind) -> None:
    """RFC 8867 5.4."""
    found = figures(run_case("5.4", flows_of(kind)))
    assert found["jain"] >= 0.9  # type: ignore[operator]
    assert found["use"] >= 0.8  # type: ignore[operator]


@pytest.mark.parametrize(
    "situation", list(situations()), ids=lambda each: each.name.replace(" ", "-")
)
def test_situations(situation: Situation) -> None:
    assert situation.holds, situation


def test_one_flows_step_would_take_minutes() -> None:
    """What the streams of a node link are counted for, and what it has at least."""
    steps = {}
    for streams, is_node_link in ((1, False), (200, True), (1000, True), (1, True)):
        config = RateConfig(
            start_bps=340_000_000, max_bps=400_000_000, streams=streams, is_node_link=is_node_link
        )
        controller = Controller(RateKind.GCC, config, 0)
        steps[streams, is_node_link] = controller.state().additive_bps_per_s or 0
    assert 60_000_000 / steps[1, False] > 1000
    assert steps[1000, True] > 1000 * 5_000  # of flows of 340 kbit/s, with smaller packets
    assert steps[200, True] == steps[1, True] == 0.025 * 340_000_000
