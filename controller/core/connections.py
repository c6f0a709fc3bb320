"""All connections of nodes: their sessions, whose timer is next, and what is to be sent.

A session's deadline mostly moves on with each message, so it stands in a heap by an earlier time
and is looked at again only then: a turn costs nothing for connections that it does not concern.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque

from control_client.errors import RefusalCode
from control_client.messages import FromBrain
from controller.core.events import BrainOutput, CloseConnection, SendData
from controller.tables import node_session
from controller.tables.node_session import Intervals, NodeSession, NodeSessionEvent
from controller.tables.registry import NodeRegistry


class Connections:
    """Numbers are given once, from 1."""

    def __init__(self, registry: NodeRegistry, term: int, intervals: Intervals) -> None:
        self.counters: Counter[str] = Counter()
        self._registry = registry
        self._term = term
        self._intervals = intervals
        self._sessions: dict[int, NodeSession] = {}
        self._peers: dict[int, str] = {}
        self._last = 0
        self._due: dict[int, int] = {}
        self._heap: list[tuple[int, int]] = []
        self._touched: dict[int, None] = {}
        self._events: deque[tuple[int, NodeSessionEvent]] = deque()
        self._outputs: deque[BrainOutput] = deque()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, peer: str, now_us: int) -> int:
        """peer: whence it comes, for texts."""
        self._last += 1
        self._sessions[self._last] = NodeSession(
            self._registry, self._last, peer, self._term, now_us, self._intervals
        )
        self._peers[self._last] = peer
        self._touch(self._last)
        return self._last

    def peer(self, connection: int) -> str:
        """Whence it comes; "" once it is closed."""
        return self._peers.get(connection, "")

    def receive(self, connection: int, data: bytes, now_us: int) -> None:
        session = self._sessions.get(connection)
        if session is not None:
            session.receive(data, now_us)
            self._touch(connection)

    def on_closed(self, connection: int, reason: str) -> None:
        """It is gone; its number will not come again."""
        session = self._sessions.get(connection)
        if session is not None:
            session.on_closed(reason)
            self._collect(connection, session)
            self.counters.update(session.counters)
            del self._sessions[connection], self._peers[connection]
            self._due.pop(connection, None)
            self._touched.pop(connection, None)

    def send(self, connection: int, message: FromBrain, now_us: int) -> bool:
        """False: it is not (or no longer) that of a joined node."""
        session = self._sessions.get(connection)
        if session is None:
            return False
        self._touch(connection)
        return session.send(message, now_us)

    def refuse(self, connection: int, code: RefusalCode, text: str) -> None:
        """Close it, and say why."""
        session = self._sessions.get(connection)
        if session is not None:
            session.refuse(code, text)
            self._touch(connection)

    def handle_timer(self, now_us: int) -> None:
        while self._heap and self._heap[0][0] <= now_us:
            due_us, connection = heapq.heappop(self._heap)
            session = self._sessions.get(connection)
            if session is None or self._due.get(connection) != due_us:
                continue  # closed, or it stands elsewhere in the heap
            del self._due[connection]
            session.handle_timer(now_us)
            self._touch(connection)
        self._settle()

    def next_timer_us(self) -> int | None:
        """When `handle_timer` is due; maybe earlier than there is something to do."""
        self._settle()
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def next_event(self) -> tuple[int, NodeSessionEvent] | None:
        """What a connection's session tells, CloseConnection excepted."""
        self._settle()
        return self._events.popleft() if self._events else None

    def next_output(self) -> BrainOutput | None:
        self._settle()
        return self._outputs.popleft() if self._outputs else None

    def totals(self) -> Counter[str]:
        """Messages by kind, of all connections there were."""
        total = Counter(self.counters)
        for session in self._sessions.values():
            total.update(session.counters)
        return total

    def _touch(self, connection: int) -> None:
        self._touched[connection] = None

    def _settle(self) -> None:
        """Take what the sessions that had an input have to say."""
        while self._touched:
            connection = next(iter(self._touched))
            del self._touched[connection]
            session = self._sessions[connection]
            self._collect(connection, session)
            due_us = session.next_timer_us()
            if due_us is not None and due_us < self._due.get(connection, due_us + 1):
                self._due[connection] = due_us
                heapq.heappush(self._heap, (due_us, connection))

    def _collect(self, connection: int, session: NodeSession) -> None:
        while (data := session.next_message()) is not None:
            self._outputs.append(SendData(connection, data))
        while (event := session.next_event()) is not None:
            match event:
                case node_session.CloseConnection(code, text):
                    self._outputs.append(CloseConnection(connection, code, text))
                case node_session.ReplacesConnection(other):
                    old = self._sessions[other]
                    old.refuse(RefusalCode.REPLACED, "a new connection of this node is there")
                    self._collect(other, old)
                case _:
                    self._events.append((connection, event))
