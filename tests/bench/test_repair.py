"""The bench of repair on short runs: what it counts must add up (about 3 s in all)."""

from __future__ import annotations

import pytest

from bench.repair import LOSSES, SCENARIO, Case, Loss, problems_of, run
from lab.scenario.loader import load_scenario

BASE = load_scenario(SCENARIO)
SECONDS = 30.0


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_each_link_asks_for_its_own_losses_only(loss: Loss) -> None:
    found = run(Case(40, loss, "early"), BASE, SECONDS, 1)
    assert list(problems_of(found)) == []
    for hop in found["hops"]:
        assert hop["lost"] > 50
        assert hop["lost"] - 3 <= hop["holes"] <= hop["lost"]  # the newest may not have shown yet
        settled = hop["repaired"] + hop["void"] + hop["gone"] + hop["given_up"]
        assert settled >= hop["holes"] - 3
        assert hop["resent"] >= hop["repaired"]


def test_links_that_lose_nothing_ask_for_nothing() -> None:
    found = run(Case(70, LOSSES[0], "early", only_middle=True), BASE, SECONDS, 1)
    assert [hop["requests"] > 0 for hop in found["hops"]] == [False, True, False]
    assert found["added_ms"]["late_alone"]["p50"] in range(70, 80)
    assert found["frames_intact"] == 1.0


def test_without_repair_it_is_worse_and_said_so() -> None:
    found = run(Case(40, LOSSES[0], "none"), BASE, SECONDS, 1)
    assert found["frames_intact"] < 0.9
    assert [hop["requests"] for hop in found["hops"]] == [0, 0, 0]
    worse = found | {"way": "early"}
    assert any("of the frames, not 0.999" in text for text in problems_of(worse))


def test_repair_from_end_to_end_takes_the_whole_path_s_round_trip() -> None:
    found = run(Case(40, LOSSES[0], "producer"), BASE, SECONDS, 1)
    (hop,) = found["hops"]
    assert hop["rtt_ms"] == pytest.approx(120, abs=1)
    assert found["added_ms"]["late_alone"]["p50"] >= 120
