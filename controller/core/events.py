"""What a brain wants sent, and what it tells for log and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from controller.discovery import NodeLost, NodeRecovered, NodeSuspected
from controller.tables.node_session import NodeLeft, NodeTurnedAway, RefusedByNode

# -- outputs


@dataclass(frozen=True, slots=True)
class SendData:
    """One binary WebSocket message."""

    connection: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """After what was sent before. code: RFC 6455 7.4."""

    connection: int
    code: int
    text: str


BrainOutput: TypeAlias = SendData | CloseConnection

# -- events


@dataclass(frozen=True, slots=True)
class NodeEntered:
    """A node is in. table: the one it has in force."""

    node: str
    peer: str
    software: str
    table: str | None


@dataclass(frozen=True, slots=True)
class NodeNotPlaced:
    """A node that can have no neighbours, and why."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class MeshLimited:
    """Not all pairs have links: these nodes take no more (their limits.node_links)."""

    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TablesNotMade:
    """What is wanted contradicts itself; the tables in force stay."""

    reason: str


@dataclass(frozen=True, slots=True)
class TableNotApplied:
    """A node refused its table."""

    node: str
    version: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class BroadcastStarted:
    """moved_from: the node that produced it before."""

    stream: str
    producer: str
    moved_from: str | None


@dataclass(frozen=True, slots=True)
class BroadcastEnded:
    stream: str
    producer: str
    reason: str


@dataclass(frozen=True, slots=True)
class AnnouncementRefused:
    stream: str
    node: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class PathRefused:
    """An AskPath that is answered by an error."""

    stream: str
    consumer: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class RehomeSent:
    """A consumer was told of a better path. path: producer first."""

    stream: str
    consumer: str
    path: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class NodesChanged:
    """The list of nodes was read again."""

    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StateIgnored:
    """The saved state cannot be used; the brain starts without it."""

    reason: str


@dataclass(frozen=True, slots=True)
class StateRestored:
    nodes: int
    streams: int


@dataclass(frozen=True, slots=True)
class Ready:
    """Tables are made from now on. missing: nodes that were connected before and are not back."""

    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StateChanged:
    """`state` is to be saved now."""


BrainEvent: TypeAlias = (
    NodeEntered
    | NodeLeft
    | NodeTurnedAway
    | RefusedByNode
    | NodeLost
    | NodeSuspected
    | NodeRecovered
    | NodeNotPlaced
    | MeshLimited
    | TablesNotMade
    | TableNotApplied
    | BroadcastStarted
    | BroadcastEnded
    | AnnouncementRefused
    | PathRefused
    | RehomeSent
    | NodesChanged
    | StateIgnored
    | StateRestored
    | Ready
    | StateChanged
)
