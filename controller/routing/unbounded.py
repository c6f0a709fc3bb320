"""The k cheapest loop-free paths of any length, for reproducing LiveNet's two steps.

LiveNet finds these first and then drops what is too long or overloaded. This is Yen's scheme: each
further path leaves an earlier one at some node, and what was taken there before is barred. The
search for the rest of a path is guided by the exact costs to the target in the whole graph (A*),
so in a mesh it looks at little more than the path itself.

Source: J. Y. Yen, Management Science 17 (1971).
"""

from __future__ import annotations

import heapq

import numpy as np

from controller.discovery.link_table import BoolArray, FloatArray
from controller.errors import UnknownNodeError
from controller.routing.k_shortest import PATHS_PER_PAIR, IndexPath


class UnboundedSearch:
    """Arguments as those of PathSearch. Of paths that tie for the k-th place, which one is found
    is fixed, but need not be the one with fewest hops."""

    def __init__(
        self, cost_us: FloatArray, may_relay: BoolArray, *, k: int = PATHS_PER_PAIR
    ) -> None:
        self._cost_us = cost_us
        self._may_relay = may_relay
        self._k = k
        self._target = -1
        self._ahead_us: FloatArray = np.zeros(0)

    def pair(self, source: int, target: int) -> list[IndexPath]:
        """Cheapest first; none from a node to itself. Asking target by target saves time.

        Raises UnknownNodeError.
        """
        for node in (source, target):
            if not 0 <= node < len(self._cost_us):
                raise UnknownNodeError(node)
        if source == target:
            return []
        if target != self._target:
            self._target, self._ahead_us = target, self._costs_to(target)
        return self._yen(source)

    def _costs_to(self, target: int) -> FloatArray:
        """(N,): from each node, over any number of relays; 0 at the target."""
        ahead_us = self._cost_us[:, target].copy()
        ahead_us[target] = 0.0
        while True:
            via_us = np.where(self._may_relay, ahead_us, np.inf)
            via_us[target] = 0.0
            nearer_us: FloatArray = np.minimum(ahead_us, (self._cost_us + via_us).min(axis=1))
            if np.array_equal(nearer_us, ahead_us):
                return nearer_us
            ahead_us = nearer_us

    def _yen(self, source: int) -> list[IndexPath]:
        first = self._rest((source,), set())
        if first is None:
            return []
        taken = [self._priced(first)]
        waiting: list[IndexPath] = []
        seen = {first}
        while len(taken) < self._k:
            nodes = taken[-1].nodes
            for length in range(1, len(nodes)):
                root = nodes[:length]
                barred = {p.nodes[length] for p in taken if p.nodes[:length] == root}
                found = self._rest(root, barred)
                if found is not None and found not in seen:
                    seen.add(found)
                    heapq.heappush(waiting, self._priced(found))
            if not waiting:
                break
            taken.append(heapq.heappop(waiting))
        # Equally dear ones may have come in another order.
        return sorted(taken)

    def _priced(self, nodes: tuple[int, ...]) -> IndexPath:
        cost_us = self._cost_us[list(nodes[:-1]), list(nodes[1:])].sum()
        return IndexPath(int(cost_us), len(nodes) - 1, nodes)

    def _rest(self, root: tuple[int, ...], barred: set[int]) -> tuple[int, ...] | None:
        """The cheapest path that begins with `root` and does not go on to a node of `barred`."""
        so_far_us = np.full(len(self._cost_us), np.inf)
        came_from = np.full(len(self._cost_us), -1)
        is_open = self._may_relay.copy()
        is_open[self._target] = True
        is_open[list(root)] = False
        here = root[-1]
        onward_us = np.where(is_open, self._cost_us[here], np.inf)
        onward_us[list(barred)] = np.inf
        here_us = 0.0
        while True:
            better = onward_us + here_us < so_far_us
            so_far_us[better] = onward_us[better] + here_us
            came_from[better] = here
            guess_us = np.where(is_open, so_far_us + self._ahead_us, np.inf)
            here = int(guess_us.argmin())
            if np.isinf(guess_us[here]):
                return None
            if here == self._target:
                break
            is_open[here] = False
            here_us = float(so_far_us[here])
            onward_us = np.where(is_open, self._cost_us[here], np.inf)
        rest = []
        while here != root[-1]:
            rest.append(here)
            here = int(came_from[here])
        return (*root, *reversed(rest))
