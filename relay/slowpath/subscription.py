"""Who gets what from whom: both sides of the subscription protocol between nodes.

A viewer's wish or a neighbour's SUBSCRIBE is served from a broadcast that is here (the cache hit),
waits for one that is under way, or sends SUBSCRIBE on along the path it brought. The last one to
leave ends that after a linger. The table decides; its events are carried out by `relay.node`.
Downstream is in `downstream`, upstream in `ways` and `sources`. Source: LiveNet (SIGCOMM 2022) 4.4
and 5.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from random import Random

from relay.errors import RefusalCode
from relay.messages import End, Error, Message, Ok, Subscribe, Track, Unsubscribe, UpstreamLost
from relay.slowpath.broadcast import Broadcast, NodeSubscriber, path_fault
from relay.slowpath.routes import Paths
from relay.slowpath.sources import Sources
from relay.slowpath.subscription_events import (
    BroadcastState,
    MarkCopy,
    Send,
    SubscriptionEvent,
    ViewerRefused,
)
from relay.slowpath.upstream import EXPIRY_US, UpstreamSubscription
from rtp.sequence import is_newer

# chosen: of those that are due; some milliseconds of an event loop, which then goes on
MOST_AT_ONCE = 32
TRANSACTION_BITS = 32  # each node counts its own up, for all its broadcasts


class SubscriptionTable(Sources):
    """All broadcasts of a node. neighbours: names it has links with."""

    def __init__(self, own_name: str, neighbours: Collection[str], rng: Random) -> None:
        super().__init__(own_name, neighbours, rng)
        self._chores: deque[tuple[str, Callable[[Broadcast, str, int], None], str]] = deque()

    @property
    def broadcasts(self) -> Collection[Broadcast]:
        """To read, not to change."""
        return self._broadcasts.seen()

    def find(self, name: str) -> Broadcast | None:
        """To read, not to change."""
        return self._broadcasts.look_at(name)

    def next_event(self) -> SubscriptionEvent | None:
        """Take the oldest output."""
        return self._events.popleft() if self._events else None

    def next_timer_us(self) -> int | None:
        """When `handle_timer` is due; 0: at once."""
        return 0 if self._chores else self._due.next_us()

    def handle_timer(self, now_us: int) -> None:
        """Ask, ask again, expire, let go: of some broadcasts. Others may be due still."""
        if self._chores:
            self._do_chores(MOST_AT_ONCE, now_us)
            return
        for broadcast in self._due.take(now_us, MOST_AT_ONCE):
            if self._broadcasts.look_at(broadcast.name) is broadcast:
                self._handle_timer_of(broadcast, now_us)

    # -- what this node has and what its viewers want

    def add_local(self, name: str, tracks: tuple[Track, ...]) -> None:
        """A broadcast that starts here."""
        broadcast = self._broadcasts[name] = Broadcast(name, tracks, is_local=True)
        self._index(broadcast)

    def join_viewer(
        self, viewer: int, name: str, paths: Paths, now_us: int, *, is_premium: bool = False
    ) -> None:
        """Answered by ViewerReady or ViewerRefused. paths: to the producer, as far as known.
        is_premium: it is to get what one way loses from another, if there are two."""
        broadcast = self._broadcasts.get(name)
        if broadcast is None:
            if not paths and not self.asks_for_paths:
                text = f"no path leads to a stream called {name}"
                self._emit(ViewerRefused(viewer, RefusalCode.NO_PATH, text, name))
                return
            broadcast = self._broadcasts[name] = Broadcast(name, paths=paths)
            if not self._try_path(broadcast, now_us):
                if not self.asks_for_paths:
                    del self._broadcasts[name]
                    text = f"{paths[0][0]} is not a neighbour of {self._own_name}"
                    self._emit(ViewerRefused(viewer, RefusalCode.NO_PATH, text, name))
                    return
                broadcast.wish.want(now_us, is_urgent=True)
        broadcast.viewers[viewer] = False
        if is_premium:
            broadcast.premium.add(viewer)
        broadcast.update_linger(now_us)
        if broadcast.is_paused:
            self._take_paths(broadcast, paths or broadcast.paths)
            self._activate(broadcast, {}, goes_on=False, now_us=now_us)
        self._serve_or_ask(broadcast, now_us)
        self._keep_standby(broadcast, now_us)

    def leave_viewer(self, viewer: int, name: str, now_us: int) -> None:
        """A viewer went away; unknown ones are none."""
        broadcast = self._broadcasts.get(name)
        if broadcast is not None and broadcast.viewers.pop(viewer, None) is not None:
            broadcast.premium.discard(viewer)
            broadcast.update_linger(now_us)
            if not broadcast.viewers:
                self._drop_standby(broadcast)
            elif not broadcast.premium and broadcast.copies is not None:
                self._end_copies(broadcast, now_us)

    # -- what the engine and the links say

    def on_cursor_started(self, peer: str, stream_id: int, first_stream_seq: int) -> None:
        """Where a neighbour's cursor began; only the first word on it counts."""
        broadcast = self._of_stream(stream_id)
        node = broadcast.nodes.get(peer) if broadcast else None
        if broadcast is None or node is None or node.starts.get(stream_id, 0) is not None:
            return
        node.starts[stream_id] = first_stream_seq
        if node.is_ready and broadcast.is_settled:
            self._answer(broadcast, node)

    def on_cursor_refused(self, peer: str, stream_id: int, text: str, now_us: int) -> None:
        """No room for a neighbour's cursor."""
        broadcast = self._of_stream(stream_id)
        if broadcast is not None and peer in broadcast.nodes:
            self._refuse_node(broadcast, peer, RefusalCode.FULL, text)
            broadcast.update_linger(now_us)

    def on_streams_refused(self, name: str, text: str) -> None:
        """No room for a broadcast's streams."""
        broadcast = self._broadcasts.get(name)
        if broadcast is not None:
            for way in broadcast.subscriptions:
                self._leave(way)
            self._drop(broadcast, RefusalCode.FULL, text)

    def on_rtt(self, peer: str, rtt_us: int) -> None:
        """A link's measured round trip; 0 = not known."""
        self._rtts[peer].us = rtt_us

    def on_link_up(self, peer: str, now_us: int) -> None:
        """Ask again at once for what was lost or never answered, there or over it."""
        self._down.discard(peer)
        for key in [key for key in self._untold if key[0] == peer]:
            self._emit(Send(peer, self._untold.pop(key)))
        self._chores.extend((b.name, self._look_again, peer) for b in self._broadcasts.seen())
        self._do_chores(MOST_AT_ONCE, now_us)

    def _look_again(self, broadcast: Broadcast, peer: str, now_us: int) -> None:
        broadcast.avoided.discard(peer)
        broadcast.tried = {path for path in broadcast.tried if path[0] != peer}
        way = broadcast.on_way(peer)
        if way is not None and way.state is not BroadcastState.LIVE:
            way.ask_soon(now_us)
            self._poll(broadcast, way, now_us)
        elif way is None and broadcast.is_stuck:
            self._switch(broadcast, "lost", now_us)
        else:
            self._keep_standby(broadcast, now_us)

    def on_link_down(self, peer: str, now_us: int) -> None:
        """What came from there is lost; its own subscriptions expire by themselves."""
        self._down.add(peer)
        over = (b.name for b in self._broadcasts.seen() if b.on_way(peer) is not None)
        self._chores.extend((name, self._lose_way, peer) for name in over)
        self._do_chores(MOST_AT_ONCE, now_us)

    def _lose_way(self, broadcast: Broadcast, peer: str, now_us: int) -> None:
        if (way := broadcast.on_way(peer)) is not None:
            self._lose(broadcast, way, "link_down", now_us)

    def _do_chores(self, most: int, now_us: int) -> None:
        """The next ones of what a link's news mean to each broadcast, in the order of the news."""
        for _ in range(min(most, len(self._chores))):
            name, act, peer = self._chores.popleft()
            if (broadcast := self._broadcasts.get(name)) is not None:
                act(broadcast, peer, now_us)

    def on_way_down(self, peer: str, names: Iterable[str], now_us: int) -> None:
        """These broadcasts no longer come from there, though the neighbour is up."""
        for broadcast, way in self._over(peer):
            if broadcast.name in names:
                self._lose(broadcast, way, "link_down", now_us)

    def ask_again(self, peer: str, name: str, now_us: int) -> None:
        """The neighbour has to know more than it was told."""
        for broadcast, way in self._over(peer):
            if broadcast.name == name:
                way.ask_soon(now_us)
                self._poll(broadcast, way, now_us)

    def answer_again(self, peer: str, name: str) -> None:
        """What the neighbour was told has changed; if it was told anything."""
        broadcast = self._broadcasts.get(name)
        node = broadcast.nodes.get(peer) if broadcast else None
        is_told = node is not None and (node.is_ready or (node.is_paused and node.is_answered))
        if broadcast is not None and node is not None and is_told:
            self._answer(broadcast, node)

    def on_peer_restarted(self, peer: str, now_us: int) -> None:
        """It has forgotten everything: its cursors go, and what it sent is asked for at once."""
        self._down.discard(peer)
        for broadcast in self._broadcasts.all():
            if peer in broadcast.nodes:
                self._remove_node(broadcast, peer)
                broadcast.update_linger(now_us)
        for broadcast, way in self._over(peer):
            if way is broadcast.upstream and way.state is BroadcastState.LIVE:
                self._lose(broadcast, way, "restarted", now_us)
            else:
                way.ask_soon(now_us)
                self._poll(broadcast, way, now_us)

    def add_neighbour(self, name: str) -> None:
        """There is a link with it now."""
        self._neighbours.add(name)

    def remove_neighbour(self, name: str, now_us: int) -> None:
        """Its link goes: what came over it is lost, what it was sent ends."""
        self._neighbours.discard(name)
        self.on_link_down(name, now_us)
        self._do_chores(len(self._chores), now_us)
        for broadcast in self._broadcasts.all():
            if name in broadcast.nodes:
                self._remove_node(broadcast, name)
                broadcast.update_linger(now_us)
        self._down.discard(name)
        for key in [key for key in self._untold if key[0] == name]:
            del self._untold[key]

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
                for broadcast in self._named(message.stream_ids):
                    if (way := broadcast.on_way(peer)) is not None:
                        self._lose(broadcast, way, "upstream_lost", now_us)
            case End():
                for broadcast in self._named(message.stream_ids):
                    if (way := broadcast.on_way(peer)) is not None:
                        self._end(broadcast, way, now_us)

    def stop(self) -> None:
        """This node goes down: tell both sides."""
        for broadcast in self._broadcasts.all():
            for way in broadcast.subscriptions:
                self._leave(way)
            self._tell_nodes(broadcast, End if broadcast.is_local else UpstreamLost)

    # -- the subscribed side

    def _on_subscribe(self, peer: str, message: Subscribe, now_us: int) -> None:
        broadcast = self._broadcasts.get(message.broadcast)
        node = broadcast.nodes.get(peer) if broadcast else None
        if broadcast is not None and node is not None:
            if node.transaction == message.transaction:
                self._on_repeated(broadcast, node, message, now_us)
                return
            if not is_newer(message.transaction, node.transaction, TRANSACTION_BITS):
                self.rejected += 1  # overtaken on the way by the one that replaced it
                return
            self._remove_node(broadcast, peer)  # it has begun anew: a new cursor
            broadcast.update_linger(now_us)
        refusal = self._refusal(peer, message, broadcast)
        if refusal is not None:
            self._emit(Send(peer, _error(message, *refusal)))
            return
        is_paused = message.mode == "standby"
        if broadcast is None:
            broadcast = Broadcast(message.broadcast, visited=message.visited)
            broadcast.paths = (message.path,)
            self._broadcasts[message.broadcast] = broadcast
            self._try_path(
                broadcast,
                now_us,
                mode="standby" if is_paused else "active",
                goes_on=bool(message.starts),
                starts=message.starts,
            )
        node = NodeSubscriber(peer, message.transaction, now_us + EXPIRY_US, is_paused)
        node.is_copy = message.mode == "duplicate"
        broadcast.nodes[peer] = node
        node.wanted = dict(message.starts)
        if not is_paused:
            self._use(broadcast, message, now_us)
        broadcast.update_linger(now_us)
        self._serve_or_ask(broadcast, now_us)

    def _use(self, broadcast: Broadcast, message: Subscribe, now_us: int) -> None:
        """Media is wanted: wake what only stands by, or take the asker's way if ours has failed."""
        way = broadcast.upstream
        if broadcast.is_paused:
            goes_on = bool(message.starts)
            self._activate(broadcast, message.starts, goes_on=goes_on, now_us=now_us)
        elif way is None and not broadcast.is_local and message.path:
            broadcast.paths = (message.path,)
            if self._try_path(broadcast, now_us):
                self._poll_upstream(broadcast, now_us)
        elif way and message.path not in ((), way.route.via) and broadcast.needs(message.path):
            if message.path not in broadcast.paths:
                broadcast.paths = (*broadcast.paths[:3], message.path)
            self._switch(broadcast, "lost", now_us)

    def _on_repeated(
        self, broadcast: Broadcast, node: NodeSubscriber, message: Subscribe, now_us: int
    ) -> None:
        """A retry or a refresh, or the end of standing by, or of another way beside."""
        node.refresh(now_us)
        is_only = node.is_copy and message.mode == "active"
        if is_only or (node.is_paused and message.mode != "standby"):
            fault = broadcast.loop_with(node.peer, message.visited)
            if fault is not None:
                self._refuse_node(broadcast, node.peer, RefusalCode.LOOP, fault)
                broadcast.update_linger(now_us)
                return
        if is_only:
            node.is_copy = False
            for stream_id in node.starts:
                self._emit(MarkCopy(node.peer, stream_id, is_copy=False))
        if node.is_paused and message.mode != "standby":
            node.is_paused = node.is_answered = False
            node.is_copy = message.mode == "duplicate"
            node.wanted = dict(message.starts)
            self._use(broadcast, message, now_us)
            broadcast.update_linger(now_us)
            self._serve_or_ask(broadcast, now_us)
        elif broadcast.state is BroadcastState.ENDED:
            error = Error(node.transaction, broadcast.name, RefusalCode.NO_SUCH_STREAM, "it ended")
            self._emit(Send(node.peer, error))
        elif (node.is_paused or node.is_ready) and broadcast.is_settled:
            self._answer(broadcast, node)

    def _refusal(
        self, peer: str, message: Subscribe, broadcast: Broadcast | None
    ) -> tuple[RefusalCode, str] | None:
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
        self._serve(broadcast, now_us)
        if not broadcast.is_here:
            if broadcast.upstream and broadcast.state is BroadcastState.ENDED:
                broadcast.upstream.ask_soon(now_us)
            self._handle_timer_of(broadcast, now_us)

    def _over(self, peer: str) -> list[tuple[Broadcast, UpstreamSubscription]]:
        found = ((b, b.on_way(peer)) for b in self._broadcasts.seen())
        ways = [(broadcast, way) for broadcast, way in found if way is not None]
        for broadcast, _ in ways:
            self._due.note(broadcast)
        return ways


def _error(message: Subscribe, code: RefusalCode, text: str) -> Error:
    return Error(message.transaction, message.broadcast, code, text[:200])
