"""The control channel's one schema: what a node and the brain say to each other.

Hello and Refusal are the opening: their meaning never changes, later versions only add fields that
older readers skip, so two versions can always tell each other why they do not get along. All else
belongs to the schema that both speak (Hello offers, Welcome answers in it) and is decoded strictly.
`codec` turns these into bytes. Durations are microseconds, shares are per mille (1000 = all of it),
losses parts per million.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from control_client.errors import RequestCode, TableRefusalCode

SCHEMA_VERSION = 1
LOWEST_SCHEMA = 1  # the oldest that is still spoken

# Chosen: six hundred nodes in a full mesh, with room; what the largest message takes is tested.
MAX_NEIGHBOURS = 1024
MAX_STREAMS = 2048  # broadcasts that a node has or reports on
MAX_PUSHED = 1024  # broadcasts that a node is pushed paths of: the popular ones
MAX_PRODUCED = 256  # broadcasts that start at one node
MAX_TRACKS = 8  # as in SUBSCRIBE's answer
MAX_HOPS = 7  # a path of eight nodes: the hop limit of Stream-FIB legs
MAX_PATHS = 4  # LiveNet 4.3: k = 3, and a last resort
SECRET_BYTES = 32

# \Z, as $ would let a line feed stand at the end.
NodeName: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9._-]+\Z")
]
Broadcast: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+\Z")
]
Line: TypeAlias = Annotated[str, Meta(max_length=300, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Token: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+\Z")]
AddressText: TypeAlias = Annotated[str, Meta(min_length=3, max_length=64)]
Url: TypeAlias = Annotated[str, Meta(max_length=200, pattern=r"^(https?://[\x21-\x7e]+)?\Z")]
NodeId: TypeAlias = Annotated[int, Meta(ge=1, le=0xFFFF)]
StreamId: TypeAlias = Annotated[int, Meta(ge=1, le=0xFFFFFFFF)]
U32: TypeAlias = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
Duration: TypeAlias = Annotated[int, Meta(ge=0, le=3_600_000_000)]
Permille: TypeAlias = Annotated[int, Meta(ge=0, le=10_000)]
Ppm: TypeAlias = Annotated[int, Meta(ge=0, le=1_000_000)]
RateBps: TypeAlias = Annotated[int, Meta(ge=0, le=10_000_000_000_000)]
LinkRate: TypeAlias = Annotated[int, Meta(ge=100_000, le=100_000_000_000)]
Secret: TypeAlias = Annotated[bytes, Meta(min_length=SECRET_BYTES, max_length=SECRET_BYTES)]
Via: TypeAlias = Annotated[tuple[NodeName, ...], Meta(max_length=MAX_HOPS)]
BroadcastStateName: TypeAlias = Literal["asking", "standby", "live", "lost", "ended"]


class _Opening(msgspec.Struct, frozen=True, omit_defaults=True):
    """Fields that are not known are skipped: they come from a later version."""


class _Struct(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    pass


def _require_distinct(what: str, values: Iterable[object]) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} {value} is there twice")
        seen.add(value)


def _require_address(field: str, text: str) -> None:
    if not _is_reachable(text):
        raise ValueError(f"{field} {text!r} is not an ip:port that others can send to")


@lru_cache(maxsize=2 * MAX_NEIGHBOURS)  # a table's compiler checks each node's address n times
def _is_reachable(text: str) -> bool:
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})", text)
    if match is None or not 1 <= int(match[3]) <= 65_535:
        return False
    try:
        host = ip_address(match[1] or match[2])
    except ValueError:
        return False
    return not host.is_unspecified


# -- parts


class TableVersion(_Struct, frozen=True, order=True):
    """Which table. term: the brain's start; it rises with each. Ordered by term, then version."""

    term: Annotated[int, Meta(ge=1, le=(1 << 53) - 1)]
    version: Annotated[int, Meta(ge=1, le=(1 << 53) - 1)]

    def __str__(self) -> str:
        return f"{self.term}.{self.version}"


class Capacity(_Struct, frozen=True):
    """What a node can take: the limits that its configuration sets. egress_bps: 0 = not known."""

    node_links: U32
    streams: U32
    cursors: U32
    viewers: U32
    egress_bps: RateBps = 0


class TrackDescriptor(_Struct, frozen=True):
    """One track of a broadcast, as its producer's configuration describes it."""

    media: Literal["video", "audio"]
    codec: Literal["H264", "H265", "VP8", "VP9", "AV1", "opus"]
    payload_type: Annotated[int, Meta(ge=0, le=127)]
    clock_rate: Annotated[int, Meta(ge=1, le=1_000_000)]
    fmtp: Annotated[str, Meta(max_length=400, pattern=r"^[\x20-\x7e]*\Z")] = ""


