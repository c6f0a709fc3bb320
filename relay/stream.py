"""The streams that the workers hold for a node, by handle, by id and by broadcast."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fastpath import Codec, Media
from relay.messages import Track
from relay.workers import Workers, worker_of

MEDIA = {"video": Media.VIDEO, "audio": Media.AUDIO}
CODECS = {
    "H264": Codec.H264,
    "H265": Codec.H265,
    "VP8": Codec.VP8,
    "VP9": Codec.VP9,
    "AV1": Codec.AV1,
    "opus": Codec.OPUS,
}


@dataclass(slots=True, eq=False)
class Stream:
    """One track here. home: the worker that encoder or upstream deliver it to. handles: by worker,
    of its ring there; of copies as well. is_started: its first packet has arrived."""

    broadcast: str
    track: Track
    home: int
    handles: dict[int, int]
    is_started: bool = False

    @property
    def handle(self) -> int:
        """Of its ring at home."""
        return self.handles[self.home]


class StreamRegistry:
    """Owns the engine's streams. Engine errors of `add` pass through."""

    def __init__(self, workers: Workers, deadlines_us: Mapping[str, int] | None = None) -> None:
        """deadlines_us: by broadcast, where they are not the engine's (`add_stream`)."""
        self._workers = workers
        self._deadlines_us = deadlines_us or {}
        self._by_handle: dict[int, Stream] = {}
        self._by_id: dict[int, Stream] = {}
        self._by_broadcast: defaultdict[str, list[Stream]] = defaultdict(list)
        self._groups: dict[str, int] = {}
        self._last_group = 0

    @property
    def all(self) -> Collection[Stream]:
        """Every stream."""
        return self._by_handle.values()

    def of(self, broadcast: str) -> list[Stream]:
        """A broadcast's streams."""
        return [*self._by_broadcast.get(broadcast, ())]

    def by_handle(self, handle: int) -> Stream | None:
        """None if it was removed meanwhile."""
        return self._by_handle.get(handle)

    def by_id(self, stream_id: int) -> Stream | None:
        """None if it is not here."""
        return self._by_id.get(stream_id)

    def add(self, broadcast: str, track: Track, upstream: int | None, worker: int = 0) -> Stream:
        """upstream: the engine's link, None for an ingest, or as long as it is not known; then in
        this worker. Raises EngineFullError."""
        worker = worker if upstream is None else worker_of(upstream)
        stream = Stream(broadcast, track, worker, {})
        self.add_copy(stream, worker, upstream, track.first_stream_seq)
        self._by_handle[stream.handle] = self._by_id[track.stream_id] = stream
        self._by_broadcast[broadcast].append(stream)
        return stream

    def add_copy(
        self, stream: Stream, worker: int, upstream: int | None, first_stream_seq: int
    ) -> None:
        """Another ring of it. Raises EngineFullError."""
        stream.handles[worker] = self._workers.add_stream(
            stream_id=stream.track.stream_id,
            media=MEDIA[stream.track.media],
            first_stream_seq=first_stream_seq,
            upstream=upstream,
            clock_rate=stream.track.clock_rate,
            group=self._group_of(stream.broadcast),
            deadline_us=self._deadline_us(stream),
            worker=worker,
        )

    def _deadline_us(self, stream: Stream) -> int:
        """That of a version is its broadcast's, unless it has one of its own; 0: the engine's."""
        name, version = stream.broadcast, stream.track.version
        whole = name.removesuffix(f".{version}") if version else name
        return self._deadlines_us.get(name, self._deadlines_us.get(whole, 0))

    def remove_copy(self, stream: Stream, worker: int) -> None:
        """Its cursors go with it. Not the one at home."""
        self._workers.remove_stream(stream.handles.pop(worker))

    def set_home(self, stream: Stream, worker: int) -> None:
        """Where it has a ring already."""
        del self._by_handle[stream.handle]
        stream.home = worker
        self._by_handle[stream.handle] = stream

    def remove(self, stream: Stream) -> None:
        """Its cursors go with it."""
        del self._by_handle[stream.handle]
        del self._by_id[stream.track.stream_id]
        self._by_broadcast[stream.broadcast].remove(stream)
        if not self._by_broadcast[stream.broadcast]:
            del self._by_broadcast[stream.broadcast], self._groups[stream.broadcast]
        for handle in stream.handles.values():
            self._workers.remove_stream(handle)

    def _group_of(self, broadcast: str) -> int:
        """What the engine knows a broadcast's tracks by."""
        if broadcast not in self._groups:
            self._last_group += 1
            self._groups[broadcast] = self._last_group
        return self._groups[broadcast]
