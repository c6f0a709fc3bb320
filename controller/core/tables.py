"""The nodes' tables: made when something that is in them has changed, and handed out.

A table has a node's neighbours, and the paths to broadcasts that are popular or about to be. To
make them all takes two seconds for 600 nodes, so a change waits for as long as making them takes:
tables never cost more than half of the brain's time, and small overlays do not notice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias

from control_client.messages import Path, Table, TableApplied, TableRefused, TableVersion
from controller.core.adjacency import Mesh, Pair, RttUs, build_mesh
from controller.core.events import MeshLimited, NodeNotPlaced, TableNotApplied, TablesNotMade
from controller.core.members import Members
from controller.core.settings import BrainSettings
from controller.tables.distribution import Distribution, TableStatus
from controller.tables.errors import CompileError
from controller.tables.table_compiler import TableCompiler

TableEvent: TypeAlias = MeshLimited | NodeNotPlaced | TableNotApplied | TablesNotMade
PushedPaths: TypeAlias = dict[str, dict[str, tuple[Path, ...]]]
WantedPaths: TypeAlias = Callable[[int], PushedPaths]

COST_OF_PAIR_US = 12  # of two nodes: 2.2 s for the 180,000 of 600 (bench/brain_restart.py)
RENEW_US = 600_000_000  # chosen: how often nodes without room for all look for nearer neighbours
EMPTY_MESH = Mesh((), (), (), {})


class Tables:
    """wanted_paths: for each node, at a time, what is to be pushed. rtt_us: see `build_mesh`."""

    def __init__(
        self,
        settings: BrainSettings,
        compiler: TableCompiler,
        term: int,
        members: Members,
        rtt_us: RttUs,
        wanted_paths: WantedPaths,
    ) -> None:
        self.settings = settings
        self.made = 0
        self.mesh = EMPTY_MESH
        self.pushed: PushedPaths = {}
        self._compiler = compiler
        self._distribution = Distribution(term)
        self._members = members
        self._rtt_us = rtt_us
        self._wanted_paths = wanted_paths
        self._meshed: tuple[int, int] | None = None
        self._pairs: frozenset[Pair] = frozenset()
        self._due_us: int | None = None
        self._made_us: int | None = None
        self._is_held = True
        self._events: deque[TableEvent] = deque()

    def next_event(self) -> TableEvent | None:
        return self._events.popleft() if self._events else None

    def next_send(self) -> tuple[str, Table] | None:
        """A node, and what to send it."""
        send = self._distribution.next_event()
        return None if send is None else (send.node, send.message)

    @property
    def counters(self) -> dict[str, int]:
        """What was sent and refused."""
        return dict(self._distribution.counters)

    def status(self, name: str) -> TableStatus | None:
        return self._distribution.status(name)

    @property
    def pairs(self) -> frozenset[Pair]:
        """Which nodes have links with each other."""
        return self._pairs

    # -- what nodes say

    def on_joined(self, name: str, held: TableVersion | None, now_us: int) -> None:
        self._distribution.on_joined(name, held, now_us)

    def on_left(self, name: str) -> None:
        self._distribution.on_left(name)

    def on_applied(self, name: str, answer: TableApplied, now_us: int) -> None:
        self._distribution.on_applied(name, answer, now_us)

    def on_refused(self, name: str, answer: TableRefused, now_us: int) -> None:
        event = TableNotApplied(name, str(answer.version), answer.code.value, answer.text)
        self._events.append(event)
        self._distribution.on_refused(name, answer, now_us)

    # -- making them

    def release(self, now_us: int) -> None:
        """From now on tables are made; until then nodes keep those they have."""
        self._is_held = False
        self._due_us = now_us

    def hold(self) -> None:
        """Until the next `release`."""
        self._is_held = True

    def change(self, now_us: int) -> None:
        """Something has changed that may be in tables."""
        if self._due_us is None:
            pairs = len(self._members.all()) ** 2 // 2
            earliest_us = now_us if self._made_us is None else self._made_us
            self._due_us = max(now_us, earliest_us + pairs * COST_OF_PAIR_US)

    def has_neighbour(self, name: str, neighbour: str) -> bool:
        """Whether the table wanted for a node has this neighbour."""
        return ((name, neighbour) if name < neighbour else (neighbour, name)) in self._pairs

    def make(self, now_us: int) -> None:
        """At once, unless nothing has changed or they are held."""
        if self._is_held or self._due_us is None:
            return
        self._due_us = None
        self._made_us = now_us
        self._mesh()
        paths = self._carried(self._wanted_paths(now_us))
        try:
            tables = self._compiler.compile(self.mesh.places, self.mesh.adjacencies, paths)
        except CompileError as error:
            self._events.append(TablesNotMade(str(error)))
            return
        self.made += 1
        self.pushed = paths
        self._distribution.set_tables(tables, now_us)

    def handle_timer(self, now_us: int) -> None:
        self._distribution.handle_timer(now_us)
        if self.mesh.limited and self._made_us is not None and now_us >= self._made_us + RENEW_US:
            self._meshed = None
            self.change(now_us)
        if self._due_us is not None and now_us >= self._due_us:
            self.make(now_us)

    def next_timer_us(self) -> int | None:
        times = [self._distribution.next_timer_us()]
        if not self._is_held:
            times.append(self._due_us)
            if self.mesh.limited and self._made_us is not None:
                times.append(self._made_us + RENEW_US)
        return min((time_us for time_us in times if time_us is not None), default=None)

    def _carried(self, paths: PushedPaths) -> PushedPaths:
        """Those that lead over links which tables have: a measured one may be static, or just be
        taken away."""
        carried: PushedPaths = {}
        for name, broadcasts in paths.items():
            for broadcast, ways in broadcasts.items():
                kept = tuple(way for way in ways if self._carries((name, *way.via)))
                if kept:
                    carried.setdefault(name, {})[broadcast] = kept
        return carried

    def _carries(self, nodes: tuple[str, ...]) -> bool:
        return all(self.has_neighbour(a, b) for a, b in pairwise(nodes))

    def _mesh(self) -> None:
        """The same object while nobody came, went or moved: the compiler then keeps what it has."""
        key = (self._members.version, id(self.settings))
        if key == self._meshed:
            return
        before = self.mesh
        members = self._members.all()
        self.mesh = build_mesh(members, self.settings, self._rtt_us, self._pairs)
        self._meshed = key
        self._pairs = self.mesh.pairs
        if self.mesh.limited and self.mesh.limited != before.limited:
            self._events.append(MeshLimited(self.mesh.limited))
        for who, problem in self.mesh.problems.items():
            if before.problems.get(who) != problem:
                self._events.append(NodeNotPlaced(who, problem))
