"""The ways a broadcast may come: the one in use, the one that stands by, and the step from one to
the other.

A way is a subscription at a neighbour. When the one in use fails, the standby is activated with
the first packet numbers that the rings here lack, or the best path not tried yet is asked for them;
what both have is a duplicate, which the ring drops. Nobody else is asked: outside help is only
wanted for more paths. Source: LiveNet (SIGCOMM 2022) 4.4.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from random import Random

import msgspec

from relay.errors import RefusalCode
from relay.messages import End, Track, Unsubscribe, UpstreamLost
from relay.slowpath.broadcast import Broadcast, Switching
from relay.slowpath.downstream import Downstream
from relay.slowpath.routes import Path, Route, by_difference, other_path, second_path
from relay.slowpath.subscription_events import (
    BroadcastRemoved,
    BroadcastState,
    CopiesChanged,
    Send,
    Switched,
    TracksChanged,
    UpstreamChanged,
)
from relay.slowpath.upstream import (
    GIVE_UP_US,
    NEXT_PATH_US,
    AskOutcome,
    Mode,
    RoundTrip,
    UpstreamSubscription,
)

MAX_HOPS = 3  # of a path that is chosen: LiveNet (SIGCOMM 2022) 4.3
MAX_UNTOLD = 1024  # chosen: what neighbours whose links are down may still send, at most for 15 s
# A ring that begins in the middle of a stream leaves room before it: another subscriber may lack
# more than the first. Chosen: as much as the ring of a usual video stream holds.
RING_MARGIN_PACKETS = 1024


class Ways(Downstream):
    """asks_for_paths: somebody answers PathsWanted. max_hops: of the paths it gives; None: any."""

    def __init__(self, own_name: str, neighbours: Collection[str], rng: Random) -> None:
        super().__init__(own_name, neighbours, rng)
        self.asks_for_paths = False
        self.max_hops: int | None = None
        self._rtts: defaultdict[str, RoundTrip] = defaultdict(RoundTrip)
        self._untold: dict[tuple[str, str], Unsubscribe] = {}  # said while the link was down

    # -- one way

    def _new_way(
        self,
        broadcast: Broadcast,
        path: Path,
        now_us: int,
        *,
        mode: Mode = "active",
        goes_on: bool = False,
        starts: Mapping[int, int] | None = None,
        give_up_us: int = GIVE_UP_US,
    ) -> UpstreamSubscription:
        self._transaction = (self._transaction + 1) & 0xFFFFFFFF
        return UpstreamSubscription(
            broadcast.name,
            Route(path[0], path[1:], (*broadcast.visited, self._own_name)),
            self._transaction,
            self._rtts[path[0]],
            now_us,
            mode=mode,
            goes_on=goes_on,
            starts=starts,
            give_up_us=give_up_us,
        )

    def _leave(self, way: UpstreamSubscription) -> None:
        """Unsubscribe; again when the link is back, if it is down."""
        if not way.asked:
            return
        message = Unsubscribe(way.transaction, way.broadcast)
        self._emit(Send(way.peer, message))
        if way.peer in self._down:
            if len(self._untold) >= MAX_UNTOLD:
                del self._untold[next(iter(self._untold))]
            self._untold[way.peer, way.broadcast] = message

    def _poll(self, broadcast: Broadcast, way: UpstreamSubscription, now_us: int) -> None:
        """Ask, if that is due, or see that nobody answers."""
        while (outcome := way.handle_timer(now_us)) is not AskOutcome.NOTHING:
            if outcome is AskOutcome.ASK:
                self._emit(Send(way.peer, way.message()))
                if way.asked > 2:  # longer than a round trip over three hops like the first
                    self._give_notice(broadcast, way)
            elif outcome is AskOutcome.LOSE:
                self._lose(broadcast, way, "no_answer", now_us)
            else:
                self._leave(way)
                text = f"{way.peer} did not answer"
                self._fail(broadcast, way, RefusalCode.TIME_OUT, text, now_us)
                return

    def _give_notice(self, broadcast: Broadcast, way: UpstreamSubscription) -> None:
        """The new way has not answered within its time: those downstream may have better ones."""
        switching = broadcast.switching
        if switching is not None and switching.owes_notice and way is broadcast.upstream:
            switching.owes_notice = False
            self._tell_nodes(broadcast, UpstreamLost)

    # -- the streams

    def _change_tracks(
        self, broadcast: Broadcast, peer: str | None, tracks: tuple[Track, ...]
    ) -> None:
        """Other streams now carry it: neighbours get new cursors, and then a new OK."""
        way = broadcast.upstream
        if way is not None and way.starts:
            tracks = tuple(_with_margin(track, way.starts) for track in tracks)
        broadcast.tracks = tracks
        self._index(broadcast)
        self._restart_nodes(broadcast)
        self._emit(TracksChanged(broadcast.name, peer, tracks))
        if peer is not None and tracks and broadcast.copies is not None:
            self._say_upstream(broadcast)

    def _say_upstream(self, broadcast: Broadcast) -> None:
        """Where the streams come from now, one way or both."""
        if broadcast.upstream is not None:
            event = UpstreamChanged(broadcast.name, broadcast.upstream.peer, broadcast.second_peer)
            self._emit(event)

    def _drop(self, broadcast: Broadcast, code: RefusalCode, text: str) -> None:
        """Forget it, and refuse whoever still wants it."""
        self._refuse_all(broadcast, code, text)
        self._unindex(broadcast)
        del self._broadcasts[broadcast.name]
        self._emit(BroadcastRemoved(broadcast.name))

    def _activate(
        self, broadcast: Broadcast, starts: Mapping[int, int], *, goes_on: bool, now_us: int
    ) -> None:
        """Somebody wants what this node only stood by for. If it is known where that is to begin,
        the streams are made at once, and media need not wait for OK."""
        way = broadcast.upstream
        assert way is not None
        way.activate(now_us, goes_on=goes_on, starts=starts, give_up_us=GIVE_UP_US)
        if way.tracks and all(track.stream_id in starts for track in way.tracks):
            self._change_tracks(broadcast, way.peer, way.tracks)
        self._poll(broadcast, way, now_us)

    def _pause(self, broadcast: Broadcast, now_us: int) -> None:
        """Only those who stand by are left: so does this node now."""
        way = broadcast.upstream
        assert way is not None
        for other in broadcast.subscriptions[1:]:
            self._leave(other)
        broadcast.standby = broadcast.successor = broadcast.switching = None
        self._say_copies(broadcast)
        broadcast.linger_until_us = broadcast.told_state = None
        broadcast.upstream = self._new_way(broadcast, way.route.via, now_us, mode="standby")
        self._change_tracks(broadcast, way.peer, ())
        self._poll(broadcast, broadcast.upstream, now_us)

    # -- another way

    def _try_path(
        self,
        broadcast: Broadcast,
        now_us: int,
        *,
        mode: Mode = "active",
        goes_on: bool = False,
        starts: Mapping[int, int] | None = None,
    ) -> bool:
        """Ask along the best path not tried yet for what is not here; False if none is left."""
        untried = [
            path
            for path in broadcast.paths
            if path[0] in self._neighbours and path not in broadcast.tried
        ]
        untried.sort(key=lambda path: path[0] in self._down)
        if not untried:
            return False
        broadcast.tried.add(untried[0])
        broadcast.upstream = self._new_way(
            broadcast,
            untried[0],
            now_us,
            mode=mode,
            goes_on=goes_on,
            starts=starts,
            give_up_us=NEXT_PATH_US if len(untried) > 1 else GIVE_UP_US,
        )
        return True

    def _usable(self, broadcast: Broadcast) -> list[Path]:
        return [p for p in broadcast.paths if p[0] in self._neighbours and p[0] not in self._down]

    def _next_way(self, broadcast: Broadcast, now_us: int) -> UpstreamSubscription | None:
        """What may replace the upstream: what is about to, what stands by, or an untried path."""
        standby, old = broadcast.standby, broadcast.upstream
        assert old is not None
        if broadcast.successor is not None:
            new, broadcast.successor, broadcast.successor_gap_us = broadcast.successor, None, None
            return new
        if standby is not None and standby.state is BroadcastState.LIVE:
            broadcast.standby = None
            if standby.is_copy and _ids(standby.tracks) == _ids(broadcast.tracks):
                standby.become_only(now_us)
            else:
                standby.activate(now_us, goes_on=True, starts={}, give_up_us=NEXT_PATH_US)
            return standby
        for path in by_difference(self._usable(broadcast), old.route.via):
            if path not in broadcast.tried and not broadcast.feeds(path[0]):
                broadcast.tried.add(path)
                if standby is not None and standby.peer == path[0]:
                    broadcast.standby = None  # the new transaction there replaces it
                return self._new_way(broadcast, path, now_us, goes_on=True, give_up_us=NEXT_PATH_US)
        return None

    def _switch(self, broadcast: Broadcast, reason: str, now_us: int) -> bool:
        """Go on another way, over another neighbour if one is left; False if there is none."""
        old = broadcast.upstream
        assert old is not None
        broadcast.tried.intersection_update(broadcast.paths)
        broadcast.tried.add(old.route.via)
        delivered_gap_us = broadcast.successor_gap_us
        was_successor = broadcast.successor is not None
        second_peer = broadcast.second_peer
        new = self._next_way(broadcast, now_us)
        if new is None:
            return False
        if delivered_gap_us is None and new.peer == second_peer and not was_successor:
            delivered_gap_us = 0  # copies: it has been delivering all the time
        if broadcast.switching is None and new.peer != old.peer:
            broadcast.switching = Switching(reason, old.peer, now_us)
        broadcast.upstream = new
        broadcast.monitor.on_changed(now_us)
        if new.tracks and _ids(new.tracks) != _ids(broadcast.tracks):
            self._change_tracks(broadcast, new.peer, new.tracks)
        else:
            self._say_upstream(broadcast)
            if delivered_gap_us is not None:
                self._say_switched(broadcast, delivered_gap_us)
        self._poll(broadcast, new, now_us)
        if new.peer != old.peer:  # else the new transaction there has replaced it
            self._leave(old)
        self._say_state(broadcast)
        self._say_copies(broadcast)
        if new.state is BroadcastState.LIVE:  # copies: no OK will be news
            self._answer_again(broadcast)
        return True

    def _say_switched(self, broadcast: Broadcast, gap_us: int) -> None:
        switching, way = broadcast.switching, broadcast.upstream
        broadcast.switching = None
        if switching is not None:
            after = way.peer if way else ""
            event = Switched(broadcast.name, switching.reason, switching.before, after, gap_us)
            self._emit(event)

    # -- what goes wrong with a way

    def _lose(
        self, broadcast: Broadcast, way: UpstreamSubscription, reason: str, now_us: int
    ) -> None:
        """Nothing comes that way any more."""
        if way is not broadcast.upstream:
            self._give_up_spare(broadcast, way, now_us)
        elif broadcast.tracks and not broadcast.is_local:
            if way.state in (BroadcastState.LIVE, BroadcastState.ASKING):
                self._lose_upstream(broadcast, reason, now_us)
        elif way.state is BroadcastState.LIVE:  # this node stands by
            way.on_lost(now_us)
            self._tell_nodes(broadcast, UpstreamLost)
            self._poll(broadcast, way, now_us)
        elif set(self._usable(broadcast)) - broadcast.tried:
            self._leave(way)
            self._fail(broadcast, way, RefusalCode.TIME_OUT, f"{way.peer} was lost", now_us)

    def _lose_upstream(
        self, broadcast: Broadcast, reason: str, now_us: int, *, is_refused: bool = False
    ) -> None:
        """Switch, or else wait for this one and wish for others."""
        way = broadcast.upstream
        assert way is not None
        if self._switch(broadcast, reason, now_us):
            return
        if is_refused:
            way.on_refused()
        else:
            way.on_lost(now_us)
        self._say_state(broadcast)
        self._tell_nodes(broadcast, UpstreamLost)
        if (broadcast.viewers and self.asks_for_paths) or len(broadcast.paths) > 1:
            broadcast.wish.want(now_us, is_urgent=True)
        self._poll(broadcast, way, now_us)

    def _fail(
        self,
        broadcast: Broadcast,
        way: UpstreamSubscription,
        code: RefusalCode,
        text: str,
        now_us: int,
    ) -> None:
        """A way that was asked for is not to be had."""
        if way is not broadcast.upstream:
            self._give_up_spare(broadcast, way, now_us, is_left=True)
        elif broadcast.is_moving:
            broadcast.upstream = None
            if self._try_path(broadcast, now_us):
                self._poll_upstream(broadcast, now_us)
            else:
                self._wait_to_move(broadcast, now_us)
        elif broadcast.tracks:
            self._lose_upstream(broadcast, "refused", now_us, is_refused=True)
        elif not way.is_paused and self._try_path(broadcast, now_us):
            self._poll_upstream(broadcast, now_us)
        else:
            self._drop(broadcast, code, text)

    def _wait_to_move(self, broadcast: Broadcast, now_us: int) -> None:
        """The broadcaster is elsewhere, and no way there is to be had. If that is because the next
        nodes get it from here, they have to look elsewhere first."""
        if any(path[0] in broadcast.nodes for path in broadcast.paths):
            self._tell_nodes(broadcast, UpstreamLost)
        broadcast.wish.want(now_us, is_urgent=True)

    def _end(self, broadcast: Broadcast, way: UpstreamSubscription, now_us: int) -> None:
        """It is over that way; if nobody else has it, those it was promised to are told, and those
        who waited are refused."""
        if way is not broadcast.upstream:
            self._give_up_spare(broadcast, way, now_us)
            return
        standby = broadcast.standby
        if standby is not None and standby.state is BroadcastState.LIVE:
            self._switch(broadcast, "ended", now_us)
            return
        was = way.state
        way.on_ended(now_us)
        broadcast.switching = None
        self._say_state(broadcast)
        if was is not BroadcastState.ENDED:
            self._tell_nodes(broadcast, End)
        text = f"{broadcast.name} has ended"
        self._refuse_waiting(broadcast, RefusalCode.NO_SUCH_STREAM, text)
        broadcast.update_linger(now_us)
        if broadcast.viewers and self.asks_for_paths:
            broadcast.wish.want(now_us)  # it may go on at another producer

    def _give_up_spare(
        self,
        broadcast: Broadcast,
        way: UpstreamSubscription,
        now_us: int,
        *,
        is_left: bool = False,
    ) -> None:
        """A standby that cannot stand by, or a better way that is none: what flows stays."""
        if not is_left:
            self._leave(way)
        broadcast.avoided.add(way.peer)
        was_second = way.peer == broadcast.second_peer
        if way is broadcast.successor:
            broadcast.successor, broadcast.successor_gap_us = None, None
        else:
            broadcast.standby = None
        if was_second:
            self._say_upstream(broadcast)
        self._keep_standby(broadcast, now_us)
        self._say_copies(broadcast)

    def _poll_upstream(self, broadcast: Broadcast, now_us: int) -> None:
        if broadcast.upstream is not None:
            self._poll(broadcast, broadcast.upstream, now_us)

    # -- the second way

    def _keep_standby(self, broadcast: Broadcast, now_us: int) -> None:
        """A node whose viewers get a broadcast from elsewhere keeps a second way to it, and has
        copies sent that way while some of them are premium."""
        way = broadcast.upstream
        if way is None or broadcast.is_local or broadcast.successor:
            return
        if not broadcast.viewers or way.is_paused or way.state is not BroadcastState.LIVE:
            return
        if broadcast.standby is not None:
            if broadcast.premium and broadcast.standby.is_paused:
                self._begin_copies(broadcast, now_us)
            return
        choose = other_path if broadcast.premium else second_path
        path = choose(self._usable(broadcast), way.route.via, broadcast.avoided)
        if path is not None:
            broadcast.standby = self._new_way(
                broadcast,
                path,
                now_us,
                mode="duplicate" if broadcast.premium else "standby",
                goes_on=True,
            )
            if broadcast.premium:
                self._say_upstream(broadcast)
            self._poll(broadcast, broadcast.standby, now_us)
        elif self.asks_for_paths or len(broadcast.paths) > 1:
            broadcast.wish.want(now_us)

    def _drop_standby(self, broadcast: Broadcast) -> None:
        """The last viewer has left: those who relay keep no second way."""
        if (standby := broadcast.standby) is not None:
            self._leave(standby)
            broadcast.standby = None
            if standby.is_copy:
                self._say_upstream(broadcast)
        broadcast.wish.on_fulfilled()
        self._say_copies(broadcast)

    # -- copies

    def _begin_copies(self, broadcast: Broadcast, now_us: int) -> None:
        """The first premium viewer has come: let the standby flow, unless a better way apart is
        known."""
        way, standby = broadcast.upstream, broadcast.standby
        assert way is not None
        assert standby is not None
        path = other_path(self._usable(broadcast), way.route.via, broadcast.avoided)
        if path is not None and path[0] != standby.peer:
            self._leave(standby)
            broadcast.standby = None
            self._keep_standby(broadcast, now_us)
            return
        standby.activate(now_us, goes_on=True, starts={}, give_up_us=GIVE_UP_US, mode="duplicate")
        self._say_upstream(broadcast)
        self._poll(broadcast, standby, now_us)

    def _end_copies(self, broadcast: Broadcast, now_us: int) -> None:
        """The last premium viewer has left: the way stands by again, under a new transaction, for
        one that flows is never paused."""
        copies = broadcast.copies
        assert copies is not None
        broadcast.standby = self._new_way(broadcast, copies.route.via, now_us, mode="standby")
        self._say_upstream(broadcast)
        self._poll(broadcast, broadcast.standby, now_us)
        self._say_copies(broadcast)

    def _say_copies(self, broadcast: Broadcast) -> None:
        """Tell which way they come, if that is another one now."""
        copies = broadcast.copies
        ancestors = copies.ancestors if copies and copies.state is BroadcastState.LIVE else ()
        told = ancestors, bool(ancestors) and broadcast.has_disjoint_copies
        if told != broadcast.told_copies:
            broadcast.told_copies = told
            self._emit(CopiesChanged(broadcast.name, *told))


def _ids(tracks: tuple[Track, ...]) -> set[int]:
    return {track.stream_id for track in tracks}


def _with_margin(track: Track, starts: Mapping[int, int]) -> Track:
    if track.stream_id not in starts:
        return track
    first = (starts[track.stream_id] - RING_MARGIN_PACKETS) & 0xFFFFFFFF
    return msgspec.structs.replace(track, first_stream_seq=first)
