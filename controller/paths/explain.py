"""Why a consumer gets the path it gets: what an operator's `paths explain` shows.

Shown are the chosen path, its backups, the direct link, and the paths that would be among the k
cheapest if the rules were not: each with its hops, and why it was not taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from controller.paths.path_answer import PathAnswer, PathKind, Paths
from controller.paths.path_base import PathBase
from controller.paths.path_decision import PathDecision
from controller.routing.constraints import Violation, ViolationKind, violations
from controller.routing.link_cost import RoutingGraph, busiest


class Verdict(StrEnum):
    CHOSEN = "chosen"
    BACKUP = "backup"
    DEARER = "dearer"  # allowed, but k others cost less
    BARRED = "barred"  # against a rule


@dataclass(frozen=True, slots=True)
class Hop:
    """One link of a path and what made its cost.

    rtt_us: None = no link. load: the largest of link and both ends, 0..1. penalty: f of eq. 3.
    cost_us: one way, with the hop's own cost; None = no link.
    """

    sender: str
    receiver: str
    rtt_us: int | None
    loss: float
    load: float
    penalty: float
    cost_us: int | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A path and what became of it. cost_us: None if a link is missing. reasons: one line each."""

    nodes: tuple[str, ...]
    hops: tuple[Hop, ...]
    cost_us: int | None
    verdict: Verdict
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """answer: what the consumer is told. candidates: the chosen first, then by cost; empty if the
    answer has no path. age_us: since its paths were searched; 0 if none were needed."""

    answer: PathAnswer
    candidates: tuple[Candidate, ...]
    version: int
    age_us: int


def explain(
    decision: PathDecision, paths: PathBase, stream: str | int, consumer: str, now_us: int
) -> Explanation:
    """stream: a broadcast's name or a stream's id."""
    answer = decision.get_path(stream, consumer, now_us)
    if not isinstance(answer, Paths):
        return Explanation(answer, (), paths.version, 0)
    graph = paths.graph
    index = graph.snapshot.index
    taken = [tuple(index[name] for name in path.nodes) for path in answer.paths]
    others = []
    age_us = 0
    if answer.producer != answer.consumer:
        pair = (answer.producer, answer.consumer)
        age_us = now_us - paths.lookup(*pair, now_us).computed_us
        others = [path.nodes for path in paths.regardless_of_load(*pair)]
        others.append((index[answer.producer], index[answer.consumer]))
        others = [nodes for nodes in dict.fromkeys(others) if nodes not in taken]
    best_us = answer.paths[0].cost_us
    candidates = [
        _taken(graph, nodes, answer.kind, rank, best_us) for rank, nodes in enumerate(taken)
    ]
    rejected = [_rejected(graph, nodes, paths.config.max_hops, best_us) for nodes in others]
    rejected.sort(key=lambda c: (c.cost_us is None, c.cost_us or 0, c.nodes))
    return Explanation(answer, (*candidates, *rejected), paths.version, age_us)


def _taken(
    graph: RoutingGraph, nodes: tuple[int, ...], kind: PathKind, rank: int, best_us: int
) -> Candidate:
    hops = _hops(graph, nodes)
    cost_us = sum(hop.cost_us or 0 for hop in hops)
    reasons = []
    if kind is PathKind.LAST_RESORT:
        reasons.append("last resort: no ordinary path is left")
    elif kind is PathKind.OVERLOADED:
        reasons.append("no ordinary path is left and no reserved node joins the two")
    elif rank == 0:
        reasons.append("the cheapest")
    if rank > 0:
        reasons.append(_dearer(cost_us, best_us))
    verdict = Verdict.BACKUP if rank else Verdict.CHOSEN
    return Candidate(_names(graph, nodes), hops, cost_us, verdict, tuple(reasons))


def _rejected(
    graph: RoutingGraph, nodes: tuple[int, ...], max_hops: int, best_us: int
) -> Candidate:
    hops = _hops(graph, nodes)
    cost_us: int | None = 0
    for hop in hops:
        cost_us = None if cost_us is None or hop.cost_us is None else cost_us + hop.cost_us
    broken = violations(graph, nodes, max_hops)
    reasons = [_text(graph, violation, len(hops), max_hops) for violation in broken]
    if not broken and cost_us is not None:
        reasons.append(_dearer(cost_us, best_us))
    verdict = Verdict.BARRED if broken else Verdict.DEARER
    return Candidate(_names(graph, nodes), hops, cost_us, verdict, tuple(reasons))


def _dearer(cost_us: int, best_us: int) -> str:
    return f"{(cost_us - best_us) / 1000:.1f} ms dearer than the chosen"


def _names(graph: RoutingGraph, nodes: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(graph.names[node] for node in nodes)


def _hops(graph: RoutingGraph, nodes: tuple[int, ...]) -> tuple[Hop, ...]:
    load = busiest(graph.snapshot)
    return tuple(_hop(graph, link, float(load[link])) for link in pairwise(nodes))


def _hop(graph: RoutingGraph, link: tuple[int, int], load: float) -> Hop:
    state = graph.snapshot
    rtt_us, cost_us = float(state.rtt_us[link]), float(graph.cost_us[link])
    exists = rtt_us != float("inf")
    return Hop(
        sender=graph.names[link[0]],
        receiver=graph.names[link[1]],
        rtt_us=round(rtt_us) if exists else None,
        loss=float(state.loss[link]),
        load=load,
        penalty=float(graph.penalty[link]),
        cost_us=int(cost_us) if exists else None,
    )


def _text(graph: RoutingGraph, violation: Violation, hops: int, max_hops: int) -> str:
    names = _names(graph, violation.nodes)
    match violation.kind:
        case ViolationKind.TOO_MANY_HOPS:
            return f"{hops} hops, allowed are {max_hops}"
        case ViolationKind.NO_LINK:
            return f"no link {names[0]} -> {names[1]}"
        case ViolationKind.OVERLOADED_LINK:
            return f"link {names[0]} -> {names[1]} is overloaded"
        case ViolationKind.OVERLOADED_NODE:
            return f"{names[0]} is overloaded"
        case ViolationKind.SUSPECT_NODE:
            return f"{names[0]} has not reported for some time"
        case ViolationKind.RESERVED_NODE:
            return f"{names[0]} is reserved for last-resort paths"
