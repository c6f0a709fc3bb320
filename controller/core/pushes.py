"""Paths that nodes are sent before anybody asks: to broadcasts that are popular or about to be."""

from __future__ import annotations

from control_client.messages import MAX_PUSHED
from controller.core.picture import NewPicture
from controller.core.tables import PushedPaths
from controller.core.ways import ways
from controller.paths import PathDecision, PathKind, Paths, Popularity, StreamBase


class Pushes:
    """Which broadcasts, and for each node which ways."""

    def __init__(self, popularity: Popularity, streams: StreamBase, decision: PathDecision) -> None:
        self._popularity = popularity
        self._streams = streams
        self._decision = decision
        self.popular: tuple[str, ...] = ()

    def update(self, now_us: int) -> bool:
        """Who is popular now. Returns whether that has changed."""
        before = self.popular
        self.popular = self._popularity.update(now_us)[:MAX_PUSHED]
        return self.popular != before

    def concerns(self, broadcast: str) -> bool:
        """Whether its paths are pushed."""
        return broadcast in self.popular

    def wanted(self, now_us: int) -> PushedPaths:
        """By node and broadcast; without those whose node is the producer. Only ordinary paths:
        those through overload are for whom has no other, at the time they ask."""
        paths: PushedPaths = {}
        for name in self.popular:
            for answer in self._decision.to_all_nodes(name, now_us):
                if not isinstance(answer, Paths) or answer.consumer == answer.producer:
                    continue
                if answer.kind is PathKind.ORDINARY:
                    paths.setdefault(answer.consumer, {})[name] = ways(answer)
        return paths

    def are_changed_by(self, new: NewPicture) -> bool:
        """Whether paths that are pushed may be others now."""
        if new.changes.joined or new.changes.left:
            return bool(self.popular)
        found = (self._streams.find(name) for name in self.popular)
        producers = {broadcast.producer for broadcast in found if broadcast is not None}
        return not producers.isdisjoint(new.invalidation.producers)
