"""A run of `overlane bench` as the terminal shows it: warnings, progress, table, plain words."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bench.forwarding import run
from bench.support import spoilers
from bench.support.case import Case, Plan
from bench.support.measure import Found
from bench.support.peer_list import PeerMaker
from bench.support.progress import Progress
from bench.support.reading import Row, rows
from bench.support.threads import Cores

LOOK_S = 0.5  # for other load before the run
WIDTHS = {
    "packets/s": 11,
    "Gbit/s": 7,
    "CPU us": 7,
    "engine/it": 9,
    "p50 us": 7,
    "p99 us": 7,
    "limit": 11,
}


def measure(
    cases: Sequence[Case], plan: Plan, peers: Sequence[PeerMaker], console: Console
) -> dict[str, Any]:
    """The report, once it is shown; its warnings are those of the host and of the harness."""
    before = _before()
    _show_warnings(console, before)
    for note in _unable(cases, peers):
        console.print(note, soft_wrap=True)
    report: dict[str, Any] = run(
        cases, plan, peers=peers, progress=Shown(console, len(cases), [one.name for one in peers])
    )
    console.print(table(report["cases"]))
    console.print()
    for sentence in summary(report["cases"]):
        console.print(sentence, soft_wrap=True)
    console.print(spoilers.LOOPBACK_NOTE, soft_wrap=True)
    console.print()
    _show_warnings(console, [text for text in report["warnings"] if text not in before])
    _show_warnings(console, _of_cases(report["cases"]))
    return report


def _before() -> list[str]:
    """What can be said without a measurement."""
    cores = Cores.allowed()
    watch = spoilers.Watch(cores.all)
    time.sleep(LOOK_S)
    return spoilers.warnings({**spoilers.observe(cores), **watch.facts()})


def _unable(cases: Iterable[Case], peers: Iterable[PeerMaker]) -> list[str]:
    """Peers that have no part in some case, said before anybody misses them."""
    told = []
    for peer in peers:
        left_out = [case.name for case in cases if not peer.kind.can_do(case)]
        if left_out:
            told.append(f"{peer.name} has no part in: {', '.join(left_out)}")
    return told


def _of_cases(cases: Iterable[Mapping[str, Any]]) -> list[str]:
    return [f"{case['name']}: {text}" for case in cases for text in case["warnings"]]


def _show_warnings(console: Console, warnings: Iterable[str]) -> None:
    for text in warnings:
        shown = Text("WARNING  ", style="bold yellow").append(text, style="not bold")
        console.print(shown, soft_wrap=True)


class Shown(Progress):
    """What runs now; in a terminal one line that changes, elsewhere a line for each case."""

    def __init__(self, console: Console, cases: int, peers: Sequence[str]) -> None:
        self._console, self._cases, self._done = console, cases, 0
        # Drawn when something is told: a thread that draws would take from what is measured.
        self._line = Live(console=console, auto_refresh=False, transient=True)
        self._with = f" with {', '.join(peers)}" if peers else ""

    def __enter__(self) -> Shown:
        if self._console.is_terminal:
            self._line.start()
        cases = f"{self._cases} case{'s' if self._cases > 1 else ''}"
        self._console.print(f"{cases}{self._with}", soft_wrap=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._line.stop()

    def tell(self, text: str) -> None:
        if self._console.is_terminal:
            self._line.update(Text(f"{self._done + 1} of {self._cases}: {text}"), refresh=True)

    def add(self, case: Case, found: dict[str, Found]) -> None:
        self._done += 1
        engine = found["engine"]
        trial = engine.highest or engine.common["given"]
        self._console.print(
            f"{self._done} of {self._cases}: {case.name}: {trial.pps_out:,.0f} packets/s",
            soft_wrap=True,
        )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _cells(row: Row) -> list[str]:
    return [
        f"  {row.relay}",
        f"{row.pps_out:,.0f}",
        f"{row.media_bps_out / 1e9:.2f}",
        f"{row.cpu_us_per_packet_out:.3f}",
        _number(row.engine_to_it, 2),
        _number(row.p50_us, 0),
        _number(row.p99_us, 0),
        " ".join(row.limited_by) or "rate given",
    ]


def table(cases: Iterable[Mapping[str, Any]]) -> Group:
    """A line for each relay under the name of each case; fits 80 columns."""
    head = _table()
    head.add_row(*(Text(name, style="bold") for name in ("", *WIDTHS)))
    parts: list[RenderableType] = [Text(""), head]
    for case in cases:
        made = _table()
        for row in rows(case):
            made.add_row(*_cells(row))
        parts += [Text(str(case["name"]), style="bold"), made]
    return Group(*parts)


def _table() -> Table:
    """With the columns of all the others, however long the names of the cases are."""
    made = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    made.add_column(width=12, no_wrap=True)
    for name, width in WIDTHS.items():
        made.add_column(width=width, justify="left" if name == "limit" else "right", no_wrap=True)
    return made


def _receivers(case: Mapping[str, Any]) -> str:
    kind = "node" if case["kind"] == "node" else "viewer"
    return f"{case['fanout']} {kind}{'s' * (case['fanout'] > 1)}"


def _sentence(case: Mapping[str, Any]) -> str:
    engine = rows(case)[0]
    what = f"{engine.pps_out:,.0f} packets/s of {case['payload_bytes']:,} bytes"
    speed = f"{engine.media_bps_out / 1e9:.2f} Gbit/s"
    to = f"to {_receivers(case)}"
    taken = "joined packets (GRO)" if case["receiver"] == "gro" else "each packet by itself"
    if case["streams"] > 1:
        to = f"of {case['streams']:,} streams to {case['links']} nodes"
    if not engine.limited_by:
        busy = engine.pps_out * engine.cpu_us_per_packet_out / 1e4
        return f"Sending {what} {to} = {speed} takes {busy:.0f} % of a core ({taken})."
    if "relay" in engine.limited_by:
        return f"One core of this host forwards {what} {to} = {speed} ({taken})."
    limit = " and ".join(engine.limited_by)
    return (
        f"One core of this host forwards at least {what} {to} = {speed} ({taken}): "
        f"the bench's {limit} could do no more."
    )


def summary(cases: Iterable[Mapping[str, Any]]) -> list[str]:
    """In plain words, what the engine does in each case."""
    return [_sentence(case) for case in cases]
