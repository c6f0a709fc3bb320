"""How long do all paths of a network take, and what does the cost of a hop do to them?

CPU time of one core, for random networks of 30 to 600 nodes whose round trips follow distance with
a random detour: the three cheapest paths of at most three hops of every ordered pair, of one
producer to all, and of one pair; LiveNet's search without a hop limit; a new picture of the network
with its invalidation; a report of one node on all its links. Then, on the measured round trips of
242 cities: how many hops the best path has by what a hop costs, and how much longer it is on the
wire. JSON on stdout.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support.environment import environment
from controller.discovery import (
    DiscoveryConfig,
    LinkMeasurement,
    NetworkSnapshot,
    NetworkView,
    NodeReport,
)
from controller.discovery.link_table import FloatArray
from controller.paths import PathBase, PathConfig
from controller.routing import CostConfig, PathSearch, UnboundedSearch, build_graph
from lab.cities import cities, rtt_us
from lab.errors import NoMeasurementError

SIZES = [30, 100, 242, 600]
HOP_COSTS_US = [0, 2_000, 5_000, 10_000]
SAMPLED_PAIRS = 500


def cpu_s(work: Callable[[], object], repeat: int = 1) -> float:
    """The median of some runs."""
    taken = []
    for _ in range(repeat):
        begin = time.process_time()
        work()
        taken.append(time.process_time() - begin)
    return statistics.median(taken)


def random_rtt_us(size: int, seed: int) -> FloatArray:
    """Places on a map of 20,000 by 10,000 km; 10 us a km, times a detour of 1 to 2.5, and 1 ms."""
    rng = np.random.default_rng(seed)
    places_km = rng.random((size, 2)) * [20_000, 10_000]
    distance_km = np.hypot(*(places_km[:, None] - places_km[None, :]).transpose(2, 0, 1))
    directed: FloatArray = np.rint(distance_km * 10 * rng.uniform(1, 2.5, (size, size))) + 1_000
    table: FloatArray = np.minimum(directed, directed.T)
    np.fill_diagonal(table, np.inf)
    return table


def city_rtt_us() -> FloatArray:
    names = [city.name for city in cities()]
    table = np.full((len(names), len(names)), np.inf)
    for i, a in enumerate(names):
        for j, b in enumerate(names[:i]):
            try:
                table[i, j] = table[j, i] = rtt_us(a, b)
            except NoMeasurementError:
                continue
    return table


def picture(rtt: FloatArray, version: int) -> NetworkSnapshot:
    size = len(rtt)
    return NetworkSnapshot(
        version=version,
        names=tuple(f"n{i}" for i in range(size)),
        rtt_us=rtt.copy(),
        loss=np.zeros((size, size)),
        utilisation=np.zeros((size, size)),
        link_overloaded=np.zeros((size, size), np.bool_),
        node_load=np.zeros(size),
        node_overloaded=np.zeros(size, np.bool_),
        suspect=np.zeros(size, np.bool_),
    )


def speed(size: int, hop_cost_us: int, seed: int) -> dict[str, object]:
    rtt = random_rtt_us(size, seed)
    graph = build_graph(picture(rtt, 1), CostConfig(hop_cost_us=hop_cost_us))
    search = PathSearch(graph.usable_us, graph.may_relay)
    unbounded = UnboundedSearch(graph.cost_us, graph.may_relay)
    rng = np.random.default_rng(seed)
    pairs = [rng.choice(size, 2, replace=False).tolist() for _ in range(40)]
    every_s = cpu_s(search.all_pairs, 3)
    return {
        "nodes": size,
        "hop_cost_us": hop_cost_us,
        "ordered_pairs": size * (size - 1),
        "all_pairs_s": round(every_s, 4),
        "one_producer_ms": round(every_s / size * 1e3, 3),
        "one_pair_ms": round(cpu_s(lambda: [search.pair(*p) for p in pairs]) / 40 * 1e3, 3),
        "unbounded_pair_ms": round(
            cpu_s(lambda: [unbounded.pair(*p) for p in pairs]) / 40 * 1e3, 3
        ),
        **changes(rtt, hop_cost_us, rng),
    }


def changes(rtt: FloatArray, hop_cost_us: int, rng: np.random.Generator) -> dict[str, object]:
    """One link worse, then as it was: time to know whose paths go, and how many producers' do."""
    size = len(rtt)
    paths = PathBase(PathConfig(cost=CostConfig(hop_cost_us=hop_cost_us)))
    paths.update(picture(rtt, 1))
    names = paths.graph.names
    taken: dict[str, list[float]] = {"worse": [], "better": []}
    gone: dict[str, list[int]] = {"worse": [], "better": []}
    for round_ in range(20):
        for name in names:
            paths.lookup(name, names[0], 0)
        sender, receiver = rng.choice(size, 2, replace=False)
        changed = rtt.copy()
        changed[sender, receiver] *= 2
        for kind, table in (("worse", changed), ("better", rtt)):
            new = picture(table, 2 * round_ + len(kind))
            begin = time.process_time()
            hit = paths.update(new).producers
            taken[kind].append(time.process_time() - begin)
            gone[kind].append(len(hit))
            for name in hit:
                paths.lookup(name, names[0], 0)
    return {
        f"link_{kind}": {
            "update_ms": round(statistics.median(taken[kind]) * 1e3, 2),
            "producers_mean": round(statistics.mean(gone[kind]), 1),
        }
        for kind in taken
    }


