"""An examination for a person, and for a program."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from overlane.doctor.check import Check, Verdict
from overlane.doctor.examination import Examination

INDENT = 11
_STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.PROBLEM: "bold red"}


class ExaminationView:
    """One block for each topic, and a line that sums up.

    Wrapped to a terminal. Elsewhere each check and each mend is one line, to search and to copy.
    To be printed with soft_wrap, which leaves lines as they are.
    """

    def __init__(self, examination: Examination) -> None:
        self._examination = examination

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width - INDENT if console.is_terminal else None
        for topic in self._examination.topics:
            yield _line(Text(topic.name, style="bold"))
            for check in topic.checks:
                yield from _lines(check, width)
        yield _line(Text(_summary(self._examination), style="bold"))


def as_json(examination: Examination) -> dict[str, Any]:
    """The same as data."""
    return {
        "subject": examination.kind,
        "name": examination.name,
        "problems": examination.count(Verdict.PROBLEM),
        "warnings": examination.count(Verdict.WARNING),
        "checks": [
            {
                "topic": topic.name,
                "check": check.what,
                "verdict": check.verdict.value,
                "found": check.found,
                "mend": check.mend or None,
            }
            for topic in examination.topics
            for check in topic.checks
        ],
    }


def _lines(check: Check, width: int | None) -> Iterator[Text]:
    found = _wrapped(f"{check.what}: {check.found}", width)
    verdict = Text(f"  {check.verdict.value:{INDENT - 2}}", style=_STYLES[check.verdict])
    yield _line(verdict + Text(found[0], style="default"))
    mend = _wrapped(f"-> {check.mend}", width) if check.mend else []
    for text, style in (*((each, "") for each in found[1:]), *((each, "bold") for each in mend)):
        yield _line(Text(" " * INDENT + text, style=style))


def _wrapped(text: str, width: int | None) -> list[str]:
    """Words stay whole: a path or a command that is broken cannot be copied."""
    if width is None:
        return [text]
    return textwrap.wrap(text, max(width, 20), break_long_words=False, break_on_hyphens=False)


def _line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ignore"
    return text


def _summary(examination: Examination) -> str:
    def count(verdict: Verdict) -> str:
        number = examination.count(verdict)
        return f"{number or 'no'} {verdict.value}{'' if number == 1 else 's'}"

    return f"{count(Verdict.PROBLEM)}, {count(Verdict.WARNING)}"
