"""The paths between nodes, computed when first asked for (LiveNet's PIB).

Bounded search (default): the k cheapest paths of at most three hops among usable links and relays,
one producer to all consumers at a time. Filter-after, as LiveNet has it: the k cheapest of any
length over all links, one pair at a time, of which those against the rules are then dropped.

A new picture of the network takes away only what it can have changed. A producer's paths go if one
of them got worse, or if a link that got better could lie on a path as good as one of them: that is
asked of a lower bound, so it errs only towards computing again. The paths that stay are exactly
those that a search on the new picture would find.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from controller.discovery.link_table import BoolArray, FloatArray
from controller.discovery.snapshot import NetworkSnapshot, empty_snapshot
from controller.errors import InvalidSettingError
from controller.paths.overlay_path import OverlayPath, named
from controller.routing.constraints import violations
from controller.routing.k_shortest import (
    HOP_LIMIT,
    NOBODY,
    PATHS_PER_PAIR,
    IndexPath,
    PathSearch,
    SourcePaths,
)
from controller.routing.last_resort import last_resort_paths
from controller.routing.link_cost import CostConfig, RoutingGraph, build_graph
from controller.routing.unbounded import UnboundedSearch

# Chosen: a better link costs two passes over the cost matrix, a producer's paths about ten.
MAX_BETTER_LINKS = 16


class SearchMode(StrEnum):
    BOUNDED = "bounded"
    FILTER_AFTER = "filter_after"


@dataclass(frozen=True, slots=True)
class PathConfig:
    """last_resort: names of nodes that carry last-resort paths and nothing else.

    max_age_us: paths are computed again after this time even if nothing called for it.
    """

    k: int = PATHS_PER_PAIR
    max_hops: int = HOP_LIMIT
    mode: SearchMode = SearchMode.BOUNDED
    max_age_us: int = 600_000_000  # LiveNet 4.3: its period of Global Routing
    last_resort: frozenset[str] = frozenset()
    cost: CostConfig = field(default_factory=CostConfig)

    def __post_init__(self) -> None:
        if self.k < 1 or not 1 <= self.max_hops <= HOP_LIMIT:
            raise InvalidSettingError(f"k must be at least 1, max_hops 1 to {HOP_LIMIT}")


@dataclass(frozen=True, slots=True)
class Invalidation:
    """What a new picture did to the paths that were held. producers: whose paths went, by name."""

    version: int
    producers: tuple[str, ...]
    kept: int


@dataclass(frozen=True, slots=True)
class PairPaths:
    """paths: usable ones, best first, maybe none. computed_us: when they were searched."""

    paths: tuple[OverlayPath, ...]
    computed_us: int


class _Footprint:
    """Links and relays that one producer's paths use, each once: made once, asked often.

    size: N.
    """

    def __init__(self, found: SourcePaths, size: int) -> None:
        exists = np.isfinite(found.cost_us)
        first, second = found.middle[exists, 0], found.middle[exists, 1]
        target = np.broadcast_to(found.targets[:, None], exists.shape)[exists]
        source = np.full_like(target, found.source)
        one, two = first != NOBODY, second != NOBODY
        last = np.where(two, second, np.where(one, first, source))
        senders = np.concatenate((last, source[one], first[two]))
        receivers = np.concatenate((target, first[one], second[two]))
        links = np.unique(senders * size + receivers)  # numbers: faster to sort than pairs
        self._links = np.divmod(links, size)
        self._relays = np.unique(np.concatenate((first[one], second[two])))

    def is_hit(self, worse: BoolArray, barred: BoolArray) -> bool:
        """Whether one of its links got worse or one of its relays may be none any more."""
        return bool(worse[self._links].any() or barred[self._relays].any())


@dataclass(slots=True)
class _Row:
    """One producer's paths. found: bounded search, pairs: filter-after, by consumer as asked."""

    computed_us: int
    found: SourcePaths | None = None
    footprint: _Footprint | None = None
    pairs: dict[int, list[IndexPath]] = field(default_factory=dict)


