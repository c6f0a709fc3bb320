"""Viewers that go on with another broadcast, and how those of the lab judge what they get."""

from __future__ import annotations

from typing import Any

import pytest

from lab.scenario.loader import scenario_of
from lab.scenario.report import ViewerReport
from lab.virtual.run import VirtualOverlay


def run(*switches: tuple[float, str], **changes: Any) -> ViewerReport:
    """Two broadcasts at one node, a viewer behind a path of 10 ms."""
    document: dict[str, Any] = {
        "name": "switches",
        "duration_s": 16.0,
        "nodes": [{"name": "a"}],
        "broadcasts": [
            {"name": "one", "node": "a", "bitrate_bps": 800_000},
            {"name": "two", "node": "a", "bitrate_bps": 500_000, "start_s": 1.6},
        ],
        "viewers": [{"name": "v", "stream": "one", "node": "a", "join_s": 3.0}],
        "access": [{"viewers": "v", "delay_ms": 10}],
        "events": [
            {"at_s": at_s, "do": "switch_viewer", "viewer": "v", "to": to} for at_s, to in switches
        ],
    }
    (viewer,) = VirtualOverlay(scenario_of(document | changes)).run().viewers
    return viewer


def check_seamless(viewer: ViewerReport) -> None:
    assert viewer.intact_ratio == 1.0
    assert viewer.frames_undecodable == viewer.frames_damaged == viewer.frames_missing == 0
    assert viewer.sequence_breaks == viewer.packets_corrupt == viewer.audio_missing == 0
    assert viewer.longest_gap_ms is not None
    assert viewer.longest_gap_ms < 1_000 / 30 + 10


def test_it_goes_on_at_the_other_s_key_frames_and_misses_nothing() -> None:
    viewer = run((6.0, "two"), (11.3, "one"))
    check_seamless(viewer)
    assert [change.stream for change in viewer.stream_changes] == ["two", "one"]
    # Key frames each 2 s, from 1.6 and from 1 s on; over the path, and paced.
    for change, key_s in zip(viewer.stream_changes, (7.6, 13.0), strict=True):
        assert change.at_s == pytest.approx(key_s + 0.01, abs=0.03)
    # From 3 s, and the key frame before, to the end: each moment's frame of one of the two.
    assert viewer.frames_expected == pytest.approx(30 * 13, abs=3)


def test_what_is_lost_about_a_switch_is_repaired() -> None:
    access = [{"viewers": "v", "delay_ms": 20, "loss": 0.05, "back": {"loss": 0}}]
    viewers = [{"name": "v", "stream": "one", "node": "a", "join_s": 3.0, "rtx": True}]
    switches = [(4.0 + n, ("two", "one")[n % 2]) for n in range(0, 11, 2)]
    viewer = run(*switches, (9.0, "two"), access=access, viewers=viewers)
    assert viewer.rtx_repaired > 20
    assert viewer.frames_damaged == viewer.frames_undecodable == viewer.frames_missing == 0
    assert viewer.frames_intact == viewer.frames_expected
    assert viewer.sequence_breaks == viewer.packets_corrupt == 0


def test_who_is_away_joins_what_it_was_told() -> None:
    viewers = [{"name": "v", "stream": "one", "node": "a"}]
    events: list[dict[str, Any]] = [
        {"at_s": 4.0, "do": "switch_viewer", "viewer": "v", "to": "two"},
        {"at_s": 5.0, "do": "join", "viewer": "v"},
    ]
    viewer = run(viewers=viewers, events=events)
    check_seamless(viewer)
    assert viewer.stream == "two"
    assert viewer.stream_changes == []


def test_its_own_broadcast_again_is_no_switch() -> None:
    viewer = run((6.0, "one"), (8.0, "two"), (8.1, "one"))
    check_seamless(viewer)
    assert viewer.stream_changes == []


def test_what_is_not_to_be_had_leaves_it_where_it_is() -> None:
    broadcasts = [
        {"name": "one", "node": "a", "bitrate_bps": 800_000},
        {"name": "two", "node": "b", "bitrate_bps": 500_000},
    ]
    parts = {
        "nodes": [{"name": "a"}, {"name": "b"}],
        "links": [{"a": "a", "b": "b", "delay_ms": 5}],
        "paths": [{"node": "a", "stream": "two", "via": ["b"]}],
    }
    events = [
        {"at_s": 4.0, "do": "kill", "node": "b"},
        {"at_s": 6.0, "do": "switch_viewer", "viewer": "v", "to": "two"},
    ]
    viewer = run(broadcasts=broadcasts, events=events, **parts)
    check_seamless(viewer)
    assert viewer.stream_changes == []
