"""NADA by the equations of RFC 8698."""

from __future__ import annotations

import math

import pytest

from fastpath.rate import Controller, PacketResult, RateConfig, RateKind

OFFSET_US = 3_000_000_000
CONFIG = RateConfig(min_bps=150_000, start_bps=300_000, max_bps=1_500_000)


class Reports:
    """A flow of the target's rate, 20 packets a report of 100 ms, at a queueing delay that the test
    sets."""

    def __init__(self, config: RateConfig = CONFIG) -> None:
        self.controller = Controller(RateKind.NADA, config, 0)
        self.now_us = 1_000_000

    def run(
        self,
        count: int,
        queue_us: int = 0,
        *,
        lost: int = 0,
        marked: int = 0,
        bps: int | None = None,
        rtt_us: int = 100_000,
    ) -> int:
        for _ in range(count):
            size = (bps or self.controller.target_bps) // 8 // 10 // 20
            results = []
            for k in range(20):
                sent_us = self.now_us + k * 5_000
                self.controller.on_sent(size, sent_us)
                arrival_us = -1 if k < lost else sent_us + 50_000 + OFFSET_US + queue_us
                results.append(PacketResult(sent_us, arrival_us, size, is_ce=k >= 20 - marked))
            self.now_us += 100_000
            self.controller.on_feedback(results, rtt_us, self.now_us + 100_000)
        return self.controller.target_bps


def test_a_free_path_is_ramped_up_to_the_limit() -> None:
    """Each step by 50 ms / (RTT + 220 ms) of what arrives; at 100 ms 15.6 %."""
    reports = Reports()
    reports.run(7)
    before_bps = reports.controller.state().acknowledged_bps
    after_bps = reports.run(1)
    assert before_bps is not None
    assert after_bps == pytest.approx(before_bps * (1 + 50 / 320), rel=0.05)
    assert reports.run(40) == 1_500_000


def test_a_shorter_round_trip_ramps_up_faster() -> None:
    short, long = Reports(), Reports()
    assert short.run(15, rtt_us=10_000) > 1.1 * long.run(15, rtt_us=300_000)


@pytest.mark.parametrize("queue_us", [15_000, 20_000, 30_000])
def test_the_rate_rests_where_the_queue_is_its_share(queue_us: int) -> None:
    """x = XREF * RMAX / rate: 10 ms * 1.5 M / rate."""
    reports = Reports()
    reports.run(3)
    reports.run(2000, queue_us)
    assert reports.controller.target_bps == pytest.approx(1_500_000 * 10_000 / queue_us, rel=0.02)
    assert reports.controller.state().queue_us == queue_us


def test_a_longer_queue_takes_it_down_at_once() -> None:
    """ETA: the change of the signal counts, 40 ms cost 0.5 * 2 * 40 / 500 = 8 % and the offset's
    part."""
    reports = Reports()
    reports.run(3)
    reports.run(600, 20_000)
    before_bps = reports.controller.target_bps
    after_bps = reports.run(1, 60_000)
    offset_ms = 60 - 15_000_000 / before_bps
    expected = before_bps * (1 - 0.08 - 0.5 * 0.2 * offset_ms / 500)
    assert after_bps == pytest.approx(expected, rel=0.01)


def test_losses_count_as_delay() -> None:
    """10 ms for 1 %, by the square."""
    reports = Reports()
    reports.run(10)
    reports.run(300, 0, lost=1)
    state = reports.controller.state()
    assert state.loss == pytest.approx(0.05, rel=0.05)
    assert state.trend == pytest.approx(10 * 5**2, rel=0.1)
    assert reports.controller.target_bps == 150_000


def test_marks_count_less() -> None:
    reports = Reports()
    reports.run(10)
    reports.run(300, 0, marked=1)
    assert reports.controller.state().trend == pytest.approx(2 * 5**2, rel=0.1)
    assert reports.controller.target_bps == pytest.approx(1_500_000 * 10 / 50, rel=0.1)


def test_delay_is_bent_down_once_losses_are_expected() -> None:
    """50 ms * exp(-0.5 * (q - 50) / 50) for a queue of others, plus what the losses add."""
    reports = Reports()
    reports.run(3)
    reports.run(10, 200_000)
    assert reports.controller.state().trend == pytest.approx(200)
    reports.run(1, 200_000, lost=1)
    reports.run(3, 200_000)
    state = reports.controller.state()
    assert state.trend == pytest.approx(
        50 * math.exp(-0.5 * 150 / 50) + 10 * (state.loss / 0.01) ** 2, rel=0.01
    )


def test_a_jump_of_the_receivers_clock_is_no_queue() -> None:
    reports = Reports()
    reports.run(10)
    reports.run(2, 3_600_000_000)
    assert reports.controller.state().queue_us == 0


def test_the_base_is_forgotten_after_ten_minutes() -> None:
    """A path that got longer, or clocks that drift, must not be a queue for ever."""
    reports = Reports()
    reports.run(10)
    reports.run(3000, 30_000)
    assert reports.controller.state().queue_us == 30_000
    reports.run(3100, 30_000)
    assert reports.controller.state().queue_us == 0


def test_it_does_not_grow_past_what_arrives() -> None:
    reports = Reports(RateConfig(min_bps=150_000, start_bps=300_000, max_bps=20_000_000))
    assert reports.run(600, 11_000, bps=400_000) <= 1.5 * 400_000 * 1.06 + 10_000


def test_silence_takes_it_down() -> None:
    reports = Reports()
    reports.run(100)
    for i in range(400):
        at_us = reports.now_us + i * 25_000
        reports.controller.on_sent(1200, at_us)
        reports.controller.on_tick(at_us)
    assert reports.controller.target_bps < 0.4 * 1_500_000
