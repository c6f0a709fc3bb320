"""The whole overlay as tables that fit 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from controller.core.answers import Consumer, Link, Node, Stream
from overlane.overlay_status import NodeWord, Overlay
from overlane.paths_view import count, ms, new_table, path_of, percent

MAX_LINKS = 60  # chosen: eleven nodes' full mesh; of a larger one, those with something to say


def render(overlay: Overlay) -> RenderableType:
    """Brain, nodes, links, streams; then what could not be learned."""
    status = overlay.status
    title = f"{overlay.url}: term {status.term}, up {status.uptime_s:.0f} s"
    title += f", {status.nodes} of {status.known_nodes} nodes here"
    parts: list[RenderableType] = [Text(title, style="bold")]
    if status.is_settling:
        parts.append(Text("waiting for nodes of its last start to come back", style="yellow"))
    if overlay.nodes:
        parts += [_nodes(overlay.nodes, overlay.words), Text()]
    parts += [*_links(overlay.links), Text()]
    parts += [_stream(stream) for stream in overlay.streams] or [Text("no streams")]
    counters = ", ".join(f"{name} {value}" for name, value in status.counters.items())
    if counters:
        parts += [Text(), Text(f"counters: {counters}")]
    parts += [
        Text(f"{name} could not be asked: {word.problem}", style="yellow")
        for name, word in overlay.words.items()
        if word.problem is not None
    ]
    parts += [
        Text(f"{node.name} has not its table: {node.table.problem}", style="bold yellow")
        for node in overlay.nodes
        if node.is_connected and node.table.problem
    ]
    return Group(*parts)


def _nodes(nodes: Sequence[Node], words: dict[str, NodeWord]) -> RenderableType:
    numbers = ("cpu", "mem", "streams", "viewers", "Mbit/s")
    table = new_table("node", "state", *numbers, "table", "without", right=numbers)
    for node in nodes:
        load = node.load
        figures = (
            (
                f"{load.cpu * 100:.0f}%",
                f"{load.memory * 100:.0f}%",
                count(load.streams),
                count(load.viewers),
                f"{load.egress_bps / 1e6:.1f}",
            )
            if load is not None
            else ("-",) * len(numbers)
        )
        table.add_row(node.name, _state(node), *figures, _table(node), _without(node, words))
    return table


def _state(node: Node) -> Text:
    if not node.is_connected:
        return Text("away", style="bold red")
    flags = {
        "overloaded": node.is_overloaded,
        "suspect": node.is_suspect,
        "last resort": node.is_last_resort,
    }
    found = [name for name, is_set in flags.items() if is_set]
    style = "yellow" if node.is_overloaded or node.is_suspect else ""
    return Text(", ".join(found) or "connected", style=style)


def _table(node: Node) -> Text:
    """Whether the table the brain wants is in force, and will outlast a restart."""
    state = node.table
    if not node.is_connected:
        return Text("-")
    if state.problem:
        return Text("refused", style="bold red")
    if not state.is_current:
        return Text("old" if state.applied else "none", style="yellow")
    return Text("current") if state.is_stored else Text("not stored", style="yellow")


def _without(node: Node, words: dict[str, NodeWord]) -> Text:
    word = words.get(node.name)
    if word is None or word.problem is not None:
        return Text("?" if node.is_connected else "-")
    return Text(", ".join(word.fallbacks) or "-", style="yellow" if word.fallbacks else "")


def _links(links: Sequence[Link]) -> list[RenderableType]:
    """Both directions of a pair in one row: loss and load there / back."""
    by_ends = {(link.sender, link.receiver): link for link in links}
    pairs = [
        (there, by_ends.get((there.receiver, there.sender)))
        for (sender, receiver), there in sorted(by_ends.items())
        if sender < receiver or (receiver, sender) not in by_ends
    ]
    if not pairs:
        return [Text("no links")]
    shown = pairs
    if len(pairs) > MAX_LINKS:
        shown = [pair for pair in pairs if any(link and _is_bad(link) for link in pair)][:MAX_LINKS]
    numbers = ("rtt", "loss", "load")
    table = new_table("link", "state", *numbers, right=numbers)
    for there, back in shown:
        both = [link for link in (there, back) if link is not None]
        joint = "<>" if back is not None else ">"
        table.add_row(
            f"{there.sender} {joint} {there.receiver}",
            _link_state(both),
            ms(there.rtt_us),
            " / ".join(percent(link.loss) for link in both),
            " / ".join(f"{link.utilisation * 100:.0f} %" for link in both),
        )
    if len(shown) == len(pairs):
        return [table]
    rest = f"{len(pairs) - len(shown)} more pairs of nodes"
    return [table, Text(rest)] if shown else [Text(f"{len(pairs)} pairs of nodes, all links up")]


def _is_bad(link: Link) -> bool:
    return not link.is_up or link.is_overloaded


def _link_state(both: Sequence[Link]) -> Text:
    down = [link for link in both if not link.is_up]
    if down:
        one_way = f" {down[0].sender} > {down[0].receiver}" if len(down) < len(both) else ""
        return Text(f"down{one_way}", style="bold red")
    if any(link.is_overloaded for link in both):
        return Text("overloaded", style="yellow")
    return Text("up")


def _stream(stream: Stream) -> Tree:
    """Who has it of whom. A node whose path is not known stands at the end."""
    media = ", ".join(track.codec for track in stream.tracks)
    title = f"{stream.name} ({media}), for {stream.since_s:.0f} s"
    tree = Tree(Text(title, style="bold"))
    paths = {each.node: path_of(stream, each) for each in stream.consumers}
    by_path = {path: each for each in stream.consumers if (path := paths[each.node])}
    top: tuple[str, ...] = (stream.producer,)
    branches = {top: tree.add(_leaf(stream.producer, by_path.get(top)))}
    for path in sorted(by_path):
        for length in range(1, len(path) + 1):
            prefix = path[:length]
            if prefix not in branches:
                above = branches.get(prefix[:-1], tree)
                branches[prefix] = above.add(_leaf(prefix[-1], by_path.get(prefix)))
    for each in stream.consumers:
        if not paths[each.node]:
            tree.add(Text(f"{each.node}: {each.state}, no path known", style="yellow"))
    return tree


def _leaf(name: str, consumer: Consumer | None) -> Text:
    if consumer is None:
        return Text(name)
    viewers = f"{count(consumer.viewers)} viewer{'' if consumer.viewers == 1 else 's'}"
    return Text(f"{name}: {consumer.state}, {viewers}")
