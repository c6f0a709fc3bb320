"""Whether a stream that flows should move to another path, and when it had better stay.

A move costs: a second subscription, a switch at a key frame, and load that shifts. So it must gain
by a margin, both relative and absolute, and a path is left alone for a while after it was taken.
The margins do not hold for a path that is broken, and not for one over reserved nodes when an
ordinary one is there again.

Overload is in the costs (eq. 3 nearly doubles them) and needs no rule of its own; but a round moves
only so many streams, the greatest gains first, so that they do not all flee from one busy node to
the next. Long chains that a cache hit has made (LiveNet 4.4) are found like any other dear path.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TypeAlias

from controller.errors import InvalidSettingError
from controller.paths.overlay_path import OverlayPath
from controller.paths.path_answer import PathKind, Paths
from controller.paths.path_base import PathBase
from controller.paths.path_decision import PathDecision


@dataclass(frozen=True, slots=True)
class RehomeConfig:
    """A path must be cheaper by more than min_gain_fraction of the present cost and by min_gain_us.

    min_gain_fraction: 5 %, the rule of Magpie, and what a round trip must move by to be published
    at all. min_gain_us: chosen, what one hop costs. hold_us: chosen, the period of reports; before
    the next ones there is nothing new to decide by. max_moves: of one round, without broken paths;
    chosen.
    """

    min_gain_fraction: float = 0.05
    min_gain_us: int = 5_000
    hold_us: int = 60_000_000
    max_moves: int = 100

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_gain_fraction < 1.0 or self.min_gain_us < 0:
            raise InvalidSettingError("margins: 0 <= min_gain_fraction < 1, min_gain_us >= 0")


@dataclass(frozen=True, slots=True)
class ActivePath:
    """What a consumer uses now. nodes: as they forward, producer first; since_us: taken then."""

    broadcast: str
    nodes: tuple[str, ...]
    since_us: int

    @property
    def consumer(self) -> str:
        return self.nodes[-1]


class MoveReason(StrEnum):
    BROKEN = "broken"  # a node or link of it is gone
    LAST_RESORT = "last_resort"  # it uses a reserved node, and an ordinary path is there again
    CHEAPER = "cheaper"


class KeepReason(StrEnum):
    BEST = "best"
    BELOW_MARGIN = "below_margin"
    TAKEN_RECENTLY = "taken_recently"
    NO_OTHER = "no_other"  # no ordinary path, or the stream or its consumer is not known
    NEXT_ROUND = "next_round"  # others gain more


@dataclass(frozen=True, slots=True)
class Move:
    """gain_us: None for a broken path, which has no cost; negative if an ordinary path is dearer
    than the last resort it replaces."""

    active: ActivePath
    path: OverlayPath
    reason: MoveReason
    gain_us: int | None


@dataclass(frozen=True, slots=True)
class Keep:
    active: ActivePath
    reason: KeepReason


Rehome: TypeAlias = Move | Keep


class Rehoming:
    """Reads the decision and its paths; keeps nothing."""

    def __init__(self, config: RehomeConfig, decision: PathDecision, paths: PathBase) -> None:
        self._config = config
        self._decision = decision
        self._paths = paths

    def advise(self, active: ActivePath, now_us: int, *, may_hold: bool = True) -> Rehome:
        """One stream at one consumer. may_hold: False if something on its path has just become
        overloaded, which is new since it was taken."""
        answer = self._decision.get_path(active.broadcast, active.consumer, now_us)
        if not isinstance(answer, Paths):
            return Keep(active, KeepReason.NO_OTHER)
        best = answer.paths[0]
        # A broadcaster that has moved feeds the old producer through the new one.
        moved = () if active.nodes[0] == answer.producer else (answer.producer,)
        nodes = (*moved, *active.nodes)
        if nodes == best.nodes:
            return Keep(active, KeepReason.BEST)
        now_costs_us = self._cost_us(nodes)
        if now_costs_us is None:
            return Move(active, best, MoveReason.BROKEN, None)
        if answer.kind is not PathKind.ORDINARY:
            return Keep(active, KeepReason.NO_OTHER)
        gain_us = now_costs_us - best.cost_us
        leaves_reserved = self._uses_reserved(nodes)
        if not leaves_reserved and gain_us <= 0:
            return Keep(active, KeepReason.BEST)
        if not leaves_reserved and not self._is_enough(gain_us, now_costs_us):
            return Keep(active, KeepReason.BELOW_MARGIN)
        if may_hold and now_us - active.since_us < self._config.hold_us:
            return Keep(active, KeepReason.TAKEN_RECENTLY)
        reason = MoveReason.LAST_RESORT if leaves_reserved else MoveReason.CHEAPER
        return Move(active, best, reason, gain_us)

    def round(self, actives: Iterable[ActivePath], now_us: int) -> tuple[Rehome, ...]:
        """Advice for all, in their order; at most `max_moves` of paths that are not broken."""
        advice = [self.advise(active, now_us) for active in actives]
        movable = [
            (-(a.gain_us or 0), place)
            for place, a in enumerate(advice)
            if isinstance(a, Move) and a.reason is not MoveReason.BROKEN
        ]
        for _, place in sorted(movable)[self._config.max_moves :]:
            advice[place] = Keep(advice[place].active, KeepReason.NEXT_ROUND)
        return tuple(advice)

    def _is_enough(self, gain_us: int, now_costs_us: int) -> bool:
        fraction = self._config.min_gain_fraction
        return gain_us >= self._config.min_gain_us and gain_us > fraction * now_costs_us

    def _cost_us(self, nodes: tuple[str, ...]) -> int | None:
        """None: it is broken."""
        graph = self._paths.graph
        index = graph.snapshot.index
        if any(node not in index for node in nodes):
            return None
        places = [index[node] for node in nodes]
        total_us = sum(float(graph.cost_us[link]) for link in pairwise(places))
        return None if math.isinf(total_us) else int(total_us)

    def _uses_reserved(self, nodes: tuple[str, ...]) -> bool:
        return any(node in self._paths.config.last_resort for node in nodes[1:-1])
