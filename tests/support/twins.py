"""The native engine and its plain-Python twin side by side: the same calls, all answers compared.

Compared after each turn: datagrams byte for byte and in order to each destination, events in order
for each handle, every counter, and the next deadline. Not compared: the order between destinations
and how packets were batched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from fastpath import Engine
from fastpath.events import Event
from fastpath.reference import ReferenceEngine
from fastpath.reference.siphash import siphash24
from fastpath.reference.wire import Digest

Address = tuple[str, int]
Datagram = tuple[int, Address, bytes]
UNCOMPARED_VERDICTS = {
    "sent_batches"
}  # how packets share system calls is no part of the definition
SIZES = {"streams": 8, "cursors": 32, "node_links": 6, "viewer_links": 8, "ports": 4}
TABLES = {
    "open_port": "ports",
    "add_link": "links",
    "add_viewer_link": "links",
    "add_stream": "streams",
    "add_cursor": "cursors",
    "add_viewer_cursor": "cursors",
}


class MismatchError(AssertionError):
    """The twins differ. differences: one line each."""

    def __init__(self, turn: int, now_us: int, differences: list[str]) -> None:
        super().__init__(f"turn {turn} at {now_us} us:\n  " + "\n  ".join(differences))
        self.differences = differences


@dataclass(frozen=True, slots=True)
class Call:
    """One call of both engines, with what it returned."""

    name: str
    arguments: dict[str, object]
    result: int | None


@dataclass(frozen=True, slots=True)
class Turn:
    now_us: int
    datagrams: tuple[Datagram, ...]
    arrived_us: int | None = None
    spent_us: int = 0


Step = Call | Turn


@dataclass
class Handles:
    """What has been added and not removed."""

    ports: list[int] = field(default_factory=list)
    links: list[int] = field(default_factory=list)
    streams: list[int] = field(default_factory=list)
    cursors: list[int] = field(default_factory=list)


class Twins:
    """Both engines. Every step is recorded, so that a run can be replayed without its author."""

    def __init__(self, settings: dict[str, int], digest: Digest = siphash24) -> None:
        self.settings = settings
        self.native = Engine(**SIZES, slab_bytes=16 << 20, **settings)  # type: ignore[arg-type]
        self.twin = ReferenceEngine(**SIZES, digest=digest, **settings)
        self.handles = Handles()
        self.places: dict[int, tuple[int, int]] = {}  # cursor -> stream, link
        self.steps: list[Step] = []
        self.turns = 0

    def call(self, name: str, **arguments: object) -> int:
        """Call both; the handle they agree on."""
        native: int | None = getattr(self.native, name)(**arguments)
        twin: int | None = getattr(self.twin, name)(**arguments)
        if native != twin:
            raise MismatchError(self.turns, 0, [f"{name} gave {native}, twin {twin}"])
        self.steps.append(Call(name, arguments, native))
        if name in TABLES and native is not None:
            getattr(self.handles, TABLES[name]).append(native)
        if native is not None and TABLES.get(name) == "cursors":
            self.places[native] = int(str(arguments["stream"])), int(str(arguments["link"]))
        if name in ("move_viewer_cursor", "switch_viewer_cursor"):
            cursor, stream = int(str(arguments["cursor"])), int(str(arguments["stream"]))
            self.places[cursor] = stream, self.places[cursor][1]
        if name.startswith("remove_"):
            self._forget(name, arguments)
        return -1 if native is None else native

    def _forget(self, name: str, arguments: dict[str, object]) -> None:
        kind = name.removeprefix("remove_")
        (handle,) = arguments.values()
        assert isinstance(handle, int)
        getattr(self.handles, kind + "s").remove(handle)
        gone = [handle] if kind == "cursor" else []
        if kind in ("stream", "link"):
            which = ("stream", "link").index(kind)
            gone = [cursor for cursor, place in self.places.items() if place[which] == handle]
            self.handles.cursors = [c for c in self.handles.cursors if c not in gone]
        for cursor in gone:
            del self.places[cursor]

    def turn(
        self,
        now_us: int,
        datagrams: Iterable[Datagram],
        *,
        arrived_us: int | None = None,
        spent_us: int = 0,
    ) -> tuple[list[Datagram], list[Event]]:
        """One turn of both; what the native engine sent and said. Raises MismatchError."""
        arrived = tuple(datagrams)
        self.steps.append(Turn(now_us, arrived, arrived_us, spent_us))
        self.turns += 1
        at_us = now_us if arrived_us is None else arrived_us
        sent = self.native.turn(now_us, arrived, arrived_us=at_us, spent_us=spent_us)
        events = self.native.events()
        expected = self.twin.turn(now_us, arrived, arrived_us=at_us, spent_us=spent_us)
        differences = [
            *_compare_datagrams(sent, expected),
            *_compare_events(events, self.twin.events()),
            *self._compare_counters(),
        ]
        if differences:
            raise MismatchError(self.turns, now_us, differences)
        return sent, events

    def _compare_counters(self) -> Iterable[str]:
        native, twin = self.native, self.twin
        yield from _compare("next_timer_us", native.next_timer_us(), twin.next_timer_us())
        counted = {n: v for n, v in native.verdicts().items() if n not in UNCOMPARED_VERDICTS}
        expected = twin.verdicts()
        for name in sorted(counted.keys() | expected.keys()):
            yield from _compare(name, counted.get(name, 0), expected.get(name, 0))
        readers: list[tuple[list[int], Callable[[int], object], Callable[[int], dict[str, int]]]]
        readers = [
            (self.handles.links, native.link_stats, twin.link_stats),
            (self.handles.streams, native.stream_stats, twin.stream_stats),
            (self.handles.cursors, native.cursor_stats, twin.cursor_stats),
        ]
        for handles, read_native, read_twin in readers:
            for handle in handles:
                found = read_native(handle)
                for name, value in read_twin(handle).items():
                    label = f"{type(found).__name__}({handle:#x}).{name}"
                    yield from _compare(label, getattr(found, name), value)


def _compare(what: str, native: object, twin: object) -> Iterable[str]:
    if native != twin:
        yield f"{what}: native {native}, twin {twin}"


def _compare_datagrams(native: list[Datagram], twin: list[Datagram]) -> Iterable[str]:
    ours: defaultdict[tuple[int, Address], list[bytes]] = defaultdict(list)
    theirs: defaultdict[tuple[int, Address], list[bytes]] = defaultdict(list)
    for lists, sent in ((ours, native), (theirs, twin)):
        for port, address, data in sent:
            lists[port, address].append(data)
    for place in ours.keys() | theirs.keys():
        if ours[place] == theirs[place]:
            continue
        yield f"to {place}: native {len(ours[place])} datagrams, twin {len(theirs[place])}"
        for at in range(max(len(ours[place]), len(theirs[place]))):
            a, b = (sent[at] if at < len(sent) else b"" for sent in (ours[place], theirs[place]))
            if a != b:
                yield f"datagram {at}: native {a.hex(' ')}"
                yield f"datagram {at}: twin   {b.hex(' ')}"
                break


def _compare_events(native: list[Event], twin: list[Event]) -> Iterable[str]:
    def by_subject(events: list[Event]) -> dict[str, list[Event]]:
        found = defaultdict(list)
        for event in events:
            subject = type(event).__dataclass_fields__.keys()
            found[f"{next(iter(subject))} {getattr(event, next(iter(subject)))}"].append(event)
        return found

    ours, theirs = by_subject(native), by_subject(twin)
    for subject in ours.keys() | theirs.keys():
        a, b = ours.get(subject, []), theirs.get(subject, [])
        yield from _compare(f"events of {subject}", a, b)


def replay(settings: dict[str, int], steps: Sequence[Step], digest: Digest) -> Twins:
    """Run recorded steps. Raises MismatchError as the first run did.

    Raises KeyError where a step needs a handle that an omitted one gave."""
    twins = Twins(settings, digest)
    for step in steps:
        if isinstance(step, Turn):
            twins.turn(
                step.now_us,
                step.datagrams,
                arrived_us=step.arrived_us,
                spent_us=step.spent_us,
            )
        elif twins.call(step.name, **step.arguments) not in (step.result, -1):
            raise KeyError(f"{step.name} gave another handle")
    return twins


def shrink(settings: dict[str, int], steps: list[Step], digest: Digest) -> list[Step]:
    """Fewer steps and datagrams that still end in a mismatch: halves left out, then quarters."""

    def fails(candidate: list[Step]) -> bool:
        try:
            replay(settings, candidate, digest)
        except MismatchError:
            return True
        except (KeyError, ValueError):
            return False
        return False

    def without(items: list[Step], keep: Callable[[list[Step]], bool]) -> list[Step]:
        size = len(items)
        while size := size // 2:
            at = 0
            while at < len(items):
                fewer = items[:at] + items[at + size :]
                if keep(fewer):
                    items = fewer
                else:
                    at += size
        return items

    steps = without(steps, fails)
    for at in range(len(steps)):
        step = steps[at]
        if isinstance(step, Turn) and step.datagrams:
            for place in reversed(range(len(step.datagrams))):
                kept = step.datagrams[:place] + step.datagrams[place + 1 :]
                fewer = replace(step, datagrams=kept)
                candidate = [*steps[:at], fewer, *steps[at + 1 :]]
                if fails(candidate):
                    steps, step = candidate, fewer
    return without(steps, fails)
