"""Viewers and encoders behind paths of their own: what those do to media and to what is said
back.
"""

from __future__ import annotations

from typing import Any

import pytest

from lab.scenario.loader import scenario_of
from lab.scenario.report import ScenarioReport, ViewerReport
from lab.virtual.run import VirtualOverlay


def overlay(**changes: Any) -> VirtualOverlay:
    """One node with two viewers."""
    document: dict[str, Any] = {
        "name": "small",
        "duration_s": 8.0,
        "nodes": [{"name": "a"}],
        "broadcasts": [{"name": "live", "node": "a", "bitrate_bps": 800_000}],
        "viewers": [
            {"name": "near", "stream": "live", "node": "a", "join_s": 2.0},
            {"name": "far", "stream": "live", "node": "a", "join_s": 2.0},
        ],
    }
    return VirtualOverlay(scenario_of(document | changes))


def run(**changes: Any) -> dict[str, ViewerReport]:
    return {viewer.name: viewer for viewer in report(**changes).viewers}


def report(**changes: Any) -> ScenarioReport:
    return overlay(**changes).run()


def test_only_who_is_behind_a_path_waits_for_it() -> None:
    found = run(access=[{"viewers": "f*", "delay_ms": 35, "jitter_ms": 2}])
    assert found["near"].least_delay_ms == 0.0
    assert found["far"].least_delay_ms == pytest.approx(35, abs=1.5)
    for viewer in found.values():
        assert viewer.intact_ratio == 1.0
        assert viewer.packets_duplicate == viewer.sequence_breaks == viewer.audio_missing == 0


def test_what_is_lost_is_asked_for_over_the_path_back() -> None:
    lossy = {"viewers": "far", "delay_ms": 20, "loss": 0.03}
    repaired = run(access=[{**lossy, "back": {"loss": 0}}])["far"]
    silent = run(access=[lossy], viewers=[_far(feedback=["reports"])])["far"]
    deaf = run(access=[{**lossy, "back": {"loss": 1}}], viewers=[_far()])["far"]
    assert (repaired.intact_ratio or 0) > 0.99
    assert (silent.intact_ratio or 1) < 0.95
    assert deaf.frames_intact == silent.frames_intact
    assert repaired.packets_duplicate == 0


def _far(**keys: Any) -> dict[str, Any]:
    return {"name": "far", "stream": "live", "node": "a", "join_s": 2.0, **keys}


def test_reports_tell_the_node_round_trip_and_loss() -> None:
    lab = overlay(
        access=[{"viewers": "far", "delay_ms": 30, "loss": 0.2, "back": {"loss": 0}}],
        viewers=[_far(feedback=["reports"])],
    )
    lab.run_until(lab.end_us)
    (watcher,) = lab.audience.watchers
    assert watcher.viewer is not None
    reports, asked = lab.world.feedback_counts(watcher.number)
    assert reports >= 4
    assert asked == 0
    host = lab.nodes["a"]
    stats = host.node.engine.cursor_stats(watcher.viewer.legs["video"].cursor)
    assert stats.reports_received >= 3
    assert stats.rtt_us == pytest.approx(60_000, abs=1_000)
    assert 0.1 < stats.fraction_lost < 0.3


@pytest.mark.parametrize("shared", [True, False])
def test_a_shared_path_is_one_bottleneck(shared: bool) -> None:
    """1.5 Mbit/s are enough for one, not for two; both are there before the first packet."""
    path = {"viewers": "*", "delay_ms": 10, "rate_bps": 1_500_000, "queue_ms": 200}
    viewers = [{**_far(), "name": name, "join_s": 0.5} for name in ("near", "far")]
    lab = overlay(access=[{**path, "shared": shared}], viewers=viewers)
    found = lab.run()
    worst = min(viewer.intact_ratio or 0 for viewer in found.viewers)
    if shared:
        assert worst < 0.9
        (_, _, dropped), _ = lab.world.access_counts(0)
        assert dropped > 100
    else:
        assert worst > 0.99