def view(size: int, seed: int) -> dict[str, object]:
    """A full mesh reports: one node's report, and a publication after a tenth of them."""
    rtt = random_rtt_us(size, seed)
    names = [f"n{i}" for i in range(size)]
    network = NetworkView(DiscoveryConfig(), start_us=0)
    for name in names:
        network.on_registered(name, 1, 0)
    reports_s, publish_s = [], []
    for sender, name in enumerate(names):
        links = tuple(
            LinkMeasurement(peer, int(rtt[sender, receiver]))
            for receiver, peer in enumerate(names)
            if receiver != sender
        )
        report = NodeReport(name, 0.5, 0.5, 10, 100, links)
        begin = time.process_time()
        network.on_report(report, sender)
        reports_s.append(time.process_time() - begin)
        if sender % (size // 10) == 0:
            publish_s.append(cpu_s(network.publish))
    return {
        "nodes": size,
        "report_ms": round(statistics.median(reports_s) * 1e3, 3),
        "publish_ms": round(statistics.median(publish_s) * 1e3, 2),
    }


def shape(rtt: FloatArray, hop_cost_us: int, shortest_us: FloatArray) -> dict[str, object]:
    """shortest_us: one way over any relays, without hop costs."""
    costs = np.rint(rtt / 2) + hop_cost_us
    relays = np.ones(len(costs), np.bool_)
    bounded, unbounded = PathSearch(costs, relays), UnboundedSearch(costs, relays)
    every = bounded.all_pairs()
    best, others = every.hops[..., 0], ~np.eye(len(costs), dtype=np.bool_)
    wire_us = every.cost_us[..., 0] - hop_cost_us * best
    rng = np.random.default_rng(11)
    some = lost = 0
    for _ in range(SAMPLED_PAIRS):
        pair = rng.choice(len(costs), 2, replace=False).tolist()
        hops = [path.hops > 3 for path in unbounded.pair(*pair)]
        some, lost = some + any(hops), lost + all(hops)
    return {
        "hop_cost_us": hop_cost_us,
        "best_path_hops_percent": [
            round(100 * float((best[others] == hops).mean()), 1) for hops in (1, 2, 3)
        ],
        "wire_ms_mean": round(float(wire_us[others].mean()) / 1e3, 2),
        "wire_over_least_percent": round(
            100 * float(wire_us[others].mean() / shortest_us[others].mean() - 1), 2
        ),
        "unbounded_some_over_three_hops_percent": round(100 * some / SAMPLED_PAIRS, 1),
        "unbounded_all_over_three_hops_percent": round(100 * lost / SAMPLED_PAIRS, 1),
    }


def shapes() -> list[dict[str, object]]:
    rtt = city_rtt_us()
    least_us = np.rint(rtt / 2)
    np.fill_diagonal(least_us, 0.0)
    for relay in range(len(least_us)):
        least_us = np.minimum(least_us, least_us[:, relay, None] + least_us[None, relay, :])
    return [shape(rtt, hop_cost_us, least_us) for hop_cost_us in HOP_COSTS_US]


def main(
    nodes: Annotated[
        list[int] | None, typer.Option(min=10, max=2000, help="Only this size; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random networks.")] = 1,
) -> None:
    """Measure the search for paths."""
    sizes = nodes or SIZES
    report = {
        "question": "How long do all paths of a network take, and what does a hop's cost do?",
        "environment": environment(),
        "seed": seed,
        "speed": [speed(size, cost_us, seed) for size in sizes for cost_us in (0, 5_000)],
        "view": [view(size, seed) for size in sizes],
        "cities": shapes(),
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
