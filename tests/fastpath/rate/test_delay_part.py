"""The delay part of GCC against libwebrtc's own expectations of it.

Sources: trendline_estimator_unittest.cc, delay_based_bwe_unittest(_helper).cc,
aimd_rate_control_unittest.cc.
"""

from __future__ import annotations

import pytest

from bench.support.rate_link import FrameLink, feed_groups
from fastpath.rate import Controller, PacketResult, RateConfig, RateKind, RateProfile

GROUP_US = 20_000
WRAP_US = 1 << 32


def gcc(
    start_bps: int = 300_000, *, min_bps: int = 5_000, max_bps: int = 30_000_000, now_us: int = 0
) -> Controller:
    config = RateConfig(min_bps=min_bps, start_bps=start_bps, max_bps=max_bps)
    return Controller(RateKind.GCC, config, now_us)


@pytest.mark.parametrize(
    ("arrived_every_us", "usage"),
    [(GROUP_US, "normal"), (GROUP_US * 11 // 10, "over"), (GROUP_US * 85 // 100, "under")],
)
@pytest.mark.parametrize("arrival_us", [90_000_000, WRAP_US - 250_000])
def test_25_steady_groups_show_the_trend(
    arrived_every_us: int, usage: str, arrival_us: int
) -> None:
    controller = gcc()
    feed_groups(
        controller,
        26,
        sent_every_us=GROUP_US,
        arrived_every_us=arrived_every_us,
        arrival_us=arrival_us,
    )
    assert controller.state().usage == usage


def test_packets_within_5_ms_are_one_group() -> None:
    """Four packets of a frame that arrive one after another are no growing delay."""
    controller = gcc()
    for frame in range(60):
        sent_us = 1_000_000 + frame * 33_000
        results = [
            PacketResult(sent_us + i * 1000, 90_000_000 + frame * 33_000 + i * 6000, 1200)
            for i in range(4)
        ]
        controller.on_feedback(results, 0, sent_us + 60_000)
    assert controller.state().usage == "normal"
    assert controller.state().trend == pytest.approx(0)


def test_a_burst_behind_a_blocked_link_is_one_group() -> None:
    """20 packets, 10 ms apart, let out at one time: no sample but the last one's."""
    controller = gcc()
    sent_us, arrival_us = feed_groups(controller, 40, sent_every_us=10_000, arrived_every_us=10_000)
    held = [
        PacketResult(sent_us + i * 10_000, arrival_us + 90_000 + i * 200, 1200) for i in range(10)
    ]
    controller.on_feedback(held, 0, sent_us + 200_000)
    feed_groups(
        controller,
        40,
        sent_every_us=10_000,
        arrived_every_us=10_000,
        sent_us=sent_us + 100_000,
        arrival_us=arrival_us + 100_000,
    )
    assert controller.state().usage != "over"


@pytest.mark.parametrize(
    ("offset_us", "expected_ms"), [(0, 500), (30_000_000, 867), (-30_000_000, 933)]
)
def test_half_the_capacity_is_followed_in_time(offset_us: int, expected_ms: int) -> None:
    """1 Mbit/s becomes 0.5. libwebrtc: 500, 867 and 933 ms, each within 33 ms. It may take no
    longer here, and 20 % less is as good."""
    link = FrameLink(gcc(900_000), capacity_bps=1_000_000)
    for _ in range(20 * 30):
        link.frame()
    assert link.controller.target_bps == pytest.approx(900_000, rel=0.25)
    link.capacity_bps = 500_000
    link.clock_offset_us += offset_us
    begin_us = link.now_us
    while link.controller.target_bps > 500_000:
        link.frame()
        assert link.now_us - begin_us < 5_000_000
    taken_ms = (link.now_us - begin_us) / 1000
    assert taken_ms <= expected_ms * 1.2


def test_it_ramps_up_without_probes() -> None:
    """30 to 500 kbit/s in 617 frames of 30 a second (libwebrtc), within 20 %; of these the first 5
    s, 150 frames, pass there before anything grows, because no start rate is given
    (kInitializationTimeMs)."""
    link = FrameLink(gcc(30_000), capacity_bps=100_000_000)
    frames = 0
    while link.controller.target_bps < 500_000:
        link.frame()
        frames += 1
        assert frames < 2000
    assert frames + 150 == pytest.approx(617, rel=0.2)


def test_small_steps_of_the_clock_are_no_delay() -> None:
    """Times below a millisecond on a free path for 20 s: the estimate never falls."""
    link = FrameLink(gcc(300_000, max_bps=1_000_000), capacity_bps=1_000_000_000, fps=60)
    link.clock_offset_us += 337
    before_bps = 0
    for frame in range(20 * 60):
        link.clock_offset_us += (frame * 7919) % 500 - ((frame - 1) * 7919) % 500
        link.frame()
        assert link.controller.target_bps >= before_bps
        before_bps = link.controller.target_bps


@pytest.mark.parametrize(
    ("profile", "expected_bps"), [(RateProfile.LIBWEBRTC, 250_000), (RateProfile.DRAFT, 255_000)]
)
def test_over_use_takes_85_percent(profile: RateProfile, expected_bps: int) -> None:
    """300 kbit/s arrive, or 5 % less once the link is full; aiortc's test has exactly 255,000,
    libwebrtc takes 5,000 more off."""
    config = RateConfig(min_bps=5_000, start_bps=300_000, max_bps=300_000, profile=profile)
    link = FrameLink(Controller(RateKind.GCC, config, 0), capacity_bps=305_000)
    for _ in range(30 * 5):
        link.frame(300_000)
    assert link.controller.target_bps == 300_000
    link.capacity_bps = 285_000
    for _ in range(300):
        link.frame(300_000)
        if link.controller.target_bps < 300_000:
            break
    assert link.controller.target_bps == pytest.approx(expected_bps, rel=0.1)


def test_before_anything_is_acknowledged_over_use_halves_the_rate() -> None:
    """Fewer than 10 packets, and a delay that grows fast."""
    controller = gcc(300_000)
    before_bps = 0
    for i in range(60):
        before_bps = controller.target_bps
        at_us = 1_000_000 + i * 700_000
        controller.on_feedback(
            [PacketResult(at_us, 90_000_000 + i * 800_000, 1200)], 0, at_us + 900_000
        )
        if controller.target_bps < before_bps:
            break
    assert controller.state().acknowledged_bps is None
    assert controller.target_bps == before_bps // 2


def test_a_silence_of_more_than_2_s_starts_the_filter_anew() -> None:
    controller = gcc()
    sent_us, arrival_us = feed_groups(
        controller, 26, sent_every_us=GROUP_US, arrived_every_us=GROUP_US * 11 // 10
    )
    assert controller.state().usage == "over"
    feed_groups(
        controller,
        2,
        sent_every_us=GROUP_US,
        arrived_every_us=GROUP_US,
        sent_us=sent_us + 2_000_001,
        arrival_us=arrival_us + 2_000_001,
    )
    assert controller.state().usage == "normal"


def test_silence_is_backed_off_from_after_3_s() -> None:
    """20 % a second, to the minimum, while packets are sent and none is told of."""
    controller = gcc(1_000_000)
    seen = []
    for i in range(400):
        controller.on_sent(1200, i * 25_000)
        controller.on_tick(i * 25_000)
        if i % 40 == 0:
            seen.append(controller.target_bps)
    assert seen[:4] == [1_000_000] * 4
    assert seen[4] == 800_000
    assert seen[-1] == pytest.approx(1_000_000 * 0.8**6, rel=0.01)


def test_nothing_is_backed_off_from_while_nothing_is_sent() -> None:
    controller = gcc(1_000_000)
    controller.on_sent(1200, 0)
    for i in range(400):
        controller.on_tick(i * 25_000)
    assert controller.target_bps == 1_000_000


def key_frames(controller: Controller, *, each_us: int, rate_bps: float, seconds: int) -> int:
    """Pictures of 12 KB at 30 a second over a link of 4 Mbit/s; a key frame is four times as large,
    and leaves at 6 Mbit/s. How often the link was over-used. rate_bps: of pictures between them."""
    over = 0
    free_us, now_us, next_us = 0.0, 1_000_000.0, 1_000_000.0
    results: list[PacketResult] = []
    key_us = 0.0
    while now_us < 1_000_000 + seconds * 1e6:
        is_key = now_us >= key_us
        if is_key:
            key_us = now_us + each_us
        count = 40 if is_key else round(rate_bps / 30 / 9600)
        now_us = max(now_us, next_us)
        for _ in range(count):
            free_us = max(free_us, now_us) + 9.6e9 / 4e6
            arrival_us = 90_000_000 + round(free_us)
            results.append(PacketResult(round(now_us), arrival_us, 1200, is_fast=is_key))
            now_us += 9.6e9 / (6e6 if is_key else 4.2e6)
        next_us += 33_333
        now_us = max(now_us, next_us)
        controller.on_feedback(results, 0, round(now_us) + 50_000)
        results = []
        over += controller.state().usage == "over"
    return over


def test_a_key_frame_faster_than_the_link_is_no_over_use() -> None:
    assert key_frames(gcc(3_500_000), each_us=2_000_000, rate_bps=2.9e6, seconds=20) == 0


@pytest.mark.parametrize("each_us", [2_000_000, 100_000, 1])
def test_a_queue_that_grows_between_or_through_key_frames_is_seen(each_us: int) -> None:
    """Also where there are nothing but key frames."""
    assert key_frames(gcc(3_500_000), each_us=each_us, rate_bps=4.4e6, seconds=4) > 0
