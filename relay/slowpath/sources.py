"""The subscribing side: answers of neighbours, paths from outside, and what time brings.

Moving a broadcast that flows makes before it breaks: the better way is asked for what the rings
lack, both ways feed them, and the old one is left when the new one has delivered and said OK.
"""

from __future__ import annotations

from relay.errors import RefusalCode
from relay.messages import Error, Ok, Track, Unsubscribe
from relay.slowpath.broadcast import Broadcast, Switching
from relay.slowpath.path_monitor import PathSample
from relay.slowpath.path_wish import ANSWER_BY_US
from relay.slowpath.routes import Path, Paths
from relay.slowpath.subscription_events import (
    BroadcastState,
    PathsWanted,
    Send,
    Switched,
)
from relay.slowpath.upstream import UpstreamSubscription
from relay.slowpath.ways import Ways, _ids


class Sources(Ways):
    """`rejected` counts what did not fit the state it met."""

    rejected = 0

    # -- paths from outside

    def on_paths(self, name: str, paths: Paths, now_us: int) -> None:
        """The answer to PathsWanted, best first."""
        broadcast = self._broadcasts.get(name)
        if broadcast is None or broadcast.is_local:
            return
        self._take_paths(broadcast, paths)
        broadcast.wish.on_answer()
        if broadcast.upstream is None:
            if self._try_path(broadcast, now_us):
                self._poll_upstream(broadcast, now_us)
            else:
                text = f"no path to {name} begins at a neighbour of {self._own_name}"
                self._drop(broadcast, RefusalCode.NO_PATH, text)
        elif any(broadcast.needs(path) for path in broadcast.paths):
            self._switch(broadcast, "lost", now_us)
        elif self._is_too_deep(broadcast.ancestors):
            self.rehome(name, paths, now_us)
        else:
            self._keep_standby(broadcast, now_us)

    def on_no_path(self, name: str, code: RefusalCode, text: str, now_us: int) -> None:
        """The other answer: who waits is refused, what flows stays."""
        broadcast = self._broadcasts.get(name)
        if broadcast is None or broadcast.is_local:
            return
        broadcast.wish.on_answer()
        if broadcast.upstream is None:
            self._drop(broadcast, code, text)
        elif broadcast.standby is None and broadcast.viewers:
            broadcast.wish.want(now_us)

    def rehome(self, name: str, paths: Paths, now_us: int) -> None:
        """Better paths, best first. Of a local broadcast: the broadcaster has moved there."""
        broadcast = self._broadcasts.get(name)
        if broadcast is None or not paths:
            return
        way = broadcast.upstream
        self._take_paths(broadcast, paths)
        if broadcast.is_local:
            if way is not None:
                self._leave(way)
            broadcast.switching = Switching("broadcaster_moved", "", now_us)
            if self._try_path(broadcast, now_us):
                self._poll_upstream(broadcast, now_us)
            else:
                broadcast.upstream = None
                self._wait_to_move(broadcast, now_us)
        elif way is None:
            self.on_paths(name, paths, now_us)
        elif broadcast.is_paused or not broadcast.tracks:
            return  # nothing flows: whoever asked for this path decides
        elif any(broadcast.needs(path) for path in broadcast.paths):
            self._switch(broadcast, "better_path", now_us)
        elif broadcast.state is BroadcastState.LIVE:
            usable = self._usable(broadcast)
            if usable and usable[0][0] != way.peer:
                self._begin_rehome(broadcast, usable[0], now_us)
            else:
                self._keep_standby(broadcast, now_us)

    def reclaim(self, name: str, tracks: tuple[Track, ...], now_us: int) -> None:
        """The broadcaster is here, as these streams."""
        broadcast = self._broadcasts.get(name)
        if broadcast is None:
            broadcast = self._broadcasts[name] = Broadcast(name)
        before = broadcast.upstream
        for way in broadcast.subscriptions:
            self._leave(way)
        broadcast.upstream = broadcast.standby = broadcast.successor = None
        broadcast.switching = None
        self._say_copies(broadcast)
        broadcast.wish.on_answer()
        broadcast.wish.on_fulfilled()
        was_local, broadcast.is_local = broadcast.is_local, True
        self._change_tracks(broadcast, None, tracks)
        self._say_state(broadcast)
        if before is not None and not was_local:
            self._emit(Switched(name, "reclaimed", before.peer, "", 0))
        broadcast.update_linger(now_us)
        self._serve(broadcast, now_us)

    def on_path_sample(self, name: str, sample: PathSample, now_us: int) -> None:
        """How the broadcast arrives; a bad way is left if another stands by."""
        broadcast = self._broadcasts.get(name)
        if broadcast is None or broadcast.standby is None or broadcast.successor is not None:
            return
        if broadcast.copies is not None:
            return  # the figures are of both ways together
        reason = broadcast.monitor.on_sample(sample, now_us)
        if reason is not None and broadcast.standby.state is BroadcastState.LIVE:
            self._switch(broadcast, reason, now_us)

    def on_upstream_flows(self, name: str, gap_us: int | None, now_us: int) -> None:
        """The upstream named last delivers. gap_us: since the packet before; None: another ring."""
        broadcast = self._broadcasts.get(name)
        if broadcast is None:
            return
        if broadcast.successor is not None:
            if gap_us is not None:  # and not the first packet of the old way's streams
                broadcast.successor_gap_us = gap_us
                self._finish_rehome(broadcast, now_us)
        elif broadcast.switching is not None and not broadcast.is_local:
            since_us = broadcast.switching.since_us
            self._say_switched(broadcast, now_us - since_us if gap_us is None else gap_us)

    def _take_paths(self, broadcast: Broadcast, paths: Paths) -> None:
        broadcast.paths = tuple(path for path in paths if path and self._own_name not in path)
        broadcast.visited = ()
        broadcast.tried.clear()
        broadcast.avoided.clear()

    def _is_too_deep(self, ancestors: Path) -> bool:
        """One hop more than a chosen path is no reason to move (a graft is made wherever the stream
        is met), two are."""
        return self.max_hops is not None and len(ancestors) > self.max_hops + 1

    # -- make before break

    def _begin_rehome(self, broadcast: Broadcast, path: Path, now_us: int) -> None:
        way, standby = broadcast.upstream, broadcast.standby
        assert way is not None
        if broadcast.successor is not None:
            if broadcast.successor.peer == path[0]:
                return
            self._leave(broadcast.successor)
            broadcast.successor = None
        # What brings copies delivers already: the engine tells of newcomers alone.
        flows = path[0] == broadcast.second_peer
        if standby is not None and standby.peer == path[0]:
            broadcast.standby = None  # its place is taken by the new transaction there
        broadcast.successor = self._new_way(broadcast, path, now_us, goes_on=True)
        broadcast.successor_gap_us = 0 if flows else None
        self._say_upstream(broadcast)
        self._poll(broadcast, broadcast.successor, now_us)

    def _finish_rehome(self, broadcast: Broadcast, now_us: int) -> None:
        """Leave the old way if the new one is all that it should be."""
        new, old = broadcast.successor, broadcast.upstream
        assert old is not None
        if new is None or new.state is not BroadcastState.LIVE:
            return
        are_others = _ids(new.tracks) != _ids(broadcast.tracks)
        if broadcast.successor_gap_us is None and not are_others:
            return
        gap_us = broadcast.successor_gap_us or 0
        broadcast.upstream, broadcast.successor, broadcast.successor_gap_us = new, None, None
        broadcast.monitor.on_changed(now_us)
        if are_others:
            self._change_tracks(broadcast, new.peer, new.tracks)
        else:
            self._say_upstream(broadcast)
        self._leave(old)
        broadcast.switching = Switching("better_path", old.peer, now_us)
        self._say_switched(broadcast, gap_us)
        self._answer_again(broadcast)
        self._keep_standby(broadcast, now_us)
        self._say_copies(broadcast)

    # -- answers

    def _on_ok(self, peer: str, ok: Ok, now_us: int) -> None:
        broadcast = self._broadcasts.get(ok.broadcast)
        way = broadcast.on_way(peer) if broadcast else None
        if broadcast is None or way is None:
            self.rejected += 1
            self._emit(Send(peer, Unsubscribe(ok.transaction, ok.broadcast)))
            return
        owners = {self._by_stream_id.get(track.stream_id, broadcast) for track in ok.tracks}
        if way.transaction != ok.transaction or owners != {broadcast}:
            self.rejected += 1
            return
        if self._own_name in ok.ancestors:
            self._leave_loop(broadcast, way, now_us)
            return
        before = way.state, way.ancestors, _ids(way.tracks)
        way.on_answer(ok.tracks, ok.ancestors, ok.state == "live", now_us)
        if way is broadcast.upstream:
            self._on_upstream_ok(broadcast, way, before, now_us)
        elif way.state is BroadcastState.LOST:
            self._give_up_spare(broadcast, way, now_us)
        elif way is broadcast.successor:
            self._finish_rehome(broadcast, now_us)
        else:
            self._index(broadcast)
            broadcast.wish.on_fulfilled()
            self._say_copies(broadcast)

    def _on_upstream_ok(
        self,
        broadcast: Broadcast,
        way: UpstreamSubscription,
        before: tuple[BroadcastState, Path, set[int]],
        now_us: int,
    ) -> None:
        is_new = not broadcast.tracks and not broadcast.is_paused
        if is_new and self._is_too_deep(way.ancestors) and self._try_path(broadcast, now_us):
            self._leave(way)
            self._poll_upstream(broadcast, now_us)
            return
        if broadcast.is_local:
            broadcast.is_local = False
            broadcast.update_linger(now_us)
        if way.is_paused:
            self._index(broadcast)
        elif _ids(way.tracks) != _ids(broadcast.tracks):
            if (successor := broadcast.successor) is not None:
                self._give_up_spare(broadcast, successor, now_us)  # it may lead to what is over
            self._change_tracks(broadcast, way.peer, way.tracks)
        self._say_state(broadcast)
        if before != (way.state, way.ancestors, _ids(way.tracks)):
            self._answer_again(broadcast)
            self._say_copies(broadcast)
        self._serve(broadcast, now_us)
        if way.state is BroadcastState.LIVE:
            broadcast.tried = {way.route.via}
            self._keep_standby(broadcast, now_us)
            if self._is_too_deep(way.ancestors):
                broadcast.wish.want(now_us)
        elif before[0] is not BroadcastState.LOST and not way.is_paused:
            self._lose_upstream(broadcast, "upstream_lost", now_us, is_refused=True)
        elif broadcast.viewers and self.asks_for_paths:
            broadcast.wish.want(now_us, is_urgent=True)

    def _leave_loop(self, broadcast: Broadcast, way: UpstreamSubscription, now_us: int) -> None:
        """What comes that way has come through here."""
        self._leave(way)
        text = f"it comes from this node: {way.peer}"
        if way is broadcast.upstream and broadcast.tracks and not broadcast.is_local:
            if way.state is not BroadcastState.LOST:
                self._lose_upstream(broadcast, "loop", now_us, is_refused=True)
        else:
            self._fail(broadcast, way, RefusalCode.LOOP, text, now_us)

    def _on_error(self, peer: str, error: Error, now_us: int) -> None:
        broadcast = self._broadcasts.get(error.broadcast)
        way = broadcast.on_way(peer) if broadcast else None
        if broadcast is None or way is None or way.transaction != error.transaction:
            self.rejected += 1
        elif way is not broadcast.upstream or broadcast.is_moving or not broadcast.tracks:
            self._fail(broadcast, way, error.code, error.text, now_us)
        elif error.code is RefusalCode.NO_SUCH_STREAM and way.tracks:
            self._end(broadcast, way, now_us)
        elif way.state is not BroadcastState.LOST:
            self._lose_upstream(broadcast, "refused", now_us, is_refused=True)

    # -- time

    def _handle_timer_of(self, broadcast: Broadcast, now_us: int) -> None:
        for node in tuple(broadcast.nodes.values()):
            if now_us >= node.expires_us:
                self._remove_node(broadcast, node.peer)
                broadcast.update_linger(now_us)
        if broadcast.linger_until_us is not None and now_us >= broadcast.linger_until_us:
            if broadcast.nodes and broadcast.tracks:
                self._pause(broadcast, now_us)
                return
            for way in broadcast.subscriptions:
                self._leave(way)
            self._drop(broadcast, RefusalCode.TIME_OUT, "")
            return
        for way in broadcast.subscriptions:
            if broadcast.on_way(way.peer) is way:
                self._poll(broadcast, way, now_us)
        if broadcast.name in self._broadcasts:
            self._handle_wish(broadcast, now_us)

    def _handle_wish(self, broadcast: Broadcast, now_us: int) -> None:
        wish = broadcast.wish
        if wish.is_overdue(now_us):
            wish.on_answer()
            if broadcast.upstream is None and not broadcast.is_local:
                text = f"no path to {broadcast.name} was told within {ANSWER_BY_US / 1e6:g} s"
                self._drop(broadcast, RefusalCode.TIME_OUT, text)
                return
            if broadcast.standby is None and broadcast.viewers:
                wish.want(now_us)
        if not wish.is_due(now_us):
            return
        # Relays only try again what they know: their subscribers ask, and bring paths.
        is_asker = bool(broadcast.viewers) or broadcast.upstream is None
        asks = self.asks_for_paths and is_asker and not broadcast.is_local
        wish.on_asked(now_us, is_question=asks)
        if asks:
            self._emit(PathsWanted(broadcast.name))
        broadcast.avoided.clear()
        way = broadcast.upstream
        if broadcast.is_local:
            broadcast.tried.clear()
            if way is None and not self._try_path(broadcast, now_us):
                self._wait_to_move(broadcast, now_us)
            self._poll_upstream(broadcast, now_us)
        elif broadcast.is_stuck:
            broadcast.tried.clear()
            if not self._switch(broadcast, "lost", now_us):
                wish.want(now_us, is_urgent=True)
        elif not asks:
            self._keep_standby(broadcast, now_us)
