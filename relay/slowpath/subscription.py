"""Who gets what from whom: both sides of the subscription protocol between nodes.

A viewer's wish or a neighbour's SUBSCRIBE is served from a broadcast that is here (the cache hit),
waits for one that is under way, or sends SUBSCRIBE on along the path it brought. The last one to
leave ends that after a linger. The table decides; its events are carried out by `relay.node`.
Source: LiveNet (SIGCOMM 2022) 4.4 and 5.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from random import Random

from relay.errors import RefusalCode
from relay.messages import (
    MAX_ANCESTORS,
    End,
    Error,
    Message,
    Ok,
    Subscribe,
    Track,
    Unsubscribe,
    UpstreamLost,
)
from relay.slowpath.broadcast import Broadcast, NodeSubscriber, path_fault
from relay.slowpath.subscription_events import (
    AddCursor,
    BroadcastRemoved,
    BroadcastState,
    RemoveCursor,
    Send,
    StateChanged,
    SubscriptionEvent,
    TracksChanged,
    ViewerReady,
    ViewerRefused,
)
from relay.slowpath.upstream import EXPIRY_US, AskOutcome, Route, UpstreamSubscription


class SubscriptionTable:
    """All broadcasts of a node. neighbours: names it has links with."""

    def __init__(self, own_name: str, neighbours: Collection[str], rng: Random) -> None:
        self._own_name = own_name
        self._neighbours = set(neighbours)
        self._transaction = rng.getrandbits(32)
        self._broadcasts: dict[str, Broadcast] = {}
        self._by_stream_id: dict[int, Broadcast] = {}
        self._rtt_us: dict[str, int] = {}
        self._events: deque[SubscriptionEvent] = deque()
        self.rejected = 0

    @property
    def broadcasts(self) -> Collection[Broadcast]:
        """To read, not to change."""
        return self._broadcasts.values()

    def find(self, name: str) -> Broadcast | None:
        """To read, not to change."""
        return self._broadcasts.get(name)

    def next_event(self) -> SubscriptionEvent | None:
        """Take the oldest output."""
        return self._events.popleft() if self._events else None

    def next_timer_us(self) -> int | None:
        """When `handle_timer` is due."""
        times = (broadcast.next_timer_us() for broadcast in self._broadcasts.values())
        return min((time_us for time_us in times if time_us is not None), default=None)

    def handle_timer(self, now_us: int) -> None:
        """Ask, ask again, expire, let go."""
        for broadcast in tuple(self._broadcasts.values()):
            self._handle_timer_of(broadcast, now_us)

    # -- what this node has and what its viewers want

    def add_local(self, name: str, tracks: tuple[Track, ...]) -> None:
        """A broadcast that starts here."""
        broadcast = self._broadcasts[name] = Broadcast(name, local_tracks=tracks)
        self._by_stream_id.update((track.stream_id, broadcast) for track in tracks)

    def join_viewer(
        self, viewer: int, name: str, path: tuple[str, ...] | None, now_us: int
    ) -> None:
        """Answered by ViewerReady or ViewerRefused. path: to the producer, if one is known."""
        broadcast = self._broadcasts.get(name)
        if broadcast is None:
            if not path:
                text = f"no path leads to a stream called {name}"
                self._emit(ViewerRefused(viewer, RefusalCode.NO_PATH, text))
                return
            broadcast = self._subscribe(name, Route(path[0], path[1:], (self._own_name,)), now_us)
        broadcast.viewers[viewer] = False
        broadcast.update_linger(now_us)
        self._serve_or_ask(broadcast, now_us)

    def leave_viewer(self, viewer: int, name: str, now_us: int) -> None:
        """A viewer went away; unknown ones are none."""
        broadcast = self._broadcasts.get(name)
        if broadcast is not None and broadcast.viewers.pop(viewer, None) is not None:
            broadcast.update_linger(now_us)

    # -- what the engine and the links say

    def add_neighbour(self, name: str) -> None:
        """There is a link with it now."""
        self._neighbours.add(name)

    def remove_neighbour(self, name: str, now_us: int) -> None:
        """The link is about to go: nothing is sent to it any more, what came from it is lost."""
        self._neighbours.discard(name)
        for broadcast in tuple(self._broadcasts.values()):
            if name in broadcast.nodes:
                self._remove_node(broadcast, name)
                broadcast.update_linger(now_us)
        self.on_link_down(name, now_us)

    def on_cursor_started(self, peer: str, stream_id: int, first_stream_seq: int) -> None:
        """Where a neighbour's cursor began; only the first word on it counts."""
        broadcast = self._by_stream_id.get(stream_id)
        node = broadcast.nodes.get(peer) if broadcast else None
        if broadcast is None or node is None or node.starts.get(stream_id, 0) is not None:
            return
        node.starts[stream_id] = first_stream_seq
        if node.is_ready:
            self._emit(Send(peer, broadcast.ok_for(node, self._own_name)))

    def on_cursor_refused(self, peer: str, stream_id: int, text: str, now_us: int) -> None:
        """No room for a neighbour's cursor."""
        broadcast = self._by_stream_id.get(stream_id)
        if broadcast is not None and peer in broadcast.nodes:
            self._refuse_node(broadcast, peer, RefusalCode.FULL, text)
            broadcast.update_linger(now_us)

    def on_streams_refused(self, name: str, text: str) -> None:
        """No room for a broadcast's streams."""
        broadcast = self._broadcasts.get(name)
        if broadcast is not None:
            self._unsubscribe(broadcast)
            self._drop(broadcast, RefusalCode.FULL, text)

    def on_rtt(self, peer: str, rtt_us: int) -> None:
        """A link's measured round trip; 0 = not known."""
        self._rtt_us[peer] = rtt_us
        for broadcast in self._from(peer):
            assert broadcast.upstream is not None
            broadcast.upstream.on_rtt(rtt_us)

    def on_link_up(self, peer: str, now_us: int) -> None:
        """Ask again at once for what was lost or never answered."""
        for broadcast in self._from(peer):
            if broadcast.upstream and broadcast.state is not BroadcastState.LIVE:
                broadcast.upstream.ask_soon(now_us)
                self._handle_timer_of(broadcast, now_us)

    def on_link_down(self, peer: str, now_us: int) -> None:
        """What came from there is lost; its own subscriptions expire by themselves."""
        for broadcast in self._from(peer):
            self._lose(broadcast, now_us)

    def on_peer_restarted(self, peer: str, now_us: int) -> None:
        """It has forgotten everything: its cursors go, and what it sent is asked for at once."""
        for broadcast in tuple(self._broadcasts.values()):
            if peer in broadcast.nodes:
                self._remove_node(broadcast, peer)
                broadcast.update_linger(now_us)
        for broadcast in self._from(peer):
            if broadcast.state is BroadcastState.LIVE:
                self._lose(broadcast, now_us)
            elif broadcast.upstream is not None:
                broadcast.upstream.ask_soon(now_us)
                self._handle_timer_of(broadcast, now_us)

    def on_message(self, peer: str, message: Message, now_us: int) -> None:
        """Any message of a neighbour; what does not fit its state is counted and dropped."""
        match message:
            case Subscribe():
                self._on_subscribe(peer, message, now_us)
            case Ok():
                self._on_ok(peer, message, now_us)
            case Error():
                self._on_error(peer, message, now_us)
            case Unsubscribe():
                self._on_unsubscribe(peer, message, now_us)
            case UpstreamLost():
                for broadcast in self._named(peer, message.stream_ids):
                    self._lose(broadcast, now_us)
            case End():
                for broadcast in self._named(peer, message.stream_ids):
                    self._end(broadcast, now_us)

    def stop(self) -> None:
        """This node goes down: tell both sides."""
        for broadcast in self._broadcasts.values():
            self._unsubscribe(broadcast)
            over = End if broadcast.upstream is None else UpstreamLost
            self._tell_nodes(broadcast, over)

    # -- the subscribed side

    def _on_subscribe(self, peer: str, message: Subscribe, now_us: int) -> None:
        broadcast = self._broadcasts.get(message.broadcast)
        node = broadcast.nodes.get(peer) if broadcast else None
        if broadcast is not None and node is not None:
            if node.transaction == message.transaction:
                self._refresh_node(broadcast, node, now_us)
                return
            self._remove_node(broadcast, peer)  # it has begun anew: a new cursor, at a key frame
            broadcast.update_linger(now_us)
        refusal = self._refusal(peer, message, broadcast)
        if refusal is not None:
            self._emit(Send(peer, _error(message, *refusal)))
            return
        if broadcast is None:
            visited = (*message.visited, self._own_name)
            route = Route(message.path[0], message.path[1:], visited)
            broadcast = self._subscribe(message.broadcast, route, now_us)
        broadcast.nodes[peer] = NodeSubscriber(peer, message.transaction, now_us + EXPIRY_US)
        broadcast.update_linger(now_us)
        self._serve_or_ask(broadcast, now_us)

    def _refusal(
        self, peer: str, message: Subscribe, broadcast: Broadcast | None
    ) -> tuple[RefusalCode, str] | None:
        if message.start == "seq" or message.mode != "active":
            return RefusalCode.UNSUPPORTED, f"start {message.start}, mode {message.mode}"
        fault = path_fault(message, peer, self._own_name)
        if fault is None and broadcast is not None:
            fault = broadcast.loop_with(peer, message.visited)
        if fault is not None:
            return RefusalCode.LOOP, fault
        if broadcast is not None:
            return None
        if not message.path:
            text = f"{self._own_name} has no stream called {message.broadcast}"
            return RefusalCode.NO_SUCH_STREAM, text
        if message.path[0] not in self._neighbours:
            text = f"{message.path[0]} is not a neighbour of {self._own_name}"
            return RefusalCode.NO_PATH, text
        return None

    def _refresh_node(self, broadcast: Broadcast, node: NodeSubscriber, now_us: int) -> None:
        node.refresh(now_us)
        if broadcast.state is BroadcastState.ENDED:
            error = Error(node.transaction, broadcast.name, RefusalCode.NO_SUCH_STREAM, "it ended")
            self._emit(Send(node.peer, error))
        elif node.is_ready:
            self._emit(Send(node.peer, broadcast.ok_for(node, self._own_name)))

    def _on_unsubscribe(self, peer: str, message: Unsubscribe, now_us: int) -> None:
        broadcast = self._broadcasts.get(message.broadcast)
        node = broadcast.nodes.get(peer) if broadcast else None
        if broadcast is None or node is None or node.transaction != message.transaction:
            self.rejected += 1
            return
        self._remove_node(broadcast, peer)
        broadcast.update_linger(now_us)

    def _serve_or_ask(self, broadcast: Broadcast, now_us: int) -> None:
        """Serve those who wait, or hurry what they wait for."""
        if not broadcast.is_here:
            if broadcast.upstream and broadcast.state is BroadcastState.ENDED:
                broadcast.upstream.ask_soon(now_us)
            self._handle_timer_of(broadcast, now_us)
            return
        for viewer, is_told in broadcast.viewers.items():
            if not is_told:
                self._emit(ViewerReady(viewer, broadcast.name))
                broadcast.viewers[viewer] = True
        if len(broadcast.ancestors) >= MAX_ANCESTORS:
            text = f"{broadcast.name} has come through {MAX_ANCESTORS} nodes before"
            self._refuse_waiting_nodes(broadcast, RefusalCode.NO_PATH, text)
            broadcast.update_linger(now_us)
        for node in broadcast.nodes.values():
            if not node.starts:
                node.starts = {track.stream_id: None for track in broadcast.tracks}
                for stream_id in node.starts:
                    self._emit(AddCursor(node.peer, stream_id))

    def _remove_node(self, broadcast: Broadcast, peer: str) -> None:
        for stream_id in broadcast.nodes.pop(peer).starts:
            self._emit(RemoveCursor(peer, stream_id))

    def _refuse_node(self, broadcast: Broadcast, peer: str, code: RefusalCode, text: str) -> None:
        transaction = broadcast.nodes[peer].transaction
        self._remove_node(broadcast, peer)
        self._emit(Send(peer, Error(transaction, broadcast.name, code, text[:200])))

    # -- the subscribing side

    def _subscribe(self, name: str, route: Route, now_us: int) -> Broadcast:
        self._transaction = (self._transaction + 1) & 0xFFFFFFFF
        rtt_us = self._rtt_us.get(route.peer, 0)
        upstream = UpstreamSubscription(name, route, self._transaction, rtt_us, now_us)
        broadcast = self._broadcasts[name] = Broadcast(name, upstream=upstream)
        return broadcast

    def _on_ok(self, peer: str, ok: Ok, now_us: int) -> None:
        broadcast = self._broadcasts.get(ok.broadcast)
        upstream = broadcast.upstream if broadcast else None
        if broadcast is None or upstream is None or upstream.route.peer != peer:
            self.rejected += 1
            self._emit(Send(peer, Unsubscribe(ok.transaction, ok.broadcast)))
            return
        owners = {self._by_stream_id.get(track.stream_id, broadcast) for track in ok.tracks}
        if upstream.transaction != ok.transaction or owners != {broadcast}:
            self.rejected += 1
            return
        if self._own_name in ok.ancestors:
            self._unsubscribe(broadcast)
            self._drop(broadcast, RefusalCode.LOOP, "it comes from this node: " + peer)
            return
        before, was = upstream.tracks, upstream.state
        upstream.on_answer(ok.tracks, ok.ancestors, ok.state == "live", now_us)
        if {track.stream_id for track in before} != {track.stream_id for track in ok.tracks}:
            self._change_tracks(broadcast, peer, before)
        if upstream.state is not was:
            self._emit(StateChanged(broadcast.name, upstream.state))
            for node in broadcast.nodes.values():
                if node.is_ready:
                    self._emit(Send(node.peer, broadcast.ok_for(node, self._own_name)))
        self._serve_or_ask(broadcast, now_us)

    def _change_tracks(self, broadcast: Broadcast, peer: str, before: Iterable[Track]) -> None:
        """Other streams now carry it: neighbours get new cursors, and then a new OK."""
        for track in before:
            self._by_stream_id.pop(track.stream_id, None)
        self._by_stream_id.update((track.stream_id, broadcast) for track in broadcast.tracks)
        for node in broadcast.nodes.values():
            node.starts = {}
        self._emit(TracksChanged(broadcast.name, peer, broadcast.tracks))

    def _on_error(self, peer: str, error: Error, now_us: int) -> None:
        broadcast = self._broadcasts.get(error.broadcast)
        upstream = broadcast.upstream if broadcast else None
        if (
            broadcast is None
            or upstream is None
            or (upstream.route.peer, upstream.transaction) != (peer, error.transaction)
        ):
            self.rejected += 1
        elif not upstream.is_served:
            self._drop(broadcast, error.code, error.text)
        elif error.code is RefusalCode.NO_SUCH_STREAM:
            self._end(broadcast, now_us)
        elif upstream.state is not BroadcastState.LOST:
            upstream.on_refused()
            self._emit(StateChanged(broadcast.name, upstream.state))
            self._tell_nodes(broadcast, UpstreamLost)

    def _lose(self, broadcast: Broadcast, now_us: int) -> None:
        if broadcast.upstream is not None and broadcast.state is BroadcastState.LIVE:
            broadcast.upstream.on_lost(now_us)
            self._emit(StateChanged(broadcast.name, BroadcastState.LOST))
            self._tell_nodes(broadcast, UpstreamLost)
            self._handle_timer_of(broadcast, now_us)

    def _end(self, broadcast: Broadcast, now_us: int) -> None:
        """It is over: those it was promised to are told, those who waited are refused."""
        assert broadcast.upstream is not None
        was = broadcast.state
        broadcast.upstream.on_ended(now_us)
        if was is not BroadcastState.ENDED:
            self._emit(StateChanged(broadcast.name, BroadcastState.ENDED))
            self._tell_nodes(broadcast, End)
        text = f"{broadcast.name} has ended"
        self._refuse_waiting(broadcast, RefusalCode.NO_SUCH_STREAM, text)
        broadcast.update_linger(now_us)

    def _handle_timer_of(self, broadcast: Broadcast, now_us: int) -> None:
        for node in tuple(broadcast.nodes.values()):
            if now_us >= node.expires_us:
                self._remove_node(broadcast, node.peer)
                broadcast.update_linger(now_us)
        upstream = broadcast.upstream
        if upstream is None:
            return
        if broadcast.linger_until_us is not None and now_us >= broadcast.linger_until_us:
            self._unsubscribe(broadcast)
            self._drop(broadcast, RefusalCode.TIME_OUT, "")
            return
        while (outcome := upstream.handle_timer(now_us)) is not AskOutcome.NOTHING:
            if outcome is AskOutcome.ASK:
                self._emit(Send(upstream.route.peer, upstream.message()))
            elif outcome is AskOutcome.LOSE:
                self._lose(broadcast, now_us)
            else:
                self._unsubscribe(broadcast)
                text = f"{upstream.route.peer} did not answer"
                self._drop(broadcast, RefusalCode.TIME_OUT, text)
                return

    def _unsubscribe(self, broadcast: Broadcast) -> None:
        upstream = broadcast.upstream
        if upstream is not None and upstream.asked:
            message = Unsubscribe(upstream.transaction, broadcast.name)
            self._emit(Send(upstream.route.peer, message))

    def _drop(self, broadcast: Broadcast, code: RefusalCode, text: str) -> None:
        """Forget it, and refuse whoever still wants it."""
        for peer in tuple(broadcast.nodes):
            self._refuse_node(broadcast, peer, code, text)
        for viewer in broadcast.viewers:
            self._emit(ViewerRefused(viewer, code, text))
        for track in broadcast.tracks:
            self._by_stream_id.pop(track.stream_id, None)
        del self._broadcasts[broadcast.name]
        self._emit(BroadcastRemoved(broadcast.name))

    def _refuse_waiting(self, broadcast: Broadcast, code: RefusalCode, text: str) -> None:
        self._refuse_waiting_nodes(broadcast, code, text)
        for viewer in [viewer for viewer, is_told in broadcast.viewers.items() if not is_told]:
            del broadcast.viewers[viewer]
            self._emit(ViewerRefused(viewer, code, text))

    def _refuse_waiting_nodes(self, broadcast: Broadcast, code: RefusalCode, text: str) -> None:
        for peer in [node.peer for node in broadcast.nodes.values() if not node.starts]:
            self._refuse_node(broadcast, peer, code, text)

    def _tell_nodes(self, broadcast: Broadcast, message: type[End] | type[UpstreamLost]) -> None:
        stream_ids = tuple(track.stream_id for track in broadcast.tracks)
        for node in broadcast.nodes.values():
            if node.starts:
                self._emit(Send(node.peer, message(stream_ids)))

    def _from(self, peer: str) -> list[Broadcast]:
        return [
            b for b in self._broadcasts.values() if b.upstream and b.upstream.route.peer == peer
        ]

    def _named(self, peer: str, stream_ids: Iterable[int]) -> list[Broadcast]:
        found = {id(b): b for i in stream_ids if (b := self._by_stream_id.get(i)) is not None}
        return [b for b in found.values() if b.upstream and b.upstream.route.peer == peer]

    def _emit(self, event: SubscriptionEvent) -> None:
        self._events.append(event)


def _error(message: Subscribe, code: RefusalCode, text: str) -> Error:
    return Error(message.transaction, message.broadcast, code, text[:200])
