"""The brain's side of one node's connection, without I/O.

It lets the node in, keeps the connection alive and its messages in order; what they mean is decided
elsewhere. After each input the shell takes all of `next_message` and `next_event`.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from control_client.codec import MAX_HELLO_BYTES, decode_from_node, encode
from control_client.errors import ControlMessageError, MessageTooLargeError, RefusalCode
from control_client.liveness import DEAD_AFTER_US, HEARTBEAT_US, OPENING_US, Liveness
from control_client.messages import (
    AnnounceStream,
    AskPath,
    EndStream,
    FromBrain,
    FromNode,
    Heartbeat,
    Hello,
    Inventory,
    Refusal,
    Report,
    SubscriptionState,
    TableApplied,
    TableRefused,
    Welcome,
)
from control_client.outbox import Outbox
from control_client.refusals import NORMAL, close_code, refusal, refusal_of
from controller.tables.registry import Admitted, KnownNode, NodeRegistry

Statement: TypeAlias = (
    Report | AnnounceStream | EndStream | AskPath | TableApplied | TableRefused | SubscriptionState
)


@dataclass(frozen=True, slots=True)
class Intervals:
    """What nodes are told in Welcome."""

    heartbeat_us: int = HEARTBEAT_US
    dead_after_us: int = DEAD_AFTER_US
    report_us: int = 60_000_000  # LiveNet 4.2: each minute
    alarm_permille: int = 800  # LiveNet 4.2: 80 % of a node or a link


@dataclass(frozen=True, slots=True)
class NodeJoined:
    """The node is in, and this is all it has."""

    node: KnownNode
    hello: Hello
    inventory: Inventory


@dataclass(frozen=True, slots=True)
class NodeSaid:
    """One of the messages that a joined node sends."""

    node: str
    message: Statement


@dataclass(frozen=True, slots=True)
class NodeLeft:
    """A node that had joined is away. was_replaced: its next connection is there already."""

    node: str
    reason: str
    was_replaced: bool


@dataclass(frozen=True, slots=True)
class NodeTurnedAway:
    """A connection is closed by this side. node: "" if it did not say who it is."""

    node: str
    peer: str
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class RefusedByNode:
    """The node closes, for this reason."""

    node: str
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class ReplacesConnection:
    """Call `refuse` with REPLACED on that connection's session, and take its events at once."""

    connection: int


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """Send what is to be sent, and close."""

    close_code: int
    text: str


NodeSessionEvent: TypeAlias = (
    NodeJoined
    | NodeSaid
    | NodeLeft
    | NodeTurnedAway
    | RefusedByNode
    | ReplacesConnection
    | CloseConnection
)


class NodeSessionState(Enum):
    """WELCOMED: waits for the inventory."""

    OPENING = "opening"
    WELCOMED = "welcomed"
    JOINED = "joined"
    CLOSED = "closed"


