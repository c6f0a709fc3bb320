"""The loss parts: LossBasedBweV2's model, and the thresholds for receiver reports."""

from __future__ import annotations

import random

import pytest

from fastpath.rate import Controller, PacketResult, RateConfig, RateKind, RateProfile

SEED = 20261121
OFFSET_US = 7_000_000_000


def lossy_flow(
    controller: Controller,
    seconds: int,
    loss: float,
    *,
    capacity_bps: float = float("inf"),
    every: int = 0,
    from_us: int = 1_000_000,
) -> list[int]:
    """A flow of the target's rate on a path without a queue, that loses at random, each so-many-th
    packet, and what is above its capacity. The targets, each 100 ms."""
    draws = random.Random(SEED)
    targets = []
    sent = 0
    for i in range(seconds * 10):
        at_us = from_us + i * 100_000
        packets = max(controller.target_bps // 96_000, 1)
        excess = max(1 - capacity_bps / max(controller.target_bps, 1), 0)
        results = []
        for k in range(packets):
            sent_us = at_us + k * 100_000 // packets
            controller.on_sent(1200, sent_us)
            sent += 1
            is_lost = draws.random() < loss or draws.random() < excess
            is_lost = is_lost or (every > 0 and sent % every == 0)
            arrival_us = -1 if is_lost else sent_us + 50_000 + OFFSET_US
            results.append(PacketResult(sent_us, arrival_us, 1200))
        controller.on_feedback(results, 100_000, at_us + 200_000)
        targets.append(controller.target_bps)
    return targets


def gcc(start_bps: int = 1_000_000, **limits: int) -> Controller:
    config = RateConfig(start_bps=start_bps, **{"max_bps": 4_000_000, **limits})  # type: ignore[arg-type]
    return Controller(RateKind.GCC, config, 0)


def test_without_losses_the_model_limits_nothing() -> None:
    controller = gcc()
    assert lossy_flow(controller, 30, 0)[-1] == 4_000_000
    assert not controller.state().limited_by_loss


@pytest.mark.parametrize("loss", [0.01, 0.02])
def test_random_loss_costs_less_than_a_tenth(loss: float) -> None:
    targets = lossy_flow(gcc(), 60, loss)
    assert sum(targets[300:]) / len(targets[300:]) > 0.9 * 4_000_000


def test_losses_above_a_capacity_show_it() -> None:
    """No queue, no delay: all that is above 1.5 Mbit/s is lost."""
    controller = gcc()
    targets = lossy_flow(controller, 60, 0, capacity_bps=1_500_000)
    late = targets[200:]
    assert 0.8 * 1_500_000 < sum(late) / len(late) < 1.15 * 1_500_000
    assert controller.state().loss < 0.1


def test_after_losses_it_comes_back() -> None:
    controller = gcc()
    lossy_flow(controller, 20, 0)
    low = min(lossy_flow(controller, 10, 0, capacity_bps=1_000_000, from_us=30_000_000))
    assert low < 1_500_000
    targets = lossy_flow(controller, 60, 0, from_us=50_000_000)
    assert targets[-1] == 4_000_000


def test_heavy_loss_takes_the_rate_to_what_arrives() -> None:
    targets = lossy_flow(gcc(), 30, 0.4)
    assert max(targets[100:]) < 1_000_000


def test_the_drafts_profile_goes_by_thresholds() -> None:
    """2 to 10 %: as it is. More: down."""
    config = RateConfig(start_bps=1_000_000, max_bps=4_000_000, profile=RateProfile.DRAFT)
    middle = Controller(RateKind.GCC, config, 0)
    targets = lossy_flow(middle, 20, 0, every=20)
    assert max(targets[30:]) == min(targets[30:]) > 1_000_000
    high = Controller(RateKind.GCC, config, 0)
    assert lossy_flow(high, 20, 0.3)[-1] < 300_000


# Receiver reports


def reported(
    controller: Controller,
    seconds: int,
    fraction_lost: int,
    *,
    limit_bps: int = 10**9,
    from_s: int = 0,
) -> int:
    """A flow of the target's rate, a report each second."""
    for i in range(seconds * 40):
        now_us = from_s * 1_000_000 + i * 25_000
        bps = min(controller.target_bps, limit_bps)
        controller.on_sent(bps // 320, now_us)
        controller.on_tick(now_us)
        if i % 40 == 39:
            controller.on_receiver_report(fraction_lost, bps // 9600, 100_000, 500, now_us)
    return controller.target_bps


def loss_only(**limits: int) -> Controller:
    config = RateConfig(**{"max_bps": 1_000_000, **limits})  # type: ignore[arg-type]
    return Controller(RateKind.LOSS_ONLY, config, 0)


def test_reports_without_losses_let_it_grow() -> None:
    """libwebrtc without packet feedback, 1 Mbit/s, 20 s: at least 500 kbit/s."""
    assert reported(loss_only(), 20, 0) >= 500_000


def test_reports_of_losses_take_it_down() -> None:
    """And with loss at most 300."""
    assert reported(loss_only(), 20, 64) <= 300_000


@pytest.mark.parametrize(("fraction_lost", "grows"), [(5, True), (6, False), (25, False)])
def test_the_thresholds_are_2_and_10_percent(fraction_lost: int, grows: bool) -> None:
    """5 / 256 is 1.95 %, 6 / 256 2.3 %, 25 / 256 9.8 %."""
    target_bps = reported(loss_only(), 5, fraction_lost)
    assert (target_bps > 300_000) == grows
    assert target_bps >= 300_000


def test_a_report_of_losses_takes_half_its_share() -> None:
    controller = loss_only()
    controller.on_sent(1200, 0)
    controller.on_receiver_report(128, 100, 100_000, 0, 1_000_000)
    assert controller.target_bps == 225_000
    # Not again within 300 ms and a round trip, and not twice for one report.
    controller.on_receiver_report(128, 100, 100_000, 0, 1_399_999)
    assert controller.target_bps == 225_000
    controller.on_tick(1_400_000)
    assert controller.target_bps == 168_750
    controller.on_tick(3_000_000)
    assert controller.target_bps == 168_750


def test_few_packets_wait_for_the_next_report() -> None:
    controller = loss_only()
    controller.on_receiver_report(255, 19, 0, 0, 1_000_000)
    assert controller.target_bps == 300_000
    controller.on_receiver_report(0, 1, 0, 0, 2_000_000)
    assert controller.target_bps < 180_000


def test_it_grows_up_to_its_limit_whatever_is_sent() -> None:
    """A viewer that is sent a lower bitrate is to find that there is room for a better one."""
    assert reported(loss_only(), 60, 0, limit_bps=200_000) == 1_000_000


def test_silence_takes_it_down() -> None:
    controller = loss_only(start_bps=1_000_000)
    reported(controller, 5, 0)
    for i in range(40 * 20):
        now_us = 5_000_000 + i * 25_000
        controller.on_sent(1000, now_us)
        controller.on_tick(now_us)
    # 15 s after the last report, and then 20 % a second for about 5 s.
    assert controller.target_bps == pytest.approx(1_000_000 * 0.8**5, rel=0.25)
