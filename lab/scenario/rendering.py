"""A report as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lab.scenario.report import ExpectationReport, ScenarioReport, ViewerReport

MAX_VIEWERS = 20  # rows; the rest is counted


def render(report: ScenarioReport) -> RenderableType:
    """Viewers, hops with traffic, events, and figures against expectations."""
    parts: list[RenderableType] = [_headline(report), _viewers(report.viewers)]
    if any(hop.packets for hop in report.hops):
        parts.append(_hops(report))
    if report.events:
        parts.append(_events(report))
    if report.brain is not None:
        brain = report.brain
        parts.append(
            Text(
                f"brain: term {brain.term}, {brain.path_requests} path requests, "
                f"{brain.lookups} look-ups, {brain.tables_pushed} tables pushed"
            )
        )
    if report.expectations:
        parts.append(_expectations(report.expectations))
    return Group(*parts)


def _headline(report: ScenarioReport) -> Text:
    mode = "virtual time" if report.mode == "virtual" else "real time"
    text = f"{report.name}: {report.duration_s:g} s of {mode}, seed {report.seed}"
    if report.trace_digest is not None:
        text += f", {report.datagrams} datagrams, trace {report.trace_digest[:16]}"
    return Text(text, style="bold")


def _viewers(viewers: list[ViewerReport]) -> RenderableType:
    table = _table("viewer", "path", "frames", "intact", "late", "damaged", "missing", "ratio")
    for name in ("first packet ms", "first frame ms", "longest gap ms", "delay p50/p99 ms"):
        table.add_column(name, justify="right")
    for viewer in viewers[:MAX_VIEWERS]:
        table.add_row(
            viewer.name,
            " > ".join(viewer.path) or (viewer.refused or "-"),
            str(viewer.frames_expected),
            str(viewer.frames_intact),
            str(viewer.frames_late),
            str(viewer.frames_damaged),
            str(viewer.frames_missing),
            _number(viewer.intact_ratio, 4),
            _number(viewer.first_packet_ms) + (" hit" if viewer.is_cache_hit else ""),
            _number(viewer.first_frame_ms),
            _number(viewer.longest_gap_ms),
            f"{_number(viewer.delay_ms.p50)} / {_number(viewer.delay_ms.p99)}",
        )
    if len(viewers) > MAX_VIEWERS:
        return Group(table, Text(f"and {len(viewers) - MAX_VIEWERS} more viewers"))
    return table


def _hops(report: ScenarioReport) -> Table:
    table = _table("hop", "packets", "lost", "repaired", "gone", "given up", "loss", "one way ms")
    for hop in report.hops:
        if hop.packets:
            table.add_row(
                hop.name,
                str(hop.packets),
                str(hop.lost),
                str(hop.repaired),
                str(hop.gone),
                str(hop.given_up),
                f"{hop.loss:.2%}",
                _number(hop.delay_ms),
            )
    return table


def _events(report: ScenarioReport) -> Table:
    table = _table("at s", "event", "viewers with a gap", "longest gap ms", "switches")
    for event in report.events:
        table.add_row(
            f"{event.at_s:g}",
            event.what,
            str(event.viewers_with_gap),
            _number(event.longest_gap_ms),
            "; ".join(event.switches),
        )
    return table


def _expectations(expectations: Iterable[ExpectationReport]) -> Table:
    table = _table("expected", "bound", "found", "")
    for one in expectations:
        held = Text("held", style="green") if one.held else Text("failed", style="bold red")
        table.add_row(one.name, one.bound, _number(one.figure, 4), held)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE)
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    return table


def _number(value: float | None, digits: int = 1) -> str:
    if value is None:
        return "-"
    return str(round(value)) if value == round(value) else f"{value:.{digits}f}"
