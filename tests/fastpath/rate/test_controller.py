"""What holds for every kind of controller, whatever it is fed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath.rate import Controller, PacketResult, RateConfig, RateKind, RateProfile

KINDS = list(RateKind)
FEEDBACK_KINDS = [RateKind.GCC, RateKind.NADA, RateKind.LOSS_ONLY]


def test_a_fixed_controller_keeps_its_start_rate() -> None:
    controller = Controller(RateKind.FIXED, RateConfig(start_bps=2_000_000), 0)
    controller.on_sent(1200, 0)
    controller.on_feedback([PacketResult(0, 5_000_000, 1200)], 50_000, 100_000)
    controller.on_receiver_report(255, 100, 50_000, 0, 200_000)
    controller.on_tick(10_000_000)
    assert controller.target_bps == controller.pacing_bps == 2_000_000
    assert controller.take_probe(10_000_000) is None


@pytest.mark.parametrize("kind", KINDS)
def test_limits_are_put_in_order(kind: RateKind) -> None:
    assert Controller(kind, RateConfig(min_bps=0, max_bps=0), 0).target_bps == 5_000
    assert Controller(kind, RateConfig(min_bps=70_000, max_bps=0), 0).target_bps == 70_000
    assert Controller(kind, RateConfig(start_bps=0), 0).target_bps == 300_000
    assert Controller(kind, RateConfig(start_bps=9, min_bps=-5), 0).target_bps == 5_000


@pytest.mark.parametrize("kind", KINDS)
def test_the_receivers_cap_holds_above_the_minimum(kind: RateKind) -> None:
    config = RateConfig(min_bps=100_000, start_bps=1_000_000, remote_cap_bps=400_000)
    controller = Controller(kind, config, 0)
    assert controller.target_bps == 400_000
    controller.set_config(replace(config, remote_cap_bps=50_000), 1000)
    assert controller.target_bps == 100_000


@pytest.mark.parametrize("kind", FEEDBACK_KINDS)
def test_a_new_limit_holds_at_once(kind: RateKind) -> None:
    config = RateConfig(start_bps=1_000_000)
    controller = Controller(kind, config, 0)
    controller.set_config(replace(config, max_bps=600_000), 1000)
    assert controller.target_bps == 600_000
    controller.set_config(replace(config, min_bps=800_000), 2000)
    assert controller.target_bps == 800_000


@pytest.mark.parametrize("kind", FEEDBACK_KINDS)
def test_another_route_starts_anew(kind: RateKind) -> None:
    controller = Controller(kind, RateConfig(start_bps=1_000_000), 0)
    for i in range(100):
        at_us = i * 20_000
        controller.on_sent(1200, at_us)
        controller.on_feedback([PacketResult(at_us, -1, 1200)], 50_000, at_us + 60_000)
    controller.on_route_change(700_000, 3_000_000)
    assert controller.target_bps == 700_000
    assert controller.state().loss == 0


def test_results_of_no_sense_are_counted_and_change_nothing() -> None:
    controller = Controller(RateKind.GCC, RateConfig(), 100_000_000)
    in_future = PacketResult(100_000_001, 5, 1200)
    long_ago = PacketResult(39_999_999, 5, 1200)
    far_clock = PacketResult(99_999_999, 1 << 62, 1200)
    controller.on_feedback([in_future, long_ago, far_clock], 50_000, 100_000_000)
    assert controller.unusable == 3
    assert controller.target_bps == 300_000
    assert controller.state().acknowledged_bps is None


# Arbitrary inputs

INT64 = st.integers(-(2**63), 2**63 - 1)
BPS = st.one_of(st.integers(-10, 10), st.integers(0, 200_000_000), INT64)
CONFIGS = st.builds(
    RateConfig,
    min_bps=BPS,
    start_bps=BPS,
    max_bps=BPS,
    remote_cap_bps=BPS,
    needed_bps=BPS,
    streams=st.integers(-(2**31), 2**31 - 1),
    profile=st.sampled_from(RateProfile),
    is_node_link=st.booleans(),
)
# Mostly a path that works, so that the parts behind the checks are reached; sometimes anything.
STEP_US = st.one_of(
    st.integers(0, 200_000), st.sampled_from([0, 1, 5_000, 2_000_001, 3_600_000_000]), INT64
)
RESULT = st.tuples(
    st.one_of(st.integers(0, 300_000), INT64),  # sent so long ago
    st.one_of(st.integers(-1, 400_000), st.sampled_from([-1, 2**32, 2**61, 2**63 - 1]), INT64),
    st.one_of(st.integers(0, 1500), st.integers(0, 2**32 - 1)),
    st.integers(0, 4),
    st.booleans(),
)
STEPS = st.lists(
    st.tuples(
        STEP_US, st.sampled_from(["feedback"] * 6 + ["report", "tick", "sent", "route", "probe"])
    ),
    max_size=60,
)


def limits_of(config: RateConfig) -> tuple[int, int]:
    most = 100_000_000_000
    low = min(max(config.min_bps, 5_000), most)
    return low, min(max(config.max_bps, low), most)


def wrapped(value: int) -> int:
    """Into 64 bits, as a clock that wraps."""
    return (value + 2**63) % 2**64 - 2**63


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, print_blob=True)
@given(config=CONFIGS, steps=STEPS, data=st.data())
def test_no_input_takes_the_target_out_of_its_limits(
    kind: RateKind, config: RateConfig, steps: list[tuple[int, str]], data: st.DataObject
) -> None:
    now_us = 1_000_000
    controller = Controller(kind, config, now_us)
    low, high = limits_of(config)
    for step_us, verb in steps:
        now_us = wrapped(now_us + step_us)
        if verb == "feedback":
            drawn = data.draw(st.lists(RESULT, max_size=30))
            controller.on_feedback(
                [
                    PacketResult(wrapped(now_us - ago), wrapped(arrival), size, probe, is_ce)
                    for ago, arrival, size, probe, is_ce in drawn
                ],
                data.draw(INT64),
                now_us,
            )
        elif verb == "report":
            lost, packets = data.draw(st.tuples(st.integers(0, 255), st.integers(-9, 2**31 - 1)))
            controller.on_receiver_report(lost, packets, data.draw(INT64), 0, now_us)
        elif verb == "tick":
            controller.on_tick(now_us)
        elif verb == "sent":
            controller.on_sent(data.draw(st.integers(0, 2**32 - 1)), now_us)
        elif verb == "route":
            controller.on_route_change(data.draw(BPS), now_us)
        else:
            probe = controller.take_probe(now_us)
            assert probe is None or (0 < probe.bps <= high and probe.size > 0 < probe.packets)
        assert low <= controller.target_bps <= high
        assert controller.pacing_bps >= controller.target_bps
        state = controller.state()
        figures = [state.trend, state.threshold, state.acknowledged_bps, state.loss_based_bps]
        assert all(figure is None or math.isfinite(figure) for figure in figures)
        assert 0 <= state.loss <= 1


@pytest.mark.parametrize("kind", FEEDBACK_KINDS)
@settings(max_examples=30, deadline=None, print_blob=True)
@given(
    order=st.permutations(range(30)),
    doubled=st.sets(st.integers(0, 29)),
    jump_us=st.sampled_from([-3_600_000_000, -30_000_000, 0, 30_000_000, 2**40]),
)
def test_reordered_doubled_feedback_and_clock_jumps_end_where_they_should(
    kind: RateKind, order: list[int], doubled: set[int], jump_us: int
) -> None:
    """A second of disorder, then 20 s in order on a free path: the rate grows again."""
    config = RateConfig(start_bps=500_000, max_bps=2_000_000)
    controller = Controller(kind, config, 0)
    results = [PacketResult(i * 20_000, 2**41 + i * 20_000, 1200) for i in range(30)]
    for at, i in enumerate(order):
        told = [results[i]] * (2 if i in doubled else 1)
        controller.on_feedback(told, 50_000, 600_000 + at * 10_000)
    low_bps = controller.target_bps
    for i in range(200):
        at_us = 1_000_000 + i * 100_000
        per_report = max(low_bps, controller.target_bps) // 96_000 + 1
        told = []
        for k in range(per_report):
            sent_us = at_us + k * 100_000 // per_report
            controller.on_sent(1200, sent_us)
            told.append(PacketResult(sent_us, 2**41 + jump_us + sent_us + 2_000, 1200))
        controller.on_feedback(told, 50_000, at_us + 160_000)
    assert controller.target_bps > 700_000
