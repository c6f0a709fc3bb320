"""What one check of `overlane doctor` found, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from service.errors import ConfigError


class Verdict(StrEnum):
    """warning: it works, but worse, or not for long. problem: it does not work."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """what: the thing looked at. found: one line. mend: what to do, one line; empty if it is ok."""

    what: str
    verdict: Verdict
    found: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Topic:
    """Checks that belong together, in the order they are shown."""

    name: str
    checks: Sequence[Check]


@dataclass(frozen=True, slots=True)
class Host:
    """Where the kernel tells of itself."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")

    def read(self, path: str) -> str | None:
        """A file of the kernel, as "proc/net/snmp"; None where there is none to read."""
        root, _, rest = path.partition("/")
        try:
            return ({"proc": self.proc, "sys": self.sys}[root] / rest).read_text(errors="replace")
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """The first number in such a file."""
        words = (self.read(path) or "").split()
        return int(words[0]) if words and words[0].isdecimal() else None


def ok(what: str, found: str) -> Check:
    """Nothing to do."""
    return Check(what, Verdict.OK, found)


def warning(what: str, found: str, mend: str) -> Check:
    """It works, but worse, or not for long."""
    return Check(what, Verdict.WARNING, found, mend)


def problem(what: str, found: str, mend: str) -> Check:
    """It does not work."""
    return Check(what, Verdict.PROBLEM, found, mend)


def problems_of(error: ConfigError, file: Path) -> tuple[Check, ...]:
    """What is wrong with a configuration, one check for each."""
    mend = "correct it, and look again with: overlane check-config"
    return tuple(
        problem(each.key or "file", f"{each.source or file}: {each.text}", mend)
        for each in error.problems
    )


def size_text(size_bytes: int) -> str:
    """In the largest binary unit that leaves at least one: "4 MiB"."""
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size_bytes >= 1 << shift:
            return f"{size_bytes / (1 << shift):.3g} {unit}"
    return f"{size_bytes} B"