class ProducedStream(_Struct, frozen=True):
    """A broadcast that starts at the node. stream_ids: one a track, in use; none: to be given."""

    broadcast: Broadcast
    tracks: Annotated[tuple[TrackDescriptor, ...], Meta(min_length=1, max_length=MAX_TRACKS)]
    stream_ids: Annotated[tuple[StreamId, ...], Meta(max_length=MAX_TRACKS)] = ()

    def __post_init__(self) -> None:
        if self.stream_ids and len(self.stream_ids) != len(self.tracks):
            raise ValueError(f"{len(self.stream_ids)} stream_ids for {len(self.tracks)} tracks")
        _require_distinct("stream id", self.stream_ids)


class Path(_Struct, frozen=True):
    """A way to a broadcast's producer, as SUBSCRIBE travels it: a neighbour first, the producer
    last; empty where the asker is the producer. cost_us: the routing's, for comparison."""

    via: Via
    cost_us: Duration
    is_last_resort: bool = False

    def __post_init__(self) -> None:
        _require_distinct("node", self.via)


Paths_: TypeAlias = Annotated[tuple[Path, ...], Meta(min_length=1, max_length=MAX_PATHS)]


class Neighbour(_Struct, frozen=True):
    """A node to have a link with. secret: the adjacency secret, the same on both sides."""

    name: NodeName
    node_id: NodeId
    address: AddressText
    secret: Secret
    rate_bps: LinkRate

    def __post_init__(self) -> None:
        _require_address("address", self.address)

    def __repr__(self) -> str:
        return f"Neighbour({self.name!r}, {self.node_id}, {self.address!r}, {self.rate_bps} bit/s)"


class PushedPaths(_Struct, frozen=True):
    """Ways to a broadcast that a node need not ask for, the best first."""

    broadcast: Broadcast
    paths: Paths_


class NodeLoad(_Struct, frozen=True):
    """How full a node is."""

    cpu_permille: Permille
    memory_permille: Permille
    streams: U32
    viewers: U32
    egress_bps: RateBps = 0


class LinkReport(_Struct, frozen=True):
    """One link, over the report's window. rate_bps: sent."""

    neighbour: NodeName
    is_up: bool
    rtt_us: Duration
    loss_ppm: Ppm
    utilisation_permille: Permille
    rate_bps: RateBps


class StreamReport(_Struct, frozen=True):
    """A broadcast as it came in over its last hop, over the report's window; the brain puts the
    hops together. upstream: None at the producer. delay_us: accumulated from the producer."""

    broadcast: Broadcast
    upstream: NodeName | None
    received_packets: Count
    lost_packets: Count
    repaired_packets: Count
    given_up_packets: Count
    delay_us: Duration
    viewers: U32 = 0
    subscribers: U32 = 0


# -- both ways


class Refusal(_Opening, frozen=True, tag="refusal"):
    """The sender closes the connection, for this reason. code: see `errors.RefusalCode`; a later
    version may have others."""

    code: Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[a-z_]+\Z")]
    text: Line


class Heartbeat(_Struct, frozen=True, tag="heartbeat"):
    """The sender is there, and has said nothing else for a while."""


# -- node to brain


class Hello(_Opening, frozen=True, tag="hello"):
    """The first message: who, and which schemas it speaks. boot_id: drawn at the node's start."""

    lowest_schema: Annotated[int, Meta(ge=1, le=0xFFFF)]
    highest_schema: Annotated[int, Meta(ge=1, le=0xFFFF)]
    node: NodeName
    token: Token
    boot_id: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
    software: Line = ""

    def __post_init__(self) -> None:
        if self.lowest_schema > self.highest_schema:
            raise ValueError(f"schemas {self.lowest_schema} to {self.highest_schema} are none")

    def __repr__(self) -> str:
        return f"Hello({self.node!r}, boot {self.boot_id:016x}, {self.software!r})"


class SubscriptionState(_Struct, frozen=True, tag="subscription_state"):
    """How the node gets a broadcast. ancestors: the producer first, the upstream last.
    "standby": nothing flows, the node keeps a way for others; "ended": it has it no longer."""

    broadcast: Broadcast
    state: BroadcastStateName
    ancestors: Via = ()
    viewers: U32 = 0
    subscribers: U32 = 0


class Inventory(_Struct, frozen=True, tag="inventory"):
    """The answer to Welcome: all that a brain that knows nothing needs. address: where neighbours
    reach the overlay socket. table: the one in force, if any."""

    address: AddressText
    capacity: Capacity
    admin_url: Url = ""
    table: TableVersion | None = None
    streams: Annotated[tuple[ProducedStream, ...], Meta(max_length=MAX_PRODUCED)] = ()
    subscriptions: Annotated[tuple[SubscriptionState, ...], Meta(max_length=MAX_STREAMS)] = ()

    def __post_init__(self) -> None:
        _require_address("address", self.address)
        _require_distinct("broadcast", (stream.broadcast for stream in self.streams))
        _require_distinct("broadcast", (state.broadcast for state in self.subscriptions))


