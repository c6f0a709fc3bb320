"""Figures held against bounds."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO

import msgspec
import pytest
from rich.console import Console

from lab.scenario.bounds import parse_bound
from lab.scenario.expectations import judge, percentile
from lab.scenario.loader import scenario_of
from lab.scenario.model import Scenario
from lab.scenario.rendering import render
from lab.scenario.report import (
    BrainReport,
    Delay,
    EventReport,
    HopReport,
    ScenarioReport,
    ViewerReport,
)


def scenario(expect: Mapping[str, str]) -> Scenario:
    return scenario_of(
        {
            "name": "s",
            "duration_s": 10,
            "brain": {},
            "nodes": [{"name": "a"}, {"name": "b"}],
            "links": [{"a": "a", "b": "b", "delay_ms": 1}],
            "broadcasts": [{"name": "live", "node": "a"}],
            "viewers": [
                {"name": "crowd", "stream": "live", "node": "b", "join_s": 1, "count": 3},
                {"name": "one", "stream": "live", "node": "a", "join_s": 1},
            ],
            "events": [{"at_s": 3, "do": "cut", "a": "a", "b": "b"}],
            "expect": dict(expect),
        }
    )


def viewer(name: str, ratio: float | None, first: float | None) -> ViewerReport:
    return ViewerReport(
        name=name,
        stream="live",
        node="b",
        path=["a", "b"],
        joined_s=1.0,
        intact_ratio=ratio,
        first_frame_ms=first,
        delay_ms=Delay(p50=1.0, p99=2.0),
    )


REPORT = ScenarioReport(
    name="s",
    mode="virtual",
    seed=1,
    duration_s=10,
    viewers=[
        viewer("crowd-1", 1.0, 100.0),
        viewer("crowd-2", 0.9, 300.0),
        viewer("crowd-3", 1.0, None),
        viewer("one", 0.5, 50.0),
    ],
    hops=[HopReport(sender="a", receiver="b", packets=10, lost=2)],
    brain=BrainReport(lookups=1),
    events=[EventReport(at_s=3, do="cut", what="cut a - b", longest_gap_ms=40.0)],
)


@pytest.mark.parametrize(
    ("name", "bound", "figure", "held"),
    [
        ("viewers.one.intact_ratio", ">= 0.5", 0.5, True),
        ("viewers.one.intact_ratio", "> 0.5", 0.5, False),
        ("viewers.*.intact_ratio", ">= 0.9", 0.5, False),
        ("viewers.crowd-*.intact_ratio", ">= 0.9", 0.9, True),
        ("viewers.*.intact_ratio.mean", "== 0.85", 0.85, True),
        ("viewers.*.intact_ratio.min", "<= 0.5", 0.5, True),
        ("viewers.*.first_frame_ms.p50", "<= 100", 100.0, True),
        ("viewers.*.first_frame_ms.p95", "<= 1e9", None, False),  # one never saw a frame
        ("viewers.*.first_frame_ms", "<= 1000", 300.0, False),
        ("viewers.*.first_frame_ms.max", "<= 1000", None, False),
        ("viewers.*.first_frame_ms.count", "== 3", 3.0, True),
        ("viewers.*.delay_ms.p99", "<= 2", 2.0, True),
        ("viewers.*.delay_ms.p99.max", "<= 2", 2.0, True),
        ("hops.a>b.lost", "== 2", 2.0, True),
        ("hops.b>a.lost", "== 0", None, False),
        ("brain.lookups", "== 1", 1.0, True),
        ("events.0.longest_gap_ms", "<= 50", 40.0, True),
        ("viewers.*.path_nodes", "== 2", 2.0, True),
    ],
)
def test_judge(name: str, bound: str, figure: float | None, held: bool) -> None:
    (found,) = judge(scenario({name: bound}), REPORT)
    assert (found.figure, found.held) == (pytest.approx(figure) if figure else figure, held)


def test_a_report_is_as_expected_if_all_is_held() -> None:
    wanted = scenario({"brain.lookups": "== 1", "viewers.*.intact_ratio": ">= 0.9"})
    report = msgspec.structs.replace(REPORT, expectations=judge(wanted, REPORT))
    assert [one.held for one in report.expectations] == [True, False]
    assert not report.is_as_expected
    output = StringIO()
    Console(file=output, width=160).print(render(report))
    shown = output.getvalue()
    assert "failed" in shown
    assert "held" in shown
    assert "a > b" in shown


@pytest.mark.parametrize("text", ["", "1000", "<= x", "=< 3", "<= 1 2"])
def test_bad_bounds(text: str) -> None:
    with pytest.raises(ValueError, match="comparison and a number"):
        parse_bound(text)


def test_percentile_is_the_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.95, 0.99, 1.0)] == [
        1.0,
        50.0,
        95.0,
        99.0,
        100.0,
    ]
