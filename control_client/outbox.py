"""Messages on their way to the other side, bounded: one that does not read is given up."""

from __future__ import annotations

from collections import deque

MAX_MESSAGES = 1024  # chosen: far above what a session says while the other side lives
MAX_BYTES = 8 << 20  # chosen: four of the largest


class Outbox:
    """Of one connection."""

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._size_bytes = 0

    def put(self, data: bytes) -> bool:
        """False if there is no room: nothing was taken."""
        is_full = len(self._messages) >= MAX_MESSAGES or self._size_bytes + len(data) > MAX_BYTES
        if not is_full:
            self._messages.append(data)
            self._size_bytes += len(data)
        return not is_full

    def take(self) -> bytes | None:
        """The oldest."""
        if not self._messages:
            return None
        data = self._messages.popleft()
        self._size_bytes -= len(data)
        return data

    def clear(self) -> None:
        """The connection is gone, and with it whatever was to go there."""
        self._messages.clear()
        self._size_bytes = 0
