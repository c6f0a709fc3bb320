"""Adaptive encoders, transport-wide feedback and cross traffic together: the cases of RFC 8867.

How well rate control does is for a bench to say; here they run, and what must hold of any
controller does: nothing is lost that was not dropped at the bottleneck, and media follow the rate
they are given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.scenario.loader import load_scenario, scenario_of
from lab.virtual.run import VirtualOverlay, run_virtual

CASES = sorted((Path(__file__).parents[3] / "lab" / "scenarios").glob("rfc8867-*.toml"))


def test_all_of_section_5_are_there() -> None:
    assert [file.stem for file in CASES] == [f"rfc8867-5-{number}" for number in range(1, 9)]


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_a_case_runs(file: Path) -> None:
    scenario = load_scenario(file)
    events = tuple(e.model_copy(update={"at_s": e.at_s / 10}) for e in scenario.events)
    scenario = scenario.model_copy(update={"duration_s": 12.0, "events": events})
    overlay = VirtualOverlay(scenario)
    report = overlay.run()
    first = report.viewers[0]
    assert first.frames_intact + first.frames_late > 100
    assert first.packets_corrupt == first.sequence_breaks == 0
    (access,) = report.access
    assert access.forward.lost == access.back.lost == access.back.dropped == 0
    assert 0.1 < (access.forward.use or 0) <= 1.001
    assert (access.forward.queue_ms_p95 or 0) <= 300
    assert report.trace_digest == run_virtual(scenario).trace_digest


def document(**access: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "duration_s": 15.0,
        "rate": {"viewers": {"start_bps": 500_000, "min_bps": 150_000}},
        "nodes": [{"name": "a"}],
        "broadcasts": [
            {
                "name": "live",
                "node": "a",
                "bitrate_bps": 400_000,
                "gop_s": 5.0,
                "adaptive": {"min_bps": 200_000, "max_bps": 900_000},
            }
        ],
        "viewers": [
            {
                "name": "v",
                "stream": "live",
                "node": "a",
                "join_s": 1.5,
                "feedback": ["reports", "transport_cc"],
            }
        ],
        "access": [{"viewers": "v", "delay_ms": 25, "queue_ms": 300, **access}],
    }


def test_an_encoder_follows_its_rate_within_its_limits() -> None:
    overlay = VirtualOverlay(scenario_of(document(rate_bps=20_000_000)))
    (viewer,) = overlay.run().viewers
    (adaptation,) = overlay.adaptations
    rates = [bps for _, bps in adaptation.bitrates]
    assert max(rates) == 900_000
    assert min(rates) >= 200_000
    assert viewer.intact_ratio == 1.0
    assert 500_000 < (viewer.rate_bps or 0) < 1_150_000  # with what fills probes of up to 20 Mbit/s


def test_an_encoder_shares_a_narrow_path_with_what_else_there_is() -> None:
    flows = [{"name": "other", "kind": "cbr", "viewers": "v", "rate_bps": 500_000, "start_s": 5.0}]
    parts = document(rate_bps=1_000_000) | {"flows": flows, "duration_s": 30.0}
    overlay = VirtualOverlay(scenario_of(parts))
    report = overlay.run()
    (adaptation,) = overlay.adaptations
    assert adaptation.bitrates[-1][1] < 600_000
    (other,) = report.flows
    assert other.sent == pytest.approx(500_000 * 25 / 12_000, abs=1)
    assert other.loss < 0.2


def test_transport_wide_feedback_tells_of_every_packet() -> None:
    """What the node's controller hears is what the path did."""
    path = {"loss": 0.05, "jitter_ms": 3, "reorder": 0.02, "duplicate": 0.02, "back": {"loss": 0}}
    overlay = VirtualOverlay(scenario_of(document(**path)))
    overlay.run_until(overlay.end_us)
    (watcher,) = overlay.audience.watchers
    assert watcher.viewer is not None
    assert watcher.viewer.link is not None
    stats = overlay.nodes["a"].node.engine.link_stats(watcher.viewer.link)
    assert stats.feedbacks > 200  # each 50 ms in which anything came
    assert 0.01 < stats.feedback_loss < 0.15
    assert stats.acked_bps > 300_000


def test_numbers_that_wrap_are_told_and_asked_for_all_the_same() -> None:
    """More than 65,536 packets: RTP sequence numbers and transport numbers begin anew."""
    parts = document(loss=0.002, back={"loss": 0})
    parts["duration_s"] = 50.0
    parts["rate"]["viewers"]["start_bps"] = 20_000_000
    parts["broadcasts"][0] |= {"bitrate_bps": 14_000_000, "adaptive": None}
    parts["viewers"][0]["feedback"] = ["reports", "nack", "transport_cc"]
    overlay = VirtualOverlay(scenario_of(parts))
    (viewer,) = overlay.run().viewers
    assert viewer.packets > 65_536 + 2_000
    assert viewer.sequence_breaks == viewer.packets_corrupt == 0
    assert (viewer.intact_ratio or 0) > 0.999
    (watcher,) = overlay.audience.watchers
    assert watcher.viewer is not None
    assert watcher.viewer.link is not None
    stats = overlay.nodes["a"].node.engine.link_stats(watcher.viewer.link)
    assert stats.feedbacks > 900  # one each 50 ms to the end
    assert stats.feedback_loss < 0.02
    _, asked = overlay.world.feedback_counts(watcher.number)
    assert 0.5 < asked / (0.002 * viewer.packets) < 2
