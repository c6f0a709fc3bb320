"""The subscribed side: who is sent what, told what, refused and let go.

Base of `sources.Sources` and so of the subscription table; it knows nothing of where a broadcast
comes from beyond its state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from random import Random

from relay.errors import RefusalCode
from relay.messages import MAX_ANCESTORS, End, Error, UpstreamLost
from relay.slowpath.broadcast import Broadcast, NodeSubscriber
from relay.slowpath.due import Due, Noting
from relay.slowpath.subscription_events import (
    AddCursor,
    BroadcastState,
    MarkCopy,
    RemoveCursor,
    Send,
    StateChanged,
    SubscriptionEvent,
    ViewerReady,
    ViewerRefused,
)


class Downstream:
    """All broadcasts of a node, and what is said to those who want them."""

    def __init__(self, own_name: str, neighbours: Collection[str], rng: Random) -> None:
        self._own_name = own_name
        self._neighbours = set(neighbours)
        self._down: set[str] = set()  # neighbours whose link was up once, and is not
        self._transaction = rng.getrandbits(32)
        self._due = Due()
        self._broadcasts: Noting[str] = Noting(self._due)
        self._by_stream_id: dict[int, Broadcast] = {}
        self._events: deque[SubscriptionEvent] = deque()

    def _emit(self, event: SubscriptionEvent) -> None:
        self._events.append(event)

    def _say_state(self, broadcast: Broadcast) -> None:
        """Report it if it is another than was reported last."""
        state = broadcast.state
        is_silent = state in (BroadcastState.ASKING, BroadcastState.STANDBY)
        if not is_silent and state is not broadcast.told_state:
            broadcast.told_state = state
            self._emit(StateChanged(broadcast.name, state))

    def _serve(self, broadcast: Broadcast, now_us: int) -> None:
        """Everybody who waits and can be served now."""
        if broadcast.is_here:
            self._serve_viewers(broadcast)
            self._serve_nodes(broadcast, now_us)
        if broadcast.is_settled:
            for node in broadcast.nodes.values():
                if node.is_paused and not node.is_answered:
                    self._answer(broadcast, node)

    def _serve_viewers(self, broadcast: Broadcast) -> None:
        for viewer, is_told in broadcast.viewers.items():
            if not is_told:
                self._emit(ViewerReady(viewer, broadcast.name))
                broadcast.viewers[viewer] = True

    def _serve_nodes(self, broadcast: Broadcast, now_us: int) -> None:
        if len(broadcast.ancestors) >= MAX_ANCESTORS:
            text = f"{broadcast.name} has come through {MAX_ANCESTORS} nodes before"
            self._refuse_waiting_nodes(broadcast, RefusalCode.NO_PATH, text)
            broadcast.update_linger(now_us)
        for node in broadcast.nodes.values():
            if not node.starts and not node.is_paused:
                node.starts = {track.stream_id: None for track in broadcast.tracks}
                for stream_id in node.starts:
                    start_seq = node.wanted.get(stream_id)
                    if node.is_copy:
                        self._emit(MarkCopy(node.peer, stream_id, is_copy=True))
                    self._emit(AddCursor(node.peer, stream_id, start_seq))

    def _answer(self, broadcast: Broadcast, node: NodeSubscriber) -> None:
        node.is_answered = True
        self._emit(Send(node.peer, broadcast.ok_for(node, self._own_name)))

    def _answer_again(self, broadcast: Broadcast) -> None:
        """State or ancestors are others now: everybody who has an answer gets a new one."""
        for node in broadcast.nodes.values():
            if node.is_ready or (node.is_paused and node.is_answered):
                self._answer(broadcast, node)

    def _restart_nodes(self, broadcast: Broadcast) -> None:
        """Other streams carry it now: all get new cursors, and then a new OK."""
        for node in broadcast.nodes.values():
            node.starts, node.is_answered = {}, False

    def _remove_node(self, broadcast: Broadcast, peer: str) -> None:
        for stream_id in broadcast.nodes.pop(peer).starts:
            self._emit(RemoveCursor(peer, stream_id))

    def _refuse_node(self, broadcast: Broadcast, peer: str, code: RefusalCode, text: str) -> None:
        transaction = broadcast.nodes[peer].transaction
        self._remove_node(broadcast, peer)
        self._emit(Send(peer, Error(transaction, broadcast.name, code, text[:200])))

    def _refuse_waiting(self, broadcast: Broadcast, code: RefusalCode, text: str) -> None:
        self._refuse_waiting_nodes(broadcast, code, text)
        for viewer in [viewer for viewer, is_told in broadcast.viewers.items() if not is_told]:
            del broadcast.viewers[viewer]
            self._emit(ViewerRefused(viewer, code, text, broadcast.name))

    def _refuse_waiting_nodes(self, broadcast: Broadcast, code: RefusalCode, text: str) -> None:
        waiting = [n for n in broadcast.nodes.values() if not n.starts and not n.is_answered]
        for node in waiting:
            self._refuse_node(broadcast, node.peer, code, text)

    def _refuse_all(self, broadcast: Broadcast, code: RefusalCode, text: str) -> None:
        for peer in tuple(broadcast.nodes):
            self._refuse_node(broadcast, peer, code, text)
        for viewer in broadcast.viewers:
            self._emit(ViewerRefused(viewer, code, text, broadcast.name))

    def _tell_nodes(self, broadcast: Broadcast, message: type[End] | type[UpstreamLost]) -> None:
        stream_ids = tuple(track.stream_id for track in broadcast.known_tracks)
        for node in broadcast.nodes.values():
            if node.starts or node.is_answered:
                self._emit(Send(node.peer, message(stream_ids)))

    def _index(self, broadcast: Broadcast) -> None:
        """Know it by every stream id that any of its ways has named."""
        self._unindex(broadcast)
        for tracks in (broadcast.tracks, *(way.tracks for way in broadcast.subscriptions)):
            for track in tracks:
                self._by_stream_id[track.stream_id] = broadcast
                broadcast.indexed.add(track.stream_id)

    def _unindex(self, broadcast: Broadcast) -> None:
        for stream_id in broadcast.indexed:
            if self._by_stream_id.get(stream_id) is broadcast:  # else another has taken it over
                del self._by_stream_id[stream_id]
        broadcast.indexed.clear()

    def _named(self, stream_ids: Iterable[int]) -> list[Broadcast]:
        found = {b.name: b for i in stream_ids if (b := self._of_stream(i)) is not None}
        return list(found.values())

    def _of_stream(self, stream_id: int) -> Broadcast | None:
        broadcast = self._by_stream_id.get(stream_id)
        if broadcast is not None:
            self._due.note(broadcast)
        return broadcast
