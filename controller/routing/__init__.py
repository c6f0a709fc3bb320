"""Costs of links and the cheapest paths over them: pure functions over arrays."""

from controller.routing.constraints import Violation, ViolationKind, violations
from controller.routing.k_shortest import (
    HOP_LIMIT,
    PATHS_PER_PAIR,
    AllPaths,
    IndexPath,
    PathSearch,
    SourcePaths,
)
from controller.routing.last_resort import last_resort_paths, uncovered_pairs
from controller.routing.link_cost import CostConfig, RoutingGraph, build_graph, overload_penalty
from controller.routing.unbounded import UnboundedSearch

__all__ = [
    "HOP_LIMIT",
    "PATHS_PER_PAIR",
    "AllPaths",
    "CostConfig",
    "IndexPath",
    "PathSearch",
    "RoutingGraph",
    "SourcePaths",
    "UnboundedSearch",
    "Violation",
    "ViolationKind",
    "build_graph",
    "last_resort_paths",
    "overload_penalty",
    "uncovered_pairs",
    "violations",
]
