"""Between a node and its session with the brain, without I/O.

In: the session's events, the node's events, time. It puts tables in force, reports and raises
alarms, announces broadcasts, asks for paths and hands on the answers. Out: calls of node and
session, and events for the shell. The shell owns the session's connection, and the disk: it stores
a table and says so, and only then is the brain told that the table is in force.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from msgspec.structs import replace

from control_client.errors import RefusalCode as ControlRefusalCode
from control_client.errors import RequestCode
from control_client.messages import (
    Capacity,
    Path,
    ProducedStream,
    TableVersion,
    TrackDescriptor,
    Welcome,
)
from control_client.session import NodeSession
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
from relay import events
from relay.control import agent_events as told
from relay.control.announcements import Announce, Announcements, Dispute, End, Reclaim
from relay.control.encoder_watch import EncoderWatch
from relay.control.reporter import Reporter
from relay.control.subscription_teller import SubscriptionTeller
from relay.control.table_keeper import TableKeeper
from relay.control.telemetry import CpuReader
from relay.errors import RefusalCode
from relay.node import Node

SAMPLE_US = 1_000_000  # chosen: an alarm within a few seconds
SEEK_US = 5_000_000  # chosen: how often a broadcaster who is not here is looked for elsewhere
_REFUSALS = {
    RequestCode.NO_SUCH_STREAM: RefusalCode.NO_SUCH_STREAM,
    RequestCode.NO_PATH: RefusalCode.NO_PATH,
    RequestCode.FULL: RefusalCode.FULL,
}


def _no_cpu() -> int:
    return 0


class ControlAgent:
    """Made after `node.start`; the session's held table is put in force at once.

    read_cpu_us: the CPU time of the process; none in virtual time. admin_url: for operators.
    """

    def __init__(
        self,
        node: Node,
        session: NodeSession,
        now_us: int,
        *,
        read_cpu_us: CpuReader = _no_cpu,
        admin_url: str = "",
    ) -> None:
        self.node = node
        self.session = session
        self.last_problem = ""
        self._admin_url = admin_url
        self._events: deque[told.AgentEvent] = deque()
        self._announcements = Announcements(ingest.name for ingest in node.config.broadcasts)
        self._encoders = EncoderWatch(node)
        self._subscriptions = SubscriptionTeller(node, session)
        self._reporter = Reporter(node, session, read_cpu_us, now_us)
        self._sample_us = now_us + SAMPLE_US
        self._sought_us: dict[str, int] = {}
        self._tables = TableKeeper(node, session, now_us)
        self._take_events()

    # -- inputs

    def next_event(self) -> told.AgentEvent | None:
        """Take the oldest output."""
        return self._events.popleft() if self._events else None

    def next_timer_us(self) -> int:
        """When `handle_timer` is due."""
        times = [
            self._sample_us,
            self._reporter.next_timer_us(),
            self._announcements.next_timer_us(),
            self._tables.next_timer_us(),
        ]
        return min(time_us for time_us in times if time_us is not None)

    def handle_timer(self, now_us: int) -> None:
        """Sample each second; tell of links, silent encoders, changed subscriptions."""
        is_sample = now_us >= self._sample_us
        if is_sample:
            self._sample_us = now_us + SAMPLE_US
        self._watch_encoders(now_us)
        self._announcements.handle_timer(now_us)
        self._carry_out(now_us)
        if is_sample:
            self._reporter.sample(now_us)
            self._subscriptions.sweep(now_us)
            self._seek_broadcasters(now_us)
        self._reporter.tell_links(now_us)
        self._tables.handle_timer(now_us)
        self._take_events()

    def handle_node_event(self, event: events.NodeEvent, now_us: int) -> None:
        """Every event of the node is shown here."""
        match event:
            case events.PathsWanted(stream):
                self.session.ask_path(stream, now_us)
            case events.EncoderSeen(stream):
                self._announcements.on_packet(stream, now_us, now_us)
                self._carry_out(now_us)
            case events.BroadcastChanged(stream, _) | events.UpstreamSwitched(stream):
                self._subscriptions.on_change(stream, now_us)
            case events.NeighbourUp(name) | events.NeighbourDown(name):
                is_up = isinstance(event, events.NeighbourUp)
                self._reporter.on_link(name, is_up=is_up, now_us=now_us)
            case events.NeighbourAdded(name):
                self._reporter.on_link(name, is_up=False, now_us=now_us)
            case events.NeighbourRemoved(name):
                self._reporter.forget_link(name)

    def handle_session_event(self, event: SessionEvent, now_us: int) -> None:
        """All but Connect and Disconnect, which are the shell's."""
        match event:
            case Connect() | Disconnect():
                raise ValueError(f"{event} is for whoever owns the connection")
            case InventoryWanted(welcome):
                self._register(welcome, now_us)
            case ReportDue():
                self._reporter.report(now_us)
            case ApplyTable(version, table):
                self._tables.apply(HeldTable(version, table), now_us)
                self._take_events()
            case TableDeclined(version, held, reason):
                self._problem(told.TableTurnedDown(version, held, reason), reason)
            case StreamIdsGiven(stream, stream_ids):
                self._use_ids(stream, stream_ids, now_us)
            case AnnouncementRefused(stream, code, text):
                if self._announcements.on_refused(stream, code, text, now_us):
                    self._problem(told.AnnouncementTurnedDown(stream, code.value, text), text)
            case PathsFound(stream, paths):
                self._on_paths(stream, paths, now_us)
            case PathNotFound(stream, code, text):
                self._on_no_path(stream, code, text, now_us)
            case RehomeAdvised(stream, paths, reason):
                self._rehome(stream, paths, reason, now_us)
            case RefusedByBrain(refusal_code, text):
                self._problem(told.ControllerRefused(refusal_code, text), text)
            case ConnectionLost(reason, retry_us, was_registered):
                self._problem(told.ControllerLost(reason, retry_us, was_registered), reason)

    def on_stored(self, version: TableVersion, problem: str | None, now_us: int) -> None:
        """StoreTable was carried out, or could not be: why."""
        self._tables.on_stored(version, problem, now_us)
        self._take_events()

    # -- how it stands

    @property
    def in_force(self) -> HeldTable | None:
        """The table that the node goes by."""
        return self._tables.in_force

    @property
    def in_force_since_us(self) -> int:
        """When it was put in force here."""
        return self._tables.in_force_since_us

    @property
    def is_stored(self) -> bool:
        """Whether it outlasts the node."""
        return self._tables.is_stored

    @property
    def announced(self) -> list[str]:
        """Broadcasts that the brain has been told start here."""
        return self._announcements.announced

    @property
    def announcement_problems(self) -> dict[str, str]:
        """Why the brain does not take a broadcast from here, by its name."""
        return self._announcements.problems

    @property
    def alarms(self) -> set[str | None]:
        """Neighbours whose links are nearly full; None: the node itself is."""
        return self._reporter.alarms

    # -- joining

    def _register(self, welcome: Welcome, now_us: int) -> None:
        config = self.node.config
        if welcome.node_id != config.node_id:
            text = (
                f"{config.name} has node_id {config.node_id} in its configuration, "
                f"the brain says {welcome.node_id}: make them equal"
            )
            self.session.turn_away(ControlRefusalCode.WRONG_NODE_ID, text)
            refused = told.ControllerRefused(ControlRefusalCode.WRONG_NODE_ID.value, text)
            self._problem(refused, text)
            return
        self.last_problem = ""
        self._reporter.set_threshold(welcome.alarm_permille)
        self._watch_encoders(now_us)
        self._announcements.on_connected(now_us)
        self._carry_out(now_us)
        limits = config.limits
        # A table with more neighbours than there is room for beside the configured ones is refused.
        node_links = max(0, limits.node_links - len(config.neighbours))
        self.session.register(
            address=config.advertised_as or config.listen,
            admin_url=self._admin_url,
            capacity=Capacity(node_links, limits.streams, limits.cursors, limits.viewers),
            streams=tuple(self._produced(name) for name in self._announcements.announced),
            subscriptions=self._subscriptions.begin(),
            now_us=now_us,
        )
        self._events.append(told.ControllerConnected(welcome.term, welcome.node_id))
        self._announcements.on_registered()
        self._carry_out(now_us)

    # -- broadcasts that start here

    def _produced(self, stream: str) -> ProducedStream:
        tracks = self.node.tracks_of(stream)
        return ProducedStream(
            stream,
            tuple(
                TrackDescriptor(t.media, t.codec, t.payload_type, t.clock_rate, t.fmtp)
                for t in tracks
            ),
            tuple(track.stream_id for track in tracks),
        )

    def _watch_encoders(self, now_us: int) -> None:
        for ingest in self.node.config.broadcasts:
            is_moved = self._announcements.is_moved(ingest.name)
            if is_moved and (newest_us := self._encoders.elsewhere_us(ingest.name)) is not None:
                self._announcements.on_packet_from_elsewhere(ingest.name, newest_us)
            at_us = self._encoders.heard_us(ingest.name, is_moved=is_moved)
            if at_us is not None:
                self._announcements.on_packet(ingest.name, at_us, now_us)

    def _use_ids(self, stream: str, stream_ids: tuple[int, ...], now_us: int) -> None:
        """The brain has taken an announcement, maybe under other ids."""
        if stream not in self._announcements.announced:
            return  # it is over meanwhile
        self._announcements.on_taken(stream)
        used = tuple(track.stream_id for track in self.node.tracks_of(stream))
        if stream_ids != used:
            fresh = self.node.new_tracks(stream)
            tracks = zip(fresh, stream_ids, strict=True)
            self.node.reclaim(
                stream, tuple(replace(track, stream_id=given) for track, given in tracks), now_us
            )
            self._events.append(told.StreamIdsReplaced(stream))

    def _carry_out(self, now_us: int) -> None:
        while (event := self._announcements.next_event()) is not None:
            match event:
                case Announce(stream, is_news):
                    self.session.announce(self._produced(stream), now_us)
                    if is_news:
                        self._events.append(told.BroadcastAnnounced(stream))
                case End(stream):
                    self.session.end(stream, now_us)
                    self._events.append(told.BroadcastSilent(stream))
                case Reclaim(stream):
                    self.node.reclaim(stream, self.node.new_tracks(stream), now_us)
                    self._encoders.release(stream)
                    self._events.append(told.BroadcasterReturned(stream))
                case Dispute(stream):
                    self._events.append(told.BroadcasterDisputed(stream))

    # -- paths

    def _seek_broadcasters(self, now_us: int) -> None:
        """An ingest without an encoder is not where its broadcast is: it may have moved while this
        node was down, or while no brain could say so. Whoever wants it here is to see it."""
        for ingest in self.node.config.broadcasts:
            if self._is_vacant(ingest.name) and now_us >= self._sought_us.get(ingest.name, 0):
                self._sought_us[ingest.name] = now_us + SEEK_US
                self.session.ask_path(ingest.name, now_us)

    def _is_vacant(self, stream: str) -> bool:
        """It is wanted here, its encoder is silent, and nothing comes from elsewhere."""
        broadcast = self.node.subscriptions.find(stream)
        return (
            broadcast is not None
            and broadcast.is_local
            and broadcast.upstream is None
            and bool(broadcast.viewers or broadcast.nodes)
            and stream not in self._announcements.announced
        )

    def _on_paths(self, stream: str, paths: Iterable[Path], now_us: int) -> None:
        if self._starts_here(stream):
            if self._is_vacant(stream):
                self._rehome(stream, paths, "broadcaster_elsewhere", now_us)
            return
        if usable := self._usable(paths):
            self.node.on_paths(stream, usable, now_us)
            return
        name = self.node.config.name
        text = f"no path of the brain to {stream} begins at a neighbour of {name}"
        self.node.on_no_path(stream, RefusalCode.NO_PATH, text, now_us)

    def _starts_here(self, stream: str) -> bool:
        broadcast = self.node.subscriptions.find(stream)
        return broadcast is not None and broadcast.is_local and broadcast.upstream is None

    def _on_no_path(self, stream: str, code: RequestCode, text: str, now_us: int) -> None:
        if self._starts_here(stream):
            return  # nobody has it: whoever waits here waits for the encoder
        if not self.session.is_registered:
            text = f"{text}: no path to {stream} can be asked for"
        refusal = _REFUSALS.get(code, RefusalCode.TIME_OUT)
        self.node.on_no_path(stream, refusal, text, now_us)

    def _rehome(self, stream: str, paths: Iterable[Path], reason: str, now_us: int) -> None:
        usable = self._usable(paths)
        if not usable:
            return  # it starts here, or the table that leads there is still under way
        if self._announcements.on_moved(stream, now_us):
            self._events.append(told.BroadcasterMoved(stream, reason))
        else:
            self._events.append(told.AdviceTaken(stream, usable[0], reason))
        self.node.rehome(stream, usable, now_us)

    def _usable(self, paths: Iterable[Path]) -> tuple[tuple[str, ...], ...]:
        """Those that lead through a neighbour, and not back here."""
        name, neighbours = self.node.config.name, self.node.neighbours
        vias = (path.via for path in paths)
        return tuple(via for via in vias if via and via[0] in neighbours and name not in via)

    # -- inside

    def _take_events(self) -> None:
        """What the parts have to tell."""
        while (raised := self._reporter.next_event()) is not None:
            self._events.append(raised)
        while (event := self._tables.next_event()) is not None:
            match event:
                case told.TableNotStored(_, problem) | told.StoredTableUnusable(_, problem):
                    self._problem(event, problem)
                case _:
                    self._events.append(event)

    def _problem(self, event: told.AgentEvent, text: str) -> None:
        self.last_problem = text
        self._events.append(event)
