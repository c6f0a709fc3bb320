"""A viewer behind a path that falls from 4 to 1 Mbit/s and recovers is back at the better version
within 5 s of that, whenever it is (about 4 s)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from lab.scenario.loader import scenario_of
from lab.virtual.run import VirtualOverlay
from lab.virtual.settings import START_US

FILE = Path(__file__).parents[3] / "lab" / "scenarios" / "slow-viewer.toml"


@pytest.mark.parametrize("rtx", [True, False])
@pytest.mark.parametrize(("recovers_s", "seed"), [(20.25, 2), (21.0, 5), (21.75, 8), (22.5, 11)])
def test_it_comes_back_within_5_s(recovers_s: float, seed: int, *, rtx: bool) -> None:
    """Between two key frames, and between two probes."""
    document = tomllib.loads(FILE.read_text())
    document["seed"], document["duration_s"] = seed, recovers_s + 9.0
    slow, others = document["viewers"]
    slow["rtx"], others["count"] = rtx, 2
    (access,) = [path for path in document["access"] if path["viewers"] == "slow"]
    access["rate_trace"] = [[0.0, 4_000_000], [10.0, 1_000_000], [recovers_s, 4_000_000]]
    del document["expect"]
    report = VirtualOverlay(scenario_of(document)).run()
    viewer = next(each for each in report.viewers if each.name == "slow")
    assert [change.version for change in viewer.version_changes] == [1, 0]
    down_s, up_s = (change.at_s for change in viewer.version_changes)
    assert 10.0 < down_s < 14.0
    assert 0.0 < up_s - recovers_s <= 5.0
    assert (viewer.frames_undecodable, viewer.audio_missing) == (0, 0)
    assert (viewer.rtx_packets > viewer.rtx_repaired) == rtx  # what filled its probes


@pytest.mark.parametrize("rtx", [True, False])
@pytest.mark.parametrize("low_bps", [500_000, 100_000])
def test_of_one_version_too_it_gets_all_again(low_bps: int, *, rtx: bool) -> None:
    """A path of 10 Mbit/s is down to less than a key frame takes for 5 s. The less it carries, the
    rarer it is probed; and without RTX it must be a key frame's turn."""
    recovers_s, within_s, whole_s = 15.0, 24.0, 10.0
    document: dict[str, Any] = {
        "name": "starved",
        "duration_s": recovers_s + within_s + whole_s,
        "nodes": [{"name": "a"}],
        "broadcasts": [
            {"name": "live", "node": "a", "start_s": 1.0, "bitrate_bps": 3_000_000, "fps": 30}
        ],
        "viewers": [{"name": "v", "stream": "live", "node": "a", "join_s": 3.0, "rtx": rtx}],
        "access": [
            {
                "viewers": "v",
                "delay_ms": 20.0,
                "queue_ms": 200.0,
                "rate_trace": [[0.0, 10_000_000], [10.0, low_bps], [recovers_s, 10_000_000]],
            }
        ],
    }
    document["viewers"][0]["feedback"] = ["reports", "nack", "transport_cc", "pli"]
    overlay = VirtualOverlay(scenario_of(document))
    overlay.run_until(START_US + int((recovers_s + within_s) * 1e6))
    before = overlay.world.look(0).whole
    overlay.run_until(START_US + int(document["duration_s"] * 1e6))
    assert overlay.world.look(0).whole - before >= 0.99 * whole_s * 30
