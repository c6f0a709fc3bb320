"""Paths as tables that fit 80 columns: the way in use as measured, the others with their costs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from controller.core.answers import Candidate, Consumer, CurrentHop, Hop, PathReport, Stream
from overlane.columns import count, ms, new_table, percent

_UNUSED = {  # by the consumer's state
    "none": "nothing; {} does not have the stream",
    "asking": "nothing yet; {} asks for it",
    "standby": "nothing; {} stands by for others and can have it at once",
    "away": "not known; {} is not connected to the brain",
}
_STYLES = {"chosen": "green", "backup": "", "dearer": "", "barred": "yellow"}


def way(nodes: Sequence[str]) -> str:
    """From the producer on."""
    return " > ".join(nodes)


def path_of(stream: Stream, consumer: Consumer) -> tuple[str, ...]:
    """The producer's own viewers have it without any."""
    return (stream.producer,) if consumer.node == stream.producer else consumer.path


def explanation(found: PathReport) -> RenderableType:
    """One stream to one consumer."""
    parts: list[RenderableType] = [
        Text(f"{found.stream}: {found.producer} to {found.consumer}", style="bold")
    ]
    parts.append(_in_use(found))
    if found.current is not None and found.current.hops:
        parts.append(_indented(_measured(found.current.hops)))
    parts.append(_choice(found))
    if found.candidates:
        parts.append(_indented(_candidates(found.candidates)))
        if hops := _links(found.candidates):
            parts += [Text("links of these paths, one way"), _indented(hops)]
    return Group(*parts, Text())


def listing(streams: Sequence[Stream]) -> RenderableType:
    """A row for each stream and node that has it."""
    table = new_table("stream", "to", "state", "path", "viewers", right=("viewers",))
    for stream in streams:
        if not stream.consumers:
            table.add_row(stream.name, "-", "no subscriber", stream.producer, "-")
        for each in stream.consumers:
            path = way(path_of(stream, each)) or "-"
            table.add_row(stream.name, each.node, each.state, path, count(each.viewers))
    return table if streams else Text("no streams")


def _indented(table: Table) -> Padding:
    return Padding(table, (0, 0, 0, 2), expand=False)


def _in_use(found: PathReport) -> Text:
    if found.producer == found.consumer:
        return Text(f"in use: no link; the stream starts at {found.consumer}")
    if found.current is None:
        return Text(f"in use: {_UNUSED.get(found.state, _UNUSED['none']).format(found.consumer)}")
    text = Text(f"in use: {way(found.current.nodes)}")
    if found.state == "away":
        return text.append(f" when {found.consumer} was last heard of; it is away", style="yellow")
    if found.state == "lost":
        return text.append(" until now, but nothing comes", style="yellow")
    chosen = next((each for each in found.candidates if each.verdict == "chosen"), None)
    if chosen is not None and chosen.nodes == found.current.nodes:
        return text.append(", as the brain chooses")
    if chosen is not None:
        return text.append("; the brain would choose another", style="yellow")
    return text


def _choice(found: PathReport) -> Text:
    if found.error is not None:
        return Text(f"the brain has no path: {found.error}", style="bold yellow")
    text = f"the brain's answer: {found.kind}, searched {found.age_s:.0f} s ago"
    return Text(f"{text}, in version {found.version} of its view")


def _measured(hops: Sequence[CurrentHop]) -> Table:
    numbers = ("rtt", "packets", "lost", "repaired", "given up", "delay")
    table = new_table("hop", *numbers, right=numbers)
    for hop in hops:
        table.add_row(
            f"{hop.sender} > {hop.receiver}",
            ms(hop.rtt_us),
            count(hop.received_packets),
            count(hop.lost_packets),
            count(hop.repaired_packets),
            count(hop.given_up_packets),
            ms(hop.delay_us),
        )
    return table


def _candidates(candidates: Sequence[Candidate]) -> Table:
    table = new_table("", "path", "cost", "why", right=("cost",))
    for each in candidates:
        verdict = Text(each.verdict, style=_STYLES.get(each.verdict, ""))
        table.add_row(verdict, way(each.nodes), ms(each.cost_us), "; ".join(each.reasons))
    return table


def _links(candidates: Sequence[Candidate]) -> Table | None:
    """Each link once, though paths share them."""
    hops: dict[tuple[str, str], Hop] = {}
    for candidate in candidates:
        for hop in candidate.hops:
            hops.setdefault((hop.sender, hop.receiver), hop)
    if not hops:
        return None
    numbers = ("rtt", "loss", "load", "penalty", "cost")
    table = new_table("link", *numbers, right=numbers)
    for hop in hops.values():
        if hop.cost_us is None:
            table.add_row(f"{hop.sender} > {hop.receiver}", "no link")
            continue
        table.add_row(
            f"{hop.sender} > {hop.receiver}",
            ms(hop.rtt_us),
            percent(hop.loss),
            f"{hop.load * 100:.0f} %",
            f"{hop.penalty:.2f}",
            ms(hop.cost_us),
        )
    return table
