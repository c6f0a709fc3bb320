"""Nodes with their agents and sessions, a brain, and the wires between, in virtual time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Protocol

from control_client.errors import RequestCode
from control_client.messages import (
    AnnounceStream,
    AskPath,
    FromBrain,
    Neighbour,
    Path,
    Paths,
    Report,
    RequestError,
    StreamIds,
    SubscriptionState,
    TableVersion,
)
from control_client.session import Identity, NodeSession
from control_client.session_events import Connect, Disconnect
from control_client.table import HeldTable, NodeTable
from control_client.tokens import token_hash
from controller.brain import Brain as WholeBrain
from controller.core.events import SendData
from controller.core.settings import BrainSettings
from controller.tables.node_session import Intervals, NodeSaid
from controller.tables.registry import KnownNode
from relay.config import NodeConfig
from relay.control.agent import ControlAgent
from relay.control.agent_events import AgentEvent, StoreTable
from tests.relay.overlay import Overlay, Running, address_of, config_of
from tests.support.control_channel import Brain, token_of

NAMES = ("a", "b", "c", "d")
FIRST_ID = 100  # as `known` numbers them
CONTROL_US = 10_000  # one way


def id_of(name: str) -> int:
    return FIRST_ID + NAMES.index(name)


def controlled(name: str, **parts: Any) -> NodeConfig:
    """A node that knows its brain, and these neighbours by their ids."""
    controller = {"url": "wss://198.51.100.1:7443/control", "token": token_of(name)}
    node_id = parts.pop("node_id", id_of(name))
    neighbours = parts.pop("configured", {})
    return config_of(name, node_id, neighbours, controller=controller, **parts)


def entry(own: str, other: str, **changes: Any) -> Neighbour:
    """`other`, as it stands in a table of `own`."""
    low, high = sorted((own, other))
    address = "{}:{}".format(*address_of(id_of(other)))
    secret = (low + high).encode().ljust(32, b".")
    values = {"address": address, "secret": secret, "rate_bps": 50_000_000, **changes}
    return Neighbour(other, id_of(other), **values)


def mesh(*names: str, paths: dict[str, tuple[Path, ...]] | None = None) -> dict[str, NodeTable]:
    """Tables that join every pair."""
    return {
        own: NodeTable.of([entry(own, other) for other in names if other != own], paths)
        for own in names
    }


class BrainLike(Protocol):
    """What a world needs of a brain."""

    def open_connection(self, peer: str, now_us: int) -> int: ...
    def receive(self, connection: int, data: bytes, now_us: int) -> None: ...
    def on_closed(self, connection: int, reason: str, now_us: int) -> None: ...
    def handle_timer(self, now_us: int) -> None: ...
    def handle(self, now_us: int) -> None: ...
    def next_timer_us(self) -> int | None: ...
    def next_message(self, connection: int) -> bytes | None: ...
    def is_closed(self, connection: int) -> bool: ...


class RealBrain:
    """The whole brain of `controller/`, started at some time. events: what it told."""

    def __init__(self, now_us: int, term: int = 1, state: bytes | None = None) -> None:
        nodes = tuple(KnownNode(n, id_of(n), token_hash(token_of(n))) for n in NAMES)
        settings = BrainSettings(nodes, intervals=Intervals(report_us=5_000_000))
        self.brain = WholeBrain(
            settings, term=term, master_key=bytes(32), state=state, rng=Random(term), now_us=now_us
        )
        self.events: list[Any] = []
        self._outputs: dict[int, deque[bytes]] = {}
        self._closed: set[int] = set()
        self.open_connection = self.brain.open_connection
        self.receive = self.brain.receive
        self.on_closed = self.brain.on_closed
        self.handle_timer = self.brain.handle_timer
        self.next_timer_us = self.brain.next_timer_us

    def handle(self, _now_us: int) -> None:
        while (output := self.brain.next_output()) is not None:
            if isinstance(output, SendData):
                self._outputs.setdefault(output.connection, deque()).append(output.data)
            else:
                self._closed.add(output.connection)
        while (event := self.brain.next_event()) is not None:
            self.events.append(event)

    def next_message(self, connection: int) -> bytes | None:
        waiting = self._outputs.get(connection)
        return waiting.popleft() if waiting else None

    def is_closed(self, connection: int) -> bool:
        return connection in self._closed


class ScriptedBrain(Brain):
    """The brain's real sessions and distribution; what it answers is set by the test.

    ways: by (node, broadcast) or by broadcast. ids: of broadcasts that get others.
    """

    def __init__(self, term: int = 1) -> None:
        super().__init__(NAMES, term)
        self.ways: dict[object, tuple[tuple[str, ...], ...]] = {}
        self.errors: dict[str, tuple[RequestCode, str]] = {}
        self.ids: dict[str, tuple[int, ...]] = {}
        self.asked: list[tuple[str, str]] = []
        self._seen = 0

    def open_connection(self, peer: str, now_us: int) -> int:
        return self.accept(now_us, peer)

    def receive(self, connection: int, data: bytes, now_us: int) -> None:
        self.sessions[connection].receive(data, now_us)
        self.handle(now_us)
        self._answer(now_us)

    def on_closed(self, connection: int, reason: str, now_us: int) -> None:
        self.sessions[connection].on_closed(reason)
        self.handle(now_us)

    def next_message(self, connection: int) -> bytes | None:
        return self.sessions[connection].next_message()

    def is_closed(self, connection: int) -> bool:
        return connection in self.closed

    def next_timer_us(self) -> int | None:
        times = [session.next_timer_us() for session in self.sessions.values()]
        times.append(self.distribution.next_timer_us())
        return min((time_us for time_us in times if time_us is not None), default=None)

    def say(self, node: str, message: FromBrain, now_us: int) -> None:
        self.sessions[self.registry.connected[node]].send(message, now_us)

    def forget(self) -> None:
        """What was heard so far."""
        self.events.clear()
        self._seen = 0

    def heard(self, kind: type, node: str | None = None) -> list[Any]:
        """What nodes said of a kind."""
        return [
            event.message
            for event in self.events
            if isinstance(event, NodeSaid)
            and isinstance(event.message, kind)
            and node in (None, event.node)
        ]

    def states(self, node: str) -> list[SubscriptionState]:
        return self.heard(SubscriptionState, node)

    def reports(self, node: str) -> list[Report]:
        return self.heard(Report, node)

    def _answer(self, now_us: int) -> None:
        new, self._seen = self.events[self._seen :], len(self.events)
        for event in new:
            match event:
                case NodeSaid(node, AskPath(transaction, stream)):
                    self.asked.append((node, stream))
                    found = self.ways.get((node, stream), self.ways.get(stream))
                    if found is not None:
                        paths = tuple(Path(via, 1000) for via in found)
                        self.say(node, Paths(transaction, stream, paths), now_us)
                    elif stream in self.errors:
                        error = RequestError(transaction, *self.errors[stream])
                        self.say(node, error, now_us)
                case NodeSaid(node, AnnounceStream(transaction, stream)):
                    if stream.broadcast in self.errors:
                        error = RequestError(transaction, *self.errors[stream.broadcast])
                        self.say(node, error, now_us)
                        continue
                    ids = self.ids.get(stream.broadcast, stream.stream_ids)
                    self.say(node, StreamIds(transaction, stream.broadcast, ids), now_us)


@dataclass
class Controlled:
    """A node's control side. stored: its disk. problem: why that cannot be written to."""

    running: Running
    session: NodeSession
    agent: ControlAgent
    connection: int | None = None
    stored: HeldTable | None = None
    problem: str | None = None
    told: list[AgentEvent] = field(default_factory=list)
    seen: int = 0

    @property
    def version(self) -> TableVersion:
        assert self.agent.in_force is not None
        return self.agent.in_force.version

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]