class PathBase:
    """Give it each new snapshot; it knows none at first."""

    def __init__(self, config: PathConfig) -> None:
        self.config = config
        self._rows: dict[int, _Row] = {}
        self._use(build_graph(empty_snapshot(), config.cost, config.last_resort))
        self.searches = 0

    def _use(self, graph: RoutingGraph) -> None:
        self.graph = graph
        k = self.config.k
        self._bounded = PathSearch(
            graph.usable_us, graph.may_relay, k=k, max_hops=self.config.max_hops
        )
        self._unbounded = UnboundedSearch(graph.cost_us, ~graph.is_reserved, k=k)
        # Without regard to load: made only when a question needs it.
        self._regardless: PathSearch | None = None

    @property
    def version(self) -> int:
        return self.graph.snapshot.version

    def update(self, snapshot: NetworkSnapshot) -> Invalidation:
        """A new picture: an alarm, a loss, or measurements that moved."""
        old, new = self.graph, build_graph(snapshot, self.config.cost, self.config.last_resort)
        held = {source: old.names[source] for source in self._rows}
        stays = self._unaffected(old, new) if self._rows else set()
        self._rows = {source: row for source, row in self._rows.items() if source in stays}
        self._use(new)
        gone = tuple(sorted(name for source, name in held.items() if source not in stays))
        return Invalidation(snapshot.version, gone, len(stays))

    def reserve(self, last_resort: frozenset[str]) -> None:
        """Other nodes are the last resort from now on: what is held goes."""
        if last_resort != self.config.last_resort:
            self.config = replace(self.config, last_resort=last_resort)
            self._rows.clear()
            self._use(build_graph(self.graph.snapshot, self.config.cost, last_resort))

    def lookup(self, producer: str, consumer: str, now_us: int) -> PairPaths:
        """Raises UnknownNodeError. The producer to itself: none."""
        source, target = self._ends(producer, consumer)
        row = self._rows.get(source)
        if row is None or now_us - row.computed_us >= self.config.max_age_us:
            row = self._rows[source] = _Row(now_us)
        found = self._pair(row, source, target)
        return PairPaths(tuple(named(self.graph, path) for path in found), row.computed_us)

    def last_resort(self, producer: str, consumer: str) -> tuple[OverlayPath, ...]:
        """Over reserved nodes, best first. Raises UnknownNodeError."""
        source, target = self._ends(producer, consumer)
        found = last_resort_paths(self.graph, source, target, self.config.k)
        return tuple(named(self.graph, path) for path in found)

    def regardless_of_load(self, producer: str, consumer: str) -> tuple[IndexPath, ...]:
        """The k cheapest that the rules would leave if nothing were overloaded or suspect: in
        filter-after mode all k that the search gives. Raises UnknownNodeError."""
        source, target = self._ends(producer, consumer)
        if self.config.mode is SearchMode.FILTER_AFTER:
            return tuple(self._unbounded.pair(source, target))
        if self._regardless is None:
            self._regardless = PathSearch(
                self.graph.cost_us,
                ~self.graph.is_reserved,
                k=self.config.k,
                max_hops=self.config.max_hops,
            )
        return tuple(self._regardless.pair(source, target))

    def _ends(self, producer: str, consumer: str) -> tuple[int, int]:
        snapshot = self.graph.snapshot
        return snapshot.index_of(producer), snapshot.index_of(consumer)

    def _pair(self, row: _Row, source: int, target: int) -> list[IndexPath]:
        if self.config.mode is SearchMode.BOUNDED:
            if row.found is None:
                row.found = self._bounded.from_source(source)
                row.footprint = _Footprint(row.found, len(self.graph.names))
                self.searches += 1
            return row.found.paths(target)
        if target not in row.pairs:
            self.searches += 1
            row.pairs[target] = [
                path
                for path in self._unbounded.pair(source, target)
                if not violations(self.graph, path.nodes, self.config.max_hops)
            ]
        return row.pairs[target]

    # What a new picture leaves in place.

    def _unaffected(self, old: RoutingGraph, new: RoutingGraph) -> set[int]:
        if old.names != new.names or self.config.mode is not SearchMode.BOUNDED:
            return set()
        if bool((new.may_relay & ~old.may_relay).any()):
            return set()
        better = np.argwhere(new.usable_us < old.usable_us)
        if len(better) > MAX_BETTER_LINKS:
            return set()
        worse = new.usable_us > old.usable_us
        barred = old.may_relay & ~new.may_relay
        bounds = [_Bound(new.usable_us, sender, receiver) for sender, receiver in better.tolist()]
        return {
            source
            for source, row in self._rows.items()
            if row.found is not None
            and row.footprint is not None
            and not row.footprint.is_hit(worse, barred)
            and not any(bound.may_beat(row.found) for bound in bounds)
        }


class _Bound:
    """The least that a path over one link can cost, from any source to any target.

    Around the link there are at most two more hops, so at most two on either side.
    """

    def __init__(self, usable_us: FloatArray, sender: int, receiver: int) -> None:
        before_us = np.minimum(usable_us[:, sender], (usable_us + usable_us[:, sender]).min(axis=1))
        before_us[sender] = 0.0
        from_us = usable_us[receiver]
        after_us = np.minimum(from_us, (usable_us + from_us[:, None]).min(axis=0))
        after_us[receiver] = 0.0
        self._up_to_us = before_us + usable_us[sender, receiver]
        self._after_us = after_us

    def may_beat(self, found: SourcePaths) -> bool:
        """Also if it would only tie: it may have fewer hops."""
        least_us = self._up_to_us[found.source] + self._after_us
        counts = np.isfinite(least_us) & (least_us <= found.cost_us[:, -1])
        counts[found.source] = False
        return bool(counts.any())
