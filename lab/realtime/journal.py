"""What nodes and brain log while a run lasts: their JSON lines, read as they are written."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lab.timer_fd import now_us


@dataclass(frozen=True, slots=True)
class Entry:
    """process: the file's name, such as "node-london". at_us: on `now_us`'s clock."""

    process: str
    at_us: int
    event: str
    fields: dict[str, Any]


class Journal:
    """Follows the files of one run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, int] = {}
        self._offset_us = now_us() - time.time_ns() // 1_000

    def new_entries(self, processes: Iterable[str]) -> list[Entry]:
        """Of whole lines since the last call, in the order of time."""
        found: list[Entry] = []
        for process in processes:
            path = self._directory / f"{process}.err"
            if path.exists():
                found += self._new_of(process, path)
        return sorted(found, key=lambda entry: entry.at_us)

    def _new_of(self, process: str, path: Path) -> list[Entry]:
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            data = file.read()
        data = data[: data.rfind(b"\n") + 1]
        self._read[path] = self._read.get(path, 0) + len(data)
        return [e for line in data.splitlines() if (e := self._parse(process, line)) is not None]

    def _parse(self, process: str, line: bytes) -> Entry | None:
        """None for what is no event, as a traceback's lines."""
        try:
            fields = json.loads(line)
            at = datetime.fromisoformat(fields.pop("timestamp"))
            event = fields.pop("event")
        except (ValueError, LookupError, TypeError, AttributeError):
            return None
        at_us = round(at.timestamp() * 1_000_000) + self._offset_us
        return Entry(process, at_us, str(event), fields)
