"""The brain without I/O: what nodes say goes in, tables, paths and advice come out.

The shell feeds `open_connection`, `receive`, `on_closed` and `handle_timer`, then takes all of
`next_output` and `next_event`. Inputs are only taken in; what follows from them is worked out once,
when outputs are asked for. That is a turn: a thousand questions that came together cost one answer.
Within a turn tables go out before answers, so a node knows a neighbour before it is to use it.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace
from random import Random

from control_client.errors import RefusalCode
from control_client.messages import (
    RehomeAdvice,
    RequestError,
)
from controller.core import answers
from controller.core.advice import Advised
from controller.core.events import (
    BrainEvent,
    BrainOutput,
    NodesChanged,
    PathRefused,
    Ready,
    RehomeSent,
    StateChanged,
    StateIgnored,
    StateRestored,
)
from controller.core.intake import Intake
from controller.core.parts import Parts
from controller.core.path_requests import Answer
from controller.core.saved_state import SavedState, StateError, unpack
from controller.core.settings import BrainSettings
from controller.paths import (
    Paths,
)
from controller.tables.registry import KnownNode

POPULARITY_US = 5_000_000  # chosen: how late a campaign's paths may be pushed


class Brain:
    """One start of it. term: see `tables.term`; master_key: of the adjacency secrets. state: what
    `state` gave before; None at the first start. now_us: of a clock that goes on over restarts."""

    def __init__(
        self,
        settings: BrainSettings,
        *,
        term: int,
        master_key: bytes,
        state: bytes | None,
        rng: Random,
        now_us: int,
    ) -> None:
        self.settings = settings
        self.term = term
        self.counters: Counter[str] = Counter()
        self.started_us = now_us
        self._now_us = now_us
        self._has_input = True
        self._events: deque[BrainEvent] = deque()
        saved = self._unpack(state)
        self._parts = Parts(
            settings,
            term=term,
            master_key=master_key,
            saved=saved,
            lost_state=state is not None and saved is None,
            rng=rng,
            now_us=now_us,
        )
        self._intake = Intake(self._parts, self._events, self.counters)
        if not self._parts.start.is_settling:
            self._parts.tables.release(now_us)
        self._round_us = now_us + settings.intervals.report_us
        self._popularity_us = now_us + POPULARITY_US

    # -- what the shell feeds

    def open_connection(self, peer: str, now_us: int) -> int:
        """A node's connection is open; its number. peer: whence, for texts."""
        self._input(now_us)
        return self._parts.connections.open(peer, now_us)

    def receive(self, connection: int, data: bytes, now_us: int) -> None:
        """One binary WebSocket message."""
        self._input(now_us)
        self._parts.connections.receive(connection, data, now_us)

    def on_closed(self, connection: int, reason: str, now_us: int) -> None:
        """A connection is gone. reason: one line."""
        self._input(now_us)
        self._parts.connections.on_closed(connection, reason)

    def handle_timer(self, now_us: int) -> None:
        """Whatever is due."""
        self._input(now_us)
        self._parts.connections.handle_timer(now_us)
        self._parts.view.handle_timer(now_us)
        if self._parts.members.handle_timer(now_us):
            self._parts.tables.change(now_us)
        self._parts.producers.handle_timer(now_us)
        self._parts.requests.handle_timer(now_us)

    def set_nodes(
        self, nodes: tuple[KnownNode, ...], last_resort: frozenset[str], now_us: int
    ) -> None:
        """Another list of nodes: who is not in it is turned away."""
        self._input(now_us)
        self._intake.take(now_us)  # what they have said until now is said by those of the old list
        before = {node.name for node in self.settings.nodes}
        self.settings = replace(self.settings, nodes=nodes, last_resort=last_resort)
        for connection in self._parts.registry.set_nodes(nodes):
            text = "the operator has removed this node, or changed its token or id"
            self._parts.connections.refuse(connection, RefusalCode.UNKNOWN_NODE, text)
        names = {node.name for node in nodes}
        for name in sorted(before - names):
            self._parts.view.on_left(name)
        self._parts.members.keep_only(nodes)
        self._parts.paths.reserve(last_resort)
        self._parts.tables.settings = self.settings
        self._parts.tables.change(now_us)
        self._parts.saving.on_change(now_us)
        added, removed = tuple(sorted(names - before)), tuple(sorted(before - names))
        self._events.append(NodesChanged(added, removed))

    def announce_campaign(self, stream: str, start_us: int, end_us: int, now_us: int) -> None:
        """A large audience is expected then: its paths are pushed ahead."""
        self._input(now_us)
        self._parts.popularity.announce_campaign(stream, start_us, end_us)
        self._popularity_us = now_us
        self._parts.saving.on_change(now_us)

    def cancel_campaign(self, stream: str, now_us: int) -> bool:
        """False: there was none."""
        self._input(now_us)
        was_there = stream in self._parts.popularity.campaigns()
        self._parts.popularity.cancel_campaign(stream)
        self._popularity_us = now_us
        self._parts.saving.on_change(now_us)
        return was_there

    # -- what the shell takes

    def next_output(self) -> BrainOutput | None:
        """The oldest thing to send or close."""
        self._turn()
        return self._parts.connections.next_output()

    def next_event(self) -> BrainEvent | None:
        """The oldest thing to log, count or save."""
        self._turn()
        return self._events.popleft() if self._events else None

    def next_timer_us(self) -> int:
        """When `handle_timer` is due."""
        self._turn()
        times = (
            self._parts.connections.next_timer_us(),
            self._parts.view.next_timer_us(),
            self._parts.members.next_timer_us(),
            self._parts.producers.next_timer_us(),
            self._parts.requests.next_timer_us(),
            self._parts.tables.next_timer_us(),
            self._parts.picture.next_timer_us(),
            self._parts.start.next_timer_us(),
            self._parts.advice.next_timer_us(),
            self._parts.saving.next_timer_us(),
        )
        known = [time_us for time_us in times if time_us is not None]
        if not self._parts.start.is_settling:  # advice waits until then
            known.append(self._round_us)
        return min(self._popularity_us, *known)

    def state(self) -> bytes:
        """What a restart needs."""
        return self._parts.state(self._now_us)

    # -- what people ask

    @property
    def is_ready(self) -> bool:
        """Tables are made."""
        return not self._parts.start.is_settling

    def status(self) -> answers.Status:
        """The brain itself, and totals."""
        self._turn()
        snapshot = self._parts.view.snapshot
        return answers.Status(
            term=self.term,
            uptime_s=(self._now_us - self.started_us) / 1_000_000,
            version=self._parts.paths.version,
            is_settling=self._parts.start.is_settling,
            nodes=len(self._parts.members.connected()),
            known_nodes=len(self.settings.nodes),
            suspect_nodes=int(snapshot.suspect.sum()),
            overloaded_nodes=int(snapshot.node_overloaded.sum()),
            links=len(self._parts.tables.pairs),
            streams=self._parts.streams.count,
            popular=self._parts.pushes.popular,
            campaigns={
                name: (start_us / 1_000_000, end_us / 1_000_000)
                for name, (start_us, end_us) in self._parts.popularity.campaigns().items()
            },
            counters=self._all_counters(),
        )

    def nodes(self) -> tuple[answers.Node, ...]:
        """All that the operator has added, by name."""
        self._turn()
        return self._parts.overview.nodes(self.settings.nodes)

    def links(self, node: str | None = None) -> tuple[answers.Link, ...]:
        """Each direction. node: those that begin or end there."""
        self._turn()
        return self._parts.overview.links(node)

    def streams(self) -> tuple[answers.Stream, ...]:
        """All that are live, by name."""
        self._turn()
        found = self._parts.streams.broadcasts()
        return tuple(self._parts.overview.stream(broadcast, self._now_us) for broadcast in found)

    def stream(self, name: str) -> answers.Stream | None:
        """None: it is not live."""
        self._turn()
        broadcast = self._parts.streams.find(name)
        return self._parts.overview.stream(broadcast, self._now_us) if broadcast else None

    def explain(self, stream: str, consumer: str) -> answers.PathReport | None:
        """Why this path, and why no other. None: the stream is not live."""
        self._turn()
        broadcast = self._parts.streams.find(stream)
        return self._parts.overview.path(broadcast, consumer, self._now_us) if broadcast else None

    def explain_all(self, stream: str) -> answers.PathReports | None:
        """The same for each of its consumers; who only stands by for others is none."""
        self._turn()
        broadcast = self._parts.streams.find(stream)
        if broadcast is None:
            return None
        found = self._parts.consumers.of(stream)
        consumers = [c.node for c in found if c.state != "standby"]
        reports = (self._parts.overview.path(broadcast, node, self._now_us) for node in consumers)
        return answers.PathReports(tuple(reports))

    def _all_counters(self) -> dict[str, int]:
        """Everything that is counted, by name."""
        counters = self._parts.connections.totals() + self.counters
        counters.update({f"tables_{name}": n for name, n in self._parts.tables.counters.items()})
        counters["tables_made"] = self._parts.tables.made
        counters["lookups"] = self._parts.requests.lookups
        counters["searches"] = self._parts.paths.searches
        counters["paths_answered"] = self._parts.requests.answered
        counters["paths_refused"] = self._parts.requests.refused
        return dict(sorted(counters.items()))

    # -- a turn

    def _input(self, now_us: int) -> None:
        self._now_us = now_us
        self._has_input = True

    def _turn(self) -> None:
        """All that follows from what has come since the last one."""
        if not self._has_input:
            return
        self._has_input = False
        now_us = self._now_us
        self._intake.take(now_us)
        self._finish_start(now_us)
        self._take_picture(now_us)
        self._update_popularity(now_us)
        self._parts.tables.handle_timer(now_us)
        self._send_tables(now_us)
        self._answer(now_us)
        self._advise(now_us)
        self._intake.take(now_us)  # a node that does not read was turned away
        if self._parts.saving.take_due(now_us):
            self._events.append(StateChanged())

    def _finish_start(self, now_us: int) -> None:
        missing = self._parts.start.update(self._parts.members.connected(), now_us)
        if missing is not None:
            self._parts.tables.release(now_us)
            self._parts.requests.look_again()
            self._events.append(Ready(tuple(sorted(missing))))

    def _take_picture(self, now_us: int) -> None:
        new = self._parts.picture.take(now_us)
        if new is None:
            return
        self.counters["pictures"] += 1
        self._parts.requests.look_again()
        self._intake.wants_advice = True
        if self._parts.pushes.are_changed_by(new):
            self._parts.tables.change(now_us)

    def _update_popularity(self, now_us: int) -> None:
        if now_us < self._popularity_us:
            return
        self._popularity_us = now_us + POPULARITY_US
        if self._parts.pushes.update(now_us):
            self._parts.tables.change(now_us)

    def _send_tables(self, now_us: int) -> None:
        while (event := self._parts.tables.next_event()) is not None:
            self._events.append(event)
        while (send := self._parts.tables.next_send()) is not None:
            self._parts.send(*send, now_us)

    def _answer(self, now_us: int) -> None:
        for answer in self._parts.requests.answers(now_us):
            if isinstance(answer.answer, Paths):
                self._introduce(answer.node, answer.answer.paths[0].nodes[-2:-1], now_us)
            self._tell(answer, now_us)

    def _tell(self, answer: Answer, now_us: int) -> None:
        if isinstance(answer.message, RequestError):
            code, text = answer.message.code.value, answer.message.text
            self._events.append(PathRefused(answer.broadcast, answer.node, code, text))
        self._parts.send(answer.node, answer.message, now_us)

    def _introduce(self, node: str, neighbours: tuple[str, ...], now_us: int) -> None:
        """Before a node is to use a neighbour, its table has it."""
        if not all(self._parts.tables.has_neighbour(node, neighbour) for neighbour in neighbours):
            self._parts.tables.make(now_us)
            self._send_tables(now_us)

    def _advise(self, now_us: int) -> None:
        advised: list[Advised] = []
        is_round = now_us >= self._round_us
        if is_round:
            self._round_us = now_us + self.settings.intervals.report_us
        if self._parts.start.is_settling:
            return
        due_us = self._parts.advice.next_timer_us()
        if self._intake.wants_advice or (due_us is not None and now_us >= due_us):
            self._intake.wants_advice = False
            advised += self._parts.advice.urgent(now_us)
        if is_round:
            advised += self._parts.advice.round(now_us)
        for advice in advised:
            self._introduce(advice.node, advice.paths[0].via[:1], now_us)
            message = RehomeAdvice(advice.broadcast, advice.paths, advice.reason)
            if self._parts.send(advice.node, message, now_us):
                self.counters["advice"] += 1
                event = RehomeSent(advice.broadcast, advice.node, advice.nodes, advice.reason)
                self._events.append(event)

    # -- state

    def _unpack(self, state: bytes | None) -> SavedState | None:
        if state is None:
            return None
        try:
            saved = unpack(state)
        except StateError as error:
            self._events.append(StateIgnored(str(error)))
            return None
        self._events.append(StateRestored(len(saved.nodes), len(saved.broadcasts)))
        return saved
