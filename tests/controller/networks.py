"""Networks to route over: by hand, random, and the measured one of 242 cities."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from itertools import pairwise, permutations

import numpy as np

from controller.discovery import NetworkSnapshot
from controller.discovery.link_table import BoolArray, FloatArray
from controller.routing import IndexPath
from lab.cities import cities, rtt_us
from lab.errors import NoMeasurementError


def snapshot(
    names: str,
    rtt_ms: Mapping[str, float],
    *,
    version: int = 1,
    load: Mapping[str, float] | None = None,
    utilisation: Mapping[str, float] | None = None,
    loss: Mapping[str, float] | None = None,
    overloaded: str = "",
    suspect: str = "",
) -> NetworkSnapshot:
    """names: one letter a node. rtt_ms: {"AB": 10} both ways, {"A>B": ...} one way. utilisation,
    loss: {"AB": ...} of the link A -> B. overloaded: "C AB" the node C and the link A -> B."""
    size = len(names)
    rtt_us_, loss_, used = np.full((size, size), np.inf), *np.zeros((2, size, size))
    for link, value in rtt_ms.items():
        a, b = (names.index(node) for node in (link[0], link[-1]))
        rtt_us_[a, b] = value * 1000
        if ">" not in link:
            rtt_us_[b, a] = value * 1000
    for table, values in ((loss_, loss), (used, utilisation)):
        for link, value in (values or {}).items():
            table[names.index(link[0]), names.index(link[1])] = value
    node_load = np.array([(load or {}).get(node, 0.0) for node in names])
    node_overloaded = np.zeros(size, np.bool_)
    link_overloaded = np.zeros((size, size), np.bool_)
    for word in overloaded.split():
        if len(word) == 1:
            node_overloaded[names.index(word)] = True
        else:
            link_overloaded[names.index(word[0]), names.index(word[1])] = True
    return NetworkSnapshot(
        version=version,
        names=tuple(names),
        rtt_us=rtt_us_,
        loss=loss_,
        utilisation=used,
        link_overloaded=link_overloaded,
        node_load=node_load,
        node_overloaded=node_overloaded,
        suspect=np.array([node in suspect for node in names], np.bool_),
    )


def random_costs(
    rng: np.random.Generator, size: int, *, highest: int, missing: float = 0.2
) -> FloatArray:
    """Whole numbers from 1; a low `highest` makes many ties."""
    costs = rng.integers(1, highest + 1, (size, size)).astype(np.float64)
    costs[rng.random((size, size)) < missing] = np.inf
    np.fill_diagonal(costs, np.inf)
    return costs


def brute_force(
    costs: FloatArray, may_relay: BoolArray, source: int, target: int, k: int, max_hops: int
) -> list[IndexPath]:
    """All loop-free paths, sorted."""
    if source == target:
        return []
    relays = [v for v in range(len(costs)) if v not in (source, target) and may_relay[v]]
    found = []
    for count in range(min(max_hops, len(relays) + 1)):
        for middle in permutations(relays, count):
            nodes = (source, *middle, target)
            cost_us = sum(costs[link] for link in pairwise(nodes))
            if np.isfinite(cost_us):
                found.append(IndexPath(int(cost_us), len(nodes) - 1, nodes))
    return sorted(found)[:k]


@functools.cache
def city_rtt_us() -> FloatArray:
    """(242, 242), symmetric; inf on the diagonal and for the 18 pairs that nobody measured."""
    names = [city.name for city in cities()]
    table = np.full((len(names), len(names)), np.inf)
    for i, a in enumerate(names):
        for j, b in enumerate(names[:i]):
            try:
                table[i, j] = table[j, i] = rtt_us(a, b)
            except NoMeasurementError:
                continue
    return table
