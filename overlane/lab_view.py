"""What a running scenario shows: who forwards what and how well, and what just happened.

A live picture in a terminal of 80 columns or more; elsewhere a line for each thing that happens,
and one every few seconds.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lab.realtime.scene import Carried, Hop, Moment, Scene, Watching

LINE_EVERY_S = 5.0
MOMENTS = 7  # newest of the time line that a terminal shows
VIEWERS = 8  # rows; the rest is counted
STREAMS = 3
_TONES = {"plain": "", "good": "green", "bad": "bold red"}


class LabView:
    """Holds the newest scene; rich draws it when it likes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.scene = Scene("", "starting", 0.0, 1.0)
        self._next_line_s = 0.0
        self._last_step = ""
        self._told = 0

    def show(self, scene: Scene) -> None:
        """For a terminal."""
        self.scene = scene

    def show_line(self, scene: Scene) -> None:
        """For a log."""
        self.scene = scene
        for moment in scene.moments[self._told :]:
            self.console.print(_moment(moment), soft_wrap=True)
        self._told = len(scene.moments)
        if scene.elapsed_s >= self._next_line_s or scene.step != self._last_step:
            self._last_step = scene.step
            self._next_line_s = scene.elapsed_s + LINE_EVERY_S
            self.console.print(_line(scene), soft_wrap=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Group(*_parts(self.scene))


def _parts(scene: Scene) -> Iterable[RenderableType]:
    yield _headline(scene)
    yield ProgressBar(total=scene.duration_s, completed=scene.elapsed_s)
    yield Text()  # the bar ends no line
    for name in sorted(scene.streams)[:STREAMS]:
        yield _stream_table(scene, name)
        yield Text()
    if scene.viewers:
        yield _viewers(scene.viewers)
        yield Text()
    yield from (_moment(moment) for moment in scene.moments[-MOMENTS:])


def _headline(scene: Scene) -> Text:
    text = Text(overflow="ellipsis", no_wrap=True)
    text.append(scene.title, style="bold")
    text.append(f"  {scene.elapsed_s:4.1f} of {scene.duration_s:g} s, {scene.step}")
    if scene.nodes:
        text.append(f"; {len(scene.nodes) - len(scene.down)} nodes")
    if scene.down:
        text.append(f", down: {', '.join(scene.down)}", style="bold red")
    if scene.brain is not None and scene.elapsed_s:
        if scene.brain.is_up:
            text.append(f"; the brain sees {scene.brain.connected}")
        else:
            text.append("; the brain is away", style="bold red")
    return text


def _line(scene: Scene) -> Text:
    lost = sum(hop.lost for hop in scene.hops.values())
    repaired = sum(hop.repaired for hop in scene.hops.values())
    text = _headline(scene)
    text.no_wrap = False
    if scene.hops:
        frames = ", ".join(f"{v.name} {v.frames}" for v in scene.viewers[:VIEWERS] if v.frames)
        text.append(f"; lost {lost}, repaired {repaired}; frames: {frames or 'none yet'}")
    return text


def _stream_table(scene: Scene, name: str) -> RenderableType:
    """The producer, and below each node those it forwards to; a line's figures are of the hop that
    leads to its node."""
    carried = scene.streams[name]
    table = _table(f"{name}, by who forwards it", "ms", "lost", "mended", "not", "viewers")
    table.add_column("in reserve", overflow="ellipsis", no_wrap=True, ratio=1)
    shown: set[str] = set()
    # Nodes are asked one after the other: in the middle of a change they may form a ring.
    tops = [each for each in carried.values() if each.upstream not in carried]
    for here in [*tops, *carried.values()]:
        if here.node not in shown:
            _add_branch(table, scene, carried, here, shown, "", "")
    return table


def _add_branch(
    table: Table,
    scene: Scene,
    carried: dict[str, Carried],
    here: Carried,
    shown: set[str],
    guide: str,
    guide_below: str,
) -> None:
    """guide, guide_below: the lines of the tree before this node, and before those below it."""
    shown.add(here.node)
    is_gone = here.node in scene.down or here.state not in ("live", "local")
    name = Text(guide, style="dim").append(here.node, "bold red" if is_gone else "cyan")
    hop = scene.hops.get((here.upstream, here.node)) if here.upstream else None
    viewers = str(here.viewers) if here.viewers else ""
    table.add_row(name, *_figures(hop), viewers, _reserve(here))
    below = [c for c in carried.values() if c.upstream == here.node and c.node not in shown]
    for node in below:
        is_last = node is below[-1]
        _add_branch(
            table,
            scene,
            carried,
            node,
            shown,
            guide_below + ("└─ " if is_last else "├─ "),
            guide_below + ("   " if is_last else "│  "),
        )


def _figures(hop: Hop | None) -> tuple[Text, ...]:
    """One way, loss, repaired, not repaired."""
    if hop is None:
        return (Text(),) * 4
    lost_for_good = hop.gone + hop.given_up
    return (
        Text(f"{hop.rtt_us / 2_000:.0f}"),
        Text(f"{hop.loss:.1%}"),
        Text(str(hop.repaired), style="green" if hop.repaired else ""),
        Text(str(lost_for_good), style="red" if lost_for_good else ""),
    )


def _reserve(here: Carried) -> Text:
    if not here.standby:
        return Text("")
    between = " > ".join(here.standby[1:-1])
    return Text(f"via {between}" if between else f"{here.standby[0]} itself", style="dim")


def _viewers(viewers: tuple[Watching, ...]) -> RenderableType:
    table = _table("viewer", "frames", "first ms", "gap ms")
    table.add_column("path", overflow="ellipsis", no_wrap=True, ratio=1)
    for viewer in viewers[:VIEWERS]:
        path = " > ".join(viewer.path) or viewer.refusal or "-"
        table.add_row(
            viewer.name,
            str(viewer.frames),
            _number(viewer.first_frame_ms),
            _number(viewer.gap_ms),
            path if viewer.is_here or not viewer.frames else f"has left; {path}",
            style="" if viewer.is_here else "dim",
        )
    if len(viewers) > VIEWERS:
        return Group(table, Text(f"and {len(viewers) - VIEWERS} more viewers"))
    return table


def _table(first: str, *numbers: str) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, expand=True
    )
    table.add_column(first, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _moment(moment: Moment) -> Text:
    text = Text(f"{moment.at_s:6.2f} s  ", overflow="ellipsis", no_wrap=True)
    return text.append(moment.text, style=_TONES[moment.tone])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
