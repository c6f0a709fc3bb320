"""A viewer behind a path that falls from 4 to 1 Mbit/s and recovers is back at the better version
within 5 s of that, whenever it is (about 4 s)."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from lab.scenario.loader import scenario_of
from lab.virtual.run import VirtualOverlay

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
