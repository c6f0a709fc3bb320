"""GetPath: which paths a consumer takes to a stream.

As LiveNet's Algorithm 1, with its errors mended: line 15 drops the valid paths where it must drop
the others; a stream that nobody knows gets an answer of its own; a consumer that is the producer
gets the path of no hop; and when nothing is left there are last-resort paths, flagged as such.

Requests that arrive together for one stream and consumer are answered by one look-up: `request`
takes them, `decide` answers all that wait. Source: LiveNet (SIGCOMM 2022) 4.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.paths.overlay_path import OverlayPath, named
from controller.paths.path_answer import (
    NoPath,
    PathAnswer,
    PathKind,
    Paths,
    UnknownConsumer,
    UnknownProducer,
    UnknownStream,
)
from controller.paths.path_base import PathBase
from controller.paths.stream_base import Broadcast, StreamBase
from controller.routing.constraints import ViolationKind, violations

NEVER_ALLOWED = frozenset(
    (ViolationKind.TOO_MANY_HOPS, ViolationKind.NO_LINK, ViolationKind.RESERVED_NODE)
)


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer for all who asked. tickets: in the order of asking."""

    tickets: tuple[int, ...]
    answer: PathAnswer


class PathDecision:
    """Reads both bases, which belong to the caller and are kept up to date by it."""

    def __init__(self, streams: StreamBase, paths: PathBase) -> None:
        self._streams = streams
        self._paths = paths
        self._waiting: dict[tuple[str | int, str], list[int]] = {}
        self.requests = 0
        self.lookups = 0

    def get_path(self, stream: str | int, consumer: str, now_us: int) -> PathAnswer:
        """stream: a broadcast's name or the id of one of its streams."""
        broadcast = self._streams.find(stream)
        if broadcast is None:
            return UnknownStream(stream)
        return self._answer(broadcast, consumer, now_us)

    def request(self, ticket: int, stream: str | int, consumer: str) -> None:
        """`decide` will answer. ticket: the caller's, to know the answer by."""
        self.requests += 1
        broadcast = self._streams.find(stream)
        key = stream if broadcast is None else broadcast.name
        self._waiting.setdefault((key, consumer), []).append(ticket)

    def decide(self, now_us: int) -> tuple[Decision, ...]:
        """Answers to all waiting requests, each stream and consumer looked up once."""
        waiting, self._waiting = self._waiting, {}
        return tuple(
            Decision(tuple(tickets), self.get_path(stream, consumer, now_us))
            for (stream, consumer), tickets in waiting.items()
        )

    def to_all_nodes(self, stream: str | int, now_us: int) -> Iterator[PathAnswer]:
        """For each node, in the order of the snapshot, the answer it would get: what is pushed
        ahead for popular broadcasts. Nothing for a stream that is not live."""
        broadcast = self._streams.find(stream)
        if broadcast is not None:
            for consumer in self._paths.graph.names:
                yield self._answer(broadcast, consumer, now_us)

    def _answer(self, broadcast: Broadcast, consumer: str, now_us: int) -> PathAnswer:
        self.lookups += 1
        name, producer = broadcast.name, broadcast.producer
        known = self._paths.graph.snapshot.index
        if consumer not in known:
            return UnknownConsumer(consumer)
        if producer not in known:
            return UnknownProducer(name, producer)
        kind = PathKind.ORDINARY
        if producer == consumer:
            found: tuple[OverlayPath, ...] = (OverlayPath((producer,), ()),)
        else:
            found = self._paths.lookup(producer, consumer, now_us).paths
        if not found:
            kind, found = PathKind.LAST_RESORT, self._paths.last_resort(producer, consumer)
        if not found:
            kind, found = PathKind.OVERLOADED, self._overloaded(producer, consumer)
        if not found:
            return NoPath(name, producer, consumer)
        return Paths(name, producer, consumer, found, kind, self._paths.version)

    def _overloaded(self, producer: str, consumer: str) -> tuple[OverlayPath, ...]:
        """An overlay without reserved nodes, or whose reserved nodes are down, still has these."""
        graph, limit = self._paths.graph, self._paths.config.max_hops
        return tuple(
            named(graph, path)
            for path in self._paths.regardless_of_load(producer, consumer)
            if not NEVER_ALLOWED & {v.kind for v in violations(graph, path.nodes, limit)}
        )
