"""Windows over counters that rise, wrap and begin anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from control_client.messages import LinkReport
from fastpath.stats import LinkStats, StreamStats
from relay.control.telemetry import (
    HopCount,
    LinkMark,
    LinkMeter,
    LoadMeter,
    StreamMeter,
    grown,
    hop_count,
    link_report,
)
from tests.relay.encoder import Encoder
from tests.relay.overlay import VIEWER, Overlay
from tests.relay.test_node_virtual import line

NO_LINK = LinkStats(
    **dict.fromkeys(LinkStats.__dataclass_fields__, 0) | {"is_up": True, "has_keys": True}  # type: ignore[arg-type]
)
NO_STREAM = StreamStats(**dict.fromkeys(StreamStats.__dataclass_fields__, 0))
WINDOW_US = 10_000_000


@pytest.mark.parametrize(("before", "now", "by"), [(5, 5, 0), (5, 9, 4), (9, 5, 5), (9, 0, 0)])
def test_a_counter_that_fell_has_begun_anew(before: int, now: int, by: int) -> None:
    assert grown(before, now) == by


def test_a_link_in_numbers() -> None:
    mark = LinkMark(1, sent_bytes=1_000, received_packets=100, lost=10)
    stats = replace(NO_LINK, rtt_us=40_000, sent_bytes=1_001_000, received_packets=1_070, lost=40)
    report = link_report("b", mark, stats, 1_000_000, WINDOW_US)
    assert report == LinkReport("b", True, 40_000, 30_000, 800, 800_000)


def test_a_link_made_anew_counts_from_zero() -> None:
    mark = LinkMark(1, sent_bytes=5_000_000, received_packets=5_000, lost=50)
    stats = replace(NO_LINK, rtt_us=1, sent_bytes=125_000, received_packets=99, lost=1)
    report = link_report("b", mark, stats, 1_000_000, WINDOW_US)
    assert (report.rate_bps, report.loss_ppm) == (100_000, 10_000)


def test_shares_stay_within_what_a_message_takes() -> None:
    stats = replace(NO_LINK, rtt_us=1, sent_bytes=1 << 50, lost=7)
    report = link_report("b", LinkMark(1), stats, 100_000, 1)
    assert report.utilisation_permille == 10_000
    assert report.loss_ppm == 1_000_000
    assert report.rate_bps <= 10_000_000_000_000


def test_numbers_of_a_stream_wrap() -> None:
    before = replace(NO_STREAM, packets=90, late=4, next_stream_seq=0xFFFFFFF0)
    now = replace(NO_STREAM, packets=185, late=10, next_stream_seq=0x54)
    count = hop_count(before, now, 7)
    assert count == HopCount(numbers=100, received=95, repaired=6)
    assert count.given_up == 5


def test_a_new_stream_counts_from_where_its_ring_began() -> None:
    now = replace(NO_STREAM, packets=9, next_stream_seq=6)
    assert hop_count(None, now, 0xFFFFFFFC) == HopCount(numbers=10, received=9)
    assert hop_count(None, NO_STREAM, 5) == HopCount()
    assert hop_count(NO_STREAM, now, 0xFFFFFFFC) == HopCount(numbers=10, received=9)


def test_a_stream_that_jumped_has_lost_nothing_by_it() -> None:
    before = replace(NO_STREAM, packets=90, next_stream_seq=100)
    now = replace(NO_STREAM, packets=95, next_stream_seq=4_000_000, restarts=1)
    assert hop_count(before, now, 7) == HopCount(numbers=5, received=5)


def test_holes_that_are_filled_in_the_next_window_are_no_negative_loss() -> None:
    before = replace(NO_STREAM, packets=90, next_stream_seq=100)
    now = replace(NO_STREAM, packets=105, late=5, next_stream_seq=110)
    assert hop_count(before, now, 7).given_up == 0


def test_of_real_nodes() -> None:
    overlay = Overlay()
    _, b, c = line(overlay)
    cpu_us = [0]
    links = LinkMeter(b.node, overlay.now_us)
    streams, load = StreamMeter(b.node), LoadMeter(b.node, lambda: cpu_us[0], overlay.now_us)
    c.node.add_viewer("demo", {"video": VIEWER}, overlay.now_us)
    encoder = Encoder(overlay, "a")
    encoder.run_for(2_000_000)
    cpu_us[0] += 500_000
    found = {link.neighbour: link for link in links.read(overlay.now_us)}
    assert set(found) == {"a", "c"}
    assert found["c"].rate_bps > 100_000 > found["a"].rate_bps > 0
    assert found["c"].rtt_us == pytest.approx(40_000, rel=0.05)
    assert found["c"].utilisation_permille == found["c"].rate_bps * 1000 // 100_000_000
    assert {link.loss_ppm for link in found.values()} == {0}
    assert [link.neighbour for link in links.read(overlay.now_us, ["c", "gone"])] == ["c"]
    (demo,) = streams.read()
    assert (demo.broadcast, demo.upstream, demo.viewers, demo.subscribers) == ("demo", "a", 0, 1)
    assert demo.received_packets > 100
    assert (demo.lost_packets, demo.given_up_packets) == (0, 0)
    assert demo.delay_us == pytest.approx(20_000, rel=0.1)
    node = load.read(overlay.now_us)
    assert (node.cpu_permille, node.streams, node.viewers) == (250, 2, 0)
    assert node.egress_bps == pytest.approx(sum(link.rate_bps for link in found.values()), rel=0.01)
    links.mark(overlay.now_us)
    overlay.run_for(100_000)
    assert (
        found["c"].rate_bps > 2 * {x.neighbour: x for x in links.read(overlay.now_us)}["c"].rate_bps
    )


def test_a_short_window_says_nothing_of_rates() -> None:
    """A node reports as soon as it is registered: microseconds of work would be all of a core."""
    overlay = Overlay()
    _, b, _ = line(overlay)
    cpu_us = [0]
    load = LoadMeter(b.node, lambda: cpu_us[0], overlay.now_us)
    cpu_us[0] += 3
    assert load.read(overlay.now_us + 1).cpu_permille == 0
    cpu_us[0] += 250_000
    overlay.run_for(1_000_000)
    assert load.read(overlay.now_us).cpu_permille == 250  # what came before is in it
    cpu_us[0] += 90_000
    again = load.read(overlay.now_us + 100_000)
    assert again.cpu_permille == 250  # the last that was measured
    overlay.run_for(1_000_000)
    assert load.read(overlay.now_us).cpu_permille == 90
