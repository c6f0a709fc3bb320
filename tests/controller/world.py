"""A whole brain and the control sessions of its nodes, in virtual time: nothing is a double.

Every message takes `DELAY_US` each way. Nodes apply the tables they get, as `ChannelNode` does, and
report what `link` says; the brain's disk is `saved`.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from random import Random
from typing import Any, TypeVar

from control_client.codec import decode_from_brain
from control_client.messages import (
    BroadcastStateName,
    FromBrain,
    LinkReport,
    NodeLoad,
    ProducedStream,
    Report,
    StreamReport,
    SubscriptionState,
    TableVersion,
    TrackDescriptor,
)
from control_client.session_events import Connect
from control_client.table import HeldTable, NodeTable
from control_client.tokens import token_hash
from controller.brain import Brain
from controller.core.events import BrainEvent, SendData, StateChanged
from controller.core.settings import BrainSettings
from controller.tables.registry import KnownNode
from tests.support.control_channel import ChannelNode, token_of

S = 1_000_000
MS = 1_000
DELAY_US = 10 * MS
VIDEO = TrackDescriptor("video", "H264", 96, 90_000)
AUDIO = TrackDescriptor("audio", "opus", 111, 48_000)
MASTER_KEY = bytes(range(32))
T = TypeVar("T")


def settings(names: Sequence[str], **changes: Any) -> BrainSettings:
    known = tuple(
        KnownNode(name, n + 1, token_hash(token_of(name))) for n, name in enumerate(names)
    )
    return replace(BrainSettings(known), **changes)


def broadcast(name: str, *ids: int) -> ProducedStream:
    """Video, and audio if there is a second id."""
    return ProducedStream(name, (VIDEO, AUDIO)[: max(1, len(ids))], ids)


class World:
    """names: nodes, known to the brain. Nobody is there at first but the brain."""

    def __init__(self, names: Sequence[str], *, seed: int = 1, **changes: Any) -> None:
        self.now_us = 0
        self.settings = settings(names, **changes)
        self.nodes: dict[str, ChannelNode] = {}
        self.events: list[BrainEvent] = []
        self.to_nodes: list[tuple[str, FromBrain]] = []
        self.saved: bytes | None = None
        self.term = 0
        self.rng = Random(seed)
        self.links: dict[frozenset[str], int | None] = {}
        self.lost_links: Counter[str] = Counter()
        self.brain: Brain | None = None
        self._numbers = count()
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._connections: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self.start_brain()

    # -- the scene

    def start_brain(self, state: bytes | None = None) -> None:
        self.term += 1
        self.brain = Brain(
            self.settings,
            term=self.term,
            master_key=MASTER_KEY,
            state=state if state is not None else self.saved,
            rng=Random(self.rng.getrandbits(64)),
            now_us=self.now_us,
        )
        self._drain_brain()

    def kill_brain(self) -> None:
        """-9: what was not saved is gone."""
        self.brain = None
        for name in list(self._connections):
            self._lose(name, "the brain is dead")

    def add(self, *names: str, **attributes: Any) -> None:
        """Nodes start."""
        for name in names:
            number = 1 + [known.name for known in self.settings.nodes].index(name)
            node = ChannelNode(
                name, seed=self.rng.getrandbits(32), address=f"192.0.2.{number}:7000"
            )
            for key, value in attributes.items():
                setattr(node, key, value)
            node.restart(self.now_us)
            self.nodes[name] = node
            self._drain_node(name)

    def kill(self, name: str) -> None:
        """A node's host vanishes; its disk stays."""
        self.cut(name, "the node is gone")
        self.nodes[name].session.stop(self.now_us)

    def restart(self, name: str) -> None:
        """Its process starts again, with the stored table."""
        self.cut(name, "the node restarts")
        self.nodes[name].restart(self.now_us)
        self._drain_node(name)

    def cut(self, name: str, reason: str = "cut") -> None:
        """Its connection breaks, with all that was under way."""
        connection = self._connections.get(name)
        self._lose(name, reason)
        if connection is not None and self.brain is not None:
            self.brain.on_closed(connection, reason, self.now_us)
            self._drain_brain()

    def mesh(self, rtt_ms: dict[str, int]) -> None:
        """{"london tokyo": 200}: both ends report it, at once."""
        for pair, ms in rtt_ms.items():
            self.links[frozenset(pair.split())] = ms * MS
        for name in self.nodes:
            self.report(name, is_alarm=True)

    def link_down(self, a: str, b: str) -> None:
        """Both ends say so."""
        self.links[frozenset((a, b))] = None
        for name in (a, b):
            self.report(name, is_alarm=True)

    def report(self, name: str, *, is_alarm: bool = False, cpu: int = 100) -> None:
        """Of the node as the scene has it; the same again each period."""
        reports = tuple(
            LinkReport(peer, us is not None, us or 0, 0, 0, 0)
            for pair, us in self.links.items()
            if name in pair
            for peer in pair - {name}
        )
        node = self.nodes[name]
        streams = node.measured.streams
        node.measured = Report(60 * S, NodeLoad(cpu, 100, 0, 0), reports, streams)
        node.session.report(replace_alarm(node.measured, is_alarm), self.now_us)
        self._drain_node(name)

    def say(self, name: str, action: Callable[[ChannelNode], object]) -> None:
        """A call of the node's session."""
        action(self.nodes[name])
        self._drain_node(name)

    def announce(self, name: str, stream: ProducedStream) -> None:
        node = self.nodes[name]
        node.streams = (*(s for s in node.streams if s.broadcast != stream.broadcast), stream)
        self.say(name, lambda n: n.session.announce(stream, self.now_us))

    def ask(self, name: str, stream: str) -> None:
        self.say(name, lambda n: n.session.ask_path(stream, self.now_us))

    def subscribe(
        self,
        name: str,
        stream: str,
        *ancestors: str,
        viewers: int = 1,
        subscribers: int = 0,
        state: BroadcastStateName = "live",
    ) -> None:
        """The node gets it this way, from now on."""
        said = SubscriptionState(stream, state, ancestors, viewers, subscribers)
        node = self.nodes[name]
        node.subscriptions = (*(s for s in node.subscriptions if s.broadcast != stream), said)
        self.say(name, lambda n: n.session.subscription_changed(said, self.now_us))

    def count_stream(self, name: str, counted: StreamReport) -> None:
        """From its next report on."""
        node = self.nodes[name]
        node.measured = replace_streams(node.measured, counted)

    # -- what came of it

    def got(self, name: str, kind: type[T]) -> list[T]:
        """The session events that a node had."""
        return [event for event in self.nodes[name].events if isinstance(event, kind)]

    def table(self, name: str) -> NodeTable:
        """The one on a node's disk."""
        held = self.nodes[name].stored
        assert held is not None
        return held.table

    def version(self, name: str) -> TableVersion:
        held = self.nodes[name].stored
        assert held is not None
        return held.version

    def connection(self, name: str) -> int:
        return self._connections[name]

    def told(self, kind: type[T]) -> list[T]:
        """The brain's events."""
        return [event for event in self.events if isinstance(event, kind)]

    def drain(self) -> None:
        """After a call of the brain that no message has led to."""
        self._drain_brain()

    def run_for(self, duration_us: int) -> None:
        self.run_until(self.now_us + duration_us)

    def run_until(self, time_us: int, most_steps: int = 1_000_000) -> None:
        """most_steps: more would be a part that does not wait for its timer."""
        steps = 0
        while (due_us := self._next_us()) is not None and due_us <= time_us:
            self.now_us = max(self.now_us, due_us)
            self._step()
            steps += 1
            assert steps <= most_steps
        self.now_us = time_us

    # -- the wires

    def _next_us(self) -> int | None:
        times = [node.session.next_timer_us() for node in self.nodes.values()]
        times.append(self.brain.next_timer_us() if self.brain else None)
        times.append(self._heap[0][0] if self._heap else None)
        return min((time_us for time_us in times if time_us is not None), default=None)

    def _step(self) -> None:
        while self._heap and self._heap[0][0] <= self.now_us:
            heapq.heappop(self._heap)[2]()
        for name, node in self.nodes.items():
            due_us = node.session.next_timer_us()
            if due_us is not None and due_us <= self.now_us:
                node.session.handle_timer(self.now_us)
                self._drain_node(name)
        if self.brain is not None and self.brain.next_timer_us() <= self.now_us:
            self.brain.handle_timer(self.now_us)
            # What is done asks for no timer again: a shell would spin.
            assert self.brain.next_timer_us() > self.now_us
        self._drain_brain()

    def _later(self, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now_us + DELAY_US, next(self._numbers), action))

    def _drain_node(self, name: str) -> None:
        node = self.nodes[name]
        before = node.stored
        while wishes := node.handle(self.now_us):
            for wish in wishes:
                if isinstance(wish, Connect):
                    self._later(partial(self._connect, name))
                else:
                    self._send_to_brain(name)
                    self.cut(name, wish.text)
        self._count_lost_links(name, before)
        self._send_to_brain(name)

    def _count_lost_links(self, name: str, before: HeldTable | None) -> None:
        """Neighbours that a new table takes away, or keys anew."""
        after = self.nodes[name].stored
        if before is not None and after is not None and after is not before:
            had, has = before.table.neighbours, after.table.neighbours
            self.lost_links[name] += sum(has.get(peer) != entry for peer, entry in had.items())

    def _connect(self, name: str) -> None:
        session = self.nodes[name].session
        if self.brain is None:
            session.on_closed("connection refused", self.now_us)
        else:
            number = self.brain.open_connection(f"{name}:40000", self.now_us)
            self._connections[name] = number
            self._names[number] = name
            session.on_connected(self.now_us)
        self._drain_node(name)

    def _lose(self, name: str, reason: str) -> None:
        number = self._connections.pop(name, None)
        if number is not None:
            del self._names[number]
            self.nodes[name].session.on_closed(reason, self.now_us)
            self._drain_node(name)

    def _send_to_brain(self, name: str) -> None:
        number = self._connections.get(name)
        while (data := self.nodes[name].session.next_message()) is not None:
            if number is not None:
                self._later(partial(self._deliver_to_brain, number, data))

    def _deliver_to_brain(self, number: int | None, data: bytes) -> None:
        if self.brain is not None and number in self._names:
            self.brain.receive(number, data, self.now_us)

    def _drain_brain(self) -> None:
        brain = self.brain
        if brain is None:
            return
        while (output := brain.next_output()) is not None:
            name = self._names.get(output.connection)
            if name is None:
                brain.on_closed(output.connection, "closed", self.now_us)
            elif isinstance(output, SendData):
                self.to_nodes.append((name, decode_from_brain(output.data)))
                number, data = output.connection, output.data
                self._later(partial(self._deliver_to_node, name, number, data))
            else:
                number, text = output.connection, output.text
                self._later(partial(self._close, name, number, text))
        while (event := brain.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, StateChanged):
                self.saved = brain.state()

    def _deliver_to_node(self, name: str, number: int, data: bytes) -> None:
        if self._connections.get(name) == number:
            self.nodes[name].session.receive(data, self.now_us)
            self._drain_node(name)

    def _close(self, name: str, number: int, text: str) -> None:
        if self._connections.get(name) == number:
            self.cut(name, text)


def replace_alarm(report: Report, is_alarm: bool) -> Report:
    return Report(report.window_us, report.load, report.links, report.streams, is_alarm)


def replace_streams(report: Report, counted: StreamReport) -> Report:
    streams = (*(s for s in report.streams if s.broadcast != counted.broadcast), counted)
    return Report(report.window_us, report.load, report.links, streams)
