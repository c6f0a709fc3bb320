"""What a control agent wants its shell to do, and what an operator should know: values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from control_client.messages import TableVersion
from control_client.table import HeldTable


@dataclass(frozen=True, slots=True)
class StoreTable:
    """Write it where the next start finds it, then call `on_stored`. A newer one replaces it."""

    held: HeldTable


@dataclass(frozen=True, slots=True)
class ControllerConnected:
    """The brain has let this node in."""

    term: int
    node_id: int


@dataclass(frozen=True, slots=True)
class ControllerLost:
    """The brain is away, tried again after `retry_us`; what is in force stays. was_registered: it
    was there before."""

    reason: str
    retry_us: int
    was_registered: bool


@dataclass(frozen=True, slots=True)
class ControllerRefused:
    """The brain does not let this node in, or this node not that brain; tried again, slowly."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class TableInForce:
    """from_disk: it is the one kept from before the start."""

    version: TableVersion
    neighbours: int
    paths: int
    from_disk: bool


@dataclass(frozen=True, slots=True)
class TableTurnedDown:
    """A table is not applied; `held` stays in force."""

    version: TableVersion
    held: TableVersion | None
    reason: str


@dataclass(frozen=True, slots=True)
class StoredTableUnusable:
    """The table kept from before the start does not fit this node; it goes on without."""

    version: TableVersion
    reason: str


@dataclass(frozen=True, slots=True)
class TableStored:
    """The table in force outlasts the node."""

    version: TableVersion


@dataclass(frozen=True, slots=True)
class TableNotStored:
    """In force, but lost if the node restarts. Writing it is tried again."""

    version: TableVersion
    problem: str


@dataclass(frozen=True, slots=True)
class BroadcastAnnounced:
    """The encoder of a broadcast sends here, and the brain is told."""

    stream: str


@dataclass(frozen=True, slots=True)
class BroadcastSilent:
    """Its encoder has sent nothing for so long that the brain is told that it is over."""

    stream: str


@dataclass(frozen=True, slots=True)
class StreamIdsReplaced:
    """Another broadcast has the ids that were drawn for this one: it goes on under others."""

    stream: str


@dataclass(frozen=True, slots=True)
class AnnouncementTurnedDown:
    """The brain does not take a broadcast from this node: only viewers here get it."""

    stream: str
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class BroadcasterMoved:
    """A broadcast that started here now comes from another node."""

    stream: str
    reason: str


@dataclass(frozen=True, slots=True)
class BroadcasterReturned:
    """Its encoder sends here again."""

    stream: str


@dataclass(frozen=True, slots=True)
class BroadcasterDisputed:
    """The brain says that a broadcast starts elsewhere, but an encoder goes on sending it here. It
    is served from elsewhere as long as it comes from there: two encoders send. Otherwise it starts
    here again (BroadcasterReturned)."""

    stream: str


@dataclass(frozen=True, slots=True)
class AdviceTaken:
    """A better way to a broadcast, first to last node of its path."""

    stream: str
    path: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class AlarmRaised:
    """A link (to this neighbour) or the node itself (None) is nearly full."""

    neighbour: str | None
    permille: int


@dataclass(frozen=True, slots=True)
class AlarmCleared:
    """It has room again."""

    neighbour: str | None
    permille: int


AgentEvent: TypeAlias = (
    StoreTable
    | ControllerConnected
    | ControllerLost
    | ControllerRefused
    | TableInForce
    | TableTurnedDown
    | StoredTableUnusable
    | TableStored
    | TableNotStored
    | BroadcastAnnounced
    | BroadcastSilent
    | StreamIdsReplaced
    | AnnouncementTurnedDown
    | BroadcasterMoved
    | BroadcasterReturned
    | BroadcasterDisputed
    | AdviceTaken
    | AlarmRaised
    | AlarmCleared
)
