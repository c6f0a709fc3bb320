"""What a demo found, as data and as tables."""

from __future__ import annotations

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lab.scenario.expectations import percentile
from lab.scenario.report import BrainReport, Delay, HopReport

WHOLE_RATIO = 0.995  # chosen: 1 % loss a link, repaired, and one re-route leave a margin


class DemoHop(msgspec.Struct, frozen=True, kw_only=True):
    """One link, in the direction of the broadcast, as its receiver counts it. `delay_ms`: half the
    measured round trip; `other` losses carried no media (probes, reports)."""

    sender: str
    receiver: str
    packets: int
    lost: int
    loss_percent: float
    repaired: int
    gone: int
    given_up: int
    other: int
    delay_ms: float | None


class ViewerReport(msgspec.Struct, frozen=True, kw_only=True):
    """One viewer. Paths are from the producer to its node: before the cut, and at the end."""

    name: str
    node: str
    path: list[str]
    path_before: list[str]
    joined_s: float
    frames_expected: int
    frames_intact: int
    frames_late: int
    intact_ratio: float
    first_frame_ms: float | None
    reroute_gap_ms: float | None
    """The longest time without video from the cut on; a frame's time if nothing happened."""
    delay_ms: Delay
    audio_packets: int
    audio_missing: int
    frames_decoded: int
    decode_errors: int
    picture: str | None


class Reroute(msgspec.Struct, frozen=True, kw_only=True):
    """The cut, and what followed. gap_ms: of the viewer who saw it most."""

    at_s: float
    cut: list[str]
    gap_ms: float | None
    switches: list[str]


class DemoReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run. `is_whole`: every viewer had 99.5 % of its frames intact and in time.
    hops: the links that the broadcast took, before the cut or at the end."""

    is_whole: bool
    repair: bool
    seconds: float
    seed: int
    frames_sent: int
    packets_sent: int
    packets_lost_on_links: int
    packets_repaired: int
    packets_gone: int
    packets_given_up: int
    first_frame_ms: dict[str, float | None]
    """p95 over the viewers."""
    reroute: Reroute
    hops: list[DemoHop]
    viewers: list[ViewerReport]
    brain: BrainReport | None
    fallbacks: list[str]
    directory: str


def is_whole(viewers: list[ViewerReport]) -> bool:
    return bool(viewers) and all(
        v.frames_expected > 0 and v.intact_ratio >= WHOLE_RATIO for v in viewers
    )


def first_frame_p95(viewers: list[ViewerReport]) -> float | None:
    """None if somebody never saw a frame."""
    times = [v.first_frame_ms for v in viewers if v.first_frame_ms is not None]
    return percentile(times, 0.95) if times and len(times) == len(viewers) else None


def demo_hop(hop: HopReport) -> DemoHop:
    return DemoHop(
        sender=hop.sender,
        receiver=hop.receiver,
        packets=hop.packets,
        lost=hop.lost,
        loss_percent=round(100 * hop.loss, 3),
        repaired=hop.repaired,
        gone=hop.gone,
        given_up=hop.given_up,
        other=hop.lost - hop.repaired - hop.gone - hop.given_up,
        delay_ms=None if hop.rtt_ms is None else hop.rtt_ms / 2,
    )


def render(report: DemoReport) -> RenderableType:
    """The summary a terminal shows."""
    lines: list[RenderableType] = [hop_table(report.hops), viewer_table(report.viewers)]
    lines += [_path(viewer) for viewer in report.viewers]
    lines.append(_reroute(report.reroute))
    lines += [Text(f"  {switch}") for switch in report.reroute.switches]
    if report.fallbacks:
        lines.append(Text(f"The kernel lacks: {', '.join(report.fallbacks)}", style="yellow"))
    pictures = [viewer.picture for viewer in report.viewers if viewer.picture]
    if pictures:
        lines.append(Text(f"A received frame: {pictures[0]}"))
    lines.append(
        Text(
            f"{report.frames_sent} frames in {report.packets_sent} packets; on the links they took "
            f"{report.packets_lost_on_links} packets were lost and {report.packets_repaired} "
            f"repaired, {report.packets_gone + report.packets_given_up} not; "
            "the rest were probes, reports, repeats."
        )
    )
    if report.is_whole:
        lines.append(Text("The broadcast arrived whole and in time.", style="bold green"))
    else:
        reason = "" if report.repair else " (repair was off)"
        lines.append(Text(f"The broadcast did not arrive whole{reason}.", style="bold red"))
    return Group(*lines)


def hop_table(hops: list[DemoHop]) -> Table:
    table = _table("Hop by hop", "link", "ms one way", "packets", "lost", "%", "repaired", "not")
    for hop in hops:
        table.add_row(
            f"{hop.sender} > {hop.receiver}",
            _number(hop.delay_ms),
            str(hop.packets),
            str(hop.lost),
            f"{hop.loss_percent:.2f}",
            str(hop.repaired),
            str(hop.gone + hop.given_up),
        )
    return table


def viewer_table(viewers: list[ViewerReport]) -> Table:
    table = _table(
        "Viewers", "viewer", "joined s", "first ms", "intact", "%", "gap ms", "p50 ms", "p99"
    )
    for viewer in viewers:
        table.add_row(
            viewer.name,
            f"{viewer.joined_s:.1f}",
            _number(viewer.first_frame_ms),
            f"{viewer.frames_intact}/{viewer.frames_expected}",
            f"{100 * viewer.intact_ratio:.1f}",
            _number(viewer.reroute_gap_ms),
            _number(viewer.delay_ms.p50),
            _number(viewer.delay_ms.p99),
        )
    return table


def _path(viewer: ViewerReport) -> Text:
    text = Text(f"{viewer.name}: {' > '.join(viewer.path_before) or 'not there yet'}")
    if viewer.path != viewer.path_before:
        text.append("; after the cut: ").append(" > ".join(viewer.path), style="cyan")
    return text


def _reroute(reroute: Reroute) -> Text:
    a, b = reroute.cut
    text = f"At {reroute.at_s:.1f} s the link {a} - {b} was cut"
    if reroute.gap_ms is not None:
        text += f"; nobody was without video for longer than {reroute.gap_ms:.0f} ms"
    return Text(f"{text}.", style="bold")


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 0),
        pad_edge=False,
    )
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
