"""A path by the names of its nodes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from controller.routing.k_shortest import IndexPath
from controller.routing.link_cost import RoutingGraph


@dataclass(frozen=True, slots=True)
class OverlayPath:
    """nodes: producer first, consumer last; a single one is the path of no hop, which costs 0."""

    nodes: tuple[str, ...]
    hop_costs_us: tuple[int, ...]

    @property
    def cost_us(self) -> int:
        return sum(self.hop_costs_us)

    @property
    def hops(self) -> int:
        return len(self.hop_costs_us)


def named(graph: RoutingGraph, path: IndexPath) -> OverlayPath:
    """With the costs of this graph."""
    costs_us = tuple(int(graph.cost_us[link]) for link in pairwise(path.nodes))
    return OverlayPath(tuple(graph.names[node] for node in path.nodes), costs_us)
