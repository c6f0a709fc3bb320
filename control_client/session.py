"""The node's side of the control channel, without I/O.

The shell carries out Connect and Disconnect, feeds `on_connected`, `receive`, `on_closed` and
`handle_timer`, and after each input takes all of `next_message` and `next_event`. While the
brain is away only unanswered requests are kept: on each new connection the node lists what it has
(Inventory) and reports afresh, so nothing that was said before needs to be said again.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum
from random import Random

from control_client.back_off import BackOff
from control_client.codec import decode_from_brain, encode
from control_client.errors import ControlMessageError, RefusalCode, RequestCode, TableRefusalCode
from control_client.liveness import DEAD_AFTER_US, HEARTBEAT_US, OPENING_US, Liveness
from control_client.messages import (
    LOWEST_SCHEMA,
    SCHEMA_VERSION,
    AnnounceStream,
    AskPath,
    Capacity,
    EndStream,
    FromBrain,
    FromNode,
    Heartbeat,
    Hello,
    Inventory,
    Paths,
    ProducedStream,
    Refusal,
    RehomeAdvice,
    Report,
    RequestError,
    StreamIds,
    SubscriptionState,
    Table,
    TableRefused,
    TableVersion,
    Welcome,
)
from control_client.outbox import Outbox
from control_client.refusals import GOING_AWAY, NORMAL, close_code, refusal, refusal_of
from control_client.requests import Request, Requests
from control_client.session_events import (
    AnnouncementRefused,
    ApplyTable,
    Connect,
    ConnectionLost,
    Disconnect,
    InventoryWanted,
    PathNotFound,
    PathsFound,
    RefusedByBrain,
    RehomeAdvised,
    ReportDue,
    SessionEvent,
    StreamIdsGiven,
    TableDeclined,
)
from control_client.table import HeldTable
from control_client.table_receiver import TableReceiver


class SessionState(Enum):
    """WAITING: for the next attempt. ENTERING: Welcome is here, Inventory not yet sent."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    OPENING = "opening"
    ENTERING = "entering"
    REGISTERED = "registered"
    CLOSING = "closing"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a node says it is. boot_id: 63 bits drawn at each start of the process."""

    name: str
    token: str
    boot_id: int
    software: str = ""

    def __repr__(self) -> str:
        return f"Identity({self.name!r}, boot {self.boot_id:016x})"


_OPEN = (SessionState.OPENING, SessionState.ENTERING, SessionState.REGISTERED)


class NodeSession:
    """rng: draws waits and the first transaction. held: the table stored before a restart."""

    def __init__(
        self, identity: Identity, rng: Random, now_us: int, held: HeldTable | None = None
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.welcome: Welcome | None = None
        self.last_problem = ""
        self._identity = identity
        self._tables = TableReceiver(identity.name, held)
        self._requests = Requests(rng.getrandbits(32))
        self._back_off = BackOff(rng)
        self._outbox = Outbox()
        self._events: deque[SessionEvent] = deque()
        self._state = SessionState.WAITING
        self._retry_us = now_us
        self._deadline_us = now_us
        self._liveness = Liveness(HEARTBEAT_US, DEAD_AFTER_US, now_us)
        self._report_us = now_us
        self._registered_us: int | None = None
        self._highest_term = held.version.term if held else 0

    # -- what the shell feeds and takes

    @property
    def state(self) -> SessionState:
        """Where the connection stands."""
        return self._state

    @property
    def is_registered(self) -> bool:
        """Whether the brain is there."""
        return self._state is SessionState.REGISTERED

    @property
    def held(self) -> HeldTable | None:
        """The table in force."""
        return self._tables.held

    def next_event(self) -> SessionEvent | None:
        """Take the oldest output."""
        return self._events.popleft() if self._events else None

    def next_message(self) -> bytes | None:
        """Take the oldest message to send; whole, in one binary WebSocket message."""
        return self._outbox.take()

    def next_timer_us(self) -> int | None:
        """When `handle_timer` is due."""
        times = [self._requests.next_timer_us()]
        match self._state:
            case SessionState.WAITING:
                times.append(self._retry_us)
            case SessionState.CONNECTING | SessionState.OPENING | SessionState.ENTERING:
                times.append(self._deadline_us)
            case SessionState.REGISTERED:
                times += [self._liveness.next_timer_us(), self._report_us]
        return min((time_us for time_us in times if time_us is not None), default=None)

    def handle_timer(self, now_us: int) -> None:
        """Connect, give up, show life, ask for a report, end requests."""
        for request in self._requests.take_expired(now_us):
            text = "the brain did not answer" if self.is_registered else "the brain is away"
            self._events.append(PathNotFound(request.broadcast, RequestCode.TIME_OUT, text))
        match self._state:
            case SessionState.WAITING if now_us >= self._retry_us:
                self._state = SessionState.CONNECTING
                self._deadline_us = now_us + OPENING_US
                self._events.append(Connect())
            case SessionState.CONNECTING if now_us >= self._deadline_us:
                self._close(NORMAL, f"no connection within {OPENING_US // 1_000_000} s")
            case SessionState.OPENING | SessionState.ENTERING if now_us >= self._deadline_us:
                text = f"the brain did not answer within {OPENING_US // 1_000_000} s"
                self._refuse(refusal(RefusalCode.TIME_OUT, text))
            case SessionState.REGISTERED:
                self._handle_registered_timer(now_us)

    def on_connected(self, now_us: int) -> None:
        """The connection is open, TLS and the WebSocket's opening included."""
        if self._state is not SessionState.CONNECTING:
            return
        self._state = SessionState.OPENING
        self._deadline_us = now_us + OPENING_US
        identity = self._identity
        hello = Hello(
            lowest_schema=LOWEST_SCHEMA,
            highest_schema=SCHEMA_VERSION,
            node=identity.name,
            token=identity.token,
            boot_id=identity.boot_id,
            software=identity.software,
        )
        self._send(hello, now_us)

    def on_closed(self, reason: str, now_us: int) -> None:
        """It is closed, or could not be opened. reason: one line."""
        if self._state in (SessionState.WAITING, SessionState.STOPPED):
            return
        if self._state is not SessionState.CLOSING or not self.last_problem:
            self.last_problem = reason
        since_us, self._registered_us = self._registered_us, None
        if since_us is not None and now_us - since_us >= DEAD_AFTER_US:
            self._back_off.reset()
        self._outbox.clear()
        self._state = SessionState.WAITING
        delay_us = self._back_off.next_delay_us()
        self._retry_us = now_us + delay_us
        self.counters["connections_lost"] += 1
        self._events.append(ConnectionLost(self.last_problem, delay_us, since_us is not None))

    def receive(self, data: bytes, now_us: int) -> None:
        """One binary WebSocket message."""
        if self._state not in _OPEN:
            return
        try:
            message = decode_from_brain(data)
        except ControlMessageError as error:
            self.counters["received_malformed"] += 1
            self._refuse(refusal_of(error))
            return
        self._liveness.on_heard(now_us)
        self.counters[f"received_{message.__struct_config__.tag}"] += 1
        if isinstance(message, Refusal):
            self._on_refusal(message)
        elif isinstance(message, Welcome) and self._state is SessionState.OPENING:
            self._on_welcome(message, now_us)
        elif isinstance(message, Heartbeat) and self._state is not SessionState.OPENING:
            pass
        elif self._state is SessionState.REGISTERED and not isinstance(message, Welcome):
            self._on_message(message, now_us)
        else:
            text = f"{type(message).__name__} while {self._state.value}"
            self._refuse(refusal(RefusalCode.UNEXPECTED, text))

    def stop(self, now_us: int) -> None:
        """The node ends. No more connections."""
        was_open = self._state in _OPEN or self._state is SessionState.CONNECTING
        self._state = SessionState.STOPPED
        if was_open:
            self._events.append(Disconnect(GOING_AWAY, f"{self._identity.name} stops"))
        self._retry_us = now_us

    # -- what the node says

    def register(
        self,
        *,
        address: str,
        admin_url: str,
        capacity: Capacity,
        streams: tuple[ProducedStream, ...],
        subscriptions: tuple[SubscriptionState, ...],
        now_us: int,
    ) -> None:
        """The answer to InventoryWanted: what this node is and has now."""
        if self._state is not SessionState.ENTERING:
            return
        table = self._tables.version
        inventory = Inventory(address, capacity, admin_url, table, streams, subscriptions)
        self._state = SessionState.REGISTERED
        self._registered_us = now_us
        self.last_problem = ""
        self._send(inventory, now_us)
        for request in self._requests:
            self._send(request.message, now_us)
        self._want_report(now_us)

    def report(self, report: Report, now_us: int) -> None:
        """After ReportDue, and at once on an alarm. While the brain is away it is dropped: each
        connection begins with a fresh one."""
        if not self._say(report, now_us):
            self.counters["reports_dropped"] += 1

    def subscription_changed(self, state: SubscriptionState, now_us: int) -> None:
        """While the brain is away it is dropped: the next Inventory has it."""
        self._say(state, now_us)

    def announce(self, stream: ProducedStream, now_us: int) -> None:
        """StreamIdsGiven or AnnouncementRefused follows, however long the brain is away."""
        try:
            message = self._requests.announce(stream)
        except OverflowError as error:
            refused = AnnouncementRefused(stream.broadcast, RequestCode.FULL, str(error))
            self._events.append(refused)
            return
        self._say(message, now_us)

    def end(self, broadcast: str, now_us: int) -> None:
        """A broadcast that was announced is over."""
        self._requests.withdraw(broadcast)
        self._say(EndStream(broadcast), now_us)

    def ask_path(self, broadcast: str, now_us: int) -> None:
        """PathsFound or PathNotFound follows, once for all that ask meanwhile."""
        try:
            message = self._requests.ask(broadcast, now_us)
        except OverflowError as error:
            self._events.append(PathNotFound(broadcast, RequestCode.FULL, str(error)))
            return
        if message is not None:
            self._say(message, now_us)

    def on_table_applied(self, version: TableVersion, *, is_stored: bool, now_us: int) -> None:
        """The table of ApplyTable is in force. is_stored: and on disk."""
        if (answer := self._tables.on_applied(version, is_stored)) is not None:
            self._highest_term = max(self._highest_term, version.term)
            self._say(answer, now_us)

    def on_table_refused(
        self, version: TableVersion, code: TableRefusalCode, text: str, now_us: int
    ) -> None:
        """The table of ApplyTable cannot be put in force; the one before it is."""
        if (answer := self._tables.on_refused(version, code, text)) is not None:
            self._decline(answer, now_us)

    def turn_away(self, code: RefusalCode, text: str) -> None:
        """Instead of `register`: this node cannot follow that brain. Tried again, slowly."""
        if self._state is SessionState.ENTERING:
            self._back_off.slow_down()
            self._refuse(refusal(code, text))

    def discard_table(self) -> None:
        """The stored table cannot be put in force: there is none. Its term still counts."""
        self._tables.discard()

    # -- what the brain says

    def _on_refusal(self, message: Refusal) -> None:
        self._back_off.slow_down()
        self.last_problem = f"refused by the brain: {message.text} ({message.code})"
        self._events.append(RefusedByBrain(message.code, message.text))
        self._close(NORMAL, self.last_problem)

    def _on_welcome(self, welcome: Welcome, now_us: int) -> None:
        if welcome.term < self._highest_term:
            text = (
                f"{self._identity.name} has followed a brain of term {self._highest_term}; "
                f"this one's is {welcome.term}: it is an older one, or has lost its state"
            )
            self._back_off.slow_down()
            self._refuse(refusal(RefusalCode.TERM_BEHIND, text))
            return
        self._highest_term = welcome.term
        self.welcome = welcome
        self._state = SessionState.ENTERING
        self._liveness = Liveness(welcome.heartbeat_us, welcome.dead_after_us, now_us)
        self._events.append(InventoryWanted(welcome))

    def _on_message(self, message: FromBrain, now_us: int) -> None:
        match message:
            case Table():
                self._on_table(message, now_us)
            case StreamIds(transaction, broadcast, stream_ids):
                request = self._answered(transaction, broadcast, AnnounceStream)
                if request is not None:
                    self._on_stream_ids(request, stream_ids)
            case Paths(transaction, broadcast, paths):
                if self._answered(transaction, broadcast, AskPath) is not None:
                    self._events.append(PathsFound(broadcast, paths))
            case RequestError(transaction, code, text):
                if (request := self._answered(transaction, None, None)) is not None:
                    is_ask = isinstance(request.message, AskPath)
                    event = PathNotFound if is_ask else AnnouncementRefused
                    self._events.append(event(request.broadcast, code, text))
            case RehomeAdvice(broadcast, paths, reason):
                self._events.append(RehomeAdvised(broadcast, paths, reason))

    def _on_stream_ids(self, request: Request, stream_ids: tuple[int, ...]) -> None:
        assert isinstance(request.message, AnnounceStream)
        tracks = len(request.message.stream.tracks)
        if len(stream_ids) != tracks:
            text = f"StreamIds.stream_ids: {len(stream_ids)} for {tracks} tracks"
            self._refuse(refusal(RefusalCode.MALFORMED, text))
            return
        self._events.append(StreamIdsGiven(request.broadcast, stream_ids))

    def _on_table(self, message: Table, now_us: int) -> None:
        assert self.welcome is not None
        verdict = self._tables.receive(message, self.welcome.term)
        match verdict:
            case ApplyTable():
                self._events.append(verdict)
            case TableRefused():
                self._decline(verdict, now_us)
            case _:
                self._say(verdict, now_us)

    def _decline(self, answer: TableRefused, now_us: int) -> None:
        self.counters[f"tables_{answer.code.value}"] += 1
        self._events.append(TableDeclined(answer.version, answer.held, answer.text))
        self._say(answer, now_us)

    def _answered(
        self,
        transaction: int,
        broadcast: str | None,
        kind: type[AskPath] | type[AnnounceStream] | None,
    ) -> Request | None:
        request = self._requests.take(transaction, broadcast, kind)
        if request is None:
            self.counters["answers_late"] += 1
        return request

    # -- inside

    def _handle_registered_timer(self, now_us: int) -> None:
        if self._liveness.is_dead(now_us):
            assert self.welcome is not None
            silent_s = self.welcome.dead_after_us / 1_000_000
            text = f"nothing from the brain for {silent_s:g} s"
            self._refuse(refusal(RefusalCode.TIME_OUT, text))
            return
        if now_us >= self._report_us:
            self._want_report(now_us)  # a sign of life as well
        elif self._liveness.is_heartbeat_due(now_us):
            self._send(Heartbeat(), now_us)

    def _want_report(self, now_us: int) -> None:
        assert self.welcome is not None
        self._report_us = now_us + self.welcome.report_us
        self._events.append(ReportDue())

    def _say(self, message: FromNode, now_us: int) -> bool:
        """Send it if the brain is there."""
        if self.is_registered:
            self._send(message, now_us)
        return self.is_registered

    def _send(self, message: FromNode, now_us: int) -> None:
        if self._state not in _OPEN:
            return  # what was sent before has overflowed
        if self._outbox.put(encode(message)):
            self._liveness.on_sent(now_us)
            self.counters[f"sent_{message.__struct_config__.tag}"] += 1
        else:
            self._outbox.clear()
            self._refuse(refusal(RefusalCode.OVERLOADED, "the brain does not read"))

    def _refuse(self, message: Refusal) -> None:
        """Tell the other side why, and close."""
        self.last_problem = message.text
        self._outbox.put(encode(message))
        self._close(close_code(message), message.text)

    def _close(self, code: int, text: str) -> None:
        self.last_problem = text
        self._state = SessionState.CLOSING
        self._events.append(Disconnect(code, text))
