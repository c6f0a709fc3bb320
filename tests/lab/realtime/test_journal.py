"""The journal follows log files as they grow."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from lab.realtime.journal import Journal
from lab.timer_fd import now_us


def line(event: str, second: int, **fields: object) -> str:
    at = datetime(2026, 11, 21, 10, 0, second, 250_000, UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"timestamp": at, "event": event, **fields}) + "\n"


def test_entries_of_all_files_in_order_and_each_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    one, two = tmp_path / "node-a.err", tmp_path / "node-b.err"
    one.write_text(line("neighbour_up", 1, neighbour="b") + line("neighbour_down", 4))
    two.write_text(line("viewer_left", 2) + "Traceback (most recent call last):\n")
    names = ["node-a", "node-b", "node-that-never-started"]

    found = journal.new_entries(names)
    assert [(each.process, each.event) for each in found] == [
        ("node-a", "neighbour_up"),
        ("node-b", "viewer_left"),
        ("node-a", "neighbour_down"),
    ]
    assert found[0].fields == {"neighbour": "b"}
    assert found[2].at_us - found[0].at_us == 3_000_000
    assert journal.new_entries(names) == []


def test_half_a_line_waits_for_its_rest(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    text = line("upstream_switched", 1, stream="live")
    path = tmp_path / "node-a.err"
    path.write_text(text[:30])
    assert journal.new_entries(["node-a"]) == []
    path.write_text(text)
    assert [each.event for each in journal.new_entries(["node-a"])] == ["upstream_switched"]


def test_times_are_of_the_lab_s_clock(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    at = datetime.now(UTC).isoformat()
    (tmp_path / "node-a.err").write_text(json.dumps({"timestamp": at, "event": "now"}) + "\n")
    (entry,) = journal.new_entries(["node-a"])
    assert 0 <= now_us() - entry.at_us < 10_000_000