def test_an_event_changes_a_path_and_changes_it_back() -> None:
    events = [
        {"at_s": 4.0, "do": "access", "viewers": "far", "loss": 1.0},
        {"at_s": 5.0, "do": "access", "viewers": "far", "loss": 0.0},
    ]
    found = report(access=[{"viewers": "*", "delay_ms": 5}], events=events)
    near, far = found.viewers
    assert near.longest_gap_ms is not None
    assert near.longest_gap_ms < 60
    assert far.longest_gap_ms == pytest.approx(1_000, abs=60)
    assert far.gaps[0].event == 1
    assert found.events[0].what == "access of far: loss 100.0%"


def test_a_trace_of_rates_fills_the_queue_while_it_is_low() -> None:
    trace = [[0, 4_000_000], [5.5, 200_000], [6, 4_000_000]]
    path = {"viewers": "far", "rate_trace": trace, "queue_ms": 5_000}
    lab = overlay(access=[path], viewers=[_far(feedback=[])])
    waits = []
    for at_s in (5.4, 5.99, 7.4):
        lab.run_until(1_000_000 + round(at_s * 1e6))
        waits.append(lab.world.access_wait_us(0))
    assert waits[0] < 50_000
    assert waits[1] > 20_000  # what is left of a queue at the higher rate, which is to come
    assert waits[2] < 50_000
    found = lab.run().viewers[0]
    # Late, but nothing was dropped.
    assert found.frames_intact + found.frames_late == found.frames_expected
    assert (found.delay_ms.p99 or 0) > 100


def test_an_encoder_behind_a_path() -> None:
    path = {"broadcast": "live", "delay_ms": 40, "jitter_ms": 3, "reorder": 0.02}
    found = run(access=[path])["near"]
    assert found.least_delay_ms == pytest.approx(40, abs=1.5)
    assert found.intact_ratio == 1.0
    lossy = run(access=[{**path, "loss": 0.05}])["near"]
    assert (lossy.intact_ratio or 1) < 0.95


def test_who_has_given_up_on_a_packet_asks_for_a_key_frame_and_the_encoder_makes_one() -> None:
    """The ring keeps too little to send it again after a gap of 3 s, in a group of pictures of 10
    s.
    """
    events = [
        {"at_s": 3.0, "do": "access", "viewers": "far", "loss": 1.0},
        {"at_s": 9.5, "do": "access", "viewers": "far", "loss": 0.0},
    ]
    broadcasts = [{"name": "live", "node": "a", "bitrate_bps": 800_000, "gop_s": 60.0}]
    access = [{"viewers": "far", "delay_ms": 20}, {"broadcast": "live", "delay_ms": 15}]
    said = {"duration_s": 14.0, "events": events, "broadcasts": broadcasts, "access": access}
    lab = overlay(**said, viewers=[_far(feedback=["reports", "nack", "pli"])])
    lab.run()
    assert 1 <= lab.world.keys_asked(0) <= 4
    silent = overlay(**said, viewers=[_far(feedback=["reports", "nack"])])
    silent.run()
    assert silent.world.keys_asked(0) == 0


def test_duplicates_of_a_path_are_the_viewers_alone() -> None:
    """A path that sends twice is told apart from a node that does."""
    found = run(access=[{"viewers": "far", "delay_ms": 5, "duplicate": 0.1}])
    assert found["near"].packets_duplicate == 0
    assert found["far"].packets_duplicate > 0.05 * found["far"].packets
    assert found["far"].intact_ratio == 1.0


def test_a_seed_gives_the_same_packets_over_access_paths() -> None:
    burst = {"p_bad": 0.01, "p_good": 0.3}
    path = {"viewers": "*", "delay_ms": 12, "jitter_ms": 1, "burst_loss": burst, "duplicate": 0.01}
    one, again = report(access=[path]), report(access=[path])
    assert one == again
    assert report(access=[path], seed=2).trace_digest != one.trace_digest
