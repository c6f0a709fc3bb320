"""What a scenario file holds: frozen models, one per table.

What a table says by itself is checked here; what tables say of one another in `checks`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Annotated, Literal, Self, TypeAlias, get_args

from pydantic import AfterValidator, Field, field_validator, model_validator

from lab.cities import find_city
from lab.errors import UnknownCityError
from lab.scenario.bounds import parse_bound
from lab.scenario.link_keys import MAX_DURATION_S, DelayMs, LinkKeys, PathRateBps, Seconds
from relay.config import Dropping, NodeName, Rate, StreamName
from service.config_model import Model

MAX_NODES = 600  # chosen: a continent's worth; a brain is sized for as many
MAX_COUNT = 100_000  # viewers of one entry
MAX_VERSIONS = 8  # as `lab.virtual.viewer` tells apart


def _known_city(name: str) -> str:
    try:
        return find_city(name).name
    except UnknownCityError as error:
        raise ValueError(str(error)) from None


def _bound(text: str) -> str:
    parse_bound(text)
    return text


City = Annotated[str, AfterValidator(_known_city)]
Bound = Annotated[str, AfterValidator(_bound)]
ViewerName: TypeAlias = NodeName
NamePattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9._*?-]+$", max_length=128)]
"""A name in which * and ? stand for any characters."""
Codec: TypeAlias = Literal["H264", "H265", "VP8", "VP9", "AV1"]
CODECS: tuple[str, ...] = get_args(Codec)
BitrateBps = Annotated[int, Field(ge=50_000, le=100_000_000)]
Feedback: TypeAlias = Literal["reports", "nack", "transport_cc", "pli"]


class Brain(Model):
    """That there is a controller, and how it is set."""

    control_delay_ms: DelayMs = 20.0
    """One way between a node and the brain, in virtual time."""
    report_s: float = Field(default=5.0, ge=1, le=3_600)
    rehome_hold_s: float = Field(default=5.0, ge=0, le=3_600)


class ScenarioNode(Model):
    """A relay node. With a city it is joined to all others that have one."""

    name: NodeName
    city: City | None = None
    last_resort: bool = False
    workers: int = Field(default=1, ge=1, le=8)
    """Engines that share its work. More than one in virtual time only: a lab's links of real time
    join one port of each two nodes."""
    viewers_per_worker: int = Field(default=500, ge=1, le=524_288)
    gop_cache: bool = True
    """Off, viewers begin at the next key frame that comes. In virtual time only."""


class Mesh(LinkKeys):
    """What the links between nodes with cities have in common; their delays are measured ones."""


class ScenarioLink(LinkKeys):
    """One pair of nodes, alike in both directions; what is left out is the mesh's."""

    a: NodeName
    b: NodeName
    delay_ms: DelayMs | None = None
    """One way."""
    ceiling_bps: PathRateBps | None = None
    """What its two nodes are told it carries (`rate_bps` of [[neighbours]]); None: their default.
    For a scenario without a brain."""
    cut: bool = False
    """The pair has no link at all."""


class CrossTraffic(Model):
    """What shares a path with media (`lab.flows`): over a link from a to b, or over the access path
    of viewers or an encoder, in the direction of the media. In virtual time only."""

    name: NodeName
    kind: Literal["tcp", "short_tcp", "cbr"]
    """tcp: without end; short_tcp: downloads with pauses (RFC 8867 5.7); cbr: a constant rate."""
    a: NodeName | None = None
    b: NodeName | None = None
    viewers: NamePattern | None = None
    broadcast: StreamName | None = None
    reverse: bool = False
    """In the other direction."""
    count: int = Field(default=1, ge=1, le=1_000)
    """So many alike, each for itself, on each path."""
    start_s: Seconds = 0.0
    end_s: Seconds | None = None
    window: Literal["cubic", "reno"] = "cubic"
    """Of TCP."""
    rate_bps: PathRateBps | None = None
    """Of cbr, on the wire."""

    @model_validator(mode="after")
    def _has_one_path(self) -> Self:
        places = [self.a is not None or self.b is not None, self.viewers, self.broadcast]
        if sum(map(bool, places)) != 1 or (self.a is None) != (self.b is None):
            raise ValueError("give either a and b, or viewers, or broadcast")
        if (self.rate_bps is None) == (self.kind == "cbr"):
            raise ValueError("rate_bps is for cbr, which needs it")
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError("end_s is not after start_s")
        return self

    def is_of_viewer(self, name: str) -> bool:
        return self.viewers is not None and fnmatchcase(name, self.viewers)


class ScenarioPath(Model):
    """A static path, for a scenario without a brain."""

    node: NodeName
    stream: StreamName
    via: tuple[NodeName, ...] = Field(min_length=1, max_length=7)
    """As in a node's [[paths]]: a neighbour first, the producer last."""


