"""What the tables of a scenario must not contradict one another in.

Works on the entries that are well formed by themselves, so one typing error hides no other problem.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from lab.cities import rtt_us
from lab.errors import NoMeasurementError
from lab.scenario.model import (
    Access,
    Brain,
    BrainEvent,
    Broadcast,
    ChangeAccess,
    ChangeLink,
    CrossTraffic,
    Cut,
    Event,
    LinkEvent,
    Mend,
    MoveBroadcast,
    MoveViewer,
    NodeEvent,
    PauseEncoder,
    RestartEncoder,
    Scenario,
    ScenarioLink,
    ScenarioNode,
    ScenarioPath,
    ScenarioViewer,
    SwitchViewer,
    ViewerEvent,
)
from service.errors import Problem


@dataclass(frozen=True, slots=True)
class Parts:
    """The well-formed entries with their index in the file. is_complete: there were no others."""

    duration_s: float | None = None
    brain: Brain | None = None
    nodes: Sequence[tuple[int, ScenarioNode]] = ()
    links: Sequence[tuple[int, ScenarioLink]] = ()
    paths: Sequence[tuple[int, ScenarioPath]] = ()
    broadcasts: Sequence[tuple[int, Broadcast]] = ()
    viewers: Sequence[tuple[int, ScenarioViewer]] = ()
    access: Sequence[tuple[int, Access]] = ()
    flows: Sequence[tuple[int, CrossTraffic]] = ()
    events: Sequence[tuple[int, Event]] = ()
    malformed: frozenset[str] = field(default_factory=frozenset)
    """Tables with a malformed entry: a name that is not found may be that one's."""

    @classmethod
    def of(cls, scenario: Scenario) -> Parts:
        """All of a scenario."""
        return cls(
            duration_s=scenario.duration_s,
            brain=scenario.brain,
            nodes=tuple(enumerate(scenario.nodes)),
            links=tuple(enumerate(scenario.links)),
            paths=tuple(enumerate(scenario.paths)),
            broadcasts=tuple(enumerate(scenario.broadcasts)),
            viewers=tuple(enumerate(scenario.viewers)),
            access=tuple(enumerate(scenario.access)),
            flows=tuple(enumerate(scenario.flows)),
            events=tuple(enumerate(scenario.events)),
        )


def cross_check(parts: Parts) -> list[Problem]:
    """Every contradiction."""
    return [
        *_check_names(parts),
        *_check_references(parts),
        *_check_links(parts),
        *_check_access(parts),
        *_check_counts(parts),
        *_check_times(parts),
        *_check_events(parts),
        *_check_paths(parts),
        *_check_switches(parts),
    ]


def _check_names(parts: Parts) -> Iterator[Problem]:
    for table in ("nodes", "broadcasts", "viewers", "flows"):
        what = table.removesuffix("s")
        first: dict[str, str] = {}
        for index, entry in getattr(parts, table):
            key = f"{table}[{index}].name"
            names = getattr(entry, "names", (entry.name,))
            for name in dict.fromkeys((entry.name, *names)):
                if name in first:
                    yield Problem(key, f"{what} {name} is already that of {first[name]}")
                    break
            else:
                first.update(dict.fromkeys((entry.name, *names), key))


def _unknown(key: str, what: str, name: str, known: Collection[str]) -> Problem:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return Problem(key, f"there is no {what} {name}{hint}")


def _check_references(parts: Parts) -> Iterator[Problem]:
    names = {
        "node": {node.name for _, node in parts.nodes},
        "broadcast": {broadcast.name for _, broadcast in parts.broadcasts},
        "viewer": {viewer.name for _, viewer in parts.viewers},
    }
    for key, what, name in _references(parts):
        if name not in names[what] and f"{what}s" not in parts.malformed:
            yield _unknown(key, what, name, names[what])


