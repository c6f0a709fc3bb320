"""Who gets which broadcast, and which way: what nodes say of their subscriptions.

A path is known by its nodes, producer first, from the consumer's `ancestors`. A node that only
feeds others is no consumer of its own: who watches behind it decides about paths.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from control_client.messages import BroadcastStateName, StreamReport, SubscriptionState
from controller.paths import ActivePath


@dataclass(frozen=True, slots=True)
class Consumer:
    """One broadcast at one node. nodes: the way it comes, producer first, the node last; empty if
    not known yet. since_us: that way was taken then."""

    broadcast: str
    node: str
    state: BroadcastStateName
    nodes: tuple[str, ...]
    viewers: int
    subscribers: int
    since_us: int

    @property
    def active(self) -> ActivePath | None:
        """None: it has no upstream, or only feeds or stands by for others."""
        only_feeds = self.viewers == 0 and self.subscribers > 0
        if len(self.nodes) < 2 or only_feeds or self.state not in ("live", "lost"):
            return None
        return ActivePath(self.broadcast, self.nodes, self.since_us)


class Consumers:
    """Of all nodes."""

    def __init__(self) -> None:
        self._by_node: dict[str, dict[str, Consumer]] = {}

    def on_joined(
        self, node: str, states: tuple[SubscriptionState, ...], now_us: int
    ) -> dict[str, int]:
        """All it has; what it had and does not list is over. Returns the views that began."""
        before = self._by_node.pop(node, {})
        kept = {state.broadcast for state in states}
        self._by_node[node] = {name: known for name, known in before.items() if name in kept}
        return {state.broadcast: self.on_state(node, state, now_us) for state in states}

    def on_state(self, node: str, state: SubscriptionState, now_us: int) -> int:
        """One of them has changed. Returns the views that began."""
        own = self._by_node.setdefault(node, {})
        known = own.get(state.broadcast)
        if state.state == "ended":
            own.pop(state.broadcast, None)
            return 0
        nodes = (*state.ancestors, node) if state.ancestors else ()
        is_same = known is not None and known.nodes == nodes
        own[state.broadcast] = Consumer(
            state.broadcast,
            node,
            state.state,
            nodes,
            state.viewers,
            state.subscribers,
            known.since_us if known is not None and is_same else now_us,
        )
        return max(0, state.viewers - (known.viewers if known else 0))

    def on_counts(self, node: str, report: StreamReport) -> int:
        """Viewers and subscribers, as a report has them. Returns the views that began."""
        known = self._by_node.get(node, {}).get(report.broadcast)
        if known is None:
            return 0
        counted = replace(known, viewers=report.viewers, subscribers=report.subscribers)
        self._by_node[node][report.broadcast] = counted
        return max(0, report.viewers - known.viewers)

    def on_lost(self, node: str) -> None:
        self._by_node.pop(node, None)

    def find(self, broadcast: str, node: str) -> Consumer | None:
        return self._by_node.get(node, {}).get(broadcast)

    def of(self, broadcast: str) -> tuple[Consumer, ...]:
        """All of one broadcast, by node."""
        found = (own.get(broadcast) for _, own in sorted(self._by_node.items()))
        return tuple(consumer for consumer in found if consumer is not None)

    def all(self) -> Iterator[Consumer]:
        """In a fixed order."""
        for _, own in sorted(self._by_node.items()):
            for _, consumer in sorted(own.items()):
                yield consumer
