"""Handles: how Python names what it adds to a worker, without an answer from it.

A hundred thousand of them must cost little: plain numbers in arrays that grow with what is used.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEX_BITS = 20
INDEX_MASK = (1 << INDEX_BITS) - 1
NOBODY = -1


class EngineFullError(RuntimeError):
    """A table is at its limit. `table` and `limit` say which."""

    def __init__(self, table: str, limit: int) -> None:
        super().__init__(
            f"the engine's table of {table} is full ({limit}); raise the limit or use fewer"
        )
        self.table = table
        self.limit = limit


class HandleTable:
    """Indexes in use, each with a generation (handle = generation << 20 | index).

    A handle is never given twice; an index is used again once its owner has given it back, which is
    safe because commands are applied in order.
    """

    INDEX_BITS = INDEX_BITS

    __slots__ = ("_free", "_generations", "_in_use", "_offset", "limit", "name")

    def __init__(self, name: str, limit: int, offset: int = 0) -> None:
        self.name = name
        self.limit = limit
        self._offset = offset
        self._free = array("i")  # given back; the last one is taken first
        self._generations = array("q")  # of each index that was ever in use
        self._in_use = bytearray()

    def __len__(self) -> int:
        """How many are in use."""
        return len(self._generations) - len(self._free)

    def __contains__(self, handle: int) -> bool:
        index = (handle & INDEX_MASK) - self._offset
        return (
            0 <= index < len(self._generations)
            and self._in_use[index] == 1
            and self._generations[index] == handle >> INDEX_BITS
        )

    def take(self) -> int:
        """Raises EngineFullError."""
        if self._free:
            index = self._free.pop()
        elif len(self._generations) < self.limit:
            index = len(self._generations)
            self._generations.append(0)
            self._in_use.append(0)
        else:
            raise EngineFullError(self.name, self.limit)
        self._generations[index] += 1
        self._in_use[index] = 1
        return self._generations[index] << INDEX_BITS | (index + self._offset)

    def give(self, handle: int) -> None:
        """Raises KeyError for a handle not in use."""
        index = self.check(handle) - self._offset
        self._in_use[index] = 0
        self._free.append(index)

    def check(self, handle: int) -> int:
        """The index of a handle in use. Raises KeyError."""
        if handle not in self:
            raise KeyError(f"{handle} is no handle of {self.name}")
        return handle & INDEX_MASK

    def handle_of(self, index: int) -> int:
        """The newest handle with this index."""
        return self._generations[index - self._offset] << INDEX_BITS | index


class Chains:
    """Members (small numbers) in chains, each in one at most: put in, taken out and listed without
    looking at others."""

    __slots__ = ("_first", "_next", "_of", "_previous")

    def __init__(self) -> None:
        self._first = array("i")  # of each chain
        self._next = array("i")  # of each member
        self._previous = array("i")
        self._of = array("i")

    def add(self, chain: int, member: int) -> None:
        _reach(self._first, chain)
        for of_members in (self._next, self._previous, self._of):
            _reach(of_members, member)
        first = self._first[chain]
        self._next[member] = first
        self._previous[member] = NOBODY
        self._of[member] = chain
        if first != NOBODY:
            self._previous[first] = member
        self._first[chain] = member

    def remove(self, member: int) -> None:
        following, previous = self._next[member], self._previous[member]
        if previous == NOBODY:
            self._first[self._of[member]] = following
        else:
            self._next[previous] = following
        if following != NOBODY:
            self._previous[following] = previous
        self._of[member] = NOBODY

    def chain_of(self, member: int) -> int:
        return self._of[member]

    def members(self, chain: int) -> Iterator[int]:
        """Newest first."""
        at = self._first[chain] if chain < len(self._first) else NOBODY
        while at != NOBODY:
            yield at
            at = self._next[at]


def _reach(values: array[int], index: int) -> None:
    if index >= len(values):
        values.extend([NOBODY] * (index + 1 - len(values)))