def _references(parts: Parts) -> Iterator[tuple[str, str, str]]:
    """Key path, "node", "broadcast" or "viewer", and the name."""
    for i, link in parts.links:
        yield f"links[{i}].a", "node", link.a
        yield f"links[{i}].b", "node", link.b
    for i, path in parts.paths:
        yield f"paths[{i}].node", "node", path.node
        yield f"paths[{i}].stream", "broadcast", path.stream
        for j, name in enumerate(path.via):
            yield f"paths[{i}].via[{j}]", "node", name
    for i, broadcast in parts.broadcasts:
        yield f"broadcasts[{i}].node", "node", broadcast.node
    for i, access in parts.access:
        if access.broadcast is not None:
            yield f"access[{i}].broadcast", "broadcast", access.broadcast
    for i, flow in parts.flows:
        for key, what in (("a", "node"), ("b", "node"), ("broadcast", "broadcast")):
            if (name := getattr(flow, key)) is not None:
                yield f"flows[{i}].{key}", what, name
    for i, viewer in parts.viewers:
        yield f"viewers[{i}].node", "node", viewer.node
        yield f"viewers[{i}].stream", "broadcast", viewer.stream
    for i, event in parts.events:
        for field_name, what, name in _references_of(event):
            yield f"events[{i}].{field_name}", what, name


def _references_of(event: Event) -> Iterable[tuple[str, str, str]]:
    match event:
        case Cut() | Mend() | ChangeLink():
            return [("a", "node", event.a), ("b", "node", event.b)]
        case NodeEvent():
            return [("node", "node", event.node)]
        case ViewerEvent():
            return [("viewer", "viewer", event.viewer)]
        case MoveViewer():
            return [("viewer", "viewer", event.viewer), ("to", "node", event.to)]
        case SwitchViewer():
            return [("viewer", "viewer", event.viewer), ("to", "broadcast", event.to)]
        case ChangeAccess():
            return [("broadcast", "broadcast", event.broadcast)] if event.broadcast else []
        case MoveBroadcast():
            return [("broadcast", "broadcast", event.broadcast), ("to", "node", event.to)]
        case RestartEncoder() | PauseEncoder():
            return [("broadcast", "broadcast", event.broadcast)]
        case BrainEvent():
            return []


def _pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)


def _check_links(parts: Parts) -> Iterator[Problem]:
    cities = {node.name: node.city for _, node in parts.nodes}
    given: dict[tuple[str, str], tuple[str, ScenarioLink]] = {}
    for i, link in parts.links:
        key, pair = f"links[{i}]", _pair(link.a, link.b)
        if link.a == link.b:
            yield Problem(key, f"joins {link.a} with itself")
        if pair in given:
            yield Problem(key, f"{link.a} and {link.b} are already joined by {given[pair][0]}")
        given.setdefault(pair, (key, link))
        placeless = [name for name in (link.a, link.b) if name in cities and cities[name] is None]
        if link.delay_ms is None and not link.cut and placeless:
            text = f"is missing, and {placeless[0]} has no city to tell it by"
            yield Problem(f"{key}.delay_ms", text)
    needs_no_reading = {
        pair for pair, (_, link) in given.items() if link.cut or link.delay_ms is not None
    }
    placed = [(i, node.name, node.city) for i, node in parts.nodes if node.city is not None]
    for (_, one, one_city), (i, other, other_city) in combinations(placed, 2):
        if _pair(one, other) in needs_no_reading:
            continue
        try:
            rtt_us(one_city, other_city)
        except NoMeasurementError as error:
            text = f"{error}; give [[links]] of {one} and {other} with a delay_ms"
            yield Problem(f"nodes[{i}].city", text)
    ends = [(f"events[{i}]", e.a, e.b) for i, e in parts.events if isinstance(e, LinkEvent)]
    ends += [(f"flows[{i}]", f.a, f.b) for i, f in parts.flows if f.a is not None and f.b]
    for key, a, b in ends:
        if {a, b} <= cities.keys():
            _, own = given.get(_pair(a, b), ("", None))
            is_meshed = cities[a] is not None and cities[b] is not None
            is_joined = is_meshed if own is None else not own.cut
            if a == b or not is_joined:
                yield Problem(key, f"{a} and {b} have no link")


