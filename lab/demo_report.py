"""What a demo found, as data and as tables."""

from typing import Any

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

WHOLE_RATIO = 0.99  # chosen: 1 % loss a link repaired within 300 ms leaves a margin for a busy host


class HopReport(msgspec.Struct, frozen=True, kw_only=True):
    """One link, in the direction of the broadcast. `delay_ms`: half the measured round trip.

    `lost_on_link` is the emulated link's own count, the rest what the receiving node counted;
    `other` losses carried no media (probes, reports). `stream_delay_ms`: accumulated at arrival."""

    sender: str
    receiver: str
    packets: int
    lost_on_link: int
    loss_percent: float
    repaired: int
    gone: int
    given_up: int
    other: int
    delay_ms: float
    stream_delay_ms: float


class ViewerReport(msgspec.Struct, frozen=True, kw_only=True):
    """One player, from its own report."""

    name: str
    node: str
    path: list[str]
    joined_s: float
    frames_expected: int
    frames_intact: int
    intact_ratio: float
    frames_late_in_first_3s: int
    freezes: int
    first_frame_ms: float | None
    delay_ms: dict[str, float | None]
    audio: dict[str, Any]
    frames_decoded: int
    decode_errors: int
    picture: str | None


class DemoReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run. `is_whole`: every viewer had 99 % of its frames intact and in time."""

    is_whole: bool
    repair: bool
    seconds: float
    seed: int
    frames_sent: int
    packets_sent: int
    packets_lost_on_links: int
    loss_percent: float
    packets_repaired: int
    packets_gone: int
    packets_given_up: int
    hops: list[HopReport]
    viewers: list[ViewerReport]
    fallbacks: list[str]
    directory: str


def is_whole(viewers: list[ViewerReport]) -> bool:
    return bool(viewers) and all(
        v.frames_expected > 0 and v.intact_ratio >= WHOLE_RATIO for v in viewers
    )


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


def hop_table(hops: list[HopReport]) -> Table:
    table = _table("Hop by hop", "link", "ms one way", "packets", "lost", "%", "repaired", "gone")
    for hop in hops:
        table.add_row(
            f"{hop.sender} > {hop.receiver}",
            _number(hop.delay_ms),
            str(hop.packets),
            str(hop.lost_on_link),
            f"{hop.loss_percent:.2f}",
            str(hop.repaired),
            str(hop.gone + hop.given_up),
        )
    return table


def viewer_table(viewers: list[ViewerReport]) -> Table:
    table = _table(
        "Viewers", "viewer", "joined s", "first ms", "intact", "%", "freezes", "p50 ms", "p99"
    )
    for viewer in viewers:
        table.add_row(
            f"{viewer.name.removesuffix(' viewer')}, {viewer.node}",
            f"{viewer.joined_s:.1f}",
            _number(viewer.first_frame_ms),
            f"{viewer.frames_intact}/{viewer.frames_expected}",
            f"{100 * viewer.intact_ratio:.1f}",
            str(viewer.freezes),
            _number(viewer.delay_ms.get("p50")),
            _number(viewer.delay_ms.get("p99")),
        )
    return table


def render(report: DemoReport) -> RenderableType:
    """The summary a terminal shows."""
    lines: list[RenderableType] = [hop_table(report.hops), viewer_table(report.viewers)]
    for viewer in report.viewers:
        lines.append(Text(f"{viewer.name}: {' -> '.join(viewer.path)}"))
    if report.fallbacks:
        lines.append(Text(f"The kernel lacks: {', '.join(report.fallbacks)}", style="yellow"))
    pictures = [viewer.picture for viewer in report.viewers if viewer.picture]
    if pictures:
        lines.append(Text(f"A received frame: {pictures[0]}"))
    lines.append(
        Text(
            f"{report.frames_sent} frames in {report.packets_sent} packets; "
            f"{report.packets_lost_on_links} packets lost on links ({report.loss_percent:.2f} %), "
            f"{report.packets_repaired} repaired, "
            f"{report.packets_gone + report.packets_given_up} gone; "
            "the rest were probes, reports, repeats."
        )
    )
    if report.is_whole:
        lines.append(Text("The broadcast arrived whole and in time.", style="bold green"))
    else:
        reason = "" if report.repair else " (repair was off)"
        lines.append(Text(f"The broadcast did not arrive whole{reason}.", style="bold red"))
    return Group(*lines)
