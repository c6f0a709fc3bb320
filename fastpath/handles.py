"""Handles: how Python names what it adds to a worker, without an answer from it."""


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

    INDEX_BITS = 20

    __slots__ = ("_free", "_generations", "_offset", "limit", "name", "used")

    def __init__(self, name: str, limit: int, offset: int = 0) -> None:
        self.name = name
        self.limit = limit
        self.used: set[int] = set()
        self._offset = offset
        self._free = list(range(limit - 1, -1, -1))
        self._generations = [0] * limit

    def take(self) -> int:
        """Raises EngineFullError."""
        if not self._free:
            raise EngineFullError(self.name, self.limit)
        index = self._free.pop()
        self._generations[index] += 1
        handle = self._generations[index] << self.INDEX_BITS | (index + self._offset)
        self.used.add(handle)
        return handle

    def give(self, handle: int) -> None:
        """Raises KeyError for a handle not in use."""
        self.used.remove(handle)
        self._free.append((handle & ((1 << self.INDEX_BITS) - 1)) - self._offset)

    def check(self, handle: int) -> int:
        """The index of a handle in use. Raises KeyError."""
        if handle not in self.used:
            raise KeyError(f"{handle} is no handle of {self.name}")
        return handle & ((1 << self.INDEX_BITS) - 1)
