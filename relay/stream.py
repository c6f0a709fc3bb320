"""The streams that an engine holds for a node, by handle, by id and by broadcast."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from fastpath import Codec, Engine, Media
from relay.messages import Track

MEDIA = {"video": Media.VIDEO, "audio": Media.AUDIO}
CODECS = {"H264": Codec.H264, "VP8": Codec.VP8, "opus": Codec.OPUS}


@dataclass(slots=True, eq=False)
class Stream:
    """One track here. is_started: its first packet has arrived."""

    broadcast: str
    track: Track
    handle: int
    is_started: bool = False


class StreamRegistry:
    """Owns the engine's streams. Engine errors of `add` pass through."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._by_handle: dict[int, Stream] = {}
        self._by_id: dict[int, Stream] = {}
        self._groups: dict[str, int] = {}
        self._last_group = 0

    @property
    def all(self) -> Collection[Stream]:
        """Every stream."""
        return self._by_handle.values()

    def of(self, broadcast: str) -> list[Stream]:
        """A broadcast's streams."""
        return [stream for stream in self._by_handle.values() if stream.broadcast == broadcast]

    def by_handle(self, handle: int) -> Stream | None:
        """None if it was removed meanwhile."""
        return self._by_handle.get(handle)

    def by_id(self, stream_id: int) -> Stream | None:
        """None if it is not here."""
        return self._by_id.get(stream_id)

    def add(self, broadcast: str, track: Track, upstream: int | None) -> Stream:
        """upstream: the engine's link, None for an ingest. Raises EngineFullError."""
        handle = self._engine.add_stream(
            stream_id=track.stream_id,
            media=MEDIA[track.media],
            first_stream_seq=track.first_stream_seq,
            upstream=upstream,
            clock_rate=track.clock_rate,
            group=self._group_of(broadcast),
        )
        stream = Stream(broadcast, track, handle)
        self._by_handle[handle] = self._by_id[track.stream_id] = stream
        return stream

    def remove(self, stream: Stream) -> None:
        """Its cursors go with it."""
        del self._by_handle[stream.handle]
        del self._by_id[stream.track.stream_id]
        if not self.of(stream.broadcast):
            del self._groups[stream.broadcast]
        self._engine.remove_stream(stream.handle)

    def _group_of(self, broadcast: str) -> int:
        """What the engine knows a broadcast's tracks by."""
        if broadcast not in self._groups:
            self._last_group += 1
            self._groups[broadcast] = self._last_group
        return self._groups[broadcast]
