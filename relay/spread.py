"""What follows when neighbours say which workers they have, and which one a broadcast goes to.

Between the messages and `lanes`, which remembers, `node_streams`, which has the cursors and rings,
and the subscriptions, which ask and answer again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from fastpath import EngineFullError
from relay import events
from relay.lanes import Lanes
from relay.messages import Message, Ok, Subscribe, WorkerPorts
from relay.neighbour import Neighbour
from relay.node_streams import NodeStreams
from relay.pairs import Pair
from relay.placement import Placement
from relay.slowpath.subscription import SubscriptionTable


class Spread:
    """carry_out: what the subscriptions want. report: an event of the node. full: tell that a table
    is. Engine errors of `follow` and `name_workers` pass through."""

    def __init__(
        self,
        neighbours: Mapping[str, Neighbour],
        subscriptions: SubscriptionTable,
        carried: NodeStreams,
        placement: Placement,
        lanes: Lanes,
        *,
        carry_out: Callable[[int], None],
        report: Callable[[events.NodeEvent], None],
        full: Callable[[EngineFullError], str],
    ) -> None:
        self._neighbours = neighbours
        self._subscriptions = subscriptions
        self._carried = carried
        self._placement = placement
        self._lanes = lanes
        self._carry_out = carry_out
        self._report = report
        self._full = full

    def on_worker_ports(self, neighbour: Neighbour, message: WorkerPorts, now_us: int) -> None:
        """Which workers a neighbour has; what waited for that, and what it can be sent better."""
        was_aware = neighbour.is_aware
        is_new = neighbour.on_worker_ports(message)
        if was_aware != neighbour.is_aware:
            self._move_all(neighbour, now_us)
        if is_new:
            self._subscriptions.on_link_up(neighbour.name, now_us)

    def sweep(self, neighbour: Neighbour, now_us: int) -> None:
        """Links of further workers that nothing takes, or that nothing comes on."""
        if self._lanes.blocked(neighbour, now_us):
            neighbour.block()
            self._report(events.WorkersBlocked(neighbour.name))
            self._move_all(neighbour, now_us)
        neighbour.pairs.sweep(partial(self._is_used, neighbour), now_us)

    def follow(self, peer: str, message: Subscribe | Ok, now_us: int) -> None:
        """Of a subscription that is held, the neighbour has named its worker."""
        broadcast = self._subscriptions.find(message.broadcast)
        if broadcast is None:
            return
        if isinstance(message, Subscribe):
            node = broadcast.nodes.get(peer)
            if node is not None and node.transaction == message.transaction:
                self._say_blocked_again(peer, message)
                self._lanes.on_subscribe(peer, message, now_us)
                self._carry_out(now_us)
                self._move_cursors(peer, broadcast.name, now_us)
            return
        way = broadcast.on_way(peer)
        if way is None or way.transaction != message.transaction:
            return
        self._say_blocked_again(peer, message)
        if self._lanes.on_ok(peer, message, now_us):
            self._subscriptions.ask_again(peer, broadcast.name, now_us)
        self._carry_out(now_us)
        if (upstream := broadcast.upstream) is not None and not upstream.is_paused:
            self._carried.follow_lane(broadcast.name, upstream.peer, broadcast.second_peer)

    def name_workers(self, neighbour: Neighbour, message: Message, now_us: int) -> Message:
        """Named the workers that the broadcast is to go between."""
        peer = neighbour.name
        if isinstance(message, Ok):
            return self._lanes.fill_ok(peer, message, now_us)
        if not isinstance(message, Subscribe):
            return message
        name = message.broadcast
        is_deaf = self._placement.home(name) != 0 and not neighbour.is_aware
        if is_deaf and message.mode != "standby":
            self._move_home(name, 0, now_us)  # that is where it sends
        return self._lanes.fill_subscribe(peer, message, now_us)

    # -- inside

    def _is_used(self, neighbour: Neighbour, pair: Pair, broadcast: str) -> bool:
        """Whether a broadcast goes between these two workers, or has cursors there still."""
        link = neighbour.link_of(pair)
        return self._lanes.is_used(neighbour, pair, broadcast) or (
            self._carried.is_sent_on(neighbour.name, broadcast, link)
        )

    def _say_blocked_again(self, peer: str, message: Subscribe | Ok) -> None:
        """It names a further worker: it has not heard yet that these are not to be used."""
        neighbour = self._neighbours[peer]
        is_used = isinstance(message, Ok) or message.mode == "active"
        if neighbour.is_blocked and message.worker and is_used:
            neighbour.block()

    def _move_all(self, neighbour: Neighbour, now_us: int) -> None:
        """It is, or is no longer, one whose further workers are heard."""
        name = neighbour.name
        if not neighbour.is_aware:
            self._lanes.forget_peer(name)
        for broadcast in tuple(self._subscriptions.broadcasts):
            if name in broadcast.nodes:
                self._move_cursors(name, broadcast.name, now_us)
            if not neighbour.is_aware and broadcast.on_way(name) is not None:
                self._subscriptions.ask_again(name, broadcast.name, now_us)

    def _move_home(self, name: str, worker: int, now_us: int) -> None:
        """And let those who send it know."""
        self._carried.move_home(name, worker, now_us)
        broadcast = self._subscriptions.find(name)
        if broadcast is None or broadcast.upstream is None or broadcast.is_local:
            return
        if not broadcast.upstream.is_paused:
            self._carried.follow_lane(name, broadcast.upstream.peer, broadcast.second_peer)
        for way in broadcast.subscriptions:
            if (peer := self._neighbours.get(way.peer)) is not None and peer.is_aware:
                self._subscriptions.ask_again(way.peer, name, now_us)

    def _move_cursors(self, peer: str, broadcast: str, now_us: int) -> None:
        try:
            has_moved = self._carried.move_cursors(peer, broadcast, now_us)
        except EngineFullError as error:
            text = self._full(error)
            for stream in self._carried.registry.of(broadcast):  # the first refuses it whole
                stream_id = stream.track.stream_id
                self._subscriptions.on_cursor_refused(peer, stream_id, text, now_us)
            return
        if has_moved:
            self._subscriptions.answer_again(peer, broadcast)
