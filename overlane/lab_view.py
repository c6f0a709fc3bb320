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
from rich.tree import Tree

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
            self.console.print(_moment(moment))
        self._told = len(scene.moments)
        if scene.elapsed_s >= self._next_line_s or scene.step != self._last_step:
            self._last_step = scene.step
            self._next_line_s = scene.elapsed_s + LINE_EVERY_S
            self.console.print(_line(scene), highlight=False)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Group(*_parts(self.scene))


def _parts(scene: Scene) -> Iterable[RenderableType]:
    yield _headline(scene)
    yield ProgressBar(total=scene.duration_s, completed=scene.elapsed_s)
    yield Text()  # the bar ends no line
    for name in sorted(scene.streams)[:STREAMS]:
        yield _stream_tree(scene, name)
    if scene.viewers:
        yield _viewers(scene.viewers)
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
            text.append(f"; brain: term {scene.brain.term}, {scene.brain.connected} nodes")
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


def _stream_tree(scene: Scene, name: str) -> RenderableType:
    """The producer, and below each node those it forwards to."""
    carried = scene.streams[name]
    width = max((len(node) for node in scene.nodes), default=8)
    tree = Tree(Text(f"{name}", style="bold"), guide_style="dim")
    shown: set[str] = set()
    for node in carried.values():
        if node.upstream is None or node.upstream not in carried:
            _add(tree, scene, carried, node, shown, width, depth=0)
    return tree


def _add(
    above: Tree,
    scene: Scene,
    carried: dict[str, Carried],
    here: Carried,
    shown: set[str],
    width: int,
    depth: int,
) -> None:
    if here.node in shown:  # nodes were asked one after the other, in the middle of a change
        return
    shown.add(here.node)
    hop = scene.hops.get((here.upstream, here.node)) if here.upstream else None
    branch = above.add(_node_line(scene, here, hop, max(8, width - 4 * depth)))
    for node in carried.values():
        if node.upstream == here.node:
            _add(branch, scene, carried, node, shown, width, depth + 1)


def _node_line(scene: Scene, here: Carried, hop: Hop | None, width: int) -> Text:
    is_gone = here.node in scene.down or here.state not in ("live", "local")
    text = Text(overflow="ellipsis", no_wrap=True)
    text.append(f"{here.node:{width}}", style="bold red" if is_gone else "cyan")
    if hop is not None:
        text.append(f" {hop.rtt_us / 2_000:4.0f} ms  {hop.loss:5.2%} lost")
        text.append(f"  {hop.repaired:4} mended", style="green" if hop.repaired else "")
        if hop.gone + hop.given_up:
            text.append(f"  {hop.gone + hop.given_up} not", style="red")
    elif here.upstream is None:
        text.append("  the broadcast starts here")
    if here.viewers:
        text.append(f"  {here.viewers} viewer{'s' if here.viewers > 1 else ''}", style="magenta")
    if here.standby:
        text.append(f"  standby: {' > '.join(here.standby[:-1])}", style="dim")
    return text


def _viewers(viewers: tuple[Watching, ...]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("viewer", no_wrap=True)
    for name in ("frames", "first ms", "gap ms"):
        table.add_column(name, justify="right", no_wrap=True)
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


def _moment(moment: Moment) -> Text:
    text = Text(f"{moment.at_s:6.2f} s  ", overflow="ellipsis", no_wrap=True)
    return text.append(moment.text, style=_TONES[moment.tone])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