class NodeSession:
    """connection: as the registry numbers it. peer: whence it comes, for texts."""

    def __init__(
        self,
        registry: NodeRegistry,
        connection: int,
        peer: str,
        term: int,
        now_us: int,
        intervals: Intervals | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.node: KnownNode | None = None
        self._intervals = intervals or Intervals()
        self._registry = registry
        self._connection = connection
        self._peer = peer
        self._term = term
        self._hello: Hello | None = None
        self._state = NodeSessionState.OPENING
        self._deadline_us = now_us + OPENING_US
        self._liveness = Liveness(
            self._intervals.heartbeat_us, self._intervals.dead_after_us, now_us
        )
        self._outbox = Outbox()
        self._events: deque[NodeSessionEvent] = deque()

    @property
    def state(self) -> NodeSessionState:
        """Where it stands."""
        return self._state

    def next_event(self) -> NodeSessionEvent | None:
        """Take the oldest output."""
        return self._events.popleft() if self._events else None

    def next_message(self) -> bytes | None:
        """Take the oldest message to send; whole, in one binary WebSocket message."""
        return self._outbox.take()

    def next_timer_us(self) -> int | None:
        """When `handle_timer` is due."""
        match self._state:
            case NodeSessionState.CLOSED:
                return None
            case NodeSessionState.JOINED:
                return self._liveness.next_timer_us()
        return self._deadline_us

    def handle_timer(self, now_us: int) -> None:
        """Give up, or show life."""
        if self._state is NodeSessionState.CLOSED:
            return
        if self._state is not NodeSessionState.JOINED:
            if now_us >= self._deadline_us:
                text = f"nothing for {OPENING_US // 1_000_000} s"
                self.refuse(RefusalCode.TIME_OUT, text)
        elif self._liveness.is_dead(now_us):
            silent_s = self._intervals.dead_after_us / 1_000_000
            self.refuse(RefusalCode.TIME_OUT, f"nothing from the node for {silent_s:g} s")
        elif self._liveness.is_heartbeat_due(now_us):
            self._send(Heartbeat(), now_us)

    def receive(self, data: bytes, now_us: int) -> None:
        """One binary WebSocket message."""
        if self._state is NodeSessionState.CLOSED:
            return
        try:
            if self._state is NodeSessionState.OPENING and len(data) > MAX_HELLO_BYTES:
                text = f"{len(data)} bytes; a first message has at most {MAX_HELLO_BYTES}"
                raise MessageTooLargeError("", "", text)
            message = decode_from_node(data)
        except ControlMessageError as error:
            self.counters["received_malformed"] += 1
            self._refuse(refusal_of(error))
            return
        self._liveness.on_heard(now_us)
        self.counters[f"received_{message.__struct_config__.tag}"] += 1
        self._on_message(message, now_us)

    def send(self, message: FromBrain, now_us: int) -> bool:
        """To a node that has joined. False: it has not, or no longer; nothing was sent.

        Raises ControlMessageError if the node would not take it.
        """
        if self._state is NodeSessionState.JOINED:
            self._send(message, now_us)
        return self._state is NodeSessionState.JOINED

    def refuse(self, code: RefusalCode, text: str) -> None:
        """Tell the node why, and close."""
        if self._state is not NodeSessionState.CLOSED:
            self._refuse(refusal(code, text))

    def on_closed(self, reason: str) -> None:
        """The connection is gone. reason: one line."""
        if self._state is not NodeSessionState.CLOSED:
            self._end(reason)

    def _on_message(self, message: FromNode, now_us: int) -> None:
        match message:
            case Refusal(code, text):
                name = self.node.name if self.node else ""
                self._events.append(RefusedByNode(name, code, text))
                self._end(f"refused by the node: {text} ({code})")
                self._events.append(CloseConnection(NORMAL, "refused by the node"))
            case Hello() if self._state is NodeSessionState.OPENING:
                self._on_hello(message, now_us)
            case Inventory() if self._state is NodeSessionState.WELCOMED:
                self._on_inventory(message, now_us)
            case Heartbeat() if self._state is not NodeSessionState.OPENING:
                pass
            case Hello() | Inventory() | Heartbeat():
                self._refuse_unexpected(message)
            case _ if self._state is not NodeSessionState.JOINED:
                self._refuse_unexpected(message)
            case _:
                assert self.node is not None
                self._events.append(NodeSaid(self.node.name, message))

    def _on_hello(self, hello: Hello, now_us: int) -> None:
        self._hello = hello
        admission = self._registry.admit(hello, self._connection, self._peer)
        if not isinstance(admission, Admitted):
            self._refuse(admission)
            return
        self.node = admission.node
        if admission.replaces is not None:
            self._events.append(ReplacesConnection(admission.replaces))
        self._state = NodeSessionState.WELCOMED
        self._deadline_us = now_us + OPENING_US
        intervals = self._intervals
        welcome = Welcome(
            term=self._term,
            node_id=admission.node.node_id,
            heartbeat_us=intervals.heartbeat_us,
            dead_after_us=intervals.dead_after_us,
            report_us=intervals.report_us,
            alarm_permille=intervals.alarm_permille,
        )
        self._send(welcome, now_us)

    def _on_inventory(self, inventory: Inventory, now_us: int) -> None:
        assert self.node is not None
        assert self._hello is not None
        if inventory.table is not None and inventory.table.term > self._term:
            text = (
                f"{self.node.name} has table {inventory.table}, this brain's term is {self._term}"
            )
            self._refuse(refusal(RefusalCode.TERM_BEHIND, text))
            return
        self._state = NodeSessionState.JOINED
        intervals = self._intervals
        self._liveness = Liveness(intervals.heartbeat_us, intervals.dead_after_us, now_us)
        self._events.append(NodeJoined(self.node, self._hello, inventory))

    def _refuse_unexpected(self, message: FromNode) -> None:
        text = f"{type(message).__name__} while {self._state.value}"
        self._refuse(refusal(RefusalCode.UNEXPECTED, text))

    def _send(self, message: FromBrain, now_us: int) -> None:
        if self._outbox.put(encode(message)):
            self._liveness.on_sent(now_us)
            self.counters[f"sent_{message.__struct_config__.tag}"] += 1
        else:
            self._outbox.clear()
            self._refuse(refusal(RefusalCode.OVERLOADED, "the node does not read"))

    def _refuse(self, message: Refusal) -> None:
        self._outbox.put(encode(message))
        name = self._hello.node if self._hello else ""
        self._events.append(NodeTurnedAway(name, self._peer, message.code, message.text))
        was_replaced = message.code == RefusalCode.REPLACED
        self._end(f"{message.text} ({message.code})", was_replaced=was_replaced)
        self._events.append(CloseConnection(close_code(message), message.text))

    def _end(self, reason: str, *, was_replaced: bool = False) -> None:
        had_joined = self._state is NodeSessionState.JOINED
        self._state = NodeSessionState.CLOSED
        if self.node is not None:
            self._registry.leave(self.node.name, self._connection)
            if had_joined:
                self._events.append(NodeLeft(self.node.name, reason, was_replaced))
