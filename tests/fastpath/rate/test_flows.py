"""Controllers on flows over a bottleneck: RFC 8867, libwebrtc's scenarios, and what relays meet."""

from __future__ import annotations

from itertools import pairwise

import pytest

from bench.support.flow_network import Bottleneck, Timeline
from bench.support.media_flow import MediaFlow, Path
from bench.support.rate_cases import controller_of, figures, run_case
from bench.support.tcp_flow import TcpFlow
from fastpath.rate import Controller, PacketResult, RateConfig, RateKind

SECOND_US = 1_000_000
KINDS = [RateKind.GCC, RateKind.NADA]


def gcc(**limits: int) -> Controller:
    return Controller(RateKind.GCC, RateConfig(**limits), 0)  # type: ignore[arg-type]


def mean_bps(flow: MediaFlow, begin_s: float, end_s: float) -> float:
    points = [
        bps for at, bps in flow.record.targets if begin_s * SECOND_US <= at < end_s * SECOND_US
    ]
    return sum(points) / len(points)


@pytest.mark.parametrize("kind", KINDS)
def test_variable_capacity(kind: RateKind) -> None:
    """RFC 8867 5.1."""
    found = figures(run_case("5.1", controller_of(kind)))
    assert found["use"] >= 0.8  # type: ignore[operator]
    assert found["queue_p95_ms"] <= 150  # type: ignore[operator]
    assert found["loss"] <= 0.01  # type: ignore[operator]


@pytest.mark.parametrize("kind", KINDS)
def test_flows_of_one_kind_share_evenly(kind: RateKind) -> None:
    """RFC 8867 5.4."""
    found = figures(run_case("5.4", controller_of(kind)))
    assert found["jain"] >= 0.9  # type: ignore[operator]
    assert found["use"] >= 0.8  # type: ignore[operator]


def test_capacity_that_rises_and_falls() -> None:
    """libwebrtc: 450 +- 100 kbit/s after 25 s at 500, 750 +- 150 after 20 s at 800, 90 +- 25 after
    50 s at 100."""
    timeline = Timeline()
    bottleneck = Bottleneck([(0, 500e3), (25, 800e3), (45, 100e3)])
    flow = MediaFlow(timeline, gcc(min_bps=5_000, max_bps=5_000_000), Path(bottleneck, 100_000))
    timeline.run(95 * SECOND_US)
    assert mean_bps(flow, 24, 25) == pytest.approx(450e3, abs=100e3)
    assert mean_bps(flow, 44, 45) == pytest.approx(750e3, abs=150e3)
    assert mean_bps(flow, 94, 95) == pytest.approx(90e3, abs=25e3)


def test_ten_percent_random_loss() -> None:
    """libwebrtc: 2 Mbit/s, 200 ms each way, more than 100 kbit/s after 120 s."""
    timeline = Timeline()
    bottleneck = Bottleneck([(0, 2e6)], loss=0.1)
    flow = MediaFlow(timeline, gcc(min_bps=10_000, max_bps=1_500_000), Path(bottleneck, 200_000))
    timeline.run(120 * SECOND_US)
    assert mean_bps(flow, 110, 120) > 100e3


def test_beside_tcp() -> None:
    """libwebrtc: 1 Mbit/s, 10 s, less than 750 kbit/s. And it is not starved."""
    timeline = Timeline()
    bottleneck = Bottleneck([(0, 1e6)])
    flow = MediaFlow(timeline, gcc(min_bps=30_000, max_bps=1_500_000), Path(bottleneck))
    TcpFlow(timeline, bottleneck)
    timeline.run(10 * SECOND_US)
    assert 30e3 < mean_bps(flow, 5, 10) < 750e3


@pytest.mark.parametrize("sends_probes", [False, True])
def test_a_flow_that_sends_784_kbps_for_ten_minutes(sends_probes: bool) -> None:
    """The estimate neither collapses nor grows past 1.5 times what arrives, unless a probe verified
    it."""
    timeline = Timeline()
    bottleneck = Bottleneck([(0, 3e6)])
    controller = gcc(start_bps=800_000, max_bps=10_000_000)
    flow = MediaFlow(
        timeline, controller, Path(bottleneck), source_bps=784_000, sends_probes=sends_probes
    )
    acknowledged: list[float] = []

    def look() -> None:
        acknowledged.append(controller.state().acknowledged_bps or 0)
        timeline.at(timeline.now_us + 50_000, look)

    timeline.at(0, look)
    timeline.run(600 * SECOND_US)
    targets = [bps for at, bps in flow.record.targets if at >= 10 * SECOND_US]
    assert min(targets) >= 784_000
    if sends_probes:
        assert 2_400_000 < max(targets) <= 3_100_000
    else:
        # What arrives in a second is not always 784: the frames' sizes vary.
        assert max(acknowledged) == pytest.approx(784_000, rel=0.15)
        assert max(targets) <= 1.5 * max(acknowledged) + 10_000
    assert max(wait for _, wait in flow.record.waits) < 100_000


def trains(
    controller: Controller, bottleneck: Bottleneck, begin_us: int, seconds: float, rtt_us: int
) -> list[tuple[int, int]]:
    """A node link: what the target allows, as a train of packets each millisecond (half a million
    packets would tell the controller the same), a report each 50 ms. (us, target)."""
    seen = []
    now_us = begin_us
    waiting: list[PacketResult] = []
    while now_us < begin_us + seconds * SECOND_US:
        size = controller.target_bps // 8 // 1000
        controller.on_sent(size, now_us)
        through = bottleneck.send(now_us, size)
        arrival_us = -1 if through is None else through[0] + rtt_us // 2
        waiting.append(PacketResult(now_us, arrival_us, size))
        now_us += 1000
        if now_us % 50_000 == 0:
            told = [r for r in waiting if r.arrival_us <= now_us - rtt_us // 2]
            waiting = waiting[len(told) :]
            controller.on_feedback(told, rtt_us, now_us)
            controller.on_tick(now_us)
            seen.append((now_us, controller.target_bps))
    return seen


@pytest.mark.parametrize("rtt_us", [20_000, 50_000, 100_000])
def test_a_node_link_recovers_from_a_back_off_within_10_s(rtt_us: int) -> None:
    """200 streams on 400 Mbit/s: from 85 % back to all of it, by additive steps."""
    capacity_bps = 400e6
    config = RateConfig(start_bps=380_000_000, max_bps=500_000_000, streams=200, is_node_link=True)
    seen = trains(
        Controller(RateKind.GCC, config, 0), Bottleneck([(0, capacity_bps)]), 0, 20, rtt_us
    )
    low_us = next(at for (_, a), (at, b) in pairwise(seen) if b < 0.9 * a)
    low_bps = next(bps for at, bps in seen if at == low_us)
    assert 0.8 * capacity_bps < low_bps < 0.87 * capacity_bps
    back_us = next(at for at, bps in seen if at > low_us and bps >= capacity_bps)
    assert 5 * SECOND_US < back_us - low_us <= 10 * SECOND_US
    assert max(bps for _, bps in seen) < 1.1 * capacity_bps


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
