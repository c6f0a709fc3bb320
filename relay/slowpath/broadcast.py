"""One broadcast at this node: where it comes from and who wants it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from relay.messages import Ok, Subscribe, Track
from relay.slowpath.subscription_events import BroadcastState
from relay.slowpath.upstream import EXPIRY_US, UpstreamSubscription

LINGER_US = 2_000_000  # chosen: a viewer who reloads the page finds the stream still here


@dataclass(slots=True)
class NodeSubscriber:
    """A neighbour's subscription. starts: by stream id, where its cursor began; None = not yet."""

    peer: str
    transaction: int
    expires_us: int
    starts: dict[int, int | None] = field(default_factory=dict)

    @property
    def is_ready(self) -> bool:
        """Whether OK can be said."""
        return bool(self.starts) and None not in self.starts.values()

    def refresh(self, now_us: int) -> None:
        """It is still wanted."""
        self.expires_us = now_us + EXPIRY_US


@dataclass(slots=True, eq=False)
class Broadcast:
    """Local (it starts here) or from upstream. viewers: by id, whether it has been told."""

    name: str
    local_tracks: tuple[Track, ...] = ()
    upstream: UpstreamSubscription | None = None
    nodes: dict[str, NodeSubscriber] = field(default_factory=dict)
    viewers: dict[int, bool] = field(default_factory=dict)
    linger_until_us: int | None = None

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Its streams, empty until they are known."""
        return self.upstream.tracks if self.upstream else self.local_tracks

    @property
    def ancestors(self) -> tuple[str, ...]:
        """The nodes it came through, the producer first; without this one."""
        return self.upstream.ancestors if self.upstream else ()

    @property
    def state(self) -> BroadcastState:
        """A local one is live even while its encoder is silent."""
        return self.upstream.state if self.upstream else BroadcastState.LIVE

    @property
    def is_here(self) -> bool:
        """Whether a new subscriber can be served from it now."""
        return bool(self.tracks) and self.state is not BroadcastState.ENDED

    def loop_with(self, peer: str, before: Iterable[str]) -> str | None:
        """Why `peer`, asking on behalf of `before`, would feed itself; None if it would not."""
        if self.upstream is None:
            return None
        source = self.upstream.route.peer
        if source == peer or peer in self.ancestors:
            return f"{peer} is an ancestor of {self.name} here"
        if source in before:
            return f"{source} is where {self.name} comes from here"
        return None

    def ok_for(self, node: NodeSubscriber, own_name: str) -> Ok:
        """The answer to a neighbour; `node.is_ready`."""
        tracks = (
            msgspec.structs.replace(track, first_stream_seq=node.starts[track.stream_id])
            for track in self.tracks
        )
        return Ok(
            transaction=node.transaction,
            broadcast=self.name,
            tracks=tuple(tracks),
            ancestors=(*self.ancestors, own_name),
            state="live" if self.state is BroadcastState.LIVE else "lost",
        )

    def update_linger(self, now_us: int) -> None:
        """Start or stop the time after which an unwanted broadcast goes."""
        if self.nodes or self.viewers or self.upstream is None:
            self.linger_until_us = None
        elif self.linger_until_us is None:
            self.linger_until_us = now_us + LINGER_US

    def next_timer_us(self) -> int | None:
        """The earliest of everything that waits for time."""
        times = [node.expires_us for node in self.nodes.values()]
        if self.upstream is not None:
            times.append(self.upstream.next_timer_us())
        if self.linger_until_us is not None:
            times.append(self.linger_until_us)
        return min(times, default=None)


def path_fault(message: Subscribe, peer: str, own_name: str) -> str | None:
    """What is wrong with the way a SUBSCRIBE came and wants to go, or None."""
    way = (*message.visited, own_name, *message.path)
    if not message.visited or message.visited[-1] != peer:
        return f"the last node visited is not {peer}"
    if len(set(way)) != len(way):
        return "the path visits a node twice: " + " ".join(way)
    return None
