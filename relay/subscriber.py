"""The cursors of neighbours: who is sent which stream."""

from __future__ import annotations

from relay.stream import Stream
from relay.workers import Workers, worker_of


class NodeCursors:
    """Owns the engine's cursors towards other nodes, by (neighbour, stream id)."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._cursors: dict[tuple[str, int], int] = {}
        self._links: dict[int, int] = {}
        self._owners: dict[int, tuple[str, int]] = {}
        self._copies: set[tuple[str, int]] = set()

    def add(self, peer: str, stream: Stream, link: int, start_seq: int | None) -> None:
        """In the link's worker, where the stream has a ring. start_seq: where to begin; None: at a
        key frame. One that is there already gives way. Raises EngineFullError."""
        owner = peer, stream.track.stream_id
        self.remove(*owner)
        handle = stream.handles[worker_of(link)]
        cursor = self._workers.add_cursor(stream=handle, link=link, start_seq=start_seq)
        self._cursors[owner] = cursor
        self._owners[cursor] = owner
        self._links[cursor] = link
        if owner in self._copies:
            self._workers.mark_copy(cursor, True)

    def mark_copy(self, peer: str, stream_id: int, *, is_copy: bool) -> None:
        """Whether the neighbour gets it from elsewhere too; of its cursor of now, or a later."""
        owner = peer, stream_id
        (self._copies.add if is_copy else self._copies.discard)(owner)
        if (cursor := self._cursors.get(owner)) is not None:
            self._workers.mark_copy(cursor, is_copy)

    def remove(self, peer: str, stream_id: int) -> None:
        """One that is gone already is fine."""
        cursor = self._cursors.pop((peer, stream_id), None)
        if cursor is not None:
            del self._owners[cursor], self._links[cursor]
            self._workers.remove_cursor(cursor)

    def forget_stream(self, stream_id: int) -> None:
        """The engine has removed the stream, and its cursors with it."""
        self._copies = {owner for owner in self._copies if owner[1] != stream_id}
        for owner in [owner for owner in self._cursors if owner[1] == stream_id]:
            cursor = self._cursors.pop(owner)
            del self._owners[cursor], self._links[cursor]

    def owner(self, cursor: int) -> tuple[str, int] | None:
        """(neighbour, stream id)."""
        return self._owners.get(cursor)

    def of(self, peer: str, stream_id: int) -> int | None:
        """The cursor's handle."""
        return self._cursors.get((peer, stream_id))

    def link_of(self, cursor: int) -> int:
        """The link that it sends on. Raises KeyError if it was removed."""
        return self._links[cursor]

    def workers_of(self, stream_id: int) -> set[int]:
        """Where neighbours are sent it from."""
        return {worker_of(c) for (_, stream), c in self._cursors.items() if stream == stream_id}
