"""Both sides of the control channel in virtual time, and a wire between them that can be cut.

`Brain` is what a daemon does with the parts: sessions, registry, distribution. `ChannelNode` is a
node that applies what it is told; its disk is the attribute `stored`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from random import Random

from control_client.errors import RefusalCode, TableRefusalCode
from control_client.messages import (
    Capacity,
    Neighbour,
    NodeLoad,
    Path,
    ProducedStream,
    Report,
    SubscriptionState,
    TableApplied,
    TableRefused,
    TableVersion,
    TrackDescriptor,
)
from control_client.session import Identity, NodeSession
from control_client.session_events import (
    ApplyTable,
    Connect,
    Disconnect,
    InventoryWanted,
    ReportDue,
    SessionEvent,
)
from control_client.table import HeldTable, NodeTable
from control_client.tokens import token_hash
from controller.tables.distribution import Distribution
from controller.tables.node_session import (
    CloseConnection,
    Intervals,
    NodeJoined,
    NodeLeft,
    NodeSaid,
    ReplacesConnection,
)
from controller.tables.node_session import NodeSession as BrainSession
from controller.tables.node_session import NodeSessionEvent as BrainEvent
from controller.tables.registry import KnownNode, NodeRegistry

CAPACITY = Capacity(node_links=64, streams=1024, cursors=8192, viewers=1024)
REPORT = Report(window_us=60_000_000, load=NodeLoad(100, 200, 3, 4))
VIDEO = TrackDescriptor("video", "H264", 96, 90_000, "packetization-mode=1")
AUDIO = TrackDescriptor("audio", "opus", 111, 48_000)
DEMO = ProducedStream("demo", (VIDEO, AUDIO))


def token_of(name: str) -> str:
    return f"token-of-{name}"


def known(*names: str) -> list[KnownNode]:
    return [KnownNode(name, 100 + n, token_hash(token_of(name))) for n, name in enumerate(names)]


def neighbour(number: int, rate_bps: int = 1_000_000) -> Neighbour:
    address = f"192.0.2.{number}:7000"
    return Neighbour(f"n{number}", number, address, bytes([number]) * 32, rate_bps)


def random_table(rng: Random) -> NodeTable:
    """Few entries of few kinds, so that tables often share some and sometimes are equal."""
    numbers = rng.sample(range(1, 8), rng.randrange(1, 5))
    entries = [neighbour(n, rng.choice((1_000_000, 2_000_000))) for n in sorted(numbers)]
    paths = {
        f"s{n}": (Path((f"n{n}", "producer"), rng.choice((10, 20))),)
        for n in numbers
        if rng.random() < 0.5
    }
    return NodeTable.of(entries, paths)


@dataclass
class Brain:
    """One start of the brain. sessions: by connection."""

    names: tuple[str, ...] = ("tokyo",)
    term: int = 1
    intervals: Intervals = field(default_factory=Intervals)
    events: list[BrainEvent] = field(default_factory=list)
    sessions: dict[int, BrainSession] = field(default_factory=dict)
    closed: dict[int, CloseConnection] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.registry = NodeRegistry(known(*self.names))
        self.distribution = Distribution(self.term)
        self._by_node: dict[str, int] = {}
        self._next = 0

    def accept(self, now_us: int, peer: str = "198.51.100.7:40000") -> int:
        """A connection; its number."""
        self._next += 1
        session = BrainSession(self.registry, self._next, peer, self.term, now_us, self.intervals)
        self.sessions[self._next] = session
        return self._next

    def handle(self, now_us: int) -> None:
        """Take and carry out all events."""
        for connection in tuple(self.sessions):
            self._handle(connection, now_us)
        while (send := self.distribution.next_event()) is not None:
            if (number := self._by_node.get(send.node)) is not None:
                self.sessions[number].send(send.message, now_us)

    def handle_timer(self, now_us: int) -> None:
        self.distribution.handle_timer(now_us)
        for session in self.sessions.values():
            session.handle_timer(now_us)
        self.handle(now_us)

    def _handle(self, connection: int, now_us: int) -> None:
        session = self.sessions[connection]
        while (event := session.next_event()) is not None:
            self.events.append(event)
            match event:
                case ReplacesConnection(other):
                    self.sessions[other].refuse(RefusalCode.REPLACED, "a new connection of it")
                    self._handle(other, now_us)
                case CloseConnection():
                    self.closed[connection] = event
                case NodeJoined(node, _, inventory):
                    self._by_node[node.name] = connection
                    self.distribution.on_joined(node.name, inventory.table, now_us)
                case NodeLeft(node=name):
                    del self._by_node[name]
                    self.distribution.on_left(name)
                case NodeSaid(name, TableApplied() as answer):
                    self.distribution.on_applied(name, answer, now_us)
                case NodeSaid(name, TableRefused() as answer):
                    self.distribution.on_refused(name, answer, now_us)

    def said(self) -> list[object]:
        """What nodes said, without what the distribution takes."""
        return [
            event.message
            for event in self.events
            if isinstance(event, NodeSaid)
            and not isinstance(event.message, TableApplied | TableRefused)
        ]


@dataclass
class ChannelNode:
    """stored: its disk; survives `restart`. refuses: the code it refuses tables with."""

    name: str = "tokyo"
    seed: int = 1
    token: str = ""
    stored: HeldTable | None = None
    events: list[SessionEvent] = field(default_factory=list)
    applied: list[TableVersion] = field(default_factory=list)
    refuses: TableRefusalCode | None = None
    is_disk_full: bool = False
    streams: tuple[ProducedStream, ...] = ()
    subscriptions: tuple[SubscriptionState, ...] = ()
    address: str = "192.0.2.200:7000"
    capacity: Capacity = CAPACITY
    measured: Report = REPORT

    def __post_init__(self) -> None:
        self.boots = 0
        self.restart(0)

    def restart(self, now_us: int) -> None:
        """The process starts (again)."""
        self.boots += 1
        rng = Random(f"{self.seed} {self.boots}")
        token = self.token or token_of(self.name)
        identity = Identity(self.name, token, rng.getrandbits(63), "overlane 0.1.0")
        self.session = NodeSession(identity, rng, now_us, self.stored)

    def handle(self, now_us: int) -> list[Connect | Disconnect]:
        """Take all events, do the node's part, and give the shell's."""
        wishes: list[Connect | Disconnect] = []
        while (event := self.session.next_event()) is not None:
            if isinstance(event, Connect | Disconnect):
                self.events.append(event)
                wishes.append(event)
            else:
                self.on_event(event, now_us)
        return wishes

    def on_event(self, event: SessionEvent, now_us: int) -> None:
        """One of those that are for the node."""
        self.events.append(event)
        match event:
            case InventoryWanted():
                self.session.register(
                    address=self.address,
                    admin_url="http://192.0.2.200:8080",
                    capacity=self.capacity,
                    streams=self.streams,
                    subscriptions=self.subscriptions,
                    now_us=now_us,
                )
            case ReportDue():
                self.session.report(self.measured, now_us)
            case ApplyTable():
                self._apply(event, now_us)

    def of(self, kind: type) -> list[SessionEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    def _apply(self, event: ApplyTable, now_us: int) -> None:
        if self.refuses is not None:
            self.session.on_table_refused(event.version, self.refuses, "as the test says", now_us)
            return
        self.applied.append(event.version)
        if not self.is_disk_full:
            self.stored = HeldTable(event.version, event.table)
        self.session.on_table_applied(event.version, is_stored=not self.is_disk_full, now_us=now_us)


class Channel:
    """A node, a brain, and at most one connection; what is under way stands in two queues."""

    def __init__(self, node: ChannelNode, brain: Brain) -> None:
        self.node = node
        self.brain = brain
        self.now_us = 0
        self.connection: int | None = None
        self.is_reachable = True
        self.to_brain: deque[bytes] = deque()
        self.to_node: deque[bytes] = deque()
        self.sent_to_node: list[bytes] = []

    def settle(self) -> None:
        """Deliver until nothing is under way."""
        self.pump()
        while self.to_brain or self.to_node:
            self.deliver_to_brain()
            self.deliver_to_node()

    def run_until(self, time_us: int) -> None:
        """With all timers of both sides, each at its time, and a wire without delay."""
        self.settle()
        while (due_us := self._next_timer_us()) is not None and due_us <= time_us:
            self.now_us = max(self.now_us, due_us)
            self.tick()
            self.settle()
        self.now_us = time_us

    def run_for(self, duration_us: int) -> None:
        self.run_until(self.now_us + duration_us)

    def step(self) -> None:
        """To the next timer of either side; what is sent stays under way."""
        if (due_us := self._next_timer_us()) is not None:
            self.now_us = max(self.now_us, due_us)
        self.tick()

    def tick(self) -> None:
        self.node.session.handle_timer(self.now_us)
        self.brain.handle_timer(self.now_us)
        self.pump()

    def deliver_to_brain(self) -> None:
        if self.connection is None:
            self.to_brain.clear()
        elif self.to_brain:
            self.brain.sessions[self.connection].receive(self.to_brain.popleft(), self.now_us)
        self.pump()

    def deliver_to_node(self) -> None:
        if self.to_node:
            self.node.session.receive(self.to_node.popleft(), self.now_us)
        self.pump()

    def cut(self, reason: str = "cut") -> None:
        """The connection breaks, with all that was under way."""
        connection, self.connection = self.connection, None
        if connection is not None:
            self.to_brain.clear()
            self.to_node.clear()
            self.brain.sessions[connection].on_closed(reason)
            self.node.session.on_closed(reason, self.now_us)
        self.pump()

    def pump(self) -> None:
        """What both sides want done and said."""
        while wishes := self.node.handle(self.now_us):
            for wish in wishes:
                if isinstance(wish, Disconnect):
                    self._flush()
                    self.cut(wish.text)
                elif self.is_reachable:
                    self.connection = self.brain.accept(self.now_us)
                    self.node.session.on_connected(self.now_us)
                else:
                    self.node.session.on_closed("no route", self.now_us)
        self.brain.handle(self.now_us)
        self._take()
        if self.connection in self.brain.closed and self.connection is not None:
            self._flush()
            if self.connection is not None:
                self.cut("closed by the brain")

    def _take(self) -> None:
        while (data := self.node.session.next_message()) is not None:
            self.to_brain.append(data)
        if self.connection is not None:
            while (data := self.brain.sessions[self.connection].next_message()) is not None:
                self.to_node.append(data)
                self.sent_to_node.append(data)

    def _flush(self) -> None:
        """What was said before a close arrives."""
        self._take()
        while self.connection is not None and self.to_brain:
            self.brain.sessions[self.connection].receive(self.to_brain.popleft(), self.now_us)
        self.brain.handle(self.now_us)
        while self.to_node:
            self.node.session.receive(self.to_node.popleft(), self.now_us)
            self.node.handle(self.now_us)

    def _next_timer_us(self) -> int | None:
        times = [self.node.session.next_timer_us(), self.brain.distribution.next_timer_us()]
        times += [session.next_timer_us() for session in self.brain.sessions.values()]
        return min((time_us for time_us in times if time_us is not None), default=None)
