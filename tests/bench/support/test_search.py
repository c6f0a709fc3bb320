"""The rate search: it ends just below what a relay can do, from wherever it starts."""

from __future__ import annotations

import pytest

from bench.support.search import RESOLUTION, RateSearch


def run(search: RateSearch, capacity: float) -> list[float]:
    """Trials of a relay that passes at up to `capacity`; the rates asked for."""
    asked: list[float] = []
    while search.rate is not None:
        asked.append(search.rate)
        search.on_result(search.rate <= capacity)
        assert len(asked) < 40
    return asked


@pytest.mark.parametrize("capacity", [1_500, 50_000, 1_234_567, 9e7])
@pytest.mark.parametrize("start", [2_000, 400_000])
@pytest.mark.parametrize("factor", [2.0, 1.1])
def test_it_ends_within_its_resolution(capacity: float, start: float, factor: float) -> None:
    search = RateSearch(start, factor)
    while search.rate is not None:
        search.on_result(search.rate <= capacity)
    assert search.found is not None
    assert capacity / RESOLUTION <= search.found <= capacity


def test_a_later_search_near_the_truth_is_short() -> None:
    assert len(run(RateSearch(1_000_000, 1.1), 1_020_000)) <= 4


def test_nothing_passes() -> None:
    search = RateSearch(100_000, 2.0, lowest=1_000)
    asked = run(search, 0)
    assert search.found is None
    assert min(asked) >= 1_000
