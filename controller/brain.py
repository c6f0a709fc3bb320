"""The brain without I/O: what nodes say goes in, tables, paths and advice come out.

The shell feeds `open_connection`, `receive`, `on_closed` and `handle_timer`, then takes all of
`next_output` and `next_event`. Inputs are only taken in; what follows from them is worked out once,
when outputs are asked for. That is a turn: a thousand questions that came together cost one answer.
Within a turn tables go out before answers, so a node knows a neighbour before it is to use it.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import replace
from random import Random

from control_client.back_off import LONGEST_LIMIT_US
from control_client.errors import RefusalCode, RequestCode
from control_client.messages import (
    AnnounceStream,
    AskPath,
    EndStream,
    FromBrain,
    ProducedStream,
    RehomeAdvice,
    Report,
    RequestError,
    StreamIds,
    SubscriptionState,
    TableApplied,
    TableRefused,
)
from controller.core import answers, saving
from controller.core.advice import Advice, Advised
from controller.core.connections import Connections
from controller.core.consumers import Consumers
from controller.core.events import (
    AnnouncementRefused,
    BrainEvent,
    BrainOutput,
    NodeEntered,
    NodesChanged,
    PathRefused,
    Ready,
    RehomeSent,
    StateChanged,
    StateIgnored,
    StateRestored,
)
from controller.core.members import Members
from controller.core.overview import Overview
from controller.core.path_requests import Answer, PathRequests
from controller.core.picture import Picture
from controller.core.producers import AnnouncementProblem, Producers
from controller.core.pushes import Pushes
from controller.core.reports import Reports
from controller.core.saved_state import SavedState, StateError, pack, unpack
from controller.core.saving import Saving
from controller.core.settings import BrainSettings
from controller.core.start import Start
from controller.core.tables import Tables
from controller.discovery import NetworkView, NodeLost, PingWanted
from controller.paths import (
    NoPath,
    PathAnswer,
    PathBase,
    PathDecision,
    Paths,
    Popularity,
    PopularityState,
    Rehoming,
    StreamBase,
    UnknownConsumer,
    UnknownProducer,
)
from controller.paths import StreamIds as IdSource
from controller.tables.node_session import (
    NodeJoined,
    NodeLeft,
    NodeSaid,
    NodeSessionEvent,
    NodeTurnedAway,
    RefusedByNode,
    Statement,
)
from controller.tables.registry import KnownNode, NodeRegistry
from controller.tables.table_compiler import TableCompiler

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
        self._registry = NodeRegistry(settings.nodes)
        self._connections = Connections(self._registry, term, settings.intervals)
        self._members = Members(settings.member_us)
        self._view = NetworkView(settings.discovery, start_us=now_us)
        self._popularity = Popularity(settings.popularity)
        self._consumers = Consumers()
        saved = self._unpack(state)
        next_id = saved.next_stream_id if saved else rng.getrandbits(32)
        self._streams = StreamBase(IdSource(next_id))
        self._paths = PathBase(settings.path_config)
        self._decision = PathDecision(self._streams, self._paths)
        self._rehoming = Rehoming(settings.rehome_config, self._decision, self._paths)
        self._reports = Reports(self._view)
        self._producers = Producers(self._streams, settings.session_grace_us, rng)
        self._requests = PathRequests(self._decision, self._may_change, settings.patience_us)
        self._pushes = Pushes(self._popularity, self._streams, self._decision)
        self._tables = Tables(
            settings,
            TableCompiler(master_key),
            term,
            self._members,
            self._rtt_us,
            self._pushes.wanted,
        )
        self._advice = Advice(
            self._rehoming,
            self._decision,
            self._consumers,
            self._streams,
            self._view,
            settings.intervals.report_us,
        )
        self._picture = Picture(self._view, self._paths, now_us)
        self._saving = Saving(settings)
        expected = self._restore(saved) if saved else frozenset()
        self._start = Start(
            settings,
            expected,
            has_state=saved is not None,
            lost_state=state is not None and saved is None,
            now_us=now_us,
        )
        if not self._start.is_settling:
            self._tables.release(now_us)
        self._overview = Overview(
            self._members,
            self._view,
            self._streams,
            self._paths,
            self._decision,
            self._consumers,
            self._reports,
            self._tables,
        )
        self._wants_advice = False
        self._round_us = now_us + settings.intervals.report_us
        self._popularity_us = now_us + POPULARITY_US

    # -- what the shell feeds

    def open_connection(self, peer: str, now_us: int) -> int:
        """A node's connection is open; its number. peer: whence, for texts."""
        self._input(now_us)
        return self._connections.open(peer, now_us)

    def receive(self, connection: int, data: bytes, now_us: int) -> None:
        """One binary WebSocket message."""
        self._input(now_us)
        self._connections.receive(connection, data, now_us)

    def on_closed(self, connection: int, reason: str, now_us: int) -> None:
        """A connection is gone. reason: one line."""
        self._input(now_us)
        self._connections.on_closed(connection, reason)

    def handle_timer(self, now_us: int) -> None:
        """Whatever is due."""
        self._input(now_us)
        self._connections.handle_timer(now_us)
        self._view.handle_timer(now_us)
        self._members.handle_timer(now_us)
        self._producers.handle_timer(now_us)
        self._requests.handle_timer(now_us)

    def set_nodes(
        self, nodes: tuple[KnownNode, ...], last_resort: frozenset[str], now_us: int
    ) -> None:
        """Another list of nodes: who is not in it is turned away."""
        self._input(now_us)
        before = {node.name for node in self.settings.nodes}
        self.settings = replace(self.settings, nodes=nodes, last_resort=last_resort)
        for connection in self._registry.set_nodes(nodes):
            text = "the operator has removed this node, or changed its token or id"
            self._connections.refuse(connection, RefusalCode.UNKNOWN_NODE, text)
        names = {node.name for node in nodes}
        for name in sorted(before - names):
            self._view.on_left(name)
        self._members.keep_only(nodes)
        self._paths.reserve(last_resort)
        self._tables.settings = self.settings
        self._tables.change(now_us)
        self._saving.on_change(now_us)
        added, removed = tuple(sorted(names - before)), tuple(sorted(before - names))
        self._events.append(NodesChanged(added, removed))

    def announce_campaign(self, stream: str, start_us: int, end_us: int, now_us: int) -> None:
        """A large audience is expected then: its paths are pushed ahead."""
        self._input(now_us)
        self._popularity.announce_campaign(stream, start_us, end_us)
        self._popularity_us = now_us
        self._saving.on_change(now_us)

    def cancel_campaign(self, stream: str, now_us: int) -> bool:
        """False: there was none."""
        self._input(now_us)
        was_there = stream in self._popularity.campaigns()
        self._popularity.cancel_campaign(stream)
        self._popularity_us = now_us
        self._saving.on_change(now_us)
        return was_there

    # -- what the shell takes

    def next_output(self) -> BrainOutput | None:
        """The oldest thing to send or close."""
        self._turn()
        return self._connections.next_output()

    def next_event(self) -> BrainEvent | None:
        """The oldest thing to log, count or save."""
        self._turn()
        return self._events.popleft() if self._events else None

    def next_timer_us(self) -> int:
        """When `handle_timer` is due."""
        self._turn()
        times = (
            self._connections.next_timer_us(),
            self._view.next_timer_us(),
            self._members.next_timer_us(),
            self._producers.next_timer_us(),
            self._requests.next_timer_us(),
            self._tables.next_timer_us(),
            self._picture.next_timer_us(),
            self._start.next_timer_us(),
            self._saving.next_timer_us(),
        )
        known = [time_us for time_us in times if time_us is not None]
        if not self._start.is_settling:  # advice waits until then
            known.append(self._round_us)
        return min(self._popularity_us, *known)

    def state(self) -> bytes:
        """What a restart needs."""
        popularity = self._popularity.state()
        return pack(
            SavedState(
                saved_us=self._now_us,
                nodes=saving.saved_nodes(self._members),
                links=self._view.saved_links(),
                broadcasts=saving.saved_broadcasts(self._streams),
                next_stream_id=self._streams.next_id,
                retired=self._streams.retired(saving.MAX_RETIRED),
                views=popularity.views,
                campaigns=popularity.campaigns,
            )
        )

    # -- what people ask

    @property
    def is_ready(self) -> bool:
        """Tables are made."""
        return not self._start.is_settling

    def status(self) -> answers.Status:
        """The brain itself, and totals."""
        self._turn()
        snapshot = self._view.snapshot
        return answers.Status(
            term=self.term,
            uptime_s=(self._now_us - self.started_us) / 1_000_000,
            version=self._paths.version,
            is_settling=self._start.is_settling,
            nodes=len(self._members.connected()),
            known_nodes=len(self.settings.nodes),
            suspect_nodes=int(snapshot.suspect.sum()),
            overloaded_nodes=int(snapshot.node_overloaded.sum()),
            links=len(self._tables.pairs),
            streams=self._streams.count,
            popular=self._pushes.popular,
            campaigns={
                name: (start_us / 1_000_000, end_us / 1_000_000)
                for name, (start_us, end_us) in self._popularity.campaigns().items()
            },
            counters=self._all_counters(),
        )

    def nodes(self) -> tuple[answers.Node, ...]:
        """All that the operator has added, by name."""
        self._turn()
        return self._overview.nodes(self.settings.nodes)

    def links(self, node: str | None = None) -> tuple[answers.Link, ...]:
        """Each direction. node: those that begin or end there."""
        self._turn()
        return self._overview.links(node)

    def streams(self) -> tuple[answers.Stream, ...]:
        """All that are live, by name."""
        self._turn()
        found = self._streams.broadcasts()
        return tuple(self._overview.stream(broadcast, self._now_us) for broadcast in found)

    def stream(self, name: str) -> answers.Stream | None:
        """None: it is not live."""
        self._turn()
        broadcast = self._streams.find(name)
        return self._overview.stream(broadcast, self._now_us) if broadcast else None

    def explain(self, stream: str, consumer: str) -> answers.PathReport | None:
        """Why this path, and why no other. None: the stream is not live."""
        self._turn()
        broadcast = self._streams.find(stream)
        return self._overview.path(broadcast, consumer, self._now_us) if broadcast else None

    def explain_all(self, stream: str) -> answers.PathReports | None:
        """The same for each of its consumers."""
        self._turn()
        broadcast = self._streams.find(stream)
        if broadcast is None:
            return None
        consumers = [c.node for c in self._consumers.of(stream)]
        reports = (self._overview.path(broadcast, node, self._now_us) for node in consumers)
        return answers.PathReports(tuple(reports))

    def _all_counters(self) -> dict[str, int]:
        """Everything that is counted, by name."""
        counters = self._connections.totals() + self.counters
        counters.update({f"tables_{name}": n for name, n in self._tables.counters.items()})
        counters["tables_made"] = self._tables.made
        counters["lookups"] = self._requests.lookups
        counters["searches"] = self._paths.searches
        counters["paths_answered"] = self._requests.answered
        counters["paths_refused"] = self._requests.refused
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
        self._take_events(now_us)
        self._finish_start(now_us)
        self._take_picture(now_us)
        self._update_popularity(now_us)
        self._tables.handle_timer(now_us)
        self._send_tables(now_us)
        self._answer(now_us)
        self._advise(now_us)
        self._take_events(now_us)  # a node that does not read was turned away
        if self._saving.take_due(now_us):
            self._events.append(StateChanged())

    def _take_events(self, now_us: int) -> None:
        while (told := self._connections.next_event()) is not None:
            self._on_session_event(*told, now_us)
        while (seen := self._view.next_event()) is not None:
            if isinstance(seen, PingWanted):
                continue  # links are probed all the time
            if isinstance(seen, NodeLost):
                self._on_lost(seen.node, now_us)
            self._picture.on_news(self._view.count, now_us)
            self._events.append(seen)
        while (change := self._producers.next_event()) is not None:
            self._on_broadcast_change(change.stream, now_us)
            self._events.append(change)

    def _on_session_event(self, connection: int, event: NodeSessionEvent, now_us: int) -> None:
        match event:
            case NodeJoined():
                self._on_joined(connection, event, now_us)
            case NodeSaid(node, message):
                self._on_message(node, message, now_us)
            case NodeLeft(node):
                self._members.on_left(node, connection, now_us)
                self._view.on_session_ended(node, connection, now_us)
                self._tables.on_left(node)
                self._requests.on_left(node)
                self._saving.on_change(now_us)
                self._events.append(event)
            case NodeTurnedAway(code=code):
                self.counters[f"turned_away_{code}"] += 1
                self._events.append(event)
            case RefusedByNode():
                self.counters["refused_by_nodes"] += 1
                self._events.append(event)

    def _on_joined(self, connection: int, joined: NodeJoined, now_us: int) -> None:
        node, hello, inventory = joined.node, joined.hello, joined.inventory
        version = self._members.version
        before = self._members.on_joined(node, hello, inventory, connection, now_us)
        self._view.on_registered(node.name, connection, now_us)
        self._picture.on_news(self._view.count, now_us)
        self._start.on_joined(holds_table=inventory.table is not None, now_us=now_us)
        if self._start.is_settling:
            self._tables.hold()
        self._tables.on_joined(node.name, inventory.table, now_us)
        if self._members.version != version:
            self._tables.change(now_us)
        listed = frozenset(stream.broadcast for stream in inventory.streams)
        is_restart = before is not None and before.boot_id != hello.boot_id
        self._producers.on_joined(node.name, listed, is_restart=is_restart, now_us=now_us)
        for stream in inventory.streams:
            self._announce(node.name, stream, now_us)
        views = self._consumers.on_joined(node.name, inventory.subscriptions, now_us)
        for broadcast, count in views.items():
            self._popularity.on_view(broadcast, now_us, count)
        for state in inventory.subscriptions:
            self._advice.on_state(node.name, state.broadcast)
        self._wants_advice = True
        self._saving.on_change(now_us)
        table = str(inventory.table) if inventory.table else None
        peer = self._connections.peer(connection)
        self._events.append(NodeEntered(node.name, peer, hello.software, table))

    def _on_message(self, node: str, message: Statement, now_us: int) -> None:
        match message:
            case Report():
                self._on_report(node, message, now_us)
            case AnnounceStream(transaction, stream):
                answer = self._announce(node, stream, now_us, transaction)
                self._send(node, answer, now_us)
            case EndStream(broadcast):
                self._producers.end(node, broadcast)
            case AskPath(transaction, broadcast):
                self.counters["path_requests"] += 1
                if (full := self._requests.ask(node, transaction, broadcast, now_us)) is not None:
                    self._tell(full, now_us)
            case SubscriptionState(broadcast):
                self._advice.on_state(node, broadcast)
                views = self._consumers.on_state(node, message, now_us)
                self._on_views(broadcast, views, now_us)
            case TableApplied():
                self._tables.on_applied(node, message, now_us)
            case TableRefused():
                self._tables.on_refused(node, message, now_us)

    def _on_report(self, node: str, report: Report, now_us: int) -> None:
        member = self._members.get(node)
        assert member is not None  # it has joined
        self._reports.on_report(member, report, now_us)
        for stream in report.streams:
            views = self._consumers.on_counts(node, stream)
            self._on_views(stream.broadcast, views, now_us)
        self._saving.on_measurement(now_us)
        if report.is_alarm:
            self.counters["alarms"] += 1
            self._picture.on_news(self._view.count, now_us)
        else:
            self._picture.on_measurement(self._view.count, now_us)

    def _announce(
        self, node: str, stream: ProducedStream, now_us: int, transaction: int = 0
    ) -> StreamIds | RequestError:
        try:
            announced = self._producers.announce(node, stream, now_us)
        except AnnouncementProblem as problem:
            code, text = problem.code, str(problem)
            self._events.append(AnnouncementRefused(stream.broadcast, node, code.value, text))
            if code is RequestCode.NAME_TAKEN:
                self._advice.on_moved(stream.broadcast, node)
                self._wants_advice = True
            return RequestError(transaction, code, text)
        if announced.moved_from is not None:
            self._advice.on_moved(stream.broadcast, announced.moved_from)
            self._wants_advice = True
        return StreamIds(transaction, stream.broadcast, announced.broadcast.stream_ids)

    def _on_broadcast_change(self, broadcast: str, now_us: int) -> None:
        self._saving.on_change(now_us)
        self._requests.look_again()
        if self._pushes.concerns(broadcast):
            self._tables.change(now_us)

    def _on_views(self, broadcast: str, views: int, now_us: int) -> None:
        if views:
            self._popularity.on_view(broadcast, now_us, views)

    def _on_lost(self, node: str, now_us: int) -> None:
        self._producers.on_lost(node)
        self._consumers.on_lost(node)
        self._reports.on_lost(node)
        self._advice.on_lost(node)
        self._saving.on_change(now_us)

    def _finish_start(self, now_us: int) -> None:
        missing = self._start.update(self._members.connected(), now_us)
        if missing is not None:
            self._tables.release(now_us)
            self._requests.look_again()
            self._events.append(Ready(tuple(sorted(missing))))

    def _take_picture(self, now_us: int) -> None:
        new = self._picture.take(now_us)
        if new is None:
            return
        self.counters["pictures"] += 1
        self._requests.look_again()
        self._wants_advice = True
        if self._pushes.are_changed_by(new):
            self._tables.change(now_us)

    def _update_popularity(self, now_us: int) -> None:
        if now_us < self._popularity_us:
            return
        self._popularity_us = now_us + POPULARITY_US
        if self._pushes.update(now_us):
            self._tables.change(now_us)

    def _send_tables(self, now_us: int) -> None:
        while (event := self._tables.next_event()) is not None:
            self._events.append(event)
        while (send := self._tables.next_send()) is not None:
            self._send(*send, now_us)

    def _answer(self, now_us: int) -> None:
        for answer in self._requests.answers(now_us):
            if isinstance(answer.answer, Paths):
                self._introduce(answer.node, answer.answer.paths[0].nodes[-2:-1], now_us)
            self._tell(answer, now_us)

    def _tell(self, answer: Answer, now_us: int) -> None:
        if isinstance(answer.message, RequestError):
            code, text = answer.message.code.value, answer.message.text
            self._events.append(PathRefused(answer.broadcast, answer.node, code, text))
        self._send(answer.node, answer.message, now_us)

    def _introduce(self, node: str, neighbours: tuple[str, ...], now_us: int) -> None:
        """Before a node is to use a neighbour, its table has it."""
        if not all(self._tables.has_neighbour(node, neighbour) for neighbour in neighbours):
            self._tables.make(now_us)
            self._send_tables(now_us)

    def _advise(self, now_us: int) -> None:
        advised: list[Advised] = []
        if self._start.is_settling:
            return
        if self._wants_advice:
            self._wants_advice = False
            advised += self._advice.urgent(now_us)
        if now_us >= self._round_us:
            self._round_us = now_us + self.settings.intervals.report_us
            advised += self._advice.round(now_us)
        for advice in advised:
            self._introduce(advice.node, advice.paths[0].via[:1], now_us)
            message = RehomeAdvice(advice.broadcast, advice.paths, advice.reason)
            if self._send(advice.node, message, now_us):
                self.counters["advice"] += 1
                event = RehomeSent(advice.broadcast, advice.node, advice.nodes, advice.reason)
                self._events.append(event)

    def _send(self, node: str, message: FromBrain, now_us: int) -> bool:
        """False: it is away."""
        connection = self._members.connection_of(node)
        return connection is not None and self._connections.send(connection, message, now_us)

    # -- what the parts ask

    def _may_change(self, answer: PathAnswer, now_us: int) -> bool:
        """Whether measurements or nodes under way may make another answer of it."""
        if isinstance(answer, UnknownConsumer):
            return True
        if self._start.is_settling:
            return not isinstance(answer, Paths) or self._lacks_table(answer.consumer)
        ends: tuple[str, ...] = ()
        match answer:
            case NoPath(_, producer, consumer):
                ends = (producer, consumer)
            case UnknownProducer(_, producer):
                ends = (producer,)
        return any(self._has_just_come(node, now_us) for node in ends)

    def _lacks_table(self, node: str) -> bool:
        member = self._members.get(node)
        return member is None or not member.holds_table

    def _has_just_come(self, node: str, now_us: int) -> bool:
        member = self._members.get(node)
        return member is not None and now_us < member.joined_us + self.settings.patience_us

    def _rtt_us(self, a: str, b: str) -> float:
        snapshot = self._view.snapshot
        first, second = snapshot.index.get(a), snapshot.index.get(b)
        known = first is not None and second is not None
        return float(snapshot.rtt_us[first, second]) if known else math.inf

    # -- state

    def _unpack(self, state: bytes | None) -> SavedState | None:
        if state is None:
            return None
        try:
            return unpack(state)
        except StateError as error:
            self._events.append(StateIgnored(str(error)))
            return None

    def _restore(self, saved: SavedState) -> frozenset[str]:
        """Returns the nodes that were connected when it was saved."""
        now_us = self._now_us
        known = {node.name: node for node in self.settings.nodes}
        connected = saving.restore_members(self._members, saved.nodes, known, now_us)
        # Who comes back does so within the longest back-off; only then its absence begins to count.
        away_us = now_us + LONGEST_LIMIT_US
        self._view.restore(saved.links, known, now_us, away_us)
        saving.restore_streams(self._streams, saved.broadcasts, saved.retired, known, now_us)
        self._popularity.restore(PopularityState(saved.views, saved.campaigns), now_us)
        self._events.append(StateRestored(len(saved.nodes), len(saved.broadcasts)))
        return connected
