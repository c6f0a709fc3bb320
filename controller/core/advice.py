"""Who is told of a better path to a broadcast that flows already.

At once: who uses what has just become overloaded; who gets it by a node that says that nothing
comes any more; and the former producer of a broadcast that has moved. Who uses a link that is down,
or a node that is lost, is left to itself for a while: the node behind that link goes on by its
second path within half a second, and for those below it nothing has changed but the way they are
reached. Each period of reports: who gains enough by the rules of `paths/rehome`. A link of which
nothing was ever measured is no reason: after a start without a saved state most are so, and media
flows over them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from control_client.messages import Path
from controller.core.consumers import Consumers
from controller.core.ways import ways
from controller.discovery import NetworkSnapshot, NetworkView
from controller.paths import (
    ActivePath,
    Move,
    MoveReason,
    PathDecision,
    Paths,
    Rehoming,
    StreamBase,
)

_TEXTS = {
    MoveReason.BROKEN: "a link or node of the path is down",
    MoveReason.LAST_RESORT: "an ordinary path is there again",
    MoveReason.CHEAPER: "a cheaper path",
}


# Chosen: a link is down 170 ms after its last packet, a switch over an ocean takes as long again,
# and who gets it from there tells of its new ancestors within a second.
OWN_RECOVERY_US = 1_500_000


@dataclass(frozen=True, slots=True)
class Advised:
    """To be sent. nodes: the best of the paths, producer first."""

    node: str
    broadcast: str
    paths: tuple[Path, ...]
    nodes: tuple[str, ...]
    reason: str


class Advice:
    """repeat_us: the same advice is not given again to the same node before."""

    def __init__(
        self,
        rehoming: Rehoming,
        decision: PathDecision,
        consumers: Consumers,
        streams: StreamBase,
        view: NetworkView,
        repeat_us: int,
    ) -> None:
        self._rehoming = rehoming
        self._decision = decision
        self._consumers = consumers
        self._streams = streams
        self._view = view
        self._repeat_us = repeat_us
        self._given: dict[tuple[str, str], tuple[tuple[str, ...], int]] = {}
        self._moved: dict[tuple[str, str], None] = {}
        self._broken: dict[tuple[str, str], tuple[tuple[str, ...], int]] = {}
        self._looked_us = 0

    def on_moved(self, broadcast: str, former: str) -> None:
        """`former` produced it, and is to get it from where it is produced now."""
        self._moved[former, broadcast] = None
        self._given.pop((former, broadcast), None)

    def on_state(self, node: str, broadcast: str) -> None:
        """The consumer has said something new: what it was told before is settled."""
        self._given.pop((node, broadcast), None)

    def on_lost(self, node: str) -> None:
        for table in (self._given, self._moved, self._broken):
            for key in [key for key in table if key[0] == node]:
                del table[key]

    def next_timer_us(self) -> int | None:
        """When somebody has not recovered by itself: call `urgent`."""
        times = (due_us for _, due_us in self._broken.values() if due_us > self._looked_us)
        return min(times, default=None)

    def urgent(self, now_us: int) -> list[Advised]:
        """For those who cannot wait for the next round."""
        snapshot = self._view.snapshot
        advised = self._for_former_producers(now_us)
        known, self._broken = self._broken, {}
        self._looked_us = now_us
        for consumer in self._consumers.all():
            active = consumer.active
            if active is None or not self._is_troubled(snapshot, active.nodes):
                continue
            key = (active.consumer, active.broadcast)
            nodes, due_us = known.get(key, ((), 0))
            if self._stands_still(active):
                due_us = now_us
            elif nodes != active.nodes:
                due_us = now_us + OWN_RECOVERY_US
            self._broken[key] = (active.nodes, due_us)
            advised += self._advise(active, now_us)
        return advised

    def round(self, now_us: int) -> list[Advised]:
        """For all: the most gainful moves."""
        actives = [c.active for c in self._consumers.all()]
        known = [a for a in actives if a is not None and self._is_measured(a.nodes)]
        known = [a for a in known if not self._is_producer(a)]
        advised = self._for_former_producers(now_us)
        for advice in self._rehoming.round(known, now_us):
            if isinstance(advice, Move):
                advised += self._give(advice, now_us)
        return advised

    def _advise(self, active: ActivePath, now_us: int) -> list[Advised]:
        if self._is_producer(active) or not self._is_measured(active.nodes):
            return []
        advice = self._rehoming.advise(active, now_us, may_hold=False)
        return self._give(advice, now_us) if isinstance(advice, Move) else []

    def _give(self, move: Move, now_us: int) -> list[Advised]:
        """All ways of the answer, of which the best is the move's."""
        active = move.active
        if move.reason is MoveReason.BROKEN and self._may_recover(active, now_us):
            return []
        answer = self._decision.get_path(active.broadcast, active.consumer, now_us)
        if not isinstance(answer, Paths):
            return []
        return self._once(active.consumer, answer, _TEXTS[move.reason], now_us)

    def _for_former_producers(self, now_us: int) -> list[Advised]:
        advised = []
        for former, broadcast in list(self._moved):
            current = self._streams.find(broadcast)
            if current is None or current.producer == former:  # it is over, or back
                del self._moved[former, broadcast]
                continue
            answer = self._decision.get_path(broadcast, former, now_us)
            if not isinstance(answer, Paths):
                continue  # until there is one
            text = f"the broadcaster has moved to {answer.producer}"
            advised += self._once(former, answer, text, now_us)
            del self._moved[former, broadcast]
        return advised

    def _once(self, node: str, answer: Paths, reason: str, now_us: int) -> list[Advised]:
        nodes = answer.paths[0].nodes
        key = (node, answer.broadcast)
        given, at_us = self._given.get(key, ((), 0))
        if given == nodes and now_us < at_us + self._repeat_us:
            return []
        self._given[key] = (nodes, now_us)
        return [Advised(node, answer.broadcast, ways(answer), nodes, reason)]

    def _stands_still(self, active: ActivePath) -> bool:
        """A node of its path has said that it has no other way."""
        found = (self._consumers.find(active.broadcast, node) for node in active.nodes[1:])
        return any(consumer is not None and consumer.state == "lost" for consumer in found)

    def _may_recover(self, active: ActivePath, now_us: int) -> bool:
        _, due_us = self._broken.get((active.consumer, active.broadcast), ((), 0))
        return now_us < due_us

    def _is_producer(self, active: ActivePath) -> bool:
        """The broadcaster has come to the consumer: nothing is to be had elsewhere."""
        broadcast = self._streams.find(active.broadcast)
        return broadcast is None or broadcast.producer == active.consumer

    def _is_measured(self, nodes: tuple[str, ...]) -> bool:
        """Each of its links is up, or known not to be; or a node of it is lost."""
        index = self._view.snapshot.index
        if any(node not in index for node in nodes):
            return True
        return all(self._view.is_known(a, b) for a, b in pairwise(nodes))

    def _is_troubled(self, snapshot: NetworkSnapshot, nodes: tuple[str, ...]) -> bool:
        index = snapshot.index
        if any(node not in index for node in nodes):
            return True
        places = [index[node] for node in nodes]
        if any(snapshot.node_overloaded[p] or snapshot.suspect[p] for p in places[1:-1]):
            return True
        return any(
            snapshot.link_overloaded[link] or snapshot.rtt_us[link] == float("inf")
            for link in pairwise(places)
        )
