"""A node without I/O: the engine's events and the API's calls in, commands and reports out.

The owner calls `start`, then for ever: one input (`handle_engine_events`, an API call,
`handle_timer`), all of `next_event`, and re-arms one timer for `next_timer_us`. The commands given
to the engine are mailbox writes. Nothing here sees a media packet.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from random import Random
from typing import Literal

import msgspec

from control_client.messages import Neighbour as TableEntry
from fastpath import Engine, EngineFullError
from fastpath import events as engine_events
from relay import events
from relay.config import NodeConfig
from relay.edge.destinations import check_report_ports
from relay.edge.plain_rtp import NO_EXTENSIONS, Extensions, PlainRtpEdge, RtcpMode, Viewer
from relay.errors import MessageError, RefusalCode, Refused
from relay.lanes import Lanes
from relay.messages import (
    End,
    Message,
    Ok,
    Subscribe,
    Track,
    UpstreamLost,
    WorkerPorts,
    decode,
    encode,
    is_name,
)
from relay.neighbour import Neighbour
from relay.neighbourhood import Neighbourhood
from relay.node_streams import NodeStreams
from relay.placement import Placement
from relay.ports import VIRTUAL, Ports, ingest_workers, open_ports
from relay.qoe import Qoe
from relay.qoe_sampler import QoeSampler
from relay.replicas import Replicas
from relay.slowpath import subscription_events as wanted
from relay.slowpath.path_monitor import SAMPLE_US
from relay.slowpath.routes import Paths
from relay.slowpath.subscription import SubscriptionTable
from relay.slowpath.ways import MAX_HOPS
from relay.spread import Spread
from relay.stream import StreamRegistry
from relay.viewer_moves import ViewerMoves, check_switch
from relay.workers import Workers
from service.address import Address, format_address, ip_of, parse_address


class Node:
    """engine: its workers, or the engine of its only one. rng: a secure source in production
    (nonces, SSRCs, viewer ids), seeded in virtual time."""

    def __init__(self, config: NodeConfig, engine: Workers | Engine, rng: Random) -> None:
        self.config = config
        self.engine = engine if isinstance(engine, Workers) else Workers([engine])
        self.subscriptions = SubscriptionTable(
            config.name, [neighbour.name for neighbour in config.neighbours], rng
        )
        if config.controller is not None:
            self.subscriptions.asks_for_paths = True
            self.subscriptions.max_hops = MAX_HOPS
        self.neighbourhood = Neighbourhood(config, self.engine, self.subscriptions, rng)
        self.counters: Counter[str] = Counter()
        self._placement = Placement(self.engine, ingest_workers(config))
        self._lanes = Lanes(self.neighbours, self._placement, self.subscriptions)
        self.streams = StreamRegistry(self.engine, config.repair.deadlines_us)
        self._replicas = Replicas(self.engine, self.streams, config.node_id, rng)
        self._carried = NodeStreams(
            self.engine, self.streams, self._replicas, self._placement, self._lanes, rng
        )
        self._pushed_paths: dict[str, Paths] = {}
        self._next_sample_us: int | None = None
        self._rng = rng
        self._events: deque[events.NodeEvent] = deque()
        self._spread = Spread(
            self.neighbours,
            self.subscriptions,
            self._carried,
            self._placement,
            self._lanes,
            carry_out=self._carry_out,
            report=self._events.append,
            full=self._full,
        )

    @property
    def neighbours(self) -> Mapping[str, Neighbour]:
        """By name, configured ones and those of a table."""
        return self.neighbourhood.by_name

    @property
    def qoe(self) -> Qoe:
        """How the viewers here fare, and have fared."""
        return self._sampler.qoe

    def start(self, now_us: int, sockets: Ports = VIRTUAL) -> Ports:
        """Open everything and say the first HELLO. Raises EngineFullError if limits are too low."""
        config = self.config
        self.ports = open_ports(config, self.engine, sockets)
        self.edge = PlainRtpEdge(
            self.engine,
            self.ports.viewers,
            config.viewers.rate_bps,
            round(config.viewers.expiry_s * 1_000_000),
            self._rng,
            self._place_viewer,
            config.rate.viewers,
            frozenset(config.viewers.premium_streams),
        )
        self._sampler = QoeSampler(self.engine, self.edge)
        self.moves = ViewerMoves(
            self.engine,
            self.edge,
            self.subscriptions,
            self._carried,
            self._replicas,
            config.versions,
            paths_to=self._paths_to,
            report=self._on_move,
        )
        self._replicas.start(self.ports.overlays, config.worker_endpoints)
        self.neighbourhood.start(self.ports.overlays, now_us)
        made = self._carried.open(self.edge, config.broadcasts, self.ports.ingests)
        for name, tracks in made.items():
            self.subscriptions.add_local(name, tracks)
        self.handle_timer(now_us)
        return self.ports

    def stop(self) -> None:
        """Tell both sides that this node goes. The engine still has to send it."""
        self.subscriptions.stop()
        self._carry_out(0)

    def next_event(self) -> events.NodeEvent | None:
        """Take the oldest report."""
        return self._events.popleft() if self._events else None

    def next_timer_us(self) -> int | None:
        """When `handle_timer` is due."""
        parts = self.neighbourhood, self.subscriptions, self.edge, self.moves, self._sampler
        times = [*(part.next_timer_us() for part in parts), self._next_sample_us]
        return min((time_us for time_us in times if time_us is not None), default=None)

    def handle_timer(self, now_us: int) -> None:
        """HELLO again, ask again, expire."""
        self.neighbourhood.handle_timer(now_us)
        for neighbour in self.neighbours.values():
            due_us = neighbour.pairs.next_timer_us()
            if due_us is not None and now_us >= due_us:
                self._spread.sweep(neighbour, now_us)
        for viewer in self.edge.expired(now_us):
            self._remove_viewer(viewer, now_us, expired=True)
        self.subscriptions.handle_timer(now_us)
        self._carry_out(now_us)
        self._move_viewers(now_us)
        self._take_samples(now_us)
        self._sampler.handle_timer(now_us)

    def _move_viewers(self, now_us: int) -> None:
        try:
            self.moves.handle_timer(now_us)
        except EngineFullError as error:
            self._full(error)  # tried again with the next tick
        self._carry_out(now_us)

    def _take_samples(self, now_us: int) -> None:
        """Of broadcasts that could come another way, in case that is better."""
        watched = [b.name for b in self.subscriptions.broadcasts if b.standby is not None]
        if not watched:
            self._next_sample_us = None
        elif self._next_sample_us is None:
            self._next_sample_us = now_us + SAMPLE_US
        elif now_us >= self._next_sample_us:
            self._next_sample_us = now_us + SAMPLE_US
            for name in watched:
                if (sample := self._carried.sample(name)) is not None:
                    self.subscriptions.on_path_sample(name, sample, now_us)
            self._carry_out(now_us)

    # -- neighbours

    def set_neighbours(self, entries: Iterable[TableEntry], now_us: int) -> None:
        """Those of a table: all there are beside the configured ones, which win over entries of
        their names. A link whose neighbour is as before is not touched.

        Raises NeighboursRefusedError before anything has changed, and EngineFullError if the
        worker takes no commands; called again, it goes on where it stopped.
        """
        changes = self.neighbourhood.plan(entries)
        for neighbour, _ in changes.again:
            self._remove_neighbour(neighbour, now_us)
        for neighbour in changes.removed:
            self._remove_neighbour(neighbour, now_us)
            self._events.append(events.NeighbourRemoved(neighbour.name))
        for neighbour, peer in changes.kept:
            neighbour.become(peer)
        for peer in [*(peer for _, peer in changes.again), *changes.added]:
            self.neighbourhood.add(peer, now_us)
            self._events.append(events.NeighbourAdded(peer.name, format_address(peer.address)))
        self.neighbourhood.handle_timer(now_us)
        self._carry_out(now_us)

    def _remove_neighbour(self, neighbour: Neighbour, now_us: int) -> None:
        self.neighbourhood.remove(neighbour, now_us)
        self._carry_out(now_us)  # as long as there is a link to say it on
        self._lanes.forget_peer(neighbour.name)
        self.neighbourhood.unlink(neighbour)

    # -- viewers

    def add_viewer(
        self,
        stream: str,
        addresses: Mapping[str, Address],
        now_us: int,
        *,
        rtcp: RtcpMode = "next",
        expiry_us: int | None = -1,
        rtx_payload_type: int | None = None,
        extensions: Extensions = NO_EXTENSIONS,
        is_premium: bool = False,
    ) -> Viewer:
        """Ask for a stream on behalf of a viewer; ViewerStarted or ViewerTurnedAway follows.

        addresses: where "video" and "audio" go; either may be missing, and both for one who only
        wants the stream to be here, such as for its description. rtcp and rtx_payload_type: see
        edge/plain_rtp.
        expiry_us: how long it lives unrefreshed, None: until it is removed, -1: as configured.
        Raises Refused.
        """
        if not is_name(stream):
            text = "a stream's name has 1 to 64 letters, digits, dots, dashes or underscores"
            raise Refused(RefusalCode.BAD_REQUEST, text)
        version = ip_of(parse_address(self.config.viewers.listen)).version
        for media, address in addresses.items():
            if ip_of(address).version != version or address[1] == 0:
                text = f"{media}: this node sends to IPv{version} addresses with a port only"
                raise Refused(RefusalCode.BAD_REQUEST, text)
        if rtcp == "next":
            check_report_ports(addresses)
        if len(self.edge.viewers) >= self.config.limits.viewers:
            self._events.append(events.TableFull("viewers"))
            text = f"{self.config.name} serves {self.config.limits.viewers} viewers already"
            raise Refused(RefusalCode.FULL, text)
        viewer = self.edge.add(
            stream,
            addresses,
            now_us,
            rtcp=rtcp,
            expiry_us=expiry_us,
            rtx_payload_type=rtx_payload_type,
            extensions=extensions,
            is_premium=is_premium,
        )
        if addresses:  # else nobody watches
            self._sampler.on_joined(viewer)
        self.subscriptions.join_viewer(
            viewer.number, stream, self._paths_to(stream), now_us, is_premium=viewer.is_premium
        )
        self._carry_out(now_us)
        return viewer

    def _paths_to(self, stream: str, version_of: str | None = None) -> Paths:
        """As configured, or as the table says."""
        path = self.config.path_to(stream, version_of)
        return (path,) if path else self._pushed_paths.get(stream, ())

    def switch_viewer(self, viewer: Viewer, stream: str, now_us: int) -> None:
        """Have it go on with another broadcast where it cannot see that: ViewerSwitched or
        SwitchRefused follows. Raises Refused."""
        if not is_name(stream):
            text = "a stream's name has 1 to 64 letters, digits, dots, dashes or underscores"
            raise Refused(RefusalCode.BAD_REQUEST, text, "stream")
        check_switch(viewer)
        given_up = {viewer.next.broadcast} if viewer.next else set()
        self.moves.switch(viewer, stream, now_us)
        self._prune(given_up)
        self._carry_out(now_us)

    def find_viewer(self, viewer_id: str) -> Viewer | None:
        """By the id that the API gave."""
        try:
            return self.edge.find(int(viewer_id, 16))
        except ValueError:
            return None

    def refresh_viewer(self, viewer: Viewer, now_us: int) -> None:
        """It is still there."""
        self.edge.refresh(viewer, now_us)

    def remove_viewer(self, viewer: Viewer, now_us: int) -> None:
        """It left. One that is gone already is fine."""
        if self.edge.find(viewer.number) is viewer:
            self._remove_viewer(viewer, now_us, expired=False)
            self._carry_out(now_us)

    def state_of(self, stream: str) -> wanted.BroadcastState:
        """How viewers see a stream."""
        broadcast = self.subscriptions.find(stream)
        return broadcast.state if broadcast else wanted.BroadcastState.ENDED

    def path_of(self, stream: str) -> tuple[str, ...]:
        """The nodes a stream comes through, the producer first and this one last."""
        broadcast = self.subscriptions.find(stream)
        return (*(broadcast.ancestors if broadcast else ()), self.config.name)

    def tracks_of(self, stream: str) -> list[Track]:
        """What a broadcast that is here consists of; none if it is not here."""
        return [found.track for found in self.streams.of(stream)]

    def _remove_viewer(self, viewer: Viewer, now_us: int, *, expired: bool) -> None:
        self._sampler.on_leaving(viewer, now_us)
        left = {viewer.broadcast} | ({viewer.next.broadcast} if viewer.next else set())
        self.moves.on_removed(viewer, now_us)
        self.edge.remove(viewer)
        self._prune(left)
        self.subscriptions.leave_viewer(viewer.number, viewer.broadcast, now_us)
        self._events.append(events.ViewerLeft(viewer.id, viewer.broadcast, expired))

    def _on_move(self, event: events.NodeEvent) -> None:
        """A viewer goes on with something else, or does not after all."""
        self._events.append(event)
        match event:
            case events.ViewerSwitched(_, stream, before):
                self._prune({stream, before})
            case events.VersionChanged(_, stream) | events.SwitchRefused(_, stream):
                self._prune({stream})

    def _prune(self, left: set[str]) -> None:
        """Copies of broadcasts, and of their versions, that nobody is served from any more."""
        if len(self.engine) > 1:
            for stream in sorted(left):
                self._carried.prune_versions(stream)

    def _place_viewer(self, stream: str) -> int:
        """Where fewest of the stream's viewers are. When it has as many there as one worker should
        serve, the next ones find a copy in another."""
        if len(self.engine) == 1:
            return 0
        # Not where it is to live: one that starts here may be about to come from elsewhere.
        home = next((s.home for s in self.streams.of(stream)), self._placement.home(stream))
        copies = self._replicas.workers_of(stream)
        ready = [home, *(w for w in sorted(copies) if self._replicas.is_ready(stream, w))]
        chosen = min(ready, key=lambda worker: self.edge.served(stream, worker))
        is_full = self.edge.served(stream, chosen) + 1 >= self.config.viewers_per_worker
        used = {home, *copies}
        if is_full and len(ready) == len(used) < len(self.engine):
            try:
                self._replicas.add(stream, self._placement.least_loaded(used))
            except EngineFullError as error:
                self._full(error)  # more viewers each, then
        return chosen

    # -- paths from outside: nodes as SUBSCRIBE travels, a neighbour first, the producer last

    def on_paths(self, stream: str, paths: Paths, now_us: int) -> None:
        """The answer to PathsWanted, the best first; 1 to 4."""
        self.subscriptions.on_paths(stream, paths, now_us)
        self._carry_out(now_us)

    def on_no_path(self, stream: str, code: RefusalCode, text: str, now_us: int) -> None:
        """The other answer: who waits is refused, what flows stays."""
        self.subscriptions.on_no_path(stream, code, text, now_us)
        self._carry_out(now_us)

    def rehome(self, stream: str, paths: Paths, now_us: int) -> None:
        """Better ways to a broadcast that is here, best first: the old one is left once the new one
        delivers. Of one that starts here: its broadcaster has moved, and this node becomes a
        subscriber along the first that works; viewers and subscribers go on."""
        self.subscriptions.rehome(stream, paths, now_us)
        self._carry_out(now_us)

    def reclaim(self, stream: str, tracks: tuple[Track, ...], now_us: int) -> None:
        """The broadcaster of an ingest is here, as these streams (see `new_tracks`): after a
        rehome, or because the ids are others now. Raises KeyError if no ingest has that name."""
        self._carried.check_ingest(stream)
        self.subscriptions.reclaim(stream, tracks, now_us)
        self._carry_out(now_us)

    def new_tracks(self, stream: str) -> tuple[Track, ...]:
        """Fresh stream ids and first numbers for an ingest's tracks. Raises KeyError."""
        return self._carried.new_tracks(stream)

    def set_pushed_paths(self, paths: Mapping[str, Paths]) -> None:
        """Of the table: what may be wanted soon. Replaces those set before."""
        self._pushed_paths = dict(paths)

    # -- what the engine says

    def handle_engine_events(self, now_us: int) -> None:
        """Take everything from the engine's mailbox."""
        while batch := self.engine.events():
            for event in batch:
                self._on_engine_event(event, now_us)
                self._carry_out(now_us)
                self.neighbourhood.renew(self._lanes, now_us)

    def _on_engine_event(self, event: engine_events.Event, now_us: int) -> None:
        match event:
            case engine_events.ControlReceived(link, payload):
                self._on_control(link, payload, now_us)
            case engine_events.CursorStarted(cursor, first_stream_seq):
                if self._on_copy_started(cursor, first_stream_seq, now_us):
                    return
                if (owner := self._carried.cursors.owner(cursor)) is not None:
                    self.subscriptions.on_cursor_started(*owner, first_stream_seq)
            case engine_events.ViewerPaused(cursor):
                if (leg := self.edge.find_leg(cursor)) is not None:
                    viewer, media = leg
                    paused = events.ViewerPaused(viewer.id, viewer.broadcast, media)
                    self._events.append(paused)
            case engine_events.ViewerLags() | engine_events.ViewerSwitched():
                try:
                    self.moves.on_engine_event(event, now_us)
                except EngineFullError as error:
                    self._full(error)
            case engine_events.Fallback(name, errno):
                self._events.append(events.FeatureRefused(name, errno))
            case engine_events.OverloadBegan(age_us):
                self._events.append(events.OverloadBegan(age_us))
            case engine_events.OverloadEnded(lasted_us, highest_step, shed):
                self._events.append(events.OverloadEnded(lasted_us, highest_step, shed))
            case (
                engine_events.StreamStarted()
                | engine_events.UpstreamFlows()
                | engine_events.KeyFrameWanted()
                | engine_events.IngestSource()
            ):
                self._on_stream_event(event, now_us)
            case _:
                if (told := self.neighbourhood.on_engine_event(event, now_us)) is not None:
                    self._events.append(told)

    def _on_stream_event(
        self,
        event: engine_events.StreamStarted
        | engine_events.KeyFrameWanted
        | engine_events.IngestSource
        | engine_events.UpstreamFlows,
        now_us: int,
    ) -> None:
        stream = self.streams.by_handle(event.stream)
        if stream is None:
            return
        name, media = stream.broadcast, stream.track.media
        match event:
            case engine_events.StreamStarted():
                stream.is_started = True
                self._events.append(events.TrackStarted(name, media))
                self.subscriptions.on_upstream_flows(name, None, now_us)
            case engine_events.UpstreamFlows(_, gap_us):
                self.subscriptions.on_upstream_flows(name, gap_us, now_us)
            case engine_events.KeyFrameWanted():
                self.counters["key_frames_missing"] += 1
                self._events.append(events.KeyFrameMissing(name, media))
            case engine_events.IngestSource(_, ssrc, restarted):
                self._events.append(events.EncoderSeen(name, media, ssrc, restarted))

    def _on_control(self, link: int, payload: bytes, now_us: int) -> None:
        neighbour = self.neighbourhood.of_link(link)
        if neighbour is None:
            return
        try:
            message = decode(payload)
        except MessageError:
            self.counters["control_malformed"] += 1
            return
        self.counters[f"received_{type(message).__name__.lower()}"] += 1
        if isinstance(message, WorkerPorts):
            self._spread.on_worker_ports(neighbour, message, now_us)
            return
        self.subscriptions.on_rtt(neighbour.name, self.engine.link_stats(link).rtt_us)
        self.subscriptions.on_message(neighbour.name, message, now_us)
        if isinstance(message, Subscribe | Ok):
            try:
                self._spread.follow(neighbour.name, message, now_us)
            except EngineFullError as error:
                self._full(error)  # said again with the next refresh

    def _on_copy_started(self, cursor: int, first_stream_seq: int, now_us: int) -> bool:
        """False if the cursor is for another purpose than a copy."""
        stream_id = self._carried.copied_by(cursor)
        if stream_id is None:
            return False
        waiting = self._carried.take_waiting(stream_id)
        stream = self.streams.by_id(stream_id)
        try:
            self._carried.on_copy_started(cursor, first_stream_seq)
        except EngineFullError as error:
            text = self._full(error)
            for peer in waiting or ():
                self.subscriptions.on_cursor_refused(peer, stream_id, text, now_us)
            waiting = {}
        for peer, start_seq in (waiting or {}).items():
            self._add_cursor(wanted.AddCursor(peer, stream_id, start_seq), now_us)
        if stream is not None and (
            waiting is not None or self._carried.has_parts(stream.broadcast)
        ):
            self._carried.prune(stream.broadcast)
        return True

    # -- what the subscriptions want

    def _carry_out(self, now_us: int) -> None:
        while (event := self.subscriptions.next_event()) is not None:
            match event:
                case wanted.Send(peer, message):
                    self._send(peer, message, now_us)
                case wanted.TracksChanged():
                    self.moves.on_streams(event.broadcast)
                    self._change_tracks(event)
                case wanted.UpstreamChanged(broadcast, peer, second):
                    self._carried.set_upstream(broadcast, peer, second)
                case wanted.PathsWanted(broadcast):
                    self._events.append(events.PathsWanted(broadcast))
                case wanted.Switched(broadcast, reason, before, after, gap_us):
                    switched = events.UpstreamSwitched(broadcast, reason, before, after, gap_us)
                    self._events.append(switched)
                case wanted.BroadcastRemoved(broadcast):
                    self.moves.on_streams(broadcast)
                    self._carried.remove(broadcast)
                    self._placement.forget(broadcast)
                    self._lanes.forget(broadcast)
                    self._events.append(events.BroadcastChanged(broadcast, "removed"))
                case wanted.AddCursor():
                    self._add_cursor(event, now_us)
                case wanted.MarkCopy(peer, stream_id, is_copy):
                    self._carried.cursors.mark_copy(peer, stream_id, is_copy=is_copy)
                case wanted.CopiesChanged(broadcast, ancestors, is_disjoint):
                    path = (*ancestors, self.config.name) if ancestors else ()
                    self._events.append(events.CopiesChanged(broadcast, path, is_disjoint))
                case wanted.RemoveCursor(peer, stream_id):
                    self._carried.remove_cursor(peer, stream_id)
                case wanted.ViewerReady(number, broadcast):
                    self._on_viewer_ready(number, broadcast, now_us)
                case wanted.ViewerRefused(number, code, text, broadcast):
                    if not self.moves.on_refused(number, broadcast, code, text, now_us):
                        self._turn_away(number, code, text, now_us)
                case wanted.StateChanged(broadcast, state):
                    self._events.append(events.BroadcastChanged(broadcast, state.value))

    def _send(self, peer: str, message: Message, now_us: int) -> None:
        if (neighbour := self.neighbours.get(peer)) is None:
            self.counters["control_to_nobody"] += 1  # it has been removed meanwhile
            return
        if isinstance(message, Subscribe) and message.start == "seq" and not message.starts:
            starts = self._carried.lacking(message.broadcast)
            start: Literal["live", "seq"] = "seq" if starts else "live"
            message = msgspec.structs.replace(message, start=start, starts=starts)
        if isinstance(message, Subscribe) and neighbour.is_settling:
            self.counters["control_held"] += 1  # it is asked once its workers are known
            return
        try:
            message = self._spread.name_workers(neighbour, message, now_us)
        except EngineFullError as error:
            self._full(error)
            return
        try:
            payload = encode(message)
        except MessageError:
            self.counters["control_too_large"] += 1
            return
        # Viewers may see nothing until this arrives, and it is small: one loss must not cost a
        # retry, or a refresh where nobody asks, as for the OK that tells of other streams.
        is_urgent = isinstance(message, Ok | UpstreamLost | End) or (
            isinstance(message, Subscribe) and message.start == "seq"
        )
        for _ in range(2 if is_urgent else 1):
            self.counters[f"sent_{type(message).__name__.lower()}"] += 1
            self.engine.send_control(neighbour.link, payload)

    def _change_tracks(self, change: wanted.TracksChanged) -> None:
        try:
            self._carried.change(change.broadcast, change.peer, change.tracks)
        except EngineFullError as error:
            self.subscriptions.on_streams_refused(change.broadcast, self._full(error))

    def _add_cursor(self, cursor: wanted.AddCursor, now_us: int) -> None:
        peer, stream_id = cursor.peer, cursor.stream_id
        try:
            self._carried.add_cursor(peer, stream_id, cursor.start_seq, now_us)
        except EngineFullError as error:
            self.subscriptions.on_cursor_refused(peer, stream_id, self._full(error), now_us)

    def _on_viewer_ready(self, number: int, broadcast: str, now_us: int) -> None:
        try:
            is_move = self.moves.on_ready(number, broadcast, now_us)
        except EngineFullError as error:
            self._full(error)  # tried again with the next tick
            return
        if not is_move:
            self._start_viewer(number, now_us)

    def _start_viewer(self, number: int, now_us: int) -> None:
        viewer = self.edge.find(number)
        if viewer is None or self.subscriptions.find(viewer.broadcast) is None:
            return  # it left, or its refusal follows
        try:
            self.edge.start(viewer, self.streams.of(viewer.broadcast))
        except EngineFullError as error:
            self.subscriptions.leave_viewer(number, viewer.broadcast, now_us)
            self._turn_away(number, RefusalCode.FULL, self._full(error), now_us)
            return
        if viewer.legs or not viewer.addresses:
            self._events.append(events.ViewerStarted(viewer.id, viewer.broadcast))
        else:
            text = f"{viewer.broadcast} has no {' or '.join(viewer.addresses)}"
            self.subscriptions.leave_viewer(number, viewer.broadcast, now_us)
            self._turn_away(number, RefusalCode.BAD_REQUEST, text, now_us)

    def _turn_away(self, number: int, code: RefusalCode, text: str, now_us: int) -> None:
        viewer = self.edge.find(number)
        if viewer is not None:
            self._sampler.on_leaving(viewer, now_us)
            self.moves.on_removed(viewer, now_us)
            self.edge.remove(viewer)
            self._events.append(events.ViewerTurnedAway(viewer.id, code, text))

    def _full(self, error: EngineFullError) -> str:
        self._events.append(events.TableFull(error.table))
        return f"{self.config.name}: no more {error.table}, the limit is {error.limit}"
