"""The cursors of neighbours: who is sent which stream."""

from __future__ import annotations

from fastpath import Engine
from relay.stream import Stream


class NodeCursors:
    """Owns the engine's cursors towards other nodes, by (neighbour, stream id)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cursors: dict[tuple[str, int], int] = {}
        self._owners: dict[int, tuple[str, int]] = {}

    def add(self, peer: str, stream: Stream, link: int, start_seq: int | None) -> None:
        """start_seq: where to begin; None: at a key frame. One that is there already gives way.
        Raises EngineFullError."""
        owner = peer, stream.track.stream_id
        self.remove(*owner)
        cursor = self._engine.add_cursor(stream=stream.handle, link=link, start_seq=start_seq)
        self._cursors[owner] = cursor
        self._owners[cursor] = owner

    def remove(self, peer: str, stream_id: int) -> None:
        """One that is gone already is fine."""
        cursor = self._cursors.pop((peer, stream_id), None)
        if cursor is not None:
            del self._owners[cursor]
            self._engine.remove_cursor(cursor)

    def forget_stream(self, stream_id: int) -> None:
        """The engine has removed the stream, and its cursors with it."""
        for owner in [owner for owner in self._cursors if owner[1] == stream_id]:
            del self._owners[self._cursors.pop(owner)]

    def owner(self, cursor: int) -> tuple[str, int] | None:
        """(neighbour, stream id)."""
        return self._owners.get(cursor)

    def of(self, peer: str, stream_id: int) -> int | None:
        """The cursor's handle."""
        return self._cursors.get((peer, stream_id))
