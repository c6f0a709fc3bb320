"""What nodes say, taken to the parts that it concerns."""

from __future__ import annotations

from collections import Counter, deque

from control_client.errors import RequestCode
from control_client.messages import (
    AnnounceStream,
    AskPath,
    EndStream,
    ProducedStream,
    Report,
    RequestError,
    StreamIds,
    SubscriptionState,
    TableApplied,
    TableRefused,
)
from controller.core.events import AnnouncementRefused, BrainEvent, NodeEntered
from controller.core.parts import Parts
from controller.core.producers import AnnouncementProblem
from controller.discovery import NodeLost, PingWanted
from controller.tables.node_session import (
    NodeJoined,
    NodeLeft,
    NodeSaid,
    NodeSessionEvent,
    NodeTurnedAway,
    RefusedByNode,
    Statement,
)


class Intake:
    """wants_advice: something has come that may concern streams that flow."""

    def __init__(self, parts: Parts, events: deque[BrainEvent], counters: Counter[str]) -> None:
        self.wants_advice = False
        self._parts = parts
        self._events = events
        self._counters = counters

    def take(self, now_us: int) -> None:
        """All that has happened since the last turn."""
        while (told := self._parts.connections.next_event()) is not None:
            self._on_session_event(*told, now_us)
        while (seen := self._parts.view.next_event()) is not None:
            if isinstance(seen, PingWanted):
                continue  # links are probed all the time
            if isinstance(seen, NodeLost):
                self._on_lost(seen.node, now_us)
            self._parts.picture.on_news(self._parts.view.count, now_us)
            self._events.append(seen)
        while (change := self._parts.producers.next_event()) is not None:
            self._on_broadcast_change(change.stream, now_us)
            self._events.append(change)

    def _on_session_event(self, connection: int, event: NodeSessionEvent, now_us: int) -> None:
        match event:
            case NodeJoined():
                self._on_joined(connection, event, now_us)
            case NodeSaid(node, message):
                self._on_message(node, message, now_us)
            case NodeLeft(node):
                self._parts.members.on_left(node, connection, now_us)
                self._parts.view.on_session_ended(node, connection, now_us)
                self._parts.tables.on_left(node)
                self._parts.requests.on_left(node)
                self._parts.saving.on_change(now_us)
                self._events.append(event)
            case NodeTurnedAway(code=code):
                self._counters[f"turned_away_{code}"] += 1
                self._events.append(event)
            case RefusedByNode():
                self._counters["refused_by_nodes"] += 1
                self._events.append(event)

    def _on_joined(self, connection: int, joined: NodeJoined, now_us: int) -> None:
        node, hello, inventory = joined.node, joined.hello, joined.inventory
        version = self._parts.members.version
        before = self._parts.members.on_joined(node, hello, inventory, connection, now_us)
        self._parts.view.on_registered(node.name, connection, now_us)
        self._parts.picture.on_news(self._parts.view.count, now_us)
        self._parts.start.on_joined(inventory.table, now_us)
        if self._parts.start.is_settling:
            self._parts.tables.hold()
        self._parts.tables.on_joined(node.name, inventory.table, now_us)
        if self._parts.members.version != version:
            self._parts.tables.change(now_us)
        listed = frozenset(stream.broadcast for stream in inventory.streams)
        is_restart = before is not None and before.boot_id != hello.boot_id
        self._parts.producers.on_joined(node.name, listed, is_restart=is_restart, now_us=now_us)
        for stream in inventory.streams:
            self._announce(node.name, stream, now_us)
        views = self._parts.consumers.on_joined(node.name, inventory.subscriptions, now_us)
        for broadcast, count in views.items():
            self._parts.popularity.on_view(broadcast, now_us, count)
        for state in inventory.subscriptions:
            self._parts.advice.on_state(node.name, state.broadcast)
        self.wants_advice = True
        self._parts.saving.on_change(now_us)
        table = str(inventory.table) if inventory.table else None
        peer = self._parts.connections.peer(connection)
        self._events.append(NodeEntered(node.name, peer, hello.software, table))

    def _on_message(self, node: str, message: Statement, now_us: int) -> None:
        match message:
            case Report():
                self._on_report(node, message, now_us)
            case AnnounceStream(transaction, stream):
                answer = self._announce(node, stream, now_us, transaction)
                self._parts.send(node, answer, now_us)
            case EndStream(broadcast):
                self._parts.producers.end(node, broadcast)
            case AskPath(transaction, broadcast):
                self._counters["path_requests"] += 1
                self._parts.requests.ask(node, transaction, broadcast, now_us)
            case SubscriptionState(broadcast):
                self._parts.advice.on_state(node, broadcast)
                views = self._parts.consumers.on_state(node, message, now_us)
                self._on_views(broadcast, views, now_us)
                self.wants_advice |= message.state == "lost"
            case TableApplied():
                self._parts.tables.on_applied(node, message, now_us)
            case TableRefused():
                self._parts.tables.on_refused(node, message, now_us)

    def _on_report(self, node: str, report: Report, now_us: int) -> None:
        member = self._parts.members.get(node)
        assert member is not None  # it has joined
        self._parts.reports.on_report(member, report, now_us)
        for stream in report.streams:
            views = self._parts.consumers.on_counts(node, stream)
            self._on_views(stream.broadcast, views, now_us)
        self._parts.saving.on_measurement(now_us)
        if report.is_alarm:
            self._counters["alarms"] += 1
            self._parts.picture.on_news(self._parts.view.count, now_us)
        else:
            self._parts.picture.on_measurement(self._parts.view.count, now_us)

    def _announce(
        self, node: str, stream: ProducedStream, now_us: int, transaction: int = 0
    ) -> StreamIds | RequestError:
        try:
            announced = self._parts.producers.announce(node, stream, now_us)
        except AnnouncementProblem as problem:
            code, text = problem.code, str(problem)
            self._events.append(AnnouncementRefused(stream.broadcast, node, code.value, text))
            if code is RequestCode.NAME_TAKEN:
                self._parts.advice.on_moved(stream.broadcast, node)
                self.wants_advice = True
            return RequestError(transaction, code, text)
        if announced.moved_from is not None:
            self._parts.advice.on_moved(stream.broadcast, announced.moved_from)
            self.wants_advice = True
        return StreamIds(transaction, stream.broadcast, announced.broadcast.stream_ids)

    def _on_broadcast_change(self, broadcast: str, now_us: int) -> None:
        self._parts.saving.on_change(now_us)
        self._parts.requests.look_again()
        if self._parts.pushes.concerns(broadcast):
            self._parts.tables.change(now_us)

    def _on_views(self, broadcast: str, views: int, now_us: int) -> None:
        if views:
            self._parts.popularity.on_view(broadcast, now_us, views)

    def _on_lost(self, node: str, now_us: int) -> None:
        self._parts.producers.on_lost(node)
        self._parts.consumers.on_lost(node)
        self._parts.reports.on_lost(node)
        self._parts.advice.on_lost(node)
        self._parts.saving.on_change(now_us)
