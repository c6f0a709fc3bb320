"""A picture of the network that does not change, and how one differs from the next.

Measurements move a little with each report. What moved too little to change a path keeps its old
value, and the version rises only if something else is left: `differences` decides that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from controller.discovery.link_table import BoolArray, FloatArray
from controller.errors import UnknownNodeError

_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Relevance:
    """How far a value must move from the published one to be published itself.

    All chosen: what moves the cost of a link by less than about 5 % is not worth a new path.
    quiet_load: loads below it count as equal, as the penalty of eq. 3 is 1.00005 there.
    """

    rtt_fraction: float = 0.05
    rtt_us: int = 1_000
    loss: float = 0.01
    load: float = 0.01
    quiet_load: float = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class NetworkSnapshot:
    """The network at one version; N = number of nodes, row = sender. The arrays given to it become
    its own, and read-only.

    names: by index. rtt_us (N, N): round trip, symmetric, inf = no link, also on the diagonal.
    loss, utilisation (N, N), node_load (N,): 0..1. Overloaded: reached the alarm level and not yet
    below the all-clear. suspect (N,): has not reported for some periods.
    """

    version: int
    names: tuple[str, ...]
    rtt_us: FloatArray
    loss: FloatArray
    utilisation: FloatArray
    link_overloaded: BoolArray
    node_load: FloatArray
    node_overloaded: BoolArray
    suspect: BoolArray
    index: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", {name: i for i, name in enumerate(self.names)})
        for values in (self.rtt_us, self.loss, self.utilisation, self.link_overloaded):
            values.setflags(write=False)
        for values in (self.node_load, self.node_overloaded, self.suspect):
            values.setflags(write=False)

    def index_of(self, name: str) -> int:
        """Raises UnknownNodeError."""
        if name not in self.index:
            raise UnknownNodeError(name)
        return self.index[name]


@dataclass(frozen=True, slots=True, eq=False)
class NetworkChanges:
    """From one snapshot to the next; indices are those of the newer one.

    links: (M, 2) sender and receiver whose values differ. nodes: (M,) whose load or state differ.
    """

    joined: tuple[str, ...]
    left: tuple[str, ...]
    links: NDArray[np.intp]
    nodes: NDArray[np.intp]

    @property
    def is_empty(self) -> bool:
        return not (self.joined or self.left or len(self.links) or len(self.nodes))


def empty_snapshot() -> NetworkSnapshot:
    """Version 0, before any node is known."""
    square = (0, 0)
    return NetworkSnapshot(
        version=0,
        names=(),
        rtt_us=np.zeros(square),
        loss=np.zeros(square),
        utilisation=np.zeros(square),
        link_overloaded=np.zeros(square, np.bool_),
        node_load=np.zeros(0),
        node_overloaded=np.zeros(0, np.bool_),
        suspect=np.zeros(0, np.bool_),
    )


def differences(
    old: NetworkSnapshot, new: NetworkSnapshot, relevance: Relevance
) -> tuple[NetworkSnapshot, NetworkChanges]:
    """`new` with values that moved too little put back to those of `old`, and what is left.

    The snapshot keeps new's version; it need not be used if the changes are empty.
    """
    before = _aligned(old, new.names)
    moved_links = _moved_links(before, new, relevance)
    moved_nodes = (
        _moved_load(before.node_load, new.node_load, relevance)
        | (before.node_overloaded != new.node_overloaded)
        | (before.suspect != new.suspect)
    )
    settled = NetworkSnapshot(
        version=new.version,
        names=new.names,
        rtt_us=np.where(moved_links, new.rtt_us, before.rtt_us),
        loss=np.where(moved_links, new.loss, before.loss),
        utilisation=np.where(moved_links, new.utilisation, before.utilisation),
        link_overloaded=new.link_overloaded.copy(),
        node_load=np.where(moved_nodes, new.node_load, before.node_load),
        node_overloaded=new.node_overloaded.copy(),
        suspect=new.suspect.copy(),
    )
    changes = NetworkChanges(
        joined=tuple(name for name in new.names if name not in old.index),
        left=tuple(name for name in old.names if name not in new.index),
        links=np.argwhere(moved_links),
        nodes=np.flatnonzero(moved_nodes),
    )
    return settled, changes


def _aligned(old: NetworkSnapshot, names: tuple[str, ...]) -> NetworkSnapshot:
    """`old` with the nodes of `names`; new ones without links and without load."""
    if old.names == names:
        return old
    to = np.array([i for i, name in enumerate(names) if name in old.index], np.intp)
    source = np.array([old.index[names[i]] for i in to], np.intp)
    size = len(names)

    def square(values: NDArray[_Value], default: float) -> NDArray[_Value]:
        moved = np.full((size, size), default, values.dtype)
        moved[np.ix_(to, to)] = values[np.ix_(source, source)]
        return moved

    def row(values: NDArray[_Value]) -> NDArray[_Value]:
        moved = np.zeros(size, values.dtype)
        moved[to] = values[source]
        return moved

    return NetworkSnapshot(
        version=old.version,
        names=names,
        rtt_us=square(old.rtt_us, np.inf),
        loss=square(old.loss, 0.0),
        utilisation=square(old.utilisation, 0.0),
        link_overloaded=square(old.link_overloaded, 0.0),
        node_load=row(old.node_load),
        node_overloaded=row(old.node_overloaded),
        suspect=row(old.suspect),
    )


def _moved_links(old: NetworkSnapshot, new: NetworkSnapshot, relevance: Relevance) -> BoolArray:
    exists = np.isfinite(new.rtt_us)
    both = exists & np.isfinite(old.rtt_us)
    was_us = np.where(both, old.rtt_us, 0.0)
    is_us = np.where(both, new.rtt_us, 0.0)
    step_us = np.maximum(relevance.rtt_us, relevance.rtt_fraction * was_us)
    moved: BoolArray = exists != np.isfinite(old.rtt_us)
    moved |= np.abs(is_us - was_us) > step_us
    moved |= exists & (np.abs(new.loss - old.loss) > relevance.loss)
    moved |= exists & _moved_load(old.utilisation, new.utilisation, relevance)
    moved |= new.link_overloaded != old.link_overloaded
    return moved


def _moved_load(old: FloatArray, new: FloatArray, relevance: Relevance) -> BoolArray:
    floor = relevance.quiet_load
    moved: BoolArray = np.abs(np.maximum(new, floor) - np.maximum(old, floor)) > relevance.load
    return moved
