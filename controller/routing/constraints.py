"""Why a path may not be used: the rules of LiveNet 4.3, each named."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np

from controller.routing.link_cost import RoutingGraph


class ViolationKind(StrEnum):
    NO_LINK = "no_link"
    OVERLOADED_LINK = "overloaded_link"
    OVERLOADED_NODE = "overloaded_node"
    SUSPECT_NODE = "suspect_node"
    RESERVED_NODE = "reserved_node"
    TOO_MANY_HOPS = "too_many_hops"


@dataclass(frozen=True, slots=True)
class Violation:
    """nodes: the relay, or sender and receiver of the link; empty for TOO_MANY_HOPS."""

    kind: ViolationKind
    nodes: tuple[int, ...] = ()


def violations(graph: RoutingGraph, nodes: tuple[int, ...], max_hops: int) -> tuple[Violation, ...]:
    """All that speaks against a path, in the order of its nodes; the ends may be overloaded."""
    found = []
    if len(nodes) - 1 > max_hops:
        found.append(Violation(ViolationKind.TOO_MANY_HOPS))
    state = graph.snapshot
    for node in nodes[1:-1]:
        if graph.is_reserved[node]:
            found.append(Violation(ViolationKind.RESERVED_NODE, (node,)))
        if state.node_overloaded[node]:
            found.append(Violation(ViolationKind.OVERLOADED_NODE, (node,)))
        if state.suspect[node]:
            found.append(Violation(ViolationKind.SUSPECT_NODE, (node,)))
    for link in pairwise(nodes):
        if np.isinf(graph.cost_us[link]):
            found.append(Violation(ViolationKind.NO_LINK, link))
        elif state.link_overloaded[link]:
            found.append(Violation(ViolationKind.OVERLOADED_LINK, link))
    return tuple(found)
