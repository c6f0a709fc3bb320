"""Who is told what: from nodes, wanted adjacencies and paths to a table for each node.

Pure: the same input gives the same tables, so a brain that restarts sends what is in force already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from control_client.errors import TableError
from control_client.messages import MAX_HOPS, Neighbour, Path
from control_client.table import NodeTable
from controller.tables.adjacency_secrets import Party, adjacency_secret
from controller.tables.errors import CompileError


@dataclass(frozen=True, slots=True)
class Place:
    """A node as its neighbours need it. max_neighbours: its limit of node links."""

    name: str
    node_id: int
    address: str
    max_neighbours: int
    generation: int = 1


@dataclass(frozen=True, slots=True)
class Adjacency:
    """Two nodes that are to have a link. The rates pace each direction. b_address: where a reaches
    b, if not at its place's address; a_address the other way."""

    a: str
    b: str
    a_to_b_bps: int
    b_to_a_bps: int
    b_address: str | None = None
    a_address: str | None = None


class TableCompiler:
    """Remembers the secrets it derived: a full mesh of 600 nodes has 180,000; and the last tables,
    for when only some paths differ."""

    def __init__(self, master_key: bytes) -> None:
        self._master_key = master_key
        self._secrets: dict[tuple[Party, Party], bytes] = {}
        self._mesh: tuple[tuple[Place, ...], tuple[Adjacency, ...]] | None = None
        self._neighbours: dict[str, dict[str, Neighbour]] = {}
        self._tables: dict[str, NodeTable] = {}

    def compile(
        self,
        places: Iterable[Place],
        adjacencies: Iterable[Adjacency],
        paths: Mapping[str, Mapping[str, tuple[Path, ...]]],
    ) -> dict[str, NodeTable]:
        """A table for each node, by name. paths: node -> broadcast -> ways, the best first.

        Raises CompileError for an unknown node, a pair named twice, two nodes with one id or
        address, more neighbours than a node takes, and a path that no adjacency carries.
        """
        mesh = (tuple(places), tuple(adjacencies))
        if mesh != self._mesh:
            self._mesh = None
            self._tables = {}
            self._neighbours = self._join(*mesh)
            self._mesh = mesh
        for name in paths:
            if name not in self._neighbours:
                raise CompileError(f"paths of {name}: there is no such node")
        tables = {}
        for name in self._neighbours:
            own_paths = paths.get(name, {})
            known = self._tables.get(name)
            if known is None or known.paths != own_paths:
                known = self._table(name, own_paths)
            tables[name] = known
        self._tables = tables
        return dict(tables)

    def _join(
        self, places: Iterable[Place], adjacencies: Iterable[Adjacency]
    ) -> dict[str, dict[str, Neighbour]]:
        """Each node's neighbours, in the order of names: so equal tables are equal messages."""
        by_name = _by_name(places)
        neighbours: dict[str, dict[str, Neighbour]] = {name: {} for name in by_name}
        known, self._secrets = self._secrets, {}  # those of pairs that are gone are forgotten
        for adjacency in adjacencies:
            for name in (adjacency.a, adjacency.b):
                if name not in by_name:
                    raise CompileError(f"adjacency {adjacency.a} to {adjacency.b}: no node {name}")
            a, b = by_name[adjacency.a], by_name[adjacency.b]
            if a is b or b.name in neighbours[a.name]:
                raise CompileError(f"adjacency {a.name} to {b.name} is there twice, or to itself")
            secret = self._secret(known, a, b)
            b_address, a_address = adjacency.b_address, adjacency.a_address
            neighbours[a.name][b.name] = _entry(b, b_address, secret, adjacency.a_to_b_bps)
            neighbours[b.name][a.name] = _entry(a, a_address, secret, adjacency.b_to_a_bps)
        for name, place in by_name.items():
            if len(neighbours[name]) > place.max_neighbours:
                count = len(neighbours[name])
                text = f"{count} neighbours, its limit is {place.max_neighbours} (node_links)"
                raise CompileError(f"{name}: {text}")
        return {name: dict(sorted(entries.items())) for name, entries in neighbours.items()}

    def _table(self, name: str, paths: Mapping[str, tuple[Path, ...]]) -> NodeTable:
        for broadcast, ways in paths.items():
            for path in ways:
                _check_path(name, broadcast, path, self._neighbours)
        try:
            return NodeTable.of(self._neighbours[name].values(), dict(sorted(paths.items())))
        except TableError as error:
            raise CompileError(f"{name}: {error}") from None

    def _secret(self, known: Mapping[tuple[Party, Party], bytes], a: Place, b: Place) -> bytes:
        first, second = (a, b) if a.name < b.name else (b, a)
        pair = Party(first.name, first.generation), Party(second.name, second.generation)
        secret = known.get(pair) or adjacency_secret(self._master_key, *pair)
        self._secrets[pair] = secret
        return secret


def _by_name(places: Iterable[Place]) -> dict[str, Place]:
    by_name: dict[str, Place] = {}
    ids: dict[int, str] = {}
    addresses: dict[str, str] = {}
    for place in places:
        if place.name in by_name:
            raise CompileError(f"node {place.name} is there twice")
        by_name[place.name] = place
        if (other := ids.setdefault(place.node_id, place.name)) != place.name:
            raise CompileError(f"{other} and {place.name} both have id {place.node_id}")
        if (other := addresses.setdefault(place.address, place.name)) != place.name:
            raise CompileError(f"{other} and {place.name} are both at {place.address}")
    return by_name


def _entry(place: Place, address: str | None, secret: bytes, rate_bps: int) -> Neighbour:
    return Neighbour(place.name, place.node_id, address or place.address, secret, rate_bps)


def _check_path(
    name: str, broadcast: str, path: Path, neighbours: Mapping[str, Mapping[str, Neighbour]]
) -> None:
    hops = (name, *path.via)
    where = f"{name}: path {' '.join(hops)} to {broadcast}"
    if len(path.via) > MAX_HOPS or len(set(hops)) != len(hops):
        raise CompileError(f"{where} visits a node twice, or more than {MAX_HOPS} nodes")
    for here, there in pairwise(hops):
        if there not in neighbours.get(here, {}):
            raise CompileError(f"{where}: {here} and {there} are not adjacent")
