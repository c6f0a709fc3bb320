"""The table of a measurement so far, on stderr, with what runs now below it."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from bench.support.case import Case
from bench.support.measure import Found
from bench.support.report import at_highest_common, ratio

LOG_WIDTH = 120


class Progress:
    """Drawn between trials only: nothing else runs while one is measured."""

    def __init__(self) -> None:
        self._table = Table(
            title="packets out at < 0.1 % loss, CPU time; the engine's to theirs at a common rate",
            box=box.SIMPLE,
        )
        for heading in ("case", "relay", "k/s", "us", "engine to it", "p50/p99 us", "limit"):
            self._table.add_column(heading, justify="right", no_wrap=True)
        console = Console(stderr=True)
        if not console.is_terminal:
            console = Console(stderr=True, width=LOG_WIDTH)
        self._live = Live(self._table, console=console, auto_refresh=False)

    def __enter__(self) -> Progress:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._table.caption = None
        if self._live.console.is_terminal:
            self._live.refresh()
        self._live.stop()

    def tell(self, text: str) -> None:
        self._table.caption = text
        if self._live.console.is_terminal:
            self._live.refresh()

    def add(self, case: Case, found: dict[str, Found]) -> None:
        which = at_highest_common(found)
        for name, one in found.items():
            shown = one.highest or one.common[which]
            delays = one.common.get("half", one.common[which]).delays.figures()
            row = [
                case.name if name == "engine" else "",
                name,
                f"{shown.pps_out / 1000:,.0f}",
                f"{shown.cpu_us_per_packet_out:.3f}",
                f"{ratio(found['engine'].common[which], one.common[which])}",
                f"{delays['p50']}/{delays['p99']}",
                " ".join(sorted(set(one.limited_by))),
            ]
            self._table.add_row(*row)
            if not self._live.console.is_terminal:
                self._live.console.print("  ".join(row), soft_wrap=True)
        if self._live.console.is_terminal:
            self._live.refresh()
