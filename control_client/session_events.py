"""What a node's session wants done, and what it tells: values from `NodeSession.next_event`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from control_client.errors import RequestCode
from control_client.messages import Path, Table, TableVersion, Welcome
from control_client.table import NodeTable

# -- for the shell


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection; `on_connected` or `on_closed` follows."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Send what is to be sent and close, also one that is not open yet; `on_closed` follows."""

    close_code: int
    text: str


# -- for the node


@dataclass(frozen=True, slots=True)
class InventoryWanted:
    """Call `register`: the brain lets this node in and wants to know all about it."""

    welcome: Welcome


@dataclass(frozen=True, slots=True)
class ReportDue:
    """Call `report`."""


@dataclass(frozen=True, slots=True)
class ApplyTable:
    """Put it in force, then call `on_table_applied` or `on_table_refused`. change: the message."""

    version: TableVersion
    table: NodeTable
    change: Table


@dataclass(frozen=True, slots=True)
class TableDeclined:
    """A table was not applied, and the brain was told: the held one stays in force."""

    version: TableVersion
    held: TableVersion | None
    reason: str


@dataclass(frozen=True, slots=True)
class StreamIdsGiven:
    """One a track, in the order of the announcement."""

    broadcast: str
    stream_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AnnouncementRefused:
    """The brain does not take this broadcast from this node."""

    broadcast: str
    code: RequestCode
    text: str


@dataclass(frozen=True, slots=True)
class PathsFound:
    """The answer to `ask_path`."""

    broadcast: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class PathNotFound:
    """The other answer, also if the brain did not give one in time."""

    broadcast: str
    code: RequestCode
    text: str


@dataclass(frozen=True, slots=True)
class RehomeAdvised:
    """There is a better way to a broadcast."""

    broadcast: str
    paths: tuple[Path, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class RefusedByBrain:
    """The brain closes, for this reason. The session tries again, slowly."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """The brain is away; everything in force stays so. was_registered: it was there before."""

    reason: str
    retry_us: int
    was_registered: bool


SessionEvent: TypeAlias = (
    Connect
    | Disconnect
    | InventoryWanted
    | ReportDue
    | ApplyTable
    | TableDeclined
    | StreamIdsGiven
    | AnnouncementRefused
    | PathsFound
    | PathNotFound
    | RehomeAdvised
    | RefusedByBrain
    | ConnectionLost
)
