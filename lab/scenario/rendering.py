"""A report as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lab.scenario.report import ExpectationReport, QoeReport, ScenarioReport, ViewerReport

MAX_VIEWERS = 20  # rows; the rest is counted


def render(report: ScenarioReport) -> RenderableType:
    """Viewers, hops with traffic, events, and figures against expectations."""
    parts: list[RenderableType] = [_headline(report), _viewers(report.viewers)]
    if any(hop.packets for hop in report.hops):
        parts.append(_hops(report))
    if report.events:
        parts.append(_events(report))
    if (qoe := _qoe(report.qoe)) is not None:
        parts.append(qoe)
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
    table = _table(
        "viewer", "frames", "intact", "late", "bad", "lost", "first", "gap", "p50", "p99 ms"
    )
    for viewer in viewers[:MAX_VIEWERS]:
        table.add_row(
            viewer.name,
            str(viewer.frames_expected),
            str(viewer.frames_intact),
            str(viewer.frames_late),
            str(viewer.frames_damaged),
            str(viewer.frames_missing),
            _number(viewer.first_frame_ms, 0),
            _number(viewer.longest_gap_ms, 0),
            _number(viewer.delay_ms.p50, 0),
            _number(viewer.delay_ms.p99, 0),
        )
    paths = [Text(_path(viewer)) for viewer in viewers[:MAX_VIEWERS]]
    more = len(viewers) - MAX_VIEWERS
    return Group(table, *paths, *([Text(f"and {more} more viewers")] if more > 0 else []))


def _path(viewer: ViewerReport) -> str:
    path = " > ".join(viewer.path) or "no path"
    return f" {viewer.name}: {path}" + (f"; {viewer.refused}" if viewer.refused else "")


def _qoe(qoe: QoeReport) -> Text | None:
    """In LiveNet's terms."""
    shown = [
        f"{word} {value:.1%}"
        for word, value in (
            ("without a stall", qoe.zero_stall_ratio),
            ("fast start", qoe.fast_start_up_ratio),
        )
        if value is not None
    ]
    shown += [
        f"{word} {value:.0f} ms"
        for word, value in (
            ("first packet", qoe.first_packet_ms),
            ("CDN path delay", qoe.cdn_path_delay_ms),
            ("streaming delay", qoe.streaming_delay_ms),
        )
        if value is not None
    ]
    if qoe.covered_by_other_path:
        shown.append(f"{qoe.covered_by_other_path} packets by the second path alone")
    return Text(f"quality: {qoe.views} views, " + ", ".join(shown)) if shown else None


def _hops(report: ScenarioReport) -> RenderableType:
    """Those that a viewer's path takes at the end; of the others only how many lost anything."""
    taken = {hop for viewer in report.viewers for hop in pairwise(viewer.path)}
    table = _table("hop", "packets", "lost", "repaired", "gone", "given up", "loss", "one way ms")
    for hop in report.hops:
        if (hop.sender, hop.receiver) in taken:
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
    others = [hop for hop in report.hops if (hop.sender, hop.receiver) not in taken]
    lost, packets = sum(hop.lost for hop in others), sum(hop.packets for hop in others)
    return Group(table, Text(f" and {len(others)} more, {packets} packets, {lost} lost"))


def _events(report: ScenarioReport) -> RenderableType:
    lines = []
    for event in report.events:
        line = f" {event.at_s:7.2f} s  {event.what}"
        if event.viewers_with_gap:
            longest = _number(event.longest_gap_ms, 0)
            line += f"; viewers without video: {event.viewers_with_gap}, for {longest} ms at most"
        lines += [line, *(f"            {switch}" for switch in event.switches)]
    return Text("\n" + "\n".join(lines) + "\n")


def _expectations(expectations: Iterable[ExpectationReport]) -> Table:
    table = _table("expected", "bound", "found", "")
    for one in expectations:
        held = Text("held", style="green") if one.held else Text("failed", style="bold red")
        table.add_row(one.name, one.bound, _number(one.figure, 4), held)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for index, name in enumerate(columns):
        is_name = index == 0
        table.add_column(
            name, justify="left" if is_name else "right", no_wrap=not is_name, overflow="fold"
        )
    return table


def _number(value: float | None, digits: int = 1) -> str:
    if value is None:
        return "-"
    return str(round(value)) if value == round(value) else f"{value:.{digits}f}"
