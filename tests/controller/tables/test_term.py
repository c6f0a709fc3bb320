"""The term rises with each start, also when its file is lost."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from controller.tables.errors import TermError
from controller.tables.term import HIGHEST_TERM, next_term
from tests.support.disk import file_size_limit

NOW_S = 1_795_000_000


def test_it_rises_with_each_start_and_with_time(tmp_path: Path) -> None:
    path = tmp_path / "term"
    assert next_term(path, NOW_S) == NOW_S
    assert next_term(path, NOW_S) == NOW_S + 1
    assert next_term(path, NOW_S - 1_000_000) == NOW_S + 2  # the clock was put back
    assert next_term(path, NOW_S + 10) == NOW_S + 10
    assert next_term(path, 0, above=2 * NOW_S) == 2 * NOW_S + 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_lost_file_does_not_turn_it_back(tmp_path: Path) -> None:
    path = tmp_path / "term"
    terms = []
    for _ in range(5):
        terms.append(next_term(path, NOW_S + 60))
    path.unlink()
    assert next_term(path, NOW_S + 120) > max(terms)


def test_without_clock_it_begins_at_one(tmp_path: Path) -> None:
    assert next_term(tmp_path / "term", 0) == 1


@pytest.mark.parametrize("data", [b"", b"12", b"x\n", b"-1\n", b"1" * 100, b"1\n2\n"])
def test_a_damaged_file_stops_the_start(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "term"
    path.write_bytes(data)
    with pytest.raises(TermError, match="is no term; remove it"):
        next_term(path, NOW_S)
    assert path.read_bytes() == data


def test_what_cannot_be_stored_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "term"
    next_term(path, 1)
    with file_size_limit(1), pytest.raises(TermError, match="cannot be written: File too large"):
        next_term(path, NOW_S)
    assert path.read_bytes() == b"1\n"
    with pytest.raises(TermError, match="cannot be written: No such file"):
        next_term(tmp_path / "none" / "term", NOW_S)
    with pytest.raises(TermError, match="cannot be read: Is a directory"):
        next_term(tmp_path, NOW_S)
    with pytest.raises(TermError, match="above"):
        next_term(path, NOW_S, above=HIGHEST_TERM)
