"""The k cheapest loop-free paths of at most three hops, from one node to all others at once.

Paths are ordered by cost, then fewer hops, then the smaller index at the first place where they
differ: the same graph gives the same paths everywhere.

LiveNet searches k paths of any length and then drops those over three hops (`unbounded.py`); a
pair can lose all. Searching among the allowed ones only loses none, and is faster:

- source - a - b: for each b the k cheapest a, by as many row minima over an (N, N) sum.
- Direct and two-hop paths are merged: their k-th cost bounds what a third hop may cost.
- source - a - b - target: only where the cheapest prefix of b beats that bound. No path has
  a = target; if one of b's k prefixes does, the direct path is cheaper than what comes after
  them, and k paths are found without a (k + 1)-th.

O(k N^2) for one source, in array steps; O(k N^3) for all pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from controller.discovery.link_table import BoolArray, FloatArray
from controller.errors import InvalidSettingError, UnknownNodeError

PATHS_PER_PAIR = 3  # LiveNet 4.3
HOP_LIMIT = 3  # LiveNet 4.3, footnote 6: few places to lose packets or wait
NOBODY = -1

IndexArray: TypeAlias = NDArray[np.int32]


class IndexPath(NamedTuple):
    """Nodes from source to target, by index. Sorts by cost, hops, indices."""

    cost_us: int
    hops: int
    nodes: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SourcePaths:
    """From `source` to each of T targets, cheapest first; K paths each.

    cost_us (T, K): inf = there are no more. middle (T, K, 2): the relays, NOBODY = none.
    """

    source: int
    targets: NDArray[np.intp]
    cost_us: FloatArray
    middle: IndexArray

    def paths(self, position: int) -> list[IndexPath]:
        """To targets[position]."""
        found = []
        for cost_us, middle in zip(self.cost_us[position], self.middle[position], strict=True):
            if np.isfinite(cost_us):
                relays = [int(node) for node in middle if node != NOBODY]
                nodes = (self.source, *relays, int(self.targets[position]))
                found.append(IndexPath(int(cost_us), len(nodes) - 1, nodes))
        return found


@dataclass(frozen=True, slots=True, eq=False)
class AllPaths:
    """cost_us (N, N, K) and middle (N, N, K, 2), as in SourcePaths; row = source."""

    cost_us: FloatArray
    middle: IndexArray

    @property
    def hops(self) -> NDArray[np.int64]:
        """(N, N, K); 0 = no path."""
        hops: NDArray[np.int64] = 1 + (self.middle != NOBODY).sum(axis=-1)
        hops[~np.isfinite(self.cost_us)] = 0
        return hops


class PathSearch:
    """A graph made ready for searches, one at a time: they share memory.

    usable_us (N, N): cost, row = sender, inf = no link, also on the diagonal; whole numbers >= 0.
    may_relay (N,): which nodes may stand between the ends. Raises InvalidSettingError.
    """

    def __init__(
        self,
        usable_us: FloatArray,
        may_relay: BoolArray,
        *,
        k: int = PATHS_PER_PAIR,
        max_hops: int = HOP_LIMIT,
    ) -> None:
        if k < 1:
            raise InvalidSettingError(f"k is {k}, at least 1")
        if not 1 <= max_hops <= HOP_LIMIT:
            raise InvalidSettingError(f"max_hops is {max_hops}, allowed is 1 to {HOP_LIMIT}")
        self._size = len(usable_us)
        self._k = k
        self._max_hops = max_hops
        self._from_us = usable_us
        self._to_us = np.ascontiguousarray(usable_us.T)  # row = receiver
        self._may_relay = may_relay
        self._scratch = np.empty_like(self._to_us)
        self._all = np.arange(self._size)

    def from_source(self, source: int) -> SourcePaths:
        """To every node; there is no path to the source itself. Raises UnknownNodeError."""
        self._check(source)
        return self._search(source, self._all)

    def pair(self, source: int, target: int) -> list[IndexPath]:
        """Cheapest first; none from a node to itself. Raises UnknownNodeError."""
        self._check(source)
        self._check(target)
        return self._search(source, np.array([target], np.intp)).paths(0)

    def all_pairs(self) -> AllPaths:
        cost_us = np.empty((self._size, self._size, self._k))
        middle = np.empty((self._size, self._size, self._k, 2), np.int32)
        for source in range(self._size):
            found = self._search(source, self._all)
            cost_us[source] = found.cost_us
            middle[source] = found.middle
        return AllPaths(cost_us, middle)

    def _check(self, node: int) -> None:
        if not 0 <= node < self._size:
            raise UnknownNodeError(node)

    def _search(self, source: int, targets: NDArray[np.intp]) -> SourcePaths:
        prefix_us, prefix = self._prefixes(source)
        cost_us, middle = self._up_to_two_hops(source, targets, prefix_us, prefix)
        here = targets == source
        cost_us[here] = np.inf
        middle[here] = NOBODY
        if self._max_hops == HOP_LIMIT:
            self._add_three_hops(source, targets, prefix_us, prefix, cost_us, middle)
        return SourcePaths(source, targets, cost_us, middle)

    def _prefixes(self, source: int) -> tuple[FloatArray, IndexArray]:
        """source - a - b: (N, k) costs and a for each b, cheapest and then smallest a first."""
        costs = np.full((self._size, self._k), np.inf)
        relays = np.full((self._size, self._k), NOBODY, np.int32)
        if self._max_hops < 2 or self._size == 0:
            return costs, relays
        first_us = np.where(self._may_relay, self._from_us[source], np.inf)
        total_us = np.add(self._to_us, first_us, out=self._scratch)
        for rank in range(self._k):
            best = total_us.argmin(axis=1)
            costs[:, rank] = total_us[self._all, best]
            relays[:, rank] = best
            total_us[self._all, best] = np.inf
        relays[np.isinf(costs)] = NOBODY
        return costs, relays

    def _up_to_two_hops(
        self,
        source: int,
        targets: NDArray[np.intp],
        prefix_us: FloatArray,
        prefix: IndexArray,
    ) -> tuple[FloatArray, IndexArray]:
        """The k cheapest. Direct stands first and the order is stable: fewer hops win a tie."""
        direct_us = self._from_us[source, targets]
        cost_us = np.column_stack((direct_us, prefix_us[targets]))
        relay = np.column_stack((np.full(len(targets), NOBODY), prefix[targets]))
        order = np.argsort(cost_us, axis=1, kind="stable")[:, : self._k]
        middle = np.full((len(targets), self._k, 2), NOBODY, np.int32)
        middle[:, :, 0] = np.take_along_axis(relay, order, axis=1)
        return np.take_along_axis(cost_us, order, axis=1), middle

    def _add_three_hops(
        self,
        source: int,
        targets: NDArray[np.intp],
        prefix_us: FloatArray,
        prefix: IndexArray,
        cost_us: FloatArray,
        middle: IndexArray,
    ) -> None:
        """Merge them into `cost_us` and `middle`, in place."""
        bound_us = cost_us[:, -1].copy()
        bound_us[targets == source] = -np.inf
        start_us = np.where(self._may_relay, prefix_us[:, 0], np.inf)
        start_us[source] = np.inf
        last_us = self._to_us if len(targets) == self._size else self._to_us[targets]
        # Strictly: at equal cost the path with fewer hops stays.
        row, second = np.nonzero(last_us + start_us < bound_us[:, None])
        if len(row) == 0:
            return
        total_us = prefix_us[second] + last_us[row, second][:, None]
        fits = (total_us < bound_us[row][:, None]) & (prefix[second] != targets[row][:, None])
        hit, rank = np.nonzero(fits)
        row, second = row[hit], second[hit]
        first, total_us = prefix[second, rank], total_us[hit, rank]
        order = np.lexsort((second, first, total_us, row))
        row, first, second, total_us = row[order], first[order], second[order], total_us[order]
        touched, begin = np.unique(row, return_index=True)
        place = np.arange(len(row)) - np.repeat(begin, np.diff(np.append(begin, len(row))))
        best = place < self._k
        slot, place = np.searchsorted(touched, row[best]), place[best]

        # Both lists side by side, the shorter paths first; the order is stable.
        both_us = np.full((len(touched), 2 * self._k), np.inf)
        both = np.full((len(touched), 2 * self._k, 2), NOBODY, np.int32)
        both_us[:, : self._k] = cost_us[touched]
        both[:, : self._k] = middle[touched]
        both_us[slot, self._k + place] = total_us[best]
        both[slot, self._k + place, 0] = first[best]
        both[slot, self._k + place, 1] = second[best]
        order = np.argsort(both_us, axis=1, kind="stable")[:, : self._k]
        cost_us[touched] = np.take_along_axis(both_us, order, axis=1)
        middle[touched] = np.take_along_axis(both, order[:, :, None], axis=1)
