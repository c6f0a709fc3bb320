"""Which two workers a broadcast goes between: its home here and one of a neighbour's.

The asker names its worker in SUBSCRIBE, the other side its own in OK; each makes the pair's link
when it knows both. A neighbour that knows of no workers is heard and sent to by the first alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from fastpath import EngineFullError
from relay.messages import Ok, Subscribe
from relay.neighbour import Neighbour
from relay.pairs import BLOCKED_US, FIRST_PAIR, Pair
from relay.placement import Placement
from relay.slowpath.subscription import SubscriptionTable
from relay.slowpath.subscription_events import BroadcastState

MOST_LISTENED_TO = 8  # chosen: links for some seconds, against a round trip at the start


class Lanes:
    """Engine errors of making links pass through."""

    def __init__(
        self,
        neighbours: Mapping[str, Neighbour],
        placement: Placement,
        subscriptions: SubscriptionTable,
    ) -> None:
        self._neighbours = neighbours
        self._placement = placement
        self._subscriptions = subscriptions
        # By broadcast and neighbour, the neighbour's worker: that sends it, that is sent it.
        self._sources: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._targets: defaultdict[str, dict[str, int]] = defaultdict(dict)

    def knows(self, peer: str) -> bool:
        """Whether there is a link with it."""
        return peer in self._neighbours

    def has_link(self, peer: str, link: int) -> bool:
        """Whether the engine's link is still one with this neighbour."""
        neighbour = self._neighbours.get(peer)
        return neighbour is not None and (
            link == neighbour.link or neighbour.pairs.pair_of(link) is not None
        )

    def upstream(self, peer: str, broadcast: str) -> int | None:
        """The link that a neighbour delivers it on; None if there is none yet."""
        neighbour = self._neighbours.get(peer)
        return neighbour.link_of(self._upstream_pair(peer, broadcast)) if neighbour else None

    def downstream(self, peer: str, broadcast: str, now_us: int) -> int | None:
        """The link that a neighbour is sent it on; None if there is no such neighbour."""
        if (neighbour := self._neighbours.get(peer)) is None:
            return None
        made = neighbour.use(self.downstream_pair(neighbour, broadcast), broadcast, now_us)
        return made.link if made else neighbour.link

    def downstream_pair(self, neighbour: Neighbour, broadcast: str) -> Pair:
        """The first worker's ring serves those who hear no other."""
        if not neighbour.is_aware:
            return FIRST_PAIR
        target = self._targets.get(broadcast, {}).get(neighbour.name, 0)
        target = target if neighbour.has_worker(target) else 0
        return self._placement.home(broadcast), target

    # -- what neighbours say; only of subscriptions that are held

    def on_subscribe(self, peer: str, message: Subscribe, now_us: int) -> None:
        """A neighbour names the worker that it wants it sent to."""
        neighbour = self._neighbours[peer]
        if message.worker and not neighbour.is_blocked:
            neighbour.is_aware = True
        self._targets[message.broadcast][peer] = message.worker
        pair = self.downstream_pair(neighbour, message.broadcast)
        if message.generation and message.source == pair[0]:
            neighbour.use(pair, message.broadcast, now_us, message.generation)

    def on_ok(self, peer: str, ok: Ok, now_us: int) -> bool:
        """A neighbour names the worker that sends it. True if it should be asked again, as it has
        an older link between the two than this node."""
        neighbour = self._neighbours[peer]
        home = self._placement.home(ok.broadcast)
        if ok.to != home or not neighbour.has_worker(ok.worker):
            return False  # of a time when it lived elsewhere here: the next answer is right
        self._sources[ok.broadcast][peer] = ok.worker
        made = neighbour.use((home, ok.worker), ok.broadcast, now_us, ok.generation)
        return made is not None and made.generation > ok.generation

    # -- what is said to them

    def fill_subscribe(self, peer: str, message: Subscribe, now_us: int) -> Subscribe:
        """Name this node's worker, and the link that it has. As long as it is not known which one
        sends it, all are listened to: media comes before the answer, or with it."""
        neighbour = self._neighbours[peer]
        home, source = self._upstream_pair(peer, message.broadcast)
        is_first = peer not in self._sources.get(message.broadcast, ())
        is_small = len(neighbour.worker_ports) <= MOST_LISTENED_TO
        if is_first and is_small and message.mode != "standby":
            with suppress(EngineFullError):  # then it is repaired
                neighbour.listen(home, now_us)
        if (home, source) == FIRST_PAIR:
            return message
        found = neighbour.pairs.find((home, source))
        return msgspec.structs.replace(
            message, worker=home, source=source, generation=found.generation if found else 0
        )

    def fill_ok(self, peer: str, ok: Ok, now_us: int) -> Ok:
        """Name the worker that sends it, and the link's generation."""
        neighbour = self._neighbours[peer]
        pair = self.downstream_pair(neighbour, ok.broadcast)
        made = neighbour.use(pair, ok.broadcast, now_us)
        if made is None:
            return ok
        return msgspec.structs.replace(ok, worker=pair[0], to=pair[1], generation=made.generation)

    # -- what ends

    def forget(self, broadcast: str) -> None:
        """It is no longer here."""
        self._sources.pop(broadcast, None)
        self._targets.pop(broadcast, None)

    def forget_peer(self, peer: str) -> None:
        """A neighbour has begun anew, or is gone."""
        for named in (*self._sources.values(), *self._targets.values()):
            named.pop(peer, None)

    def blocked(self, neighbour: Neighbour, now_us: int) -> list[str]:
        """Broadcasts that should come between further workers of both nodes, while only the first
        ones hear each other: a firewall or a translation of addresses is in the way."""
        since_us = neighbour.up_since_us
        if since_us is None or now_us - since_us < BLOCKED_US:
            return []
        name = neighbour.name
        if not (silent := neighbour.pairs.silent(now_us)):
            return []
        return [
            broadcast
            for broadcast, sources in self._sources.items()
            if name in sources
            and self._upstream_pair(name, broadcast) in silent
            and (found := self._subscriptions.find(broadcast)) is not None
            and (way := found.on_way(name)) is not None
            and way.state is BroadcastState.LIVE  # else it may have no link there
        ]

    def is_used(self, neighbour: Neighbour, pair: Pair, broadcast: str) -> bool:
        """Whether a broadcast still goes between these two workers."""
        found, name = self._subscriptions.find(broadcast), neighbour.name
        if found is None:
            return False
        is_way = found.on_way(name) is not None and pair == self._upstream_pair(name, broadcast)
        return is_way or (
            name in found.nodes and pair == self.downstream_pair(neighbour, broadcast)
        )

    def _upstream_pair(self, peer: str, broadcast: str) -> Pair:
        return self._placement.home(broadcast), self._sources.get(broadcast, {}).get(peer, 0)
