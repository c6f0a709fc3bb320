"""What a link costs, and the graph that paths are searched in.

    cost = RTT / 2 * (1 + loss) * f(u) + hop_cost          whole microseconds, one way
    f(u) = 1 + 1 / (1 + exp(alpha * (beta - u)))           u, beta in percent points

u is the largest of the link's utilisation and the loads of its two ends. Source: LiveNet (SIGCOMM
2022) eq. 2 and 3, with two decisions of ours. Loads are percent points: as fractions f would only
move from 1.40 to 1.53, against the stated range of 1 to 2. And a hop costs something by itself.
Whole numbers, because their sums are exact in any order: equal costs are equal, and ties are
broken the same way on every machine.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from controller.discovery.link_table import BoolArray, FloatArray
from controller.discovery.snapshot import NetworkSnapshot
from controller.errors import InvalidSettingError


@dataclass(frozen=True, slots=True)
class CostConfig:
    """alpha: per percent point; beta: percent points (both LiveNet 4.3).

    hop_cost_us: what a path pays for each hop beside the wire. LiveNet has none in eq. 2, and a
    relay that saves a hair of round trip then wins, although it doubles the traffic and adds a
    queue, a place to lose packets and an entry to keep. Chosen: 5 ms. On the round trips of 242
    cities 59 % of pairs are then direct instead of 18 %, for 2.1 % more delay on the wire in the
    mean; with 10 ms it would be 76 % for 4.1 % (`bench/routing.py`).
    """

    alpha: float = 0.5
    beta: float = 80.0
    hop_cost_us: int = 5_000

    def __post_init__(self) -> None:
        if self.hop_cost_us < 0 or self.alpha <= 0:
            raise InvalidSettingError("allowed is hop_cost_us >= 0 and alpha > 0")


@dataclass(frozen=True, slots=True, eq=False)
class RoutingGraph:
    """One version of the network as a search sees it. Indices are the snapshot's.

    cost_us (N, N): row = sender, whole numbers, inf = no link, also on the diagonal; overloaded
    links have theirs. is_reserved (N,): last-resort nodes, which carry nothing else.
    usable_us (N, N): cost_us with inf for overloaded links. may_relay (N,): neither overloaded nor
    suspect nor reserved; the ends of a path may be all of these.
    """

    snapshot: NetworkSnapshot
    cost_us: FloatArray
    penalty: FloatArray
    is_reserved: BoolArray
    usable_us: FloatArray = field(init=False)
    may_relay: BoolArray = field(init=False)

    def __post_init__(self) -> None:
        state = self.snapshot
        usable_us = np.where(state.link_overloaded, np.inf, self.cost_us)
        object.__setattr__(self, "usable_us", usable_us)
        barred = state.node_overloaded | state.suspect | self.is_reserved
        object.__setattr__(self, "may_relay", ~barred)

    @property
    def names(self) -> tuple[str, ...]:
        return self.snapshot.names


def overload_penalty(load: FloatArray, config: CostConfig) -> FloatArray:
    """f of eq. 3. load: 0..1, any shape. Returns 1..2, 1.5 at beta."""
    penalty: FloatArray = 1.0 + 1.0 / (1.0 + np.exp(config.alpha * (config.beta - 100.0 * load)))
    return penalty


def busiest(snapshot: NetworkSnapshot) -> FloatArray:
    """u of eq. 3, (N, N), 0..1: the largest of link, sender and receiver."""
    ends = np.maximum(snapshot.node_load[:, None], snapshot.node_load[None, :])
    return np.maximum(snapshot.utilisation, ends)


def build_graph(
    snapshot: NetworkSnapshot, config: CostConfig, last_resort: Collection[str] = ()
) -> RoutingGraph:
    """last_resort: names of reserved nodes; those not in the snapshot are passed over."""
    penalty = overload_penalty(busiest(snapshot), config)
    wire_us = snapshot.rtt_us / 2 * (1.0 + snapshot.loss) * penalty
    reserved = np.array([name in last_resort for name in snapshot.names], np.bool_)
    return RoutingGraph(snapshot, np.rint(wire_us) + config.hop_cost_us, penalty, reserved)
