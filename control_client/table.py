"""A node's table as a value: whom it has links with, and the paths it was pushed.

Both sides use it. The brain takes differences, the node applies them, and a table that a change
leads to is checked as a whole before anything sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from control_client.errors import TableError
from control_client.messages import (
    MAX_NEIGHBOURS,
    MAX_PUSHED,
    Neighbour,
    Path,
    PushedPaths,
    Table,
    TableVersion,
)


@dataclass(frozen=True, slots=True)
class NodeTable:
    """neighbours: by name. paths: by broadcast, the best first. Both read-only."""

    neighbours: Mapping[str, Neighbour] = field(default_factory=lambda: MappingProxyType({}))
    paths: Mapping[str, tuple[Path, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(
        cls, neighbours: Iterable[Neighbour], paths: Mapping[str, tuple[Path, ...]] | None = None
    ) -> NodeTable:
        """Raises TableError if it contradicts itself."""
        by_name = {neighbour.name: neighbour for neighbour in neighbours}
        table = cls(MappingProxyType(by_name), MappingProxyType(dict(paths or {})))
        table._check()
        return table

    def apply(self, change: Table) -> NodeTable:
        """The table that a message leads to; the caller has compared versions.

        Raises TableError, for what the message's own checks cannot see.
        """
        neighbours = {} if change.base is None else dict(self.neighbours)
        paths = {} if change.base is None else dict(self.paths)
        for name in change.removed_neighbours:
            if neighbours.pop(name, None) is None:
                raise TableError(f"removed_neighbours: {name} is no neighbour")
        for broadcast in change.removed_paths:
            if paths.pop(broadcast, None) is None:
                raise TableError(f"removed_paths: {broadcast} has no paths")
        neighbours.update((neighbour.name, neighbour) for neighbour in change.neighbours)
        paths.update((pushed.broadcast, pushed.paths) for pushed in change.paths)
        return NodeTable.of(neighbours.values(), paths)

    def as_message(self, version: TableVersion) -> Table:
        """All of it."""
        return Table(
            version,
            neighbours=tuple(self.neighbours.values()),
            paths=tuple(PushedPaths(name, ways) for name, ways in self.paths.items()),
        )

    def change_from(self, old: NodeTable, base: TableVersion, version: TableVersion) -> Table:
        """What makes this of `old`, which is what `base` stands for."""
        return Table(
            version,
            base=base,
            neighbours=tuple(
                entry
                for name, entry in self.neighbours.items()
                if old.neighbours.get(name) != entry
            ),
            removed_neighbours=tuple(old.neighbours.keys() - self.neighbours.keys()),
            paths=tuple(
                PushedPaths(name, ways)
                for name, ways in self.paths.items()
                if old.paths.get(name) != ways
            ),
            removed_paths=tuple(old.paths.keys() - self.paths.keys()),
        )

    def _check(self) -> None:
        if len(self.neighbours) > MAX_NEIGHBOURS:
            raise TableError(f"neighbours: {len(self.neighbours)}, at most {MAX_NEIGHBOURS} fit")
        if len(self.paths) > MAX_PUSHED:
            raise TableError(f"paths: of {len(self.paths)} broadcasts, at most {MAX_PUSHED} fit")
        by_id: dict[int, str] = {}
        by_address: dict[str, str] = {}
        for name, entry in self.neighbours.items():
            if (other := by_id.setdefault(entry.node_id, name)) != name:
                raise TableError(f"neighbours: {other} and {name} both have id {entry.node_id}")
            if (other := by_address.setdefault(entry.address, name)) != name:
                raise TableError(f"neighbours: {other} and {name} are both at {entry.address}")
        for broadcast, ways in self.paths.items():
            for path in ways:
                if path.via and path.via[0] not in self.neighbours:
                    raise TableError(f"paths: {broadcast} goes by {path.via[0]}, no neighbour")


@dataclass(frozen=True, slots=True)
class HeldTable:
    """A table in force."""

    version: TableVersion
    table: NodeTable
