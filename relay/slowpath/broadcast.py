"""One broadcast at this node: where it comes from and who wants it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from relay.messages import Ok, Subscribe, Track
from relay.slowpath.path_monitor import PathMonitor
from relay.slowpath.path_wish import PathWish
from relay.slowpath.routes import Path, Paths
from relay.slowpath.subscription_events import BroadcastState
from relay.slowpath.upstream import EXPIRY_US, UpstreamSubscription

LINGER_US = 2_000_000  # chosen: a viewer who reloads the page finds the stream still here


@dataclass(slots=True)
class NodeSubscriber:
    """A neighbour's subscription. is_paused: a standby, which gets OK but no cursor. is_copy: it
    has another way. wanted: by stream id, where its cursors are to begin. starts: where they did;
    None = not yet."""

    peer: str
    transaction: int
    expires_us: int
    is_paused: bool = False
    is_copy: bool = False
    wanted: dict[int, int] = field(default_factory=dict)
    starts: dict[int, int | None] = field(default_factory=dict)
    is_answered: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether OK can be said, of an active one."""
        return bool(self.starts) and None not in self.starts.values()

    def refresh(self, now_us: int) -> None:
        """It is still wanted."""
        self.expires_us = now_us + EXPIRY_US


@dataclass(slots=True)
class Switching:
    """A change of upstream that has not delivered yet. owes_notice: neighbours have not been told
    that the stream stands still; they are if this takes longer than it should."""

    reason: str
    before: str
    since_us: int
    owes_notice: bool = True


