"""The report of rate_control.py: cases, seeds, costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from bench.rate_control import main
from bench.support.rate_cases import CASES


def test_a_case_is_reported_for_each_controller_that_is_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    picture = tmp_path / "report.png"
    main(str(target), picture, ["5.3"], ["fixed", "nada"], 2)
    report = json.loads(target.read_text())
    assert list(report["cases"]) == ["5.3"]
    assert picture.stat().st_size > 10_000
    fixed, nada = report["cases"]["5.3"]["fixed"], report["cases"]["5.3"]["nada"]
    # A megabit into half of one: the queue is full, and NADA's is not.
    assert fixed["queue_p95_ms"] > 290 > nada["queue_p95_ms"]
    for found in (fixed, nada):
        mean, worst = found["over_seeds"]["use"]
        assert 0 < worst <= mean <= 1
    assert report["cost"]["nada"]["bytes_per_leg"] > 1000


def test_an_unknown_case_is_named(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match=r"5\.9"):
        main(str(tmp_path / "report.json"), None, ["5.9"], None, 1)
    assert len(CASES) == 8