class Report(_Struct, frozen=True, tag="report"):
    """What the node measured since the last one. is_alarm: sent at once, as the node or a link has
    reached Welcome's share of its capacity."""

    window_us: Duration
    load: NodeLoad
    links: Annotated[tuple[LinkReport, ...], Meta(max_length=MAX_NEIGHBOURS)] = ()
    streams: Annotated[tuple[StreamReport, ...], Meta(max_length=MAX_STREAMS)] = ()
    is_alarm: bool = False

    def __post_init__(self) -> None:
        _require_distinct("neighbour", (link.neighbour for link in self.links))
        _require_distinct("broadcast", (stream.broadcast for stream in self.streams))


class AnnounceStream(_Struct, frozen=True, tag="announce_stream"):
    """A broadcast starts here. Answered by StreamIds or RequestError; repeating it is harmless."""

    transaction: U32
    stream: ProducedStream


class EndStream(_Struct, frozen=True, tag="end_stream"):
    """A broadcast that was announced is over. Not answered: the next Inventory lacks it."""

    broadcast: Broadcast


class AskPath(_Struct, frozen=True, tag="ask_path"):
    """Which way to a broadcast? Answered by Paths or RequestError; repeating it is harmless."""

    transaction: U32
    broadcast: Broadcast


class TableApplied(_Struct, frozen=True, tag="table_applied"):
    """In force. is_stored: also on disk, so that it outlasts the node."""

    version: TableVersion
    is_stored: bool = True


class TableRefused(_Struct, frozen=True, tag="table_refused"):
    """Not applied; `held` is still in force."""

    version: TableVersion
    code: TableRefusalCode
    text: Line
    held: TableVersion | None = None


# -- brain to node


class Welcome(_Struct, frozen=True, tag="welcome"):
    """The node is let in. dead_after_us: without a message for so long, either side gives up."""

    term: Annotated[int, Meta(ge=1, le=(1 << 53) - 1)]
    node_id: NodeId
    heartbeat_us: Annotated[int, Meta(ge=100_000, le=60_000_000)]
    dead_after_us: Annotated[int, Meta(ge=200_000, le=600_000_000)]
    report_us: Annotated[int, Meta(ge=1_000_000, le=3_600_000_000)]
    alarm_permille: Annotated[int, Meta(ge=1, le=1000)]

    def __post_init__(self) -> None:
        if self.dead_after_us < 2 * self.heartbeat_us:
            raise ValueError("dead_after_us must be at least twice heartbeat_us")


class Table(_Struct, frozen=True, tag="table"):
    """A node's table, or with `base` the change that makes it of exactly that one.

    Entries replace those of the same name. Without `base` they are all there is."""

    version: TableVersion
    base: TableVersion | None = None
    neighbours: Annotated[tuple[Neighbour, ...], Meta(max_length=MAX_NEIGHBOURS)] = ()
    removed_neighbours: Annotated[tuple[NodeName, ...], Meta(max_length=MAX_NEIGHBOURS)] = ()
    paths: Annotated[tuple[PushedPaths, ...], Meta(max_length=MAX_PUSHED)] = ()
    removed_paths: Annotated[tuple[Broadcast, ...], Meta(max_length=MAX_PUSHED)] = ()

    def __post_init__(self) -> None:
        if self.base is None and (self.removed_neighbours or self.removed_paths):
            raise ValueError("nothing can be removed without a base")
        if self.base is not None and self.base >= self.version:
            raise ValueError(f"base {self.base} is not older than version {self.version}")
        names = (neighbour.name for neighbour in self.neighbours)
        _require_distinct("neighbour", (*names, *self.removed_neighbours))
        broadcasts = (pushed.broadcast for pushed in self.paths)
        _require_distinct("broadcast", (*broadcasts, *self.removed_paths))


class StreamIds(_Struct, frozen=True, tag="stream_ids"):
    """The ids of an announced broadcast's tracks, in their order: those it has, or new ones."""

    transaction: U32
    broadcast: Broadcast
    stream_ids: Annotated[tuple[StreamId, ...], Meta(min_length=1, max_length=MAX_TRACKS)]

    def __post_init__(self) -> None:
        _require_distinct("stream id", self.stream_ids)


class Paths(_Struct, frozen=True, tag="paths"):
    """The ways to a broadcast, the best first."""

    transaction: U32
    broadcast: Broadcast
    paths: Paths_


class RequestError(_Struct, frozen=True, tag="request_error"):
    """An AskPath or AnnounceStream that is not met. text: one line for whoever asked."""

    transaction: U32
    code: RequestCode
    text: Line


class RehomeAdvice(_Struct, frozen=True, tag="rehome_advice"):
    """A better way to a broadcast that the node has already. reason: one line."""

    broadcast: Broadcast
    paths: Paths_
    reason: Line = ""


FromNode: TypeAlias = (
    Hello
    | Inventory
    | Heartbeat
    | Report
    | AnnounceStream
    | EndStream
    | AskPath
    | TableApplied
    | TableRefused
    | SubscriptionState
    | Refusal
)
FromBrain: TypeAlias = (
    Welcome | Table | StreamIds | Paths | RequestError | RehomeAdvice | Heartbeat | Refusal
)
Message: TypeAlias = FromNode | FromBrain
