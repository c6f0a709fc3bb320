"""What the brain tells people: the values behind its HTTP API, named as its JSON is."""

from __future__ import annotations

import msgspec


class _Answer(msgspec.Struct, frozen=True):
    pass


class Status(_Answer, frozen=True):
    """nodes, suspect, overloaded: how many are connected, ...; version: of the network."""

    term: int
    uptime_s: float
    version: int
    is_settling: bool
    nodes: int
    known_nodes: int
    suspect_nodes: int
    overloaded_nodes: int
    links: int
    streams: int
    popular: tuple[str, ...]
    campaigns: dict[str, tuple[float, float]]
    counters: dict[str, int]


class Load(_Answer, frozen=True):
    """cpu, memory: shares, 0..1."""

    cpu: float
    memory: float
    streams: int
    viewers: int
    egress_bps: int


class TableState(_Answer, frozen=True):
    """Versions as term.version."""

    wanted: str | None
    applied: str | None
    is_current: bool
    is_stored: bool
    problem: str


class Node(_Answer, frozen=True):
    """address, load: None if it has never been here, or has not reported."""

    name: str
    node_id: int
    address: str | None
    admin_url: str
    software: str
    is_connected: bool
    is_suspect: bool
    is_overloaded: bool
    is_last_resort: bool
    load: Load | None
    table: TableState


class Link(_Answer, frozen=True):
    """One direction. rtt_us, cost_us: None if it is down or was not measured."""

    sender: str
    receiver: str
    is_up: bool
    rtt_us: int | None
    loss: float
    utilisation: float
    rate_bps: int | None
    is_overloaded: bool
    cost_us: int | None


class Track(_Answer, frozen=True):
    stream_id: int
    media: str
    codec: str
    payload_type: int
    clock_rate: int
    fmtp: str


class Consumer(_Answer, frozen=True):
    """path: producer first; empty while it is not known."""

    node: str
    state: str
    path: tuple[str, ...]
    viewers: int
    subscribers: int


class Stream(_Answer, frozen=True):
    """since_s: how long it has been live."""

    name: str
    producer: str
    since_s: float
    tracks: tuple[Track, ...]
    consumers: tuple[Consumer, ...]


class Hop(_Answer, frozen=True):
    """See `paths.explain.Hop`."""

    sender: str
    receiver: str
    rtt_us: int | None
    loss: float
    load: float
    penalty: float
    cost_us: int | None


class Candidate(_Answer, frozen=True):
    nodes: tuple[str, ...]
    cost_us: int | None
    verdict: str
    reasons: tuple[str, ...]
    hops: tuple[Hop, ...]


class CurrentHop(_Answer, frozen=True):
    """What the receiver counted over its last report's window; None if it has not reported it.
    delay_us: accumulated from the producer."""

    sender: str
    receiver: str
    rtt_us: int | None
    received_packets: int | None
    lost_packets: int | None
    repaired_packets: int | None
    given_up_packets: int | None
    delay_us: int | None


class CurrentPath(_Answer, frozen=True):
    nodes: tuple[str, ...]
    hops: tuple[CurrentHop, ...]


class PathReport(_Answer, frozen=True):
    """kind, or error and code if there is no path. state: how the consumer has the stream (as a
    subscription's), "none", or "away" if it is not connected. current: the way it flows, of a node
    that is away the one last told; None: nothing flows, or nothing is known.
    """

    stream: str
    producer: str
    consumer: str
    kind: str | None
    error: str | None
    code: str | None
    candidates: tuple[Candidate, ...]
    state: str
    current: CurrentPath | None
    age_s: float
    version: int


class PathReports(_Answer, frozen=True):
    """One for each consumer."""

    paths: tuple[PathReport, ...]