class World(Overlay):
    """brain: None while it is away."""

    def __init__(self, brain: BrainLike | None = None, seed: int = 1) -> None:
        super().__init__(seed)
        self.brain = brain
        self.agents: dict[str, Controlled] = {}
        self.disks: dict[str, HeldTable | None] = {}
        self._wire: deque[tuple[int, Callable[[], None]]] = deque()

    def start_node(self, name: str, **parts: Any) -> Controlled:
        """Start it, or start it anew, with what its disk holds."""
        running = self.start(controlled(name, **parts))
        rng = Random(f"{name} {self._seed}")
        identity = Identity(name, token_of(name), rng.getrandbits(63), "overlane test")
        stored = self.disks.get(name)
        session = NodeSession(identity, rng, self.now_us, stored)
        agent = ControlAgent(running.node, session, self.now_us)
        self.agents[name] = Controlled(running, session, agent, stored=stored)
        return self.agents[name]

    def kill_node(self, name: str) -> None:
        """No goodbye; its connection breaks."""
        self.kill(name)
        gone = self.agents.pop(name)
        if self.brain is not None and gone.connection is not None:
            self.brain.on_closed(gone.connection, "reset", self.now_us)

    def kill_brain(self) -> None:
        """No goodbye either."""
        self.brain = None
        self._wire.clear()
        for each in self.agents.values():
            if each.connection is not None:
                each.connection = None
                each.session.on_closed("connection reset", self.now_us)

    def link_all(self, *names: str) -> None:
        """The network between them; the nodes do not know of it."""
        for n, one in enumerate(names):
            for other in names[n + 1 :]:
                self.connect(id_of(one), id_of(other))

    def watch(self, name: str, stream: str = "demo") -> Any:
        """A viewer there, who stays."""
        node = self.agents[name].running.node
        addresses = {"video": ("10.0.9.9", 6004)}
        return node.add_viewer(stream, addresses, self.now_us, expiry_us=None)

    # -- the loop

    def _next_us(self) -> int | None:
        times = [super()._next_us()]
        times += [due_us for due_us, _ in self._wire]
        if self.brain is not None:
            times.append(self.brain.next_timer_us())
        for each in self.agents.values():
            times += [each.session.next_timer_us(), each.agent.next_timer_us()]
        return min((time_us for time_us in times if time_us is not None), default=None)

    def _settle(self) -> None:
        super()._settle()
        while self._wire and self._wire[0][0] <= self.now_us:
            self._wire.popleft()[1]()
        if self.brain is not None:
            self.brain.handle_timer(self.now_us)
        for each in list(self.agents.values()):
            self._settle_agent(each)
            self._turn(each.running)
            self._settle_agent(each)
        self._take_from_brain()

    def _settle_agent(self, each: Controlled) -> None:
        now_us = self.now_us
        each.session.handle_timer(now_us)
        if now_us >= each.agent.next_timer_us():
            each.agent.handle_timer(now_us)
        is_quiet = False
        while not is_quiet:
            is_quiet = True
            while (node_event := each.running.node.next_event()) is not None:
                each.running.events.append((now_us, node_event))
            for _, seen in each.running.events[each.seen :]:
                each.agent.handle_node_event(seen, now_us)
            each.seen = len(each.running.events)
            while (event := each.session.next_event()) is not None:
                is_quiet = False
                self._on_session_event(each, event)
            while (told := each.agent.next_event()) is not None:
                is_quiet = False
                self._on_agent_event(each, told)
            self._send(each)

    def _on_session_event(self, each: Controlled, event: Any) -> None:
        match event:
            case Connect():
                if self.brain is None:
                    each.session.on_closed("cannot connect: connection refused", self.now_us)
                    return
                each.connection = self.brain.open_connection("198.51.100.9:1", self.now_us)
                each.session.on_connected(self.now_us)
            case Disconnect(_, text):
                self._send(each)
                number, each.connection = each.connection, None
                if self.brain is not None and number is not None:
                    brain = self.brain
                    self._later(lambda: brain.on_closed(number, text, self.now_us))
                each.session.on_closed(text, self.now_us)
            case _:
                each.agent.handle_session_event(event, self.now_us)

    def _on_agent_event(self, each: Controlled, event: AgentEvent) -> None:
        each.told.append(event)
        if isinstance(event, StoreTable):
            if each.problem is None:
                each.stored = self.disks[each.running.node.config.name] = event.held
            each.agent.on_stored(event.held.version, each.problem, self.now_us)

    def _send(self, each: Controlled) -> None:
        while (data := each.session.next_message()) is not None:
            brain, number = self.brain, each.connection
            if brain is not None and number is not None:
                self._later(partial(self._deliver_to_brain, brain, number, data))

    def _deliver_to_brain(self, brain: BrainLike, connection: int, data: bytes) -> None:
        brain.receive(connection, data, self.now_us)

    def _take_from_brain(self) -> None:
        if self.brain is None:
            return
        self.brain.handle(self.now_us)
        for each in self.agents.values():
            number = each.connection
            if number is None:
                continue
            while (data := self.brain.next_message(number)) is not None:
                self._later(partial(self._deliver_to_node, each, number, data))
            if self.brain.is_closed(number):
                self._later(partial(self._close, each, number))

    def _deliver_to_node(self, each: Controlled, connection: int, data: bytes) -> None:
        if each.connection == connection:
            each.session.receive(data, self.now_us)

    def _close(self, each: Controlled, connection: int) -> None:
        if each.connection == connection:
            each.connection = None
            each.session.on_closed("closed by the brain", self.now_us)

    def _later(self, action: Callable[[], None]) -> None:
        self._wire.append((self.now_us + CONTROL_US, action))