def _check_access(parts: Parts) -> Iterator[Problem]:
    """Everybody is behind one at most, and only who is behind one has one that can change."""
    names = [name for _, entry in parts.viewers for name in entry.names]
    owner: dict[tuple[str, str], str] = {}
    for i, access in parts.access:
        key = f"access[{i}]"
        if access.broadcast is not None:
            behind = [("broadcast", access.broadcast)]
        else:
            behind = [("viewer", name) for name in names if access.is_of_viewer(name)]
            if not behind and "viewers" not in parts.malformed:
                yield _unknown(f"{key}.viewers", "viewer", access.viewers or "", names)
        twice = next((one for one in behind if one in owner), None)
        if twice is not None:
            yield Problem(key, f"{' '.join(twice)} has its access by {owner[twice]} already")
        owner.update(dict.fromkeys(behind, key))
    if "access" in parts.malformed:
        return
    for i, viewer in parts.viewers:
        if viewer.beyond_ms and any(("viewer", name) not in owner for name in viewer.names):
            yield Problem(f"viewers[{i}].beyond_ms", "is for who has an access path")
    for i, event in parts.events:
        if isinstance(event, ChangeAccess) and not _has_owner(owner, event):
            yield Problem(f"events[{i}]", "changes the access of nobody who has one by [[access]]")
    for i, flow in parts.flows:
        if flow.a is None and not _has_owner(owner, flow):
            yield Problem(f"flows[{i}]", "is over the access of nobody who has one by [[access]]")


def _check_counts(parts: Parts) -> Iterator[Problem]:
    """Of broadcasts that are alike nothing is said but by their tables."""
    many = {each.name: each for _, each in parts.broadcasts if each.count > 1}
    for i, viewer in parts.viewers:
        if viewer.stream in many and viewer.count != many[viewer.stream].count:
            text = f"must be that of {viewer.stream}, whose viewers watch one each"
            yield Problem(f"viewers[{i}].count", text)
    watchers = {viewer.name for _, viewer in parts.viewers if viewer.stream in many}
    said = [(f"access[{i}].broadcast", a.broadcast) for i, a in parts.access]
    said += [(f"flows[{i}].broadcast", flow.broadcast) for i, flow in parts.flows]
    said += [(f"events[{i}].broadcast", getattr(e, "broadcast", None)) for i, e in parts.events]
    for key, name in said:
        if name in many:
            yield Problem(key, f"{name} stands for {many[name].count} broadcasts")
    for i, event in parts.events:
        if getattr(event, "viewer", None) in watchers:
            yield Problem(f"events[{i}].viewer", "stands for viewers of several broadcasts")


def _has_owner(owner: Iterable[tuple[str, str]], said: ChangeAccess | CrossTraffic) -> bool:
    return any(
        said.broadcast == name if kind == "broadcast" else said.is_of_viewer(name)
        for kind, name in owner
    )


def _check_times(parts: Parts) -> Iterator[Problem]:
    end = parts.duration_s
    for i, broadcast in parts.broadcasts:
        if broadcast.end_s is not None and broadcast.end_s <= broadcast.start_s:
            yield Problem(f"broadcasts[{i}].end_s", f"is not after start_s ({broadcast.start_s})")
    for i, viewer in parts.viewers:
        if viewer.stay_s is not None and (viewer.join_s is None or viewer.leave_s is not None):
            yield Problem(f"viewers[{i}].stay_s", "is for who has a join_s and no leave_s")
        if viewer.join_spread_s and viewer.join_s is None:
            yield Problem(f"viewers[{i}].join_spread_s", "is for who has a join_s")
        if viewer.leave_s is not None and (
            viewer.join_s is None or viewer.leave_s <= viewer.join_s
        ):
            yield Problem(f"viewers[{i}].leave_s", "is not after join_s")
        if (
            end is not None
            and viewer.join_s is not None
            and viewer.join_s + viewer.join_spread_s >= end
        ):
            yield Problem(f"viewers[{i}].join_s", f"is not before the end (duration_s = {end})")
    for i, flow in parts.flows:
        if end is not None and flow.start_s >= end:
            yield Problem(f"flows[{i}].start_s", f"is not before the end (duration_s = {end})")
    for i, event in parts.events:
        if end is not None and event.at_s >= end:
            yield Problem(f"events[{i}].at_s", f"is not before the end (duration_s = {end})")


