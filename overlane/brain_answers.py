"""What a brain's HTTP API answers, as far as commands show it. Fields that are new are skipped."""

from __future__ import annotations

from msgspec import Struct, field


class TableState(Struct):
    """wanted, applied: a term and a version; None: none yet."""

    wanted: object = None
    applied: object = None
    is_current: bool = False
    is_stored: bool = False
    problem: str | None = None


class Load(Struct):
    """cpu, memory: 0..1 of what the node has."""

    cpu: float = 0.0
    memory: float = 0.0
    streams: int = 0
    viewers: int = 0
    egress_bps: int = 0


class Node(Struct):
    """A node that the brain knows."""

    name: str
    node_id: int
    is_connected: bool
    address: str | None = None
    admin_url: str | None = None
    software: str | None = None
    is_suspect: bool = False
    is_overloaded: bool = False
    is_last_resort: bool = False
    load: Load | None = None
    table: TableState = field(default_factory=TableState)


class Link(Struct):
    """One direction. loss, utilisation: 0..1."""

    sender: str
    receiver: str
    is_up: bool
    rtt_us: int | None = None
    loss: float = 0.0
    utilisation: float = 0.0
    rate_bps: int | None = None
    is_overloaded: bool = False
    cost_us: int | None = None


class Consumer(Struct):
    """A node that has, or wants, a stream. path: from the producer to it."""

    node: str
    state: str
    path: list[str] = field(default_factory=list)
    viewers: int = 0
    subscribers: int = 0


class Stream(Struct):
    """A broadcast."""

    name: str
    producer: str | None = None
    since_s: float = 0.0
    tracks: list[dict[str, object]] = field(default_factory=list)
    consumers: list[Consumer] = field(default_factory=list)


class Status(Struct):
    """GET /status."""

    term: int
    uptime_s: float
    nodes: int
    counters: dict[str, object] = field(default_factory=dict)


class Hop(Struct):
    """A link as a candidate's cost has it. load, loss: 0..1; None: no link."""

    sender: str
    receiver: str
    rtt_us: int | None = None
    loss: float = 0.0
    load: float = 0.0
    penalty: float = 0.0
    cost_us: int | None = None


class Candidate(Struct):
    """verdict: chosen, backup, dearer, barred."""

    nodes: list[str]
    verdict: str
    cost_us: int | None = None
    reasons: list[str] = field(default_factory=list)
    hops: list[Hop] = field(default_factory=list)


class MeasuredHop(Struct):
    """What the receiver counted of one stream on one link. delay_us: from the producer to here."""

    sender: str
    receiver: str
    rtt_us: int | None = None
    received_packets: int | None = None
    lost_packets: int | None = None
    repaired_packets: int | None = None
    given_up_packets: int | None = None
    delay_us: int | None = None


class Current(Struct):
    """The way a stream takes."""

    nodes: list[str]
    hops: list[MeasuredHop] = field(default_factory=list)


class Explanation(Struct):
    """GET /paths/STREAM?consumer=NODE. kind: of the answer; error: instead of it."""

    stream: str
    consumer: str
    producer: str | None = None
    kind: str | None = None
    error: str | None = None
    candidates: list[Candidate] = field(default_factory=list)
    current: Current | None = None
    age_s: float | None = None
    version: int | None = None


class Explanations(Struct):
    """GET /paths/STREAM: one for each consumer."""

    paths: list[Explanation]
