"""What a scenario file holds: frozen models, one per table.

What a table says by itself is checked here; what tables say of one another in `checks`.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from lab.cities import find_city
from lab.errors import UnknownCityError
from lab.link import LinkConfig
from lab.scenario.bounds import parse_bound
from relay.config import NodeName, RateBps, StreamName
from service.config_model import Model

MAX_NODES = 600  # chosen: a continent's worth; a brain is sized for as many
MAX_COUNT = 100_000  # viewers of one entry
MAX_DURATION_S = 86_400.0


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
Seconds = Annotated[float, Field(ge=0, le=MAX_DURATION_S)]
DelayMs = Annotated[float, Field(ge=0, le=10_000)]
Share = Annotated[float, Field(ge=0, le=1)]
QueueBytes = Annotated[int, Field(ge=1_500, le=1 << 30)]


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


class Mesh(Model):
    """What the links between nodes with cities have in common; their delays are measured ones."""

    jitter_ms: DelayMs = 0.0
    loss: Share = 0.0
    rate_bps: RateBps | None = None
    queue_bytes: QueueBytes = 262_144


class ScenarioLink(Model):
    """One pair of nodes, alike in both directions; what is left out is the mesh's."""

    a: NodeName
    b: NodeName
    delay_ms: DelayMs | None = None
    """One way."""
    jitter_ms: DelayMs | None = None
    loss: Share | None = None
    rate_bps: RateBps | None = None
    queue_bytes: QueueBytes | None = None
    cut: bool = False
    """The pair has no link at all."""


class ScenarioPath(Model):
    """A static path, for a scenario without a brain."""

    node: NodeName
    stream: StreamName
    via: tuple[NodeName, ...] = Field(min_length=1, max_length=7)
    """As in a node's [[paths]]: a neighbour first, the producer last."""


class Broadcast(Model):
    """An encoder."""

    name: StreamName
    node: NodeName
    start_s: Seconds = 1.0
    end_s: Seconds | None = None
    bitrate_bps: int = Field(default=3_000_000, ge=50_000, le=100_000_000)
    fps: int = Field(default=30, ge=1, le=120)
    gop_s: float = Field(default=2.0, gt=0, le=60)
    audio: bool = True


class ScenarioViewer(Model):
    """A viewer, or `count` of them named NAME-1, NAME-2, ... who all do the same."""

    name: ViewerName
    stream: StreamName
    node: NodeName
    join_s: Seconds | None = None
    """None: it joins by an event."""
    leave_s: Seconds | None = None
    count: int = Field(default=1, ge=1, le=MAX_COUNT)

    @property
    def names(self) -> tuple[str, ...]:
        """Of each of them, as in the report."""
        if self.count == 1:
            return (self.name,)
        return tuple(f"{self.name}-{number}" for number in range(1, self.count + 1))


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


class ChangeLink(_Event):
    """What is left out stays as it is."""

    do: Literal["link"]
    a: NodeName
    b: NodeName
    delay_ms: DelayMs | None = None
    jitter_ms: DelayMs | None = None
    loss: Share | None = None
    rate_bps: RateBps | None = None


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


class MoveBroadcast(_Event):
    """The encoder sends to another node from now on."""

    do: Literal["move_broadcast"]
    broadcast: StreamName
    to: NodeName


class RestartEncoder(_Event):
    """A new SSRC, new sequence numbers, a key frame."""

    do: Literal["restart_encoder"]
    broadcast: StreamName


LinkEvent: TypeAlias = Cut | Mend | ChangeLink
Event: TypeAlias = Annotated[
    Cut
    | Mend
    | ChangeLink
    | NodeEvent
    | BrainEvent
    | ViewerEvent
    | MoveViewer
    | MoveBroadcast
    | RestartEncoder,
    Field(discriminator="do"),
]


class Scenario(Model):
    """A whole file."""

    name: NodeName
    seed: int = 1
    duration_s: float = Field(gt=0, le=MAX_DURATION_S)
    brain: Brain | None = None
    nodes: tuple[ScenarioNode, ...] = Field(min_length=1, max_length=MAX_NODES)
    mesh: Mesh = Mesh()
    links: tuple[ScenarioLink, ...] = ()
    paths: tuple[ScenarioPath, ...] = ()
    broadcasts: tuple[Broadcast, ...] = Field(min_length=1)
    viewers: tuple[ScenarioViewer, ...] = ()
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


def ms_to_us(value: float) -> int:
    """Milliseconds of a file as whole microseconds."""
    return round(value * 1_000)


def link_config(link: ScenarioLink | Mesh, delay_us: int) -> LinkConfig:
    """One direction as the lab's links take it; what is None is as `LinkConfig` has it."""
    return LinkConfig(
        delay_us,
        jitter_us=ms_to_us(link.jitter_ms or 0.0),
        loss=link.loss or 0.0,
        rate_bps=link.rate_bps,
        queue_bytes=link.queue_bytes or 262_144,
    )
