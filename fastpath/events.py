"""What a worker tells Python: one value per event, never one per packet.

Handles (`link`, `stream`, `cursor`) are the integers that `Engine.add_...` returned; they are never
reused, so an event about something already removed is simply not found.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class HelloReceived:
    """A HELLO whose tag verified under the link's HELLO key. It may be a replay."""

    link: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class ControlReceived:
    """A control message, authenticated and not a replay."""

    link: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class LinkKeyed:
    """A packet verified under the offered keys: they are now the link's keys, both ways."""

    link: int


@dataclass(frozen=True, slots=True)
class LinkUp:
    """Authenticated packets arrive again (or for the first time)."""

    link: int


@dataclass(frozen=True, slots=True)
class LinkDown:
    """Nothing authentic arrived for three probe intervals (RFC 5880's detection time)."""

    link: int


@dataclass(frozen=True, slots=True)
class CursorStarted:
    """Where an added cursor began: what OK tells the subscriber."""

    cursor: int
    first_stream_seq: int


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """The first packet of a stream arrived."""

    stream: int


@dataclass(frozen=True, slots=True)
class KeyFrameWanted:
    """A ring can no longer hold one whole GoP, or a cursor was lapped and no key frame is held."""

    stream: int


@dataclass(frozen=True, slots=True)
class IngestSource:
    """An encoder was recognised on an ingest port (`restarted`: its SSRC changed)."""

    stream: int
    ssrc: int
    restarted: bool


@dataclass(frozen=True, slots=True)
class Fallback:
    """The kernel refused a feature; the engine goes on without it. `name`: gro, gso, timestamps,
    huge_pages."""

    name: str
    errno: int


@dataclass(frozen=True, slots=True)
class ViewerPaused:
    """ICMP said that nobody listens where a viewer's packets go. It is tried again from 1 s on."""

    cursor: int


@dataclass(frozen=True, slots=True)
class ViewerLags:
    """A viewer's link is too slow: lag_us is how long its next packet has waited, dropped how many
    were left out since it was last said; at most each 250 ms."""

    cursor: int
    lag_us: int
    dropped: int


@dataclass(frozen=True, slots=True)
class ViewerSwitched:
    """A viewer goes on with the stream that `switch_viewer_cursor` named."""

    cursor: int
    stream: int


@dataclass(frozen=True, slots=True)
class LinkMoved:
    """A neighbour has come back with another address, proven by an authentic packet from there."""

    link: int
    address: tuple[str, int]


@dataclass(frozen=True, slots=True)
class UpstreamFlows:
    """The first packet of a stream came over the link that `set_upstream` named last. gap_us: since
    the newest packet before it, from wherever that came."""

    stream: int
    gap_us: int


@dataclass(frozen=True, slots=True)
class OverloadBegan:
    """The worker has begun to shed media. age_us: how long packets then had to wait for it."""

    age_us: int


@dataclass(frozen=True, slots=True)
class OverloadEnded:
    """Nothing was shed for a second. highest_step: of 20; shed: packets by verdict, those not 0."""

    lasted_us: int
    highest_step: int
    shed: dict[str, int]


Event: TypeAlias = (
    HelloReceived
    | ControlReceived
    | LinkKeyed
    | LinkUp
    | LinkDown
    | CursorStarted
    | StreamStarted
    | KeyFrameWanted
    | IngestSource
    | Fallback
    | ViewerPaused
    | ViewerLags
    | ViewerSwitched
    | LinkMoved
    | UpstreamFlows
    | OverloadBegan
    | OverloadEnded
)
