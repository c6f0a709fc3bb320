"""Probes: when they are asked for, how fast, and what their packets tell."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest

from fastpath.rate import Controller, PacketResult, Probe, RateConfig, RateKind

OFFSET_US = 5_000_000_000


def started(
    start_bps: int = 300_000, *, max_bps: int = 5_000_000, needed_bps: int = 0
) -> Controller:
    config = RateConfig(start_bps=start_bps, max_bps=max_bps, needed_bps=needed_bps)
    controller = Controller(RateKind.GCC, config, 0)
    controller.on_sent(1200, 1_000_000)
    return controller


def taken(controller: Controller, now_us: int) -> list[Probe]:
    found = []
    while probe := controller.take_probe(now_us):
        found.append(probe)
    return found


def answer(
    controller: Controller, probe: Probe, sent_us: int, received_bps: float, *, size: int = 1200
) -> int:
    """Send the probe at its rate; it arrives at another. When its report is there."""
    packets = max(probe.packets, -(-probe.size // size))
    results = []
    for i in range(packets):
        at_us = sent_us + round(i * size * 8e6 / probe.bps)
        arrival_us = sent_us + 50_000 + OFFSET_US + round(i * size * 8e6 / received_bps)
        controller.on_sent(size, at_us)
        results.append(PacketResult(at_us, arrival_us, size, probe.cluster))
    told_us = results[-1].arrival_us - OFFSET_US + 50_000
    controller.on_feedback(results, 100_000, told_us)
    return told_us


def test_the_start_is_probed_at_three_and_six_times() -> None:
    probes = taken(started(), 1_000_000)
    assert [p.bps for p in probes] == [900_000, 1_800_000]
    assert [p.cluster for p in probes] == [1, 2]
    for probe in probes:
        assert probe.packets >= 5
        assert probe.size * 8 >= probe.bps * 0.015


def test_nothing_is_probed_above_the_limit_or_twice_what_there_is_to_send() -> None:
    assert [p.bps for p in taken(started(max_bps=1_000_000), 1_000_000)] == [900_000, 1_000_000]
    assert [p.bps for p in taken(started(needed_bps=400_000), 1_000_000)] == [800_000]
    assert taken(started(max_bps=300_000), 1_000_000) == []


def test_a_probe_that_nobody_took_within_a_second_is_over() -> None:
    assert taken(started(), 2_000_001) == []


def test_a_full_link_shows_in_the_probe() -> None:
    """libwebrtc: 1,600 kbit/s sent, 1,142 received: 95 % of 1,140, within 10 kbit/s."""
    controller = started(267_000)
    probe = taken(controller, 1_000_000)[1]
    assert probe.bps == pytest.approx(1_600_000, rel=0.01)
    answer(controller, probe, 1_010_000, 1_142_000)
    assert controller.target_bps == pytest.approx(0.95 * 1_140_000, abs=10_000)


def test_a_probe_that_came_through_is_probed_further() -> None:
    controller = started()
    at_us = 1_010_000
    probes = taken(controller, at_us)[1:]
    seen = []
    while probes:
        at_us = answer(controller, probes[0], at_us, probes[0].bps) + 10_000
        seen.append(controller.target_bps)
        probes = taken(controller, at_us)
    assert seen[0] == pytest.approx(1_800_000, rel=0.01)
    assert seen[1] == pytest.approx(3_600_000, rel=0.01)
    assert seen[2] == pytest.approx(5_000_000, rel=0.01)
    assert len(seen) == 3


def test_a_probe_that_did_not_come_through_is_not() -> None:
    controller = started()
    probe = taken(controller, 1_010_000)[1]
    told_us = answer(controller, probe, 1_010_000, 0.6 * probe.bps)
    assert controller.target_bps == pytest.approx(0.95 * 0.6 * 1_800_000, rel=0.01)
    assert taken(controller, told_us) == []


def test_a_probe_of_which_too_little_arrives_says_nothing() -> None:
    controller = started()
    probe = taken(controller, 1_010_000)[1]
    results = [
        PacketResult(1_010_000 + i * 5_333, OFFSET_US + i * 5_333, 1200, probe.cluster)
        for i in range(3)
    ]
    controller.on_feedback(results, 0, 1_200_000)
    assert controller.target_bps < 400_000


def test_packets_of_an_unknown_cluster_are_no_probe() -> None:
    controller = started()
    answer(controller, Probe(77, 4_000_000, 7500, 5), 1_010_000, 4_000_000)
    assert controller.target_bps < 400_000


def limited_flow(controller: Controller, seconds: int, bps: int) -> list[tuple[int, int]]:
    """A flow that sends less than it may, on a free path; the probes it is asked for, (us,
    bit/s)."""
    seen = []
    size = bps // 8 // 50
    for i in range(seconds * 50):
        at_us = 1_000_000 + i * 20_000
        controller.on_sent(size, at_us)
        controller.on_tick(at_us)
        seen += [(at_us, probe.bps) for probe in taken(controller, at_us)]
        if i % 5 == 4:
            sent = [at_us - k * 20_000 for k in range(4, -1, -1)]
            controller.on_feedback(
                [PacketResult(t, t + 30_000 + OFFSET_US, size) for t in sent],
                60_000,
                at_us + 60_000,
            )
    return seen


def test_a_flow_that_sends_less_than_it_may_is_probed_each_5_s() -> None:
    controller = started(2_000_000, max_bps=10_000_000)
    seen = limited_flow(controller, 22, 500_000)
    assert controller.state().application_limited
    late = [(at, bps) for at, bps in seen if at > 1_000_000]
    assert len(late) == pytest.approx(4, abs=1)
    assert all(b[0] - a[0] >= 5_000_000 for a, b in pairwise(late))
    assert all(bps >= 2 * 1_900_000 for _, bps in late)


def test_a_flow_that_fills_its_rate_is_not_probed() -> None:
    controller = started(500_000, max_bps=500_001)
    seen = limited_flow(controller, 22, 500_000)
    assert not controller.state().application_limited
    assert [at for at, _ in seen if at > 1_000_000] == []


def test_a_raised_limit_is_probed() -> None:
    controller = started(300_000, max_bps=400_000)
    limited_flow(controller, 5, 390_000)
    controller.set_config(RateConfig(max_bps=3_000_000), 7_000_000)
    assert [p.bps for p in taken(controller, 7_000_000)] == [3_000_000]


def filled_flow(controller: Controller, from_us: int) -> tuple[Probe, int]:
    """A flow that sends 900 kbit/s, all it may, until a probe is asked for."""
    at_us = from_us
    results: list[PacketResult] = []
    while True:
        controller.on_sent(1125, at_us)
        controller.on_tick(at_us)
        probe = controller.take_probe(at_us)
        if probe:
            return probe, at_us
        results.append(PacketResult(at_us, at_us + 30_000 + OFFSET_US, 1125))
        if len(results) == 16:  # the tenth arrived 30 ms ago
            controller.on_feedback(results[:10], 60_000, at_us)
            results = results[10:]
        at_us += 10_000


@pytest.mark.parametrize(
    ("received", "taken_share", "next_us"),
    [(1.0, 1.7 * 0.75, 500_000), (0.6, 1.0, 3_000_000), (0.8, 1.0, 20_000_000)],
)
def test_a_flow_that_fills_its_rate_is_checked(
    received: float, taken_share: float, next_us: int
) -> None:
    """At 1.7 times. Through: there is room, and the next check comes soon. About what was sent
    before came through: the link is full. More came through a full link: others gave way to it."""
    controller = started(1_000_000, max_bps=3_000_000)
    taken(controller, 1_000_000)
    probe, at_us = filled_flow(controller, 1_000_000)
    assert at_us == pytest.approx(4_000_000, abs=100_000)
    assert probe.bps == pytest.approx(1.7 * controller.target_bps, rel=0.05)
    before_bps = controller.target_bps
    told_us = answer(controller, probe, at_us + 10_000, received * probe.bps)
    assert controller.target_bps == pytest.approx(taken_share * before_bps, rel=0.05)
    if received == 1.0:
        return
    _, next_at_us = filled_flow(controller, told_us + 10_000)
    assert next_at_us - at_us == pytest.approx(next_us, abs=300_000)


def test_a_check_that_a_limit_kept_small_does_not_lower_the_estimate() -> None:
    controller = started(1_200_000, max_bps=1_400_000)
    taken(controller, 1_000_000)
    probe, at_us = filled_flow(controller, 1_000_000)
    before_bps = controller.target_bps
    assert probe.bps == 1_400_000 < 1.7 * before_bps
    answer(controller, probe, at_us + 10_000, probe.bps)
    assert controller.target_bps >= before_bps > 0.75 * probe.bps


# -- what is wished for


def wishing_flow(
    controller: Controller,
    *,
    seconds: float,
    link_bps: Callable[[int], float],
    from_us: int = 1_000_000,
    bps: int = 700_000,
    lost: Callable[[int], bool] = lambda _: False,
) -> list[tuple[int, Probe]]:
    """A flow of its own rate over a link with a queue, that sends what it is asked to: the
    probes."""
    results: list[tuple[int, PacketResult]] = []  # when known
    waits: list[tuple[float, int, int]] = []  # when, size, probe
    seen = []
    free_us = 0.0
    gap_us = 1200 * 8_000_000 // bps
    now_us, next_us, told_us = from_us, from_us, from_us
    while now_us < from_us + round(seconds * 1e6):
        if now_us >= next_us:
            waits.append((now_us, 1200, 0))
            next_us += gap_us
        controller.on_tick(now_us)
        while probe := controller.take_probe(now_us):
            seen.append((now_us, probe))
            packets = max(probe.packets, -(-probe.size // 1200))
            waits += [(now_us + i * 9.6e9 / probe.bps, 1200, probe.cluster) for i in range(packets)]
        for at_us, size, cluster in sorted(each for each in waits if each[0] <= now_us):
            free_us = max(free_us, at_us) + size * 8e6 / link_bps(now_us)
            controller.on_sent(size, now_us)
            arrival_us = -1 if lost(now_us) else round(free_us) + 20_000 + OFFSET_US
            result = PacketResult(round(at_us), arrival_us, size, cluster)
            results.append((round(free_us) + 40_000, result))
        waits = [each for each in waits if each[0] > now_us]
        if now_us >= told_us:
            known = [result for at_us, result in results if at_us <= now_us]
            if known:
                controller.on_feedback(sorted(known), 40_000, now_us)
            results = [each for each in results if each[0] > now_us]
            told_us += 50_000
        now_us += 1_000
    return seen


def settled(link_bps: float = 1e6) -> tuple[Controller, int]:
    """Of a flow of 700 kbit/s over a link that carries little more; until when."""
    controller = started(1_000_000, max_bps=20_000_000)
    wishing_flow(controller, seconds=9, link_bps=lambda _: link_bps)
    assert controller.target_bps < 1.2 * link_bps
    return controller, 10_000_000


def need(controller: Controller, needed_bps: int, now_us: int) -> None:
    controller.set_config(RateConfig(max_bps=20_000_000, needed_bps=needed_bps), now_us)


def test_who_needs_more_is_probed_for_that_each_2_s_and_loses_nothing_by_it() -> None:
    controller, now_us = settled()
    before_bps = controller.target_bps
    need(controller, 3_450_000, now_us)
    seen = wishing_flow(controller, seconds=20, link_bps=lambda _: 1e6, from_us=now_us)
    assert len(seen) >= 8
    assert {probe.bps for _, probe in seen} == {round(1.05 * 3_450_000)}
    assert all(b - a >= 2_000_000 for (a, _), (b, _) in pairwise(seen))
    assert controller.target_bps > 0.9 * before_bps
    need(controller, 0, now_us + 20_000_000)
    seen = wishing_flow(controller, seconds=3, link_bps=lambda _: 1e6, from_us=30_000_000)
    assert [probe.bps for _, probe in seen if probe.bps > 2e6] == []


def test_what_is_needed_is_found_when_the_link_carries_it_and_kept() -> None:
    """The flow sends 700 kbit/s all the time, so nothing else shows that there is more."""
    controller, now_us = settled()
    need(controller, 3_450_000, now_us)
    wishing_flow(controller, seconds=5, link_bps=lambda _: 1e6, from_us=now_us)
    assert controller.target_bps < 1_400_000
    wishing_flow(controller, seconds=2.3, link_bps=lambda _: 4e6, from_us=15_000_000)
    assert controller.target_bps == 3_450_000
    wishing_flow(controller, seconds=4, link_bps=lambda _: 4e6, from_us=17_300_000)
    assert controller.target_bps >= 3_450_000


def test_losses_of_long_ago_do_not_keep_a_flow_down_that_does_not_fill_its_rate() -> None:
    controller, now_us = settled()
    drawn = Random(1)
    wishing_flow(
        controller,
        seconds=2,
        link_bps=lambda _: 1e6,
        from_us=now_us,
        lost=lambda _: drawn.random() < 0.3,
    )
    assert controller.state().limited_by_loss
    need(controller, 3_450_000, 12_000_000)
    wishing_flow(controller, seconds=10, link_bps=lambda _: 4e6, from_us=12_000_000)
    assert controller.target_bps >= 3_450_000


def test_a_probe_that_left_too_slowly_is_made_again_soon() -> None:
    controller, now_us = settled()
    need(controller, 3_450_000, now_us)
    now_us += 2_100_000
    controller.on_tick(now_us)
    (probe,) = taken(controller, now_us)
    slow = Probe(probe.cluster, 2_400_000, probe.size, probe.packets)
    told_us = answer(controller, slow, now_us, slow.bps)
    assert controller.target_bps == pytest.approx(2_400_000, rel=0.02)
    controller.on_tick(told_us)
    assert taken(controller, told_us) == []
    controller.on_tick(now_us + 510_000)
    assert [p.bps for p in taken(controller, now_us + 510_000)] == [probe.bps]


@pytest.mark.parametrize("sizes", [(1208, 1208, 1208, 1208, 239), (239, 1208, 1208, 1208, 1208)])
@pytest.mark.parametrize(("link_bps", "is_free"), [(5e6, True), (1.05e6, False)])
def test_packets_of_several_sizes_tell_whether_there_is_room(
    sizes: tuple[int, ...], link_bps: float, *, is_free: bool
) -> None:
    """A small first or last packet arrives sooner behind its fellows than a large one."""
    controller = started(1_000_000, max_bps=3_000_000)
    taken(controller, 1_000_000)
    probe, at_us = filled_flow(controller, 1_000_000)
    before_bps = controller.target_bps
    sent_us = free_us = float(at_us)
    results = []
    for size in sizes:
        controller.on_sent(size, round(sent_us))
        free_us = max(free_us, sent_us) + size * 8e6 / link_bps
        arrival_us = round(free_us) + OFFSET_US
        results.append(PacketResult(round(sent_us), arrival_us, size, probe.cluster))
        sent_us += size * 8e6 / probe.bps
    controller.on_feedback(results, 60_000, round(free_us) + 50_000)
    assert (controller.target_bps > 1.1 * before_bps) == is_free


def test_what_a_tick_lets_out_together_is_one() -> None:
    """Each 2 ms, two packets: a small last one is not the rate of the large one beside it."""
    controller = started()
    probe = taken(controller, 1_000_000)[1]
    results = []
    for i in range(10):
        at_us = 1_010_000 + i // 2 * 5_000
        size = 1200 if 0 < i < 9 else 100
        results.append(PacketResult(at_us, at_us + OFFSET_US, size, probe.cluster))
    controller.on_feedback(results, 0, 1_200_000)
    assert controller.target_bps == pytest.approx((7 * 1200 + 100) * 8 / 20e-3, rel=0.01)
