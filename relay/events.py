"""What a node reports to its shell: values, in the order they happened. Never one per packet."""

from dataclasses import dataclass
from typing import TypeAlias

from relay.errors import RefusalCode


@dataclass(frozen=True, slots=True)
class NeighbourUp:
    """Authentic packets arrive from it."""

    neighbour: str


@dataclass(frozen=True, slots=True)
class NeighbourDown:
    """Nothing authentic arrives from it any more."""

    neighbour: str


@dataclass(frozen=True, slots=True)
class NeighbourKeyed:
    """A handshake with it is complete. restarted: it had been keyed before, and came back anew."""

    neighbour: str
    restarted: bool


@dataclass(frozen=True, slots=True)
class NeighbourMoved:
    """A neighbour came back with another address; the configuration still names the old one."""

    neighbour: str
    address: str


@dataclass(frozen=True, slots=True)
class WorkersBlocked:
    """Nothing comes between further workers of this node and of a neighbour, though their first
    ones hear each other: these take it all. Are the ports after the first open, both ways?"""

    neighbour: str


@dataclass(frozen=True, slots=True)
class NeighbourAdded:
    """A table names it, or names it with another address or secret: there is a new link."""

    neighbour: str
    address: str


@dataclass(frozen=True, slots=True)
class NeighbourRemoved:
    """The table names it no longer."""

    neighbour: str


@dataclass(frozen=True, slots=True)
class BroadcastChanged:
    """A broadcast from elsewhere is now "live", "lost", "ended" or "removed"."""

    stream: str
    state: str


@dataclass(frozen=True, slots=True)
class CopiesChanged:
    """Premium viewers' copies of a broadcast now come this way, the producer first; empty: only one
    way is left. is_disjoint: no relay is on both ways, so nothing but the producer fails both."""

    stream: str
    path: tuple[str, ...]
    is_disjoint: bool


@dataclass(frozen=True, slots=True)
class TrackStarted:
    """The first packet of a track arrived."""

    stream: str
    media: str


@dataclass(frozen=True, slots=True)
class KeyFrameMissing:
    """Viewers of this track wait for a key frame, and none is held."""

    stream: str
    media: str


@dataclass(frozen=True, slots=True)
class EncoderSeen:
    """An encoder sends to an ingest. restarted: another one was there before."""

    stream: str
    media: str
    ssrc: int
    restarted: bool


@dataclass(frozen=True, slots=True)
class FeatureRefused:
    """The kernel refused a feature; the node goes on, slower, without it."""

    name: str
    errno: int


@dataclass(frozen=True, slots=True)
class OverloadBegan:
    """More comes than the worker can carry: it sheds media. waited_us: what packets had to wait."""

    waited_us: int


@dataclass(frozen=True, slots=True)
class OverloadEnded:
    """Nothing is shed any more, for a second. shed: packets by class and reason."""

    lasted_us: int
    highest_step: int
    shed: dict[str, int]


@dataclass(frozen=True, slots=True)
class TableFull:
    """A limit of the configuration was reached, and somebody was turned away."""

    what: str


@dataclass(frozen=True, slots=True)
class ViewerStarted:
    """A viewer is being sent its stream."""

    viewer: str
    stream: str


@dataclass(frozen=True, slots=True)
class ViewerPaused:
    """Nobody listens where a track of it goes (ICMP). It is tried again from 1 s on."""

    viewer: str
    stream: str
    media: str


@dataclass(frozen=True, slots=True)
class ViewerTurnedAway:
    """A viewer is forgotten: its stream cannot be had, or no longer."""

    viewer: str
    code: RefusalCode
    text: str


@dataclass(frozen=True, slots=True)
class ViewerLeft:
    """A viewer is gone. expired: it was not refreshed in time."""

    viewer: str
    stream: str
    expired: bool


@dataclass(frozen=True, slots=True)
class ViewerSwitched:
    """A viewer goes on with another broadcast, as it asked for; before: what it watched."""

    viewer: str
    stream: str
    before: str


@dataclass(frozen=True, slots=True)
class SwitchRefused:
    """What a viewer asked to go on with cannot be had. It stays where it is."""

    viewer: str
    stream: str
    code: RefusalCode
    text: str


@dataclass(frozen=True, slots=True)
class VersionChanged:
    """A viewer is sent another bitrate of its broadcast: version 0 is the best."""

    viewer: str
    stream: str
    version: int
    bitrate_bps: int


@dataclass(frozen=True, slots=True)
class PathsWanted:
    """Nobody here knows how to reach a broadcast, or no second way to it: answer with
    `Node.on_paths` or `Node.on_no_path`. Said once while it is unanswered."""

    stream: str


@dataclass(frozen=True, slots=True)
class UpstreamSwitched:
    """A broadcast now comes through another neighbour. before, after: the neighbours; "" is this
    node itself. gap_us: between the last packet of the old way and the first of the new one."""

    stream: str
    reason: str
    before: str
    after: str
    gap_us: int


NodeEvent: TypeAlias = (
    NeighbourUp
    | NeighbourDown
    | NeighbourKeyed
    | NeighbourMoved
    | WorkersBlocked
    | NeighbourAdded
    | NeighbourRemoved
    | BroadcastChanged
    | TrackStarted
    | KeyFrameMissing
    | EncoderSeen
    | FeatureRefused
    | OverloadBegan
    | OverloadEnded
    | TableFull
    | ViewerStarted
    | ViewerPaused
    | ViewerTurnedAway
    | ViewerLeft
    | ViewerSwitched
    | SwitchRefused
    | VersionChanged
    | PathsWanted
    | UpstreamSwitched
    | CopiesChanged
)
