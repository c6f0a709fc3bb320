"""Which lines and branches of the native code the tests reach, from gcov's counts.

`python -m tests.fuzz.line_coverage FOLDER` reads what a build with OVERLANE_COVERAGE=lines left in
FOLDER (`make coverage`), prints a table by file and the lines never reached, and writes
FOLDER/coverage.json.

Lines: all with code in the functions of a .pyx or .pxd. Branches: the two ways out of each
condition in `noexcept nogil` functions; in others most belong to errors of the interpreter.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.native_source import native_functions

ROOT = Path(__file__).parents[2]


@dataclass(slots=True)
class Source:
    """Counts by line; a line's branches are counted each."""

    text: str
    lines: dict[int, int] = field(default_factory=dict)
    branches: dict[int, list[int]] = field(default_factory=dict)

    def add(self, found: dict[str, Any]) -> None:
        """One line of gcov's report. An inline function of a .pxd is in several."""
        number = found["line_number"]
        self.lines[number] = self.lines.get(number, 0) + found["count"]
        counts = [branch["count"] for branch in found["branches"]]
        known = self.branches.get(number, [0] * len(counts))
        if len(known) == len(counts):
            counts = [a + b for a, b in zip(known, counts, strict=True)]
        self.branches[number] = counts

    def keep_code(self) -> None:
        """Drop heads of functions and what stands in none: reached when the module is loaded."""
        text = self.text.splitlines()
        native = {
            number
            for function in native_functions(self.text)
            for number in range(function.first_line, function.last_line + 1)
        }
        bodies = {n for n, line in enumerate(text, 1) if line.startswith(" ")}
        bodies -= set(self._heads(text))
        self.lines = {n: c for n, c in sorted(self.lines.items()) if n in bodies}
        self.branches = {n: c for n, c in self.branches.items() if n in native and n in self.lines}

    def _heads(self, text: list[str]) -> Iterator[int]:
        """Lines of the heads of `def` functions, and the first of each body.

        Two C functions begin at such a head, and gcov loses the calls of the line after it."""
        for first, line in enumerate(text, 1):
            if line.lstrip().startswith(("def ", "property ")):
                last = first
                while not text[last - 1].rstrip().endswith(":"):
                    last += 1
                yield from range(first, last + 1)
                yield min((n for n in self.lines if n > last), default=last)

    def report(self) -> dict[str, Any]:
        branches = [count for counts in self.branches.values() for count in counts]
        return {
            "lines": len(self.lines),
            "lines_reached": sum(count > 0 for count in self.lines.values()),
            "branches": len(branches),
            "branches_taken": sum(count > 0 for count in branches),
            "never_reached": sorted(n for n, count in self.lines.items() if count == 0),
            "one_way_only": sorted(
                n for n, counts in self.branches.items() if self.lines[n] and 0 in counts
            ),
        }


def gcov(data: Path) -> dict[str, Any]:
    """gcov's report on one object file."""
    command = ["gcov", "--json-format", "--stdout", "--branch-probabilities", str(data)]
    found = subprocess.run(command, capture_output=True, check=True, cwd=data.parent)
    report: dict[str, Any] = json.loads(found.stdout)
    return report


def collect(folder: Path) -> dict[str, Source]:
    """By path from the root. Objects without counts were never loaded: all of their lines are 0."""
    sources: dict[str, Source] = {}
    for notes in sorted(folder.rglob("*.gcno")):
        for file in gcov(notes)["files"]:
            path = ROOT / file["file"]
            if path.suffix not in {".pyx", ".pxd"} or not path.is_file():
                continue
            name = path.relative_to(ROOT).as_posix()
            source = sources.setdefault(name, Source(path.read_text()))
            for line in file["lines"]:
                source.add(line)
    for source in sources.values():
        source.keep_code()
    return {name: source for name, source in sorted(sources.items()) if source.lines}


def ranges(numbers: list[int]) -> Iterator[str]:
    """1-3, 7, 9-10."""
    first = last = None
    for number in [*numbers, None]:
        if number is not None and last is not None and number == last + 1:
            last = number
            continue
        if first is not None:
            yield f"{first}" if first == last else f"{first}-{last}"
        first = last = number


def share(reached: int, of: int) -> str:
    return f"{100 * reached / of:6.1f} %" if of else "       -"


def table(report: dict[str, dict[str, Any]]) -> str:
    rows = [f"{'':34}{'lines':>6}{'reached':>9}{'branches':>10}{'taken':>9}  never reached"]
    total = dict.fromkeys(("lines", "lines_reached", "branches", "branches_taken"), 0)
    for name, file in report.items():
        for key in total:
            total[key] += file[key]
        rows.append(_row(name, file, ", ".join(ranges(file["never_reached"]))))
    return "\n".join([*rows, _row("all", total, "")])


def _row(name: str, file: dict[str, Any], rest: str) -> str:
    lines = f"{file['lines']:>6} {share(file['lines_reached'], file['lines'])}"
    branches = f"{file['branches']:>10} {share(file['branches_taken'], file['branches'])}"
    return f"{name:34}{lines}{branches}  {rest}".rstrip()


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    report = {name: source.report() for name, source in collect(folder).items()}
    (folder / "coverage.json").write_text(json.dumps(report, indent=1) + "\n")
    sys.stdout.write(table(report) + "\n")


if __name__ == "__main__":
    main()
