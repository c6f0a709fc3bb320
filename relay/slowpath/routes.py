"""Ways to a broadcast, and which of them to keep as the second one. Pure.

A path names the nodes that SUBSCRIBE travels: a neighbour first, the producer last. Two ways
through the same neighbour both end there, where the stream is met already: a second way has another
first hop, or it is none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

Path: TypeAlias = tuple[str, ...]
Paths: TypeAlias = tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """Where a subscription goes. path: after `peer`; visited: up to this node."""

    peer: str
    path: Path
    visited: Path

    @property
    def via(self) -> Path:
        """As a path."""
        return (self.peer, *self.path)


def shared_links(one: Path, other: Path) -> int:
    """How many links between nodes both use; the first hops are the asker's own."""
    return len(set(pairwise(one)) & set(pairwise(other))) + (one[:1] == other[:1])


def shared_relays(one: Path, other: Path) -> int:
    """How many nodes between the asker and the producer both use."""
    return len(set(one[:-1]) & set(other[:-1]))


def second_path(paths: Iterable[Path], primary: Path, avoid: Collection[str] = ()) -> Path | None:
    """The best of the paths with a first hop of its own, which nobody says to avoid."""
    return next((p for p in paths if p[0] != primary[0] and p[0] not in avoid), None)


def other_path(paths: Iterable[Path], primary: Path, avoid: Collection[str] = ()) -> Path | None:
    """Of those that `second_path` would take, the one that shares the least with the primary: what
    goes both ways at once is to be lost on one only. The better first among equals."""
    return min(
        (path for path in paths if path[0] != primary[0] and path[0] not in avoid),
        key=lambda path: (shared_relays(path, primary), shared_links(path, primary)),
        default=None,
    )


def by_difference(paths: Iterable[Path], failed: Path) -> list[Path]:
    """The paths in the order in which they are worth trying after one has failed: those that share
    the fewest links with it first, the better first among equals."""
    return sorted(paths, key=lambda path: shared_links(path, failed))