class AccessBack(LinkKeys):
    """Against the direction of the media; what is left out is as in that direction."""

    delay_ms: DelayMs | None = None


class _AccessOf(LinkKeys):
    """Whose access: exactly one of the two."""

    viewers: NamePattern | None = None
    """Of all viewers whose names (as in the report) match, wherever they watch."""
    broadcast: StreamName | None = None
    """Of its encoder, whichever node it sends to."""
    back: AccessBack | None = None

    @model_validator(mode="after")
    def _has_one_owner(self) -> Self:
        if (self.viewers is None) == (self.broadcast is None):
            raise ValueError("give either viewers or broadcast")
        return self

    def is_of_viewer(self, name: str) -> bool:
        return self.viewers is not None and fnmatchcase(name, self.viewers)


class Access(_AccessOf):
    """The path between viewers, or an encoder, and their node. The keys are for the direction of
    the media. Who has none is joined by a path that takes no time and loses nothing."""

    delay_ms: DelayMs = 0.0
    """One way."""
    shared: bool = False
    """All who match are behind one and the same path, and so behind one bottleneck."""


class Adaptive(Model):
    """An encoder that is told a rate: by the slowest of its viewers' nodes, as the rate controllers
    there see their paths. It has that rate `lag_ms` later (RFC 8593's latency)."""

    min_bps: BitrateBps = 150_000
    max_bps: BitrateBps = 4_000_000
    lag_ms: DelayMs = 100.0

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.min_bps > self.max_bps:
            raise ValueError("min_bps is above max_bps")
        return self


class Broadcast(Model):
    """An encoder."""

    name: StreamName
    node: NodeName
    start_s: Seconds = 1.0
    end_s: Seconds | None = None
    bitrate_bps: BitrateBps = 3_000_000
    fps: int = Field(default=30, ge=1, le=120)
    adaptive: Adaptive | None = None
    """Its bitrate follows what there is room for, from `bitrate_bps` on. In virtual time only."""
    versions: tuple[BitrateBps, ...] = Field(default=(), max_length=MAX_VERSIONS)
    """Simulcast: the same pictures at several bitrates, the highest first, instead of
    `bitrate_bps`.
    """
    codec: Codec = "H264"
    """Others in virtual time only, as are B frames."""
    b_frames: int = Field(default=0, ge=0, le=7)
    """Between two anchors, as a pyramid: those in the middle are referenced, the others are
    discardable. VP8, VP9 and AV1 show them in the order sent, as frames of temporal layers."""
    gop_s: float = Field(default=2.0, gt=0, le=60)
    audio: bool = True
    count: int = Field(default=1, ge=1, le=1_000)
    """So many alike, named NAME-1, NAME-2, ...; each entry of viewers of NAME is as many, who watch
    one each."""

    @model_validator(mode="after")
    def _has_one_bitrate(self) -> Self:
        if self.versions and self.adaptive is not None:
            raise ValueError("adaptive and versions exclude each other")
        return self

    @field_validator("versions")
    @classmethod
    def _highest_first(cls, versions: tuple[int, ...]) -> tuple[int, ...]:
        if any(a <= b for a, b in pairwise(versions)):
            raise ValueError("the highest bitrate comes first")
        return versions

    @property
    def names(self) -> tuple[str, ...]:
        """Of each of them."""
        return _numbered(self.name, self.count)

    @property
    def bitrates(self) -> tuple[int, ...]:
        """Of each version, the best first."""
        return self.versions or (self.bitrate_bps,)

    @property
    def version_names(self) -> tuple[str, ...]:
        """How nodes know each version: the best by the broadcast's own name."""
        return (self.name, *(f"{self.name}.{n}" for n in range(1, len(self.bitrates))))


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return (name,) if count == 1 else tuple(f"{name}-{n}" for n in range(1, count + 1))


class ScenarioViewer(Model):
    """A viewer, or `count` of them named NAME-1, NAME-2, ... who all do the same."""

    name: ViewerName
    stream: StreamName
    node: NodeName
    join_s: Seconds | None = None
    """None: it joins by an event."""
    join_spread_s: Seconds = 0.0
    """Each joins up to so much later, at a time drawn from the seed."""
    leave_s: Seconds | None = None
    stay_s: Annotated[float, Field(gt=0, le=MAX_DURATION_S)] | None = None
    """It leaves so long after it joined; in place of leave_s."""
    premium: bool = False
    """Its node takes from a second path what the first one loses."""
    feedback: tuple[Feedback, ...] | None = None
    """The RTCP that it sends: receiver reports; NACK of what it misses; when each packet came; PLI
    when it has given up on a packet.
    None: the first two if it has an access path (`Access`), nothing otherwise."""
    decode: bool = False
    """In real time its video is decoded; in virtual time frames say what they need."""
    rtx: bool | None = None
    """Whether the video that it asks for again comes as RTX (RFC 4588).
    None: if it tells when each packet came, as browsers do both."""
    beyond_ms: DelayMs = 0.0
    """One way, behind its access path: viewers behind a shared one may have different round trips.
    In virtual time only."""
    count: int = Field(default=1, ge=1, le=MAX_COUNT)

    @property
    def names(self) -> tuple[str, ...]:
        """Of each of them, as in the report."""
        return _numbered(self.name, self.count)