@dataclass(slots=True, eq=False)
class Broadcast:
    """Local (it starts here), from upstream, or waiting for a path to either.

    tracks: what this node carries, empty until that is known and while everything is paused.
    standby: a second way, paused, or with copies for premium viewers. successor: the one that is to
    replace `upstream` once it delivers, and did so with a gap of successor_gap_us (None: not yet).
    paths: all that are known, best first; tried: those that have failed since it was last live;
    avoided: first hops that refused to stand by. viewers: by id, whether it has been told; premium:
    those of them who are to get what one way loses from another. told_copies: what was last told.
    indexed: stream ids that it is known by.
    """

    name: str
    tracks: tuple[Track, ...] = ()
    is_local: bool = False
    upstream: UpstreamSubscription | None = None
    standby: UpstreamSubscription | None = None
    successor: UpstreamSubscription | None = None
    successor_gap_us: int | None = None
    switching: Switching | None = None
    paths: Paths = ()
    visited: tuple[str, ...] = ()
    tried: set[tuple[str, ...]] = field(default_factory=set)
    avoided: set[str] = field(default_factory=set)
    wish: PathWish = field(default_factory=PathWish)
    nodes: dict[str, NodeSubscriber] = field(default_factory=dict)
    viewers: dict[int, bool] = field(default_factory=dict)
    premium: set[int] = field(default_factory=set)
    told_copies: tuple[tuple[str, ...], bool] = ((), False)
    indexed: set[int] = field(default_factory=set)
    linger_until_us: int | None = None
    told_state: BroadcastState | None = None
    monitor: PathMonitor = field(default_factory=PathMonitor)

    @property
    def subscriptions(self) -> list[UpstreamSubscription]:
        """All of its ways, each over another neighbour."""
        ways = (self.upstream, self.standby, self.successor)
        return [way for way in ways if way is not None]

    @property
    def copies(self) -> UpstreamSubscription | None:
        """The way that brings everything once more."""
        return self.standby if self.standby is not None and self.standby.is_copy else None

    @property
    def second_peer(self) -> str | None:
        """Where it may come from beside the upstream: two ways at a time, so that copies rest while
        a better way takes over."""
        second = self.successor or self.copies
        return second.peer if second is not None else None

    @property
    def has_disjoint_copies(self) -> bool:
        """What they come over has nothing to do with what else comes, but for the producer."""
        copies = self.copies
        return copies is not None and not set(copies.ancestors[1:]) & set(self.ancestors[1:])

    @property
    def is_moving(self) -> bool:
        """It started here, but its broadcaster is elsewhere: served until it comes from there."""
        return self.is_local and self.upstream is not None

    @property
    def is_paused(self) -> bool:
        """This node only stands by for others."""
        return not self.is_local and self.upstream is not None and self.upstream.is_paused

    @property
    def known_tracks(self) -> tuple[Track, ...]:
        """What it consists of, also where nothing flows."""
        return self.tracks or (self.upstream.tracks if self.upstream else ())

    @property
    def ancestors(self) -> tuple[str, ...]:
        """The nodes it came through, the producer first; without this one."""
        return self.upstream.ancestors if self.upstream and not self.is_local else ()

    @property
    def state(self) -> BroadcastState:
        """A local one is live even while its encoder is silent."""
        if self.is_local:
            return BroadcastState.LIVE
        if self.upstream is None:
            return BroadcastState.ASKING
        if self.is_paused:
            is_kept = self.upstream.state is BroadcastState.LIVE
            return BroadcastState.STANDBY if is_kept else BroadcastState.ASKING
        if self.upstream.state is BroadcastState.ASKING and self.tracks:
            return BroadcastState.LOST  # it was here, and is being asked for elsewhere
        return self.upstream.state

    @property
    def is_here(self) -> bool:
        """Whether a new subscriber can be served from it now."""
        return bool(self.tracks) and self.state is not BroadcastState.ENDED

    @property
    def is_settled(self) -> bool:
        """OK can be said of it: what it is made of is known, and nobody is being asked if he has
        it."""
        if self.is_local or self.upstream is None:
            return self.is_local
        is_open = self.upstream.state in (BroadcastState.ASKING, BroadcastState.ENDED)
        return bool(self.known_tracks) and not is_open

    @property
    def is_stuck(self) -> bool:
        """It was here, and nobody is being asked who might have it."""
        upstream = self.upstream
        return not self.is_local and upstream is not None and upstream.state is BroadcastState.LOST

    def needs(self, path: Path) -> bool:
        """It is stuck, or has ended at another producer than the one this path leads to."""
        upstream = self.upstream
        if self.is_local or upstream is None or upstream.state is not BroadcastState.ENDED:
            return self.is_stuck
        return path[-1] != upstream.route.via[-1]

    def on_way(self, peer: str) -> UpstreamSubscription | None:
        """The way over this neighbour."""
        return next((way for way in self.subscriptions if way.peer == peer), None)

    def feeds(self, peer: str) -> bool:
        """Whether it gets the stream from here alone: asking it would only be refused as a loop."""
        node = self.nodes.get(peer)
        return node is not None and not node.is_paused and not node.is_copy

    def loop_with(self, peer: str, before: Iterable[str]) -> str | None:
        """Why `peer`, asking on behalf of `before`, would feed itself; None if it would not."""
        if self.is_local or self.upstream is None:
            return None
        source = self.upstream.peer
        if source == peer or peer in self.ancestors:
            return f"{peer} is an ancestor of {self.name} here"
        if source in before:
            return f"{source} is where {self.name} comes from here"
        return None

    def ok_for(self, node: NodeSubscriber, own_name: str) -> Ok:
        """The answer to a neighbour; `node.is_ready`, or it is paused."""
        tracks = []
        for track in self.known_tracks:
            first = node.starts.get(track.stream_id)
            first = track.first_stream_seq if first is None else first
            tracks.append(msgspec.structs.replace(track, first_stream_seq=first))
        state = self.upstream.state if self.is_paused and self.upstream else self.state
        return Ok(
            transaction=node.transaction,
            broadcast=self.name,
            tracks=tuple(tracks),
            ancestors=(*self.ancestors, own_name),
            state="live" if state is BroadcastState.LIVE else "lost",
        )

    def has_active_subscribers(self) -> bool:
        """Whether media is wanted here."""
        return bool(self.viewers) or any(not node.is_paused for node in self.nodes.values())

    def update_linger(self, now_us: int) -> None:
        """Start or stop the time after which what nobody wants goes: the streams, or everything."""
        is_wanted = self.has_active_subscribers() or (self.is_paused and bool(self.nodes))
        if is_wanted or self.is_local:
            self.linger_until_us = None
        elif self.linger_until_us is None:
            self.linger_until_us = now_us + LINGER_US

    def next_timer_us(self) -> int | None:
        """The earliest of everything that waits for time."""
        times = [node.expires_us for node in self.nodes.values()]
        times += [way.next_timer_us() for way in self.subscriptions]
        times += [t for t in (self.linger_until_us, self.wish.next_timer_us()) if t is not None]
        return min(times, default=None)


def path_fault(message: Subscribe, peer: str, own_name: str) -> str | None:
    """What is wrong with the way a SUBSCRIBE came and wants to go, or None."""
    way = (*message.visited, own_name, *message.path)
    if not message.visited or message.visited[-1] != peer:
        return f"the last node visited is not {peer}"
    if len(set(way)) != len(way):
        return "the path visits a node twice: " + " ".join(way)
    return None
