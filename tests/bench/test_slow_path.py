"""The bench of the event loop: its load is what it says, and neighbours tell the node the truth."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from bench.slow_path import Subscribers, measure
from bench.support.busy_node import Load, Reading, stream_names
from bench.support.steady_encoders import steady


def test_encoders_send_evenly_with_a_key_frame_a_second() -> None:
    streams, pps = 30, 50
    frames = steady(streams, pps)
    assert Counter(map(int, frames["stream"])) == dict.fromkeys(range(streams), pps)
    keys = frames[frames["is_key"] == 1]
    assert sorted(map(int, keys["stream"])) == list(range(streams))
    assert 0 <= min(frames["due_ns"]) <= max(frames["due_ns"]) < 1_000_000_000
    for tenth in range(10):
        part = frames[frames["due_ns"] // 100_000_000 == tenth]
        assert len(part) == pytest.approx(streams * pps / 10, rel=0.05)


def test_versions_of_a_broadcast_are_streams() -> None:
    assert stream_names(5) == ["s0", "s0.1", "s1", "s1.1", "s2"]


def test_media_of_all_links_and_viewers_is_added_up() -> None:
    metrics = """overlane_event_loop_delay_seconds_bucket{le="0.02"} 7.0
overlane_event_loop_delay_seconds_bucket{le="+Inf"} 9.0
overlane_event_loop_longest_stall_seconds 0.04
overlane_event_loop_longest_busy_seconds 0.003
overlane_link_time_in_node_seconds_count{neighbour="a"} 10.0
overlane_link_time_in_node_seconds_count{neighbour="b"} 20.0
overlane_viewers_time_in_node_seconds_count 5.0
"""
    delays = {20.0: 7.0, float("inf"): 9.0}
    assert Reading.of(metrics) == Reading(delays, 35, 40.0, 3.0)


@pytest.mark.integration
def test_nodes_subscribe_and_report() -> None:
    streams, nodes = 4, 2
    load = Load(streams, streams * nodes, 1, "gcc")
    found = asyncio.run(measure(Subscribers.NODES, load, nodes, 50, 1_200, 1.0))
    assert [phase["phase"] for phase in found["phases"]] == ["join", "media", "media and looks"]
    assert found["subscriptions"] == streams * nodes
    assert found["received_by_nodes"]["packets"] > streams * nodes * 50
    assert len(found["links"]) == nodes
    assert all(link["feedbacks"] > 0 and link["acked_bps"] > 0 for link in found["links"])
