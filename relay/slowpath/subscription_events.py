"""What a subscription table wants done: values, in the order they must be done in."""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from relay.errors import RefusalCode
from relay.messages import Message, Track


class BroadcastState(Enum):
    """How a broadcast stands at this node, as viewers see it."""

    ASKING = "asking"
    LIVE = "live"
    LOST = "lost"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Send:
    """Say this to a neighbour."""

    peer: str
    message: Message


@dataclass(frozen=True, slots=True)
class TracksChanged:
    """The broadcast consists of these streams from `peer`; any others it had are over."""

    broadcast: str
    peer: str
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True)
class BroadcastRemoved:
    """Nobody wants it any more, or it cannot be had: forget its streams and their cursors."""

    broadcast: str


@dataclass(frozen=True, slots=True)
class AddCursor:
    """Send a stream to a neighbour; answer with `on_cursor_started` or `on_cursor_refused`."""

    peer: str
    stream_id: int


@dataclass(frozen=True, slots=True)
class RemoveCursor:
    """Stop sending a stream to a neighbour."""

    peer: str
    stream_id: int


@dataclass(frozen=True, slots=True)
class ViewerReady:
    """A viewer's broadcast is here."""

    viewer: int
    broadcast: str


@dataclass(frozen=True, slots=True)
class ViewerRefused:
    """A viewer's broadcast cannot be had. The viewer is forgotten."""

    viewer: int
    code: RefusalCode
    text: str


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A broadcast from elsewhere came, was lost, or ended."""

    broadcast: str
    state: BroadcastState


SubscriptionEvent: TypeAlias = (
    Send
    | TracksChanged
    | BroadcastRemoved
    | AddCursor
    | RemoveCursor
    | ViewerReady
    | ViewerRefused
    | StateChanged
)
