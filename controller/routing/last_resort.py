"""Paths over reserved nodes, for pairs that have nothing else.

A small set of well-connected nodes carries nothing but these: producer - reserved node - consumer.
Overload is no obstacle here, only a reason to come later: the alternative is no picture at all.
Source: LiveNet (SIGCOMM 2022) 4.3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controller.routing.k_shortest import IndexPath
from controller.routing.link_cost import RoutingGraph


def last_resort_paths(graph: RoutingGraph, source: int, target: int, k: int) -> list[IndexPath]:
    """At most k: those without overload first, then by cost and index. source != target."""
    state = graph.snapshot
    ranked = []
    for relay in np.flatnonzero(graph.is_reserved).tolist():
        cost_us = graph.cost_us[source, relay] + graph.cost_us[relay, target]
        if np.isinf(cost_us):  # also if the relay is one of the ends
            continue
        is_poor = bool(
            state.node_overloaded[relay]
            or state.suspect[relay]
            or state.link_overloaded[source, relay]
            or state.link_overloaded[relay, target]
        )
        ranked.append((is_poor, IndexPath(int(cost_us), 2, (source, relay, target))))
    return [path for _, path in sorted(ranked)[:k]]


def uncovered_pairs(graph: RoutingGraph) -> NDArray[np.intp]:
    """(M, 2): ordered pairs of ordinary nodes that no reserved node joins; ideally none."""
    reserved = np.flatnonzero(graph.is_reserved)
    into = np.isfinite(graph.cost_us[:, reserved])
    out = np.isfinite(graph.cost_us[reserved, :])
    is_bare = ~(into.astype(np.int32) @ out.astype(np.int32)).astype(np.bool_)
    np.fill_diagonal(is_bare, False)
    is_bare[reserved, :] = False
    is_bare[:, reserved] = False
    return np.argwhere(is_bare)
