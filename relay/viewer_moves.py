"""What follows when a viewer is to watch something else: another broadcast, or another bitrate.

Between the viewers' edge, which has the legs, the subscriptions, which bring what is not here yet,
and the two that decide: `slowpath/switch`, how one goes on, `slowpath/versions`, at what bitrate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from fastpath import events as engine_events
from relay import events
from relay.config import Versions
from relay.edge.plain_rtp import PlainRtpEdge, Viewer
from relay.errors import RefusalCode, Refused
from relay.messages import version_name
from relay.node_streams import NodeStreams
from relay.replicas import Replicas
from relay.slowpath.routes import Paths
from relay.slowpath.subscription import SubscriptionTable
from relay.slowpath.switch import VIDEO, Switches, subscribed
from relay.slowpath.versions import TICK_US, Limits, Standing, VersionPolicy
from relay.workers import Workers

# chosen, as `qoe_sampler` does: some 2 ms of the event loop, and what else waits comes in between
MOST_AT_ONCE = 128
BREATH_US = 5_000


class ViewerMoves:
    """paths_to: the configured and the pushed ways to a broadcast; of which one it is a version.
    report: an event of the node. Engine errors pass through."""

    def __init__(
        self,
        workers: Workers,
        edge: PlainRtpEdge,
        subscriptions: SubscriptionTable,
        carried: NodeStreams,
        replicas: Replicas,
        config: Versions,
        *,
        paths_to: Callable[[str, str], Paths],
        report: Callable[[events.NodeEvent], None],
    ) -> None:
        self._workers = workers
        self._edge = edge
        self._subscriptions = subscriptions
        self._streams = carried.registry
        self._replicas = replicas
        self._paths_to = paths_to
        self._report = report
        self._switches = Switches(workers, edge)
        self._is_adaptive = config.enabled
        self._policy = VersionPolicy(
            Limits(config.patience_us, config.calm_us, config.room, config.longest_wait_us)
        )
        self._tick_at_us: int | None = None
        self._to_look_at: deque[int] = deque()  # in this round, which began at `_round_us`
        self._round_us = 0

    # -- what is wanted

    def switch(self, viewer: Viewer, broadcast: str, now_us: int) -> None:
        """Another broadcast, from its best version on; ViewerSwitched or SwitchRefused follows. Its
        own again: it stays there."""
        self._leave(viewer, now_us)
        if broadcast == viewer.broadcast:
            self._report(events.ViewerSwitched(viewer.id, broadcast, broadcast))
            return
        self._switches.want(viewer, broadcast, 0)
        self._ask(viewer, broadcast, now_us)

    def _ask(self, viewer: Viewer, broadcast: str, now_us: int) -> None:
        assert viewer.next is not None
        self._subscriptions.join_viewer(
            viewer.number,
            broadcast,
            self._paths_to(broadcast, viewer.next.broadcast),
            now_us,
            is_premium=viewer.is_premium,
        )
        self._tick_soon(now_us)

    def _leave(self, viewer: Viewer, now_us: int) -> None:
        """It is not to go where it was about to."""
        self._wish(viewer, 0)
        if viewer.next is not None:
            name = version_name(viewer.next.broadcast, viewer.next.version)
            self._switches.forget(viewer)
            if name not in subscribed(viewer):
                self._subscriptions.leave_viewer(viewer.number, name, now_us)

    def on_removed(self, viewer: Viewer, now_us: int) -> None:
        """It left: so it does whatever it was sent something of beside its broadcast."""
        self._policy.forget(viewer.number)
        names = subscribed(viewer) - {viewer.broadcast}
        if viewer.next is not None:
            names.add(version_name(viewer.next.broadcast, viewer.next.version))
            self._switches.drop(viewer)
        for name in sorted(names - {viewer.broadcast}):
            self._subscriptions.leave_viewer(viewer.number, name, now_us)

    # -- what the subscriptions say

    def on_ready(self, number: int, broadcast: str, now_us: int) -> bool:
        """A broadcast is here for a viewer; True if that was about what it is to go on with."""
        viewer = self._switches.waiting.get(number)
        if viewer is None or viewer.next is None or broadcast == viewer.broadcast:
            return False
        self._begin(viewer, now_us)
        return True

    def on_refused(
        self, number: int, broadcast: str, code: RefusalCode, text: str, now_us: int
    ) -> bool:
        """A broadcast is not to be had, or no longer; True if the viewer goes on watching."""
        viewer = self._edge.find(number)
        if viewer is None:
            return False
        following = viewer.next
        if following is not None:
            name = version_name(following.broadcast, following.version)
            if broadcast == name != viewer.broadcast:
                self._switches.forget(viewer)
                if following.broadcast != viewer.broadcast:
                    self._report(events.SwitchRefused(viewer.id, broadcast, code, text))
                else:
                    self._policy.on_refused(number, following.version, now_us)
                return True
            is_left = {broadcast, following.broadcast} != {viewer.broadcast}
            if following.stream is not None and is_left:
                self._finish(viewer, now_us)  # the engine moves it as what it leaves is removed
                return True
        if broadcast == viewer.broadcast:
            return False
        viewer.version = 0
        self._wish(viewer, 0)
        self._edge.put_back(viewer, self._streams.of(viewer.broadcast))
        return True

    def on_streams(self, broadcast: str) -> None:
        """Those of a broadcast that are not among its tracks any more are about to be removed."""
        known = self._subscriptions.find(broadcast)
        kept = {track.stream_id for track in known.tracks} if known else set()
        staying = [s for s in self._streams.of(broadcast) if s.track.stream_id in kept]
        self._switches.release(broadcast, staying)

    # -- what the engine says

    def on_engine_event(
        self, event: engine_events.ViewerLags | engine_events.ViewerSwitched, now_us: int
    ) -> None:
        """Of one of its viewers."""
        if isinstance(event, engine_events.ViewerSwitched):
            if (viewer := self._switches.on_switched(event.cursor, event.stream)) is not None:
                self._finish(viewer, now_us)
        elif self._is_adaptive and (leg := self._edge.find_leg(event.cursor)) is not None:
            viewer = leg[0]
            if len(self._bitrates(viewer)) > 1:
                self._policy.on_lags(viewer.number, now_us)
                self._tick_soon(now_us)

    # -- time

    def next_timer_us(self) -> int | None:
        """When `handle_timer` is due."""
        return self._tick_at_us

    def handle_timer(self, now_us: int) -> None:
        """Begin what could not begin yet, end what takes too long, look at those who lag."""
        if self._tick_at_us is None or now_us < self._tick_at_us:
            return
        self._tick_at_us = now_us + TICK_US  # whatever has no room now
        if not self._to_look_at:
            self._round_us = now_us
            for viewer in list(self._switches.waiting.values()):
                if viewer.next is not None and viewer.next.stream is None:
                    self._begin(viewer, now_us)
            for viewer in self._switches.overdue(now_us):
                self._finish(viewer, now_us)
            self._to_look_at.extend(self._policy.watched)
        for _ in range(min(MOST_AT_ONCE, len(self._to_look_at))):
            self._look(self._to_look_at.popleft(), now_us)
        if self._to_look_at:
            self._tick_at_us = now_us + BREATH_US
        elif self._switches.waiting or self._policy.watched:
            self._tick_at_us = max(now_us + BREATH_US, self._round_us + TICK_US)
        else:
            self._tick_at_us = None

    def _tick_soon(self, now_us: int) -> None:
        if self._tick_at_us is None:
            self._tick_at_us = now_us + TICK_US

    def _begin(self, viewer: Viewer, now_us: int) -> None:
        """If what it waits for is here, and in its worker."""
        assert viewer.next is not None
        name = version_name(viewer.next.broadcast, viewer.next.version)
        streams = self._streams.of(name)
        if not streams:
            return
        if viewer.link is not None and any(viewer.worker not in s.handles for s in streams):
            if viewer.worker not in self._replicas.workers_of(name):
                self._replicas.add(name, viewer.worker)
            return
        if self._is_another_codec(viewer, name, now_us):
            return
        if self._switches.begin(viewer, streams, now_us):
            self._finish(viewer, now_us)

    def _is_another_codec(self, viewer: Viewer, name: str, now_us: int) -> bool:
        """A player cannot go on with another codec; such a wish ends here."""
        leg = viewer.legs.get(VIDEO)
        to = next((s.track for s in self._streams.of(name) if s.track.media == VIDEO), None)
        if leg is None or to is None:
            return False
        own = leg.stream.track
        if (own.codec, own.clock_rate) == (to.codec, to.clock_rate):
            return False
        text = f"{name} is {to.codec} at {to.clock_rate} Hz, {viewer.broadcast} is {own.codec}"
        self._switches.forget(viewer)
        self._subscriptions.leave_viewer(viewer.number, name, now_us)
        self._report(events.SwitchRefused(viewer.id, name, RefusalCode.UNSUPPORTED, text))
        return True

    def _finish(self, viewer: Viewer, now_us: int) -> None:
        assert viewer.next is not None
        before, was = subscribed(viewer), viewer.broadcast
        version = viewer.version
        self._switches.finish(viewer, self._streams.of(viewer.next.broadcast))
        self._wish(viewer, 0)  # until it is looked at again
        for name in sorted(before - subscribed(viewer)):
            self._subscriptions.leave_viewer(viewer.number, name, now_us)
        if viewer.broadcast != was:
            self._policy.forget(viewer.number)
            self._report(events.ViewerSwitched(viewer.id, viewer.broadcast, was))
        elif viewer.version != version:
            bitrate_bps = self._bitrates(viewer)[viewer.version]
            changed = events.VersionChanged(viewer.id, was, viewer.version, bitrate_bps)
            self._report(changed)

    # -- bitrates

    def _bitrates(self, viewer: Viewer) -> tuple[int, ...]:
        leg = viewer.legs.get(VIDEO)
        return leg.stream.track.bitrates_bps if leg is not None else ()

    def _look(self, number: int, now_us: int) -> None:
        viewer = self._edge.find(number)
        if viewer is None or viewer.link is None or len(self._bitrates(viewer)) < 2:
            self._policy.forget(number)
            if viewer is not None:
                self._wish(viewer, 0)
            return
        standing = Standing(
            viewer.version,
            self._bitrates(viewer),
            self._workers.link_stats(viewer.link).target_bps,
            self._workers.cursor_stats(viewer.legs[VIDEO].cursor).lag_us,
            viewer.next is not None,
        )
        version = self._policy.on_tick(number, standing, now_us)
        self._wish(viewer, self._policy.wished_bps(number, standing, now_us))
        if version is not None:
            self._switches.want(viewer, viewer.broadcast, version)
            name = version_name(viewer.broadcast, version)
            if name == viewer.broadcast:
                self._begin(viewer, now_us)
            else:
                self._ask(viewer, name, now_us)

    def _wish(self, viewer: Viewer, bps: int) -> None:
        """What its link would have to carry for a better version; 0: it is to stay."""
        if viewer.link is not None and bps != viewer.wished_bps:
            self._workers.set_needed_bps(viewer.link, bps)
            viewer.wished_bps = bps


def check_switch(viewer: Viewer) -> None:
    """Raises Refused if it cannot be told to watch something else."""
    if viewer.link is None:
        text = "it is not sent anything yet; a viewer switches from one broadcast to another"
        raise Refused(RefusalCode.BAD_REQUEST, text)