class _Event(Model):
    at_s: Seconds


class Cut(_Event):
    """Nothing gets through between two nodes any more."""

    do: Literal["cut"]
    a: NodeName
    b: NodeName


class Mend(_Event):
    """The pair is as the file's tables and later `link` events say."""

    do: Literal["mend"]
    a: NodeName
    b: NodeName


class ChangeLink(_Event, LinkKeys):
    """What is left out stays as it is."""

    do: Literal["link"]
    a: NodeName
    b: NodeName
    delay_ms: DelayMs | None = None


class ChangeAccess(_Event, _AccessOf):
    """What is left out stays as it is; without `back` that direction does."""

    do: Literal["access"]
    delay_ms: DelayMs | None = None


class NodeEvent(_Event):
    """kill: without a goodbye. start: with what the node had on its disk."""

    do: Literal["kill", "start"]
    node: NodeName


class BrainEvent(_Event):
    do: Literal["kill_brain", "start_brain"]


class ViewerEvent(_Event):
    do: Literal["join", "leave"]
    viewer: ViewerName


class MoveViewer(_Event):
    """It leaves its node and joins at another."""

    do: Literal["move_viewer"]
    viewer: ViewerName
    to: NodeName


class SwitchViewer(_Event):
    """It goes on with another broadcast, at a key frame, under its own numbers and times."""

    do: Literal["switch_viewer"]
    viewer: ViewerName
    to: StreamName


class MoveBroadcast(_Event):
    """The encoder sends to another node from now on."""

    do: Literal["move_broadcast"]
    broadcast: StreamName
    to: NodeName


class RestartEncoder(_Event):
    """A new SSRC, new sequence numbers, a key frame."""

    do: Literal["restart_encoder"]
    broadcast: StreamName


class PauseEncoder(_Event):
    """It sends nothing between the two (RFC 8867 5.8). In real time it then begins a new
    session.
    """

    do: Literal["pause_encoder", "resume_encoder"]
    broadcast: StreamName


LinkEvent: TypeAlias = Cut | Mend | ChangeLink
Event: TypeAlias = Annotated[
    Cut
    | Mend
    | ChangeLink
    | ChangeAccess
    | NodeEvent
    | BrainEvent
    | ViewerEvent
    | MoveViewer
    | SwitchViewer
    | MoveBroadcast
    | RestartEncoder
    | PauseEncoder,
    Field(discriminator="do"),
]


class Scenario(Model):
    """A whole file."""

    name: NodeName
    seed: int = 1
    real_time_count: int | None = Field(default=None, ge=1)
    """In real time, the most of each `count`: for what real processes on few cores cannot carry."""
    duration_s: float = Field(gt=0, le=MAX_DURATION_S)
    brain: Brain | None = None
    nodes: tuple[ScenarioNode, ...] = Field(min_length=1, max_length=MAX_NODES)
    mesh: Mesh = Mesh()
    rate: Rate = Rate()
    """As in a node's file: of all nodes. So is dropping."""
    dropping: Dropping = Dropping()
    links: tuple[ScenarioLink, ...] = ()
    paths: tuple[ScenarioPath, ...] = ()
    broadcasts: tuple[Broadcast, ...] = Field(min_length=1)
    viewers: tuple[ScenarioViewer, ...] = ()
    access: tuple[Access, ...] = ()
    flows: tuple[CrossTraffic, ...] = ()
    events: tuple[Event, ...] = ()
    expect: dict[str, Bound] = Field(default_factory=dict)

    def viewer_entry(self, name: str) -> ScenarioViewer:
        """The table an event names. Raises KeyError."""
        return {viewer.name: viewer for viewer in self.viewers}[name]

    def hosts_of(self, broadcast: Broadcast) -> tuple[str, ...]:
        """The nodes its encoder sends to in the course of the scenario, the first one first."""
        moves = sorted(
            (
                event
                for event in self.events
                if isinstance(event, MoveBroadcast) and event.broadcast == broadcast.name
            ),
            key=lambda event: event.at_s,
        )
        return tuple(dict.fromkeys([broadcast.node, *(event.to for event in moves)]))
