"""What a node makes of its views: from what leaves it, in virtual time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fastpath.stats import CursorStats
from relay.metrics import new_registry
from relay.qoe import BOUNDS_US, Histogram, Qoe, Sample
from relay.series import exposition
from relay.status import node_status
from tests.relay.encoder import Encoder
from tests.relay.routed_overlay import Routed, watched
from tests.support.cursor_figures import NOTHING_SENT

STARTED = replace(NOTHING_SENT, first_sent_us=1_050_000, first_frame_us=1_080_000)


def sample(main: CursorStats, *, first_sent_us: int = 1_050_000) -> Sample:
    return Sample(main, first_sent_us, path_delay_us=60_000, time_in_node_us=200)


def test_a_view_that_starts_fast_and_never_stalls() -> None:
    qoe = Qoe()
    qoe.begin(1, 1_000_000)
    qoe.note(1, sample(NOTHING_SENT, first_sent_us=0), 1_040_000)
    assert qoe.fast + qoe.slow == 0
    for second in range(2, 6):
        now_us = second * 1_000_000
        main = replace(STARTED, newest_frame_us=now_us - 20_000, rtt_us=40_000)
        qoe.note(1, sample(main), now_us)
    view = qoe.find(1)
    assert view is not None
    assert (view.first_packet_us, view.start_us) == (50_000, 80_000)
    assert view.path_delay_us == 60_200
    assert view.streaming_delay_us == 60_200 + 20_000 + 300_000
    assert (qoe.zero_stall_ratio, qoe.fast_start_up_ratio) == (1.0, 1.0)
    qoe.end(1, 9_000_000)
    assert (qoe.views, qoe.begun, qoe.fast, qoe.slow, qoe.stalled) == (1, 1, 1, 0, 0)


def test_who_waits_in_vain_is_slow_once_and_who_gives_up_early_is_nothing() -> None:
    qoe = Qoe()
    for viewer in (1, 2, 3):
        qoe.begin(viewer, 1_000_000)
    qoe.end(3, 1_900_000)
    qoe.wait(1, 2_100_000)
    qoe.wait(1, 2_200_000)
    qoe.note(2, sample(replace(STARTED, first_frame_us=2_100_000)), 2_300_000)
    qoe.note(1, sample(replace(STARTED, first_frame_us=2_400_000)), 2_500_000)
    qoe.end(1, 3_000_000)
    assert (qoe.fast, qoe.slow, qoe.begun) == (0, 2, 2)
    assert qoe.fast_start_up_ratio == 0.0
    assert qoe.start_up.count == 2


def test_a_silence_counts_while_it_lasts_and_once() -> None:
    qoe = Qoe()
    qoe.begin(1, 1_000_000)
    main = replace(STARTED, newest_frame_us=2_000_000)
    qoe.note(1, sample(main), 2_900_000)
    assert qoe.stalls == 0
    qoe.note(1, sample(main), 3_500_000)
    qoe.note(1, sample(main), 4_500_000)
    assert (qoe.stalls, qoe.stalled, qoe.stalled_us) == (1, 1, 2_200_000)
    over = replace(main, newest_frame_us=5_000_000, stalls=1, stalled_us=2_700_000)
    qoe.note(1, sample(over), 5_010_000)
    again = replace(over, newest_frame_us=6_000_000, stalls=2, stalled_us=2_900_000)
    qoe.note(1, sample(again), 6_010_000)
    assert (qoe.stalls, qoe.stalled, qoe.stalled_us) == (2, 1, 2_900_000)
    assert qoe.zero_stall_ratio == 0.0


def test_a_histogram_tells_quantiles_within_its_buckets() -> None:
    histogram = Histogram()
    assert histogram.quantile_us(0.5) is None
    for value_us in (1_000, 20_000, 90_000, 100_000, 30_000_000):
        histogram.note(value_us)
    assert sum(histogram.counts[: BOUNDS_US.index(20_000) + 1]) == 2
    assert histogram.counts[-1] == 1
    assert 75_000 < (histogram.quantile_us(0.5) or 0) <= 90_000
    assert histogram.quantile_us(1.0) == BOUNDS_US[-1]


def test_the_players_buffer_does_not_blur_streaming_delays() -> None:
    """10 and 30 ms of path: told as such behind 300 ms, not as something between 300 and 400."""
    qoe = Qoe()
    qoe.begin(1, 1_000_000)
    for path_us in (9_000, 9_000, 9_000, 30_000):
        qoe.note(1, replace(sample(STARTED), path_delay_us=path_us), 1_100_000)
    assert 303_000 <= (qoe.streaming_delay.quantile_us(0.5) or 0) <= 310_000
    assert qoe.streaming_delay.quantile_us(1.0) == 340_000


@pytest.mark.parametrize("outage_us", [200_000, 600_000, 1_800_000])
def test_a_node_sees_what_a_player_of_its_viewers_does(outage_us: int) -> None:
    """A cut without a way around, and mended: longer than a player's buffer it is a stall."""
    overlay = Routed()
    overlay.join({"ab": 20_000, "bc": 10_000})
    overlay.paths["c"] = (("b", "a"),)
    encoder, viewer = watched(overlay)
    node = overlay.nodes["c"].node
    view = node.qoe.find(viewer.number)
    assert view is not None
    assert view.stalls == 0
    assert view.first_packet_us is not None
    assert 60_000 <= view.first_packet_us <= 200_000  # asked for, over two links, and back
    encoder.run_for(2_000_000)
    overlay.cut_link("bc")
    encoder.run_for(outage_us)
    overlay.mend_link("bc")
    encoder.run_for(8_000_000)
    assert view.stalls == (outage_us > 300_000)
    if view.stalls:
        assert abs(view.stalled_us - (outage_us - 300_000)) < 1_200_000
    path_us = view.path_delay_us
    assert path_us is not None
    assert 30_000 <= path_us <= 33_000
    told = node_status(node, overlay.now_us)["qoe"]
    assert isinstance(told, dict)
    assert told["zero_stall_ratio"] == (0.0 if view.stalls else 1.0)
    text = "".join(exposition(node, new_registry(node)))
    assert f"overlane_views_stalled_total {float(view.stalls > 0)}" in text
    assert 'overlane_view_start_up_seconds_bucket{le="1.0"} 1.0' in text
    node.remove_viewer(viewer, overlay.now_us)
    assert node.qoe.views == 1
    assert node.qoe.present == {}
    node.add_viewer(viewer.broadcast, {}, overlay.now_us)  # for its description
    assert node.qoe.views == 1


def test_a_thousand_frames_on_time_are_no_stall_whatever_the_clock_does() -> None:
    """Frames come late by less than the buffer, again and again; the RTP time wraps."""
    overlay = Routed()
    overlay.join({"ab": 20_000, "bc": 10_000}, jitter_us=60_000)
    overlay.paths["c"] = (("b", "a"),)
    encoder = Encoder(overlay, "a")
    encoder.frame = (1 << 32) // 1800 - 200  # RTP time wraps 4 s later
    encoder.run_for(600_000)
    viewer = overlay.watch("c")
    encoder.run_for(20_000_000)
    view = overlay.nodes["c"].node.qoe.find(viewer.number)
    assert view is not None
    assert view.samples >= 18
    assert view.stalls == 0