def _check_events(parts: Parts) -> Iterator[Problem]:
    """Each must be possible when it comes."""
    is_up = {node.name: True for _, node in parts.nodes}
    is_sending = {broadcast.name: True for _, broadcast in parts.broadcasts}
    brain_up = parts.brain is not None
    ordered = sorted(parts.events, key=lambda item: (item[1].at_s, item[0]))
    for i, event in ordered:
        match event:
            case NodeEvent() if event.node in is_up:
                wanted = event.do == "start"
                if is_up[event.node] == wanted:
                    state = "runs already" if wanted else "is down already"
                    yield Problem(f"events[{i}].node", f"{event.node} {state} at {event.at_s:g} s")
                is_up[event.node] = wanted
            case PauseEncoder() if event.broadcast in is_sending:
                wanted = event.do == "resume_encoder"
                if is_sending[event.broadcast] == wanted:
                    state = "is not paused" if wanted else "is paused already"
                    text = f"{event.broadcast} {state} at {event.at_s:g} s"
                    yield Problem(f"events[{i}].broadcast", text)
                is_sending[event.broadcast] = wanted
            case BrainEvent() if parts.brain is None and "brain" not in parts.malformed:
                yield Problem(f"events[{i}].do", "there is no brain: [brain] is missing")
            case BrainEvent() if parts.brain is not None:
                wanted = event.do == "start_brain"
                if brain_up == wanted:
                    state = "runs already" if wanted else "is down already"
                    yield Problem(f"events[{i}].do", f"the brain {state} at {event.at_s:g} s")
                brain_up = wanted
            case MoveBroadcast() if parts.brain is None and "brain" not in parts.malformed:
                yield Problem(f"events[{i}].do", "without [brain] nobody finds a broadcast anew")


def _check_paths(parts: Parts) -> Iterator[Problem]:
    """Without a brain each viewer needs a static path; with one, there are none."""
    given: dict[tuple[str, str], str] = {}
    for i, path in parts.paths:
        if parts.brain is not None:
            yield Problem(f"paths[{i}]", "a static path and [brain] exclude each other")
        if (path.node, path.stream) in given:
            first = given[path.node, path.stream]
            yield Problem(f"paths[{i}]", f"{path.node} has a path to {path.stream}: {first}")
        given.setdefault((path.node, path.stream), f"paths[{i}]")
        if path.node in path.via or len(set(path.via)) < len(path.via):
            yield Problem(f"paths[{i}].via", "visits a node twice")
    if parts.brain is not None or parts.malformed & {"brain", "paths", "broadcasts"}:
        return
    hosts: Mapping[str, str] = {broadcast.name: broadcast.node for _, broadcast in parts.broadcasts}
    nodes = {viewer.name: viewer.node for _, viewer in parts.viewers}
    wanted = [(f"viewers[{i}].node", viewer.node, viewer.stream) for i, viewer in parts.viewers]
    wanted += [
        (f"events[{i}].to", nodes[event.viewer], event.to)
        for i, event in parts.events
        if isinstance(event, SwitchViewer) and event.viewer in nodes
    ]
    for key, node, stream in wanted:
        if hosts.get(stream, node) != node and (node, stream) not in given:
            text = f"nothing leads to {stream}: give [brain], or [[paths]] of {node}"
            yield Problem(key, text)


def _check_switches(parts: Parts) -> Iterator[Problem]:
    """A player goes on with what it can decode."""
    codecs = {broadcast.name: broadcast.codec for _, broadcast in parts.broadcasts}
    streams = {viewer.name: viewer.stream for _, viewer in parts.viewers}
    for i, event in parts.events:
        if isinstance(event, SwitchViewer) and event.to in codecs and event.viewer in streams:
            own = codecs.get(streams[event.viewer], codecs[event.to])
            if codecs[event.to] != own:
                text = f"{event.to} is {codecs[event.to]}, {streams[event.viewer]} is {own}"
                yield Problem(f"events[{i}].to", text)
