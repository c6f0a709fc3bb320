"""Whole scenarios in virtual time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab.scenario.loader import load_scenario, scenario_of
from lab.scenario.report import ScenarioReport
from lab.virtual.run import run_virtual

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "lab" / "scenarios").glob("*.toml"))
RFC8867 = [file for file in SHIPPED if file.stem.startswith("rfc8867-")]
"""They measure rate control, and what they expect is its aim: see test_rate_cases."""
LARGE = [file for file in SHIPPED if file.stem == "node-link"]
SCENARIOS = [file for file in SHIPPED if file not in RFC8867 + LARGE]


def run(**changes: Any) -> ScenarioReport:
    """Two nodes without a brain, one viewer at the far one."""
    document: dict[str, Any] = {
        "name": "small",
        "duration_s": 6.0,
        "nodes": [{"name": "a"}, {"name": "b"}],
        "links": [{"a": "a", "b": "b", "delay_ms": 20}],
        "paths": [{"node": "b", "stream": "live", "via": ["a"]}],
        "broadcasts": [{"name": "live", "node": "a", "bitrate_bps": 500_000}],
        "viewers": [{"name": "v", "stream": "live", "node": "b", "join_s": 2.0}],
    }
    return run_virtual(scenario_of(document | changes))


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_what_the_shipped_scenarios_expect_is_held(file: Path) -> None:
    scenario = load_scenario(file)
    if scenario.duration_s > 600:
        scenario = scenario.model_copy(update={"duration_s": 120.0})
    report = run_virtual(scenario)
    assert report.is_as_expected, [one for one in report.expectations if not one.held]


@pytest.mark.parametrize("file", LARGE, ids=lambda file: file.stem)
def test_large_scenarios_run(file: Path) -> None:
    """For some seconds: what they expect takes longer than a test should."""
    report = run_virtual(load_scenario(file).model_copy(update={"duration_s": 5.0}))
    assert sum(viewer.frames_intact for viewer in report.viewers) > 50 * len(report.viewers)
    assert all(viewer.packets_corrupt == 0 for viewer in report.viewers)


def test_a_seed_gives_the_same_report_and_packets_in_any_process() -> None:
    command = [sys.executable, "-m", "overlane", "lab", "--virtual", "--json"]
    command += [str(ROOT / "lab/scenarios/primary-cut.toml"), "--seconds", "30"]
    found = []
    for hash_seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": hash_seed, "PATH": "/usr/bin:/bin"}
        result = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        found.append(result.stdout)
    assert found[0] == found[1]
    assert len(json.loads(found[0])["trace_digest"]) == 32


def test_another_seed_gives_other_packets() -> None:
    lossy = [{"a": "a", "b": "b", "delay_ms": 20, "loss": 0.02}]
    one, two, again = run(links=lossy), run(links=lossy, seed=2), run(links=lossy)
    assert one.trace_digest != two.trace_digest
    assert msgspec.json.encode(one) == msgspec.json.encode(again)


def test_a_clean_path_brings_every_frame_at_its_delay() -> None:
    (viewer,) = run().viewers
    # Joined in the middle of the second group of pictures: from the key frame at 1 s + 0.
    assert viewer.frames_expected == viewer.frames_intact == 150
    assert viewer.path == ["a", "b"]
    assert viewer.least_delay_ms == 20.0
    assert viewer.packets_duplicate == viewer.packets_corrupt == viewer.sequence_breaks == 0
    assert viewer.audio_missing == 0
    assert viewer.longest_gap_ms is not None
    assert viewer.longest_gap_ms < 60


def test_losses_without_a_way_to_repair_them_in_time_are_seen() -> None:
    """A cut of 4 s: frames are missing, and the silence is laid to the event."""
    cut = [{"at_s": 3.0, "do": "cut", "a": "a", "b": "b"}]
    mend = [{"at_s": 7.0, "do": "mend", "a": "a", "b": "b"}]
    report = run(duration_s=12.0, events=cut + mend)
    (viewer,) = report.viewers
    lost = viewer.frames_missing + viewer.frames_damaged + viewer.frames_late
    assert viewer.frames_expected == viewer.frames_intact + lost
    assert lost >= 60
    assert viewer.gaps
    assert viewer.gaps[0].gap_ms > 3_900
    assert viewer.gaps[0].event == 1  # the newest before it ended
    assert (viewer.longest_gap_ms or 0) > 3_900


def test_a_late_joiner_is_a_cache_hit_and_starts_within_milliseconds() -> None:
    viewers = [
        {"name": "first", "stream": "live", "node": "b", "join_s": 2.0},
        {"name": "second", "stream": "live", "node": "b", "join_s": 4.0},
    ]
    first, second = run(viewers=viewers).viewers
    assert (first.is_cache_hit, second.is_cache_hit) == (False, True)
    assert first.first_packet_ms == pytest.approx(40, abs=3)  # a round trip
    assert second.first_packet_ms is not None
    assert second.first_packet_ms < 2


def test_a_restarted_encoder_goes_on_for_its_viewer() -> None:
    events = [{"at_s": 4.0, "do": "restart_encoder", "broadcast": "live"}]
    (viewer,) = run(duration_s=8.0, events=events).viewers
    assert viewer.sequence_breaks == 0
    assert (viewer.longest_gap_ms or 0) < 600
    assert viewer.frames_intact >= 0.9 * viewer.frames_expected


def test_moved_viewers_and_those_who_leave() -> None:
    events = [
        {"at_s": 3.0, "do": "move_viewer", "viewer": "v", "to": "a"},
        {"at_s": 4.0, "do": "leave", "viewer": "v"},
        {"at_s": 5.0, "do": "join", "viewer": "v"},
    ]
    (viewer,) = run(events=events).viewers
    assert viewer.node == "b"
    assert viewer.intact_ratio == 1.0
    assert viewer.packets_duplicate == 0


def test_a_broadcaster_who_moved_while_its_old_node_was_down_is_seen_there() -> None:
    """The node comes back with an ingest that nobody sends to any more."""
    nodes = [{"name": "a"}, {"name": "b"}]
    events = [
        {"at_s": 4.0, "do": "kill", "node": "a"},
        {"at_s": 5.0, "do": "move_broadcast", "broadcast": "live", "to": "b"},
        {"at_s": 8.0, "do": "start", "node": "a"},
    ]
    viewers = [{"name": "v", "stream": "live", "node": "a", "join_s": 2.0}]
    report = run(nodes=nodes, events=events, viewers=viewers, brain={}, paths=[], duration_s=30.0)
    (viewer,) = report.viewers
    assert viewer.path == ["b", "a"]
    assert (viewer.longest_gap_ms or 0) < 3_000
    assert viewer.frames_intact > 600
