"""What a subscription table wants done: values, in the order they must be done in."""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from relay.errors import RefusalCode
from relay.messages import Message, Track


class BroadcastState(Enum):
    """How a broadcast stands at this node, as viewers see it. STANDBY: nothing flows, and this node
    keeps a way for others; of a way alone never said."""

    ASKING = "asking"
    STANDBY = "standby"
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
    """The broadcast consists of these streams from `peer`, None: from here; any others are over."""

    broadcast: str
    peer: str | None
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True)
class BroadcastRemoved:
    """Nobody wants it any more, or it cannot be had: forget its streams and their cursors."""

    broadcast: str


@dataclass(frozen=True, slots=True)
class AddCursor:
    """Send a stream to a neighbour, from a packet on if one is named; answer with
    `on_cursor_started` or `on_cursor_refused`."""

    peer: str
    stream_id: int
    start_seq: int | None = None


@dataclass(frozen=True, slots=True)
class MarkCopy:
    """A neighbour that is or will be sent a stream gets it from elsewhere too, or no longer."""

    peer: str
    stream_id: int
    is_copy: bool


@dataclass(frozen=True, slots=True)
class UpstreamChanged:
    """The same streams come from `peer`. second: from there as well, while it takes over or sends
    copies; answer with `on_upstream_flows` when the newer of them delivers."""

    broadcast: str
    peer: str
    second: str | None = None


@dataclass(frozen=True, slots=True)
class PathsWanted:
    """Answer with `on_paths` or `on_no_path`."""

    broadcast: str


@dataclass(frozen=True, slots=True)
class Switched:
    """A broadcast comes another way. before, after: names of neighbours."""

    broadcast: str
    reason: str
    before: str
    after: str
    gap_us: int


@dataclass(frozen=True, slots=True)
class CopiesChanged:
    """Copies for premium viewers come over these nodes, the producer first, or from nowhere.
    is_disjoint: no other node is on both ways but the producer."""

    broadcast: str
    ancestors: tuple[str, ...]
    is_disjoint: bool


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
    broadcast: str


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A broadcast from elsewhere came, was lost, or ended."""

    broadcast: str
    state: BroadcastState


SubscriptionEvent: TypeAlias = (
    Send
    | TracksChanged
    | BroadcastRemoved
    | UpstreamChanged
    | PathsWanted
    | Switched
    | AddCursor
    | MarkCopy
    | CopiesChanged
    | RemoveCursor
    | ViewerReady
    | ViewerRefused
    | StateChanged
)
