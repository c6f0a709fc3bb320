"""The cursors of neighbours: who is sent which stream."""

from __future__ import annotations

from relay.stream import Stream
from relay.workers import Workers, worker_of


class NodeCursors:
    """Owns the engine's cursors towards other nodes, by stream id and neighbour."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._cursors: dict[int, dict[str, int]] = {}
        self._links: dict[int, int] = {}
        self._owners: dict[int, tuple[str, int]] = {}
        self._copies: dict[int, set[str]] = {}  # by stream id

    def add(self, peer: str, stream: Stream, link: int, start_seq: int | None) -> None:
        """In the link's worker, where the stream has a ring. start_seq: where to begin; None: at a
        key frame. One that is there already gives way. Raises EngineFullError."""
        stream_id = stream.track.stream_id
        self.remove(peer, stream_id)
        handle = stream.handles[worker_of(link)]
        cursor = self._workers.add_cursor(stream=handle, link=link, start_seq=start_seq)
        self._cursors.setdefault(stream_id, {})[peer] = cursor
        self._owners[cursor] = peer, stream_id
        self._links[cursor] = link
        if peer in self._copies.get(stream_id, ()):
            self._workers.mark_copy(cursor, True)

    def mark_copy(self, peer: str, stream_id: int, *, is_copy: bool) -> None:
        """Whether the neighbour gets it from elsewhere too; of its cursor of now, or a later."""
        if is_copy:
            self._copies.setdefault(stream_id, set()).add(peer)
        elif (peers := self._copies.get(stream_id)) is not None:
            peers.discard(peer)
            if not peers:
                del self._copies[stream_id]
        if (cursor := self.of(peer, stream_id)) is not None:
            self._workers.mark_copy(cursor, is_copy)

    def remove(self, peer: str, stream_id: int) -> None:
        """One that is gone already is fine."""
        of_stream = self._cursors.get(stream_id, {})
        cursor = of_stream.pop(peer, None)
        if cursor is not None:
            del self._owners[cursor], self._links[cursor]
            if not of_stream:
                del self._cursors[stream_id]
            self._workers.remove_cursor(cursor)

    def forget_stream(self, stream_id: int) -> None:
        """The engine has removed the stream, and its cursors with it."""
        self._copies.pop(stream_id, None)
        for cursor in self._cursors.pop(stream_id, {}).values():
            del self._owners[cursor], self._links[cursor]

    def owner(self, cursor: int) -> tuple[str, int] | None:
        """(neighbour, stream id)."""
        return self._owners.get(cursor)

    def of(self, peer: str, stream_id: int) -> int | None:
        """The cursor's handle."""
        return self._cursors.get(stream_id, {}).get(peer)

    def link_of(self, cursor: int) -> int:
        """The link that it sends on. Raises KeyError if it was removed."""
        return self._links[cursor]

    def workers_of(self, stream_id: int) -> set[int]:
        """Where neighbours are sent it from."""
        return {worker_of(cursor) for cursor in self._cursors.get(stream_id, {}).values()}
