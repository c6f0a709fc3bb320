"""Viewers whose lost video comes again as RTX (RFC 4588): what it repairs, what they tell of it."""

from __future__ import annotations

from typing import Any

import pytest

from lab.scenario.loader import scenario_of
from lab.virtual.run import VirtualOverlay
from lab.virtual.settings import START_US

LOSS = 0.02


def overlay(path: dict[str, Any] | None = None, **viewer: Any) -> VirtualOverlay:
    """One viewer behind a path that loses packets of media, and nothing of what is said back."""
    access = {"viewers": "far", "delay_ms": 20, "loss": LOSS, "back": {"loss": 0}}
    entry = {"name": "far", "stream": "live", "node": "a", "join_s": 2.0}
    said = {"feedback": ["reports", "nack", "transport_cc"]}
    document: dict[str, Any] = {
        "name": "rtx",
        "duration_s": 40.0,
        "nodes": [{"name": "a"}],
        "broadcasts": [{"name": "live", "node": "a", "bitrate_bps": 1_500_000}],
        "viewers": [entry | said | viewer],
        "access": [access | (path or {})],
        "rate": {"viewers": {"min_bps": 4_000_000}},  # losses do not slow it down
    }
    return VirtualOverlay(scenario_of(document))


def test_what_the_access_path_loses_comes_again_as_rtx() -> None:
    lab = overlay()
    (viewer,) = lab.run().viewers
    assert viewer.frames_expected > 1_100
    assert viewer.frames_intact == viewer.frames_expected
    assert viewer.rtx_repaired > 60
    assert viewer.packets_duplicate == viewer.packets_corrupt == viewer.sequence_breaks == 0
    # A loss that was asked for twice, or came again by a second way; and what fills probes.
    unasked = lab.nodes["a"].node.engine.verdicts()["viewer_padding"]
    assert unasked > 0
    assert abs(viewer.rtx_packets - viewer.rtx_repaired - unasked) < 0.1 * viewer.rtx_packets


def test_its_own_numbers_and_the_medias_are_apart() -> None:
    """The node's count of what was sent again, and of what fills probes, is the viewer's of RTX,
    but for those lost again."""
    lab = overlay()
    lab.run_until(lab.end_us)
    (watcher,) = lab.audience.watchers
    assert watcher.viewer is not None
    leg = watcher.viewer.legs["video"]
    stats = lab.nodes["a"].node.engine.cursor_stats(leg.cursor)
    found = lab.world.viewer(watcher.number)
    assert leg.rtx_ssrc not in (None, leg.ssrc)
    sent = stats.resent + lab.nodes["a"].node.engine.verdicts()["viewer_padding"]
    assert 0 <= sent - found.rtx_packets < 0.1 * sent
    assert found.breaks == 0


def test_reports_go_on_telling_of_what_rtx_repaired() -> None:
    """By the media's numbers alone the share lost can be told; with what is sent again under
    these numbers it seems to be nothing."""
    shares = {}
    for rtx in (True, False):
        lab = overlay({"loss": 0.08}, rtx=rtx, feedback=["reports", "nack"])
        lab.run_until(lab.end_us)
        (watcher,) = lab.audience.watchers
        assert watcher.viewer is not None
        leg = watcher.viewer.legs["video"]
        shares[rtx] = lab.nodes["a"].node.engine.cursor_stats(leg.cursor).cumulative_lost
        found = lab.world.viewer(watcher.number)
        assert (found.rtx_packets > 0) == rtx
        assert found.video_missing < 5
    assert shares[True] > 200
    assert shares[False] < 20


def test_transport_wide_feedback_tells_of_rtx_as_of_any_packet() -> None:
    """Else each of them would count as one loss more: 18 % of all in place of 10 %."""
    lab = overlay({"loss": 0.1})
    found = []
    for at_s in range(10, 40):
        lab.run_until(START_US + at_s * 1_000_000)
        (watcher,) = lab.audience.watchers
        assert watcher.viewer is not None
        assert watcher.viewer.link is not None
        found.append(lab.nodes["a"].node.engine.link_stats(watcher.viewer.link).feedback_loss)
    assert sum(found) / len(found) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(
    ("said", "wants"),
    [
        ({"feedback": ["reports", "nack", "transport_cc"]}, True),
        ({"feedback": ["reports", "nack", "transport_cc"], "rtx": False}, False),
        ({"feedback": ["reports", "nack"]}, False),
        ({"feedback": ["reports", "nack"], "rtx": True}, True),
    ],
)
def test_who_wants_it(said: dict[str, Any], wants: bool) -> None:
    lab = overlay(**said)
    lab.run_until(START_US + 7_000_000)
    found = lab.world.viewer(0)
    assert (found.rtx_repaired > 0) == wants
    assert found.video_missing < 5
