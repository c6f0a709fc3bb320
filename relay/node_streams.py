"""The streams that a node carries, as its engine holds them: from encoders or from upstream, and
the cursors of neighbours on them. What the subscription table decides about streams is done here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from random import Random

import msgspec

from fastpath import Engine
from relay.config import Ingest
from relay.edge.plain_rtp import PlainRtpEdge
from relay.messages import Track
from relay.slowpath.path_monitor import PathSample
from relay.stream import CODECS, StreamRegistry
from relay.subscriber import NodeCursors
from rtp.sequence import is_newer
from service.address import parse_address

FIRST_STREAM_SEQ_LIMIT = 1 << 16  # chosen: far from 2^32, so that short tests stay readable
STREAM_SEQ_BITS = 32
MOST_LEFT = 8  # chosen: streams of one broadcast that its upstreams may go back to


class NodeStreams:
    """link_of: the engine's link with a neighbour, None if there is none. Engine errors pass
    through."""

    def __init__(self, engine: Engine, rng: Random, link_of: Callable[[str], int | None]) -> None:
        self.registry = StreamRegistry(engine)
        self.cursors = NodeCursors(engine)
        self._engine = engine
        self._rng = rng
        self._link_of = link_of
        self._ingests: dict[str, Ingest] = {}
        # By broadcast and stream id: the first packet that viewers here were not sent.
        self._left: defaultdict[str, dict[int, int]] = defaultdict(dict)

    def open(
        self,
        edge: PlainRtpEdge,
        ingests: Iterable[Ingest],
        ports: Mapping[tuple[str, str], int],
    ) -> dict[str, tuple[Track, ...]]:
        """Viewers, and the broadcasts that may start here, with the ports of their tracks; the
        streams made for those."""
        self._edge = edge
        self._ports = ports
        self._ingests = {ingest.name: ingest for ingest in ingests}
        made = {name: self.new_tracks(name) for name in self._ingests}
        for name, tracks in made.items():
            self._add_local(name, tracks)
        return made

    def new_tracks(self, name: str) -> tuple[Track, ...]:
        """Fresh ids and first numbers for an ingest's tracks. Raises KeyError."""
        tracks: list[Track] = []
        for track in self._ingests[name].tracks:
            stream_id = self._rng.randrange(1, 1 << 32)
            while self.registry.by_id(stream_id) or stream_id in {t.stream_id for t in tracks}:
                stream_id = self._rng.randrange(1, 1 << 32)
            described = Track(
                stream_id=stream_id,
                media=track.kind,
                codec=track.codec,
                payload_type=track.payload_type,
                clock_rate=track.clock_rate,
                first_stream_seq=self._rng.randrange(FIRST_STREAM_SEQ_LIMIT),
                fmtp=track.fmtp,
            )
            tracks.append(described)
        return tuple(tracks)

    def check_ingest(self, name: str) -> None:
        """Raises KeyError unless the broadcast may start here."""
        if name not in self._ingests:
            raise KeyError(f"no ingest called {name} is configured")

    def change(self, broadcast: str, peer: str | None, tracks: tuple[Track, ...]) -> None:
        """The new ones first: viewers go on from the old to the new as one stream. A stream they
        were on before goes on where it was left: what is older they have seen."""
        if peer is None:
            self._add_local(broadcast, tracks)
        else:
            link = self._link_of(peer)
            for track in tracks:
                stream = self.registry.by_id(track.stream_id)
                if stream is not None:
                    self._engine.set_upstream(stream.handle, link)
                elif link is not None:
                    self.registry.add(broadcast, self._unseen(broadcast, track), link)
        kept = [track.stream_id for track in tracks]
        staying = [s for s in self.registry.of(broadcast) if s.track.stream_id in kept]
        self._edge.move(broadcast, staying)
        self._note_left(broadcast, kept)
        self._remove_but(broadcast, kept)

    def remove(self, broadcast: str) -> None:
        """All of the broadcast's streams, and their cursors."""
        self._left.pop(broadcast, None)
        self._remove_but(broadcast, ())

    def _remove_but(self, broadcast: str, kept: Collection[int]) -> None:
        for stream in self.registry.of(broadcast):
            if stream.track.stream_id not in kept:
                self.cursors.forget_stream(stream.track.stream_id)
                self.registry.remove(stream)

    def _note_left(self, broadcast: str, kept: Collection[int]) -> None:
        """Where the streams end here that are no longer among those of the broadcast."""
        if not self._edge.is_watched(broadcast):
            self._left.pop(broadcast, None)
            return
        left = self._left[broadcast]
        for stream in self.registry.of(broadcast):
            if stream.track.stream_id not in kept:
                stats = self._engine.stream_stats(stream.handle)
                left[stream.track.stream_id] = stats.next_stream_seq
        for stream_id in [*left][:-MOST_LEFT]:
            del left[stream_id]

    def _unseen(self, broadcast: str, track: Track) -> Track:
        left = self._left[broadcast].pop(track.stream_id, track.first_stream_seq)
        if is_newer(left, track.first_stream_seq, STREAM_SEQ_BITS):
            return msgspec.structs.replace(track, first_stream_seq=left)
        return track

    def set_upstream(self, broadcast: str, peer: str, second: str | None) -> None:
        """Where its packets may come from."""
        link, other = self._link_of(peer), self._link_of(second) if second else None
        for stream in self.registry.of(broadcast):
            self._engine.set_upstream(stream.handle, link, second=other)

    def add_cursor(self, peer: str, stream_id: int, start_seq: int | None) -> None:
        """Send a stream to a neighbour; one of the two that is gone already is fine."""
        stream, link = self.registry.by_id(stream_id), self._link_of(peer)
        if stream is not None and link is not None:
            self.cursors.add(peer, stream, link, start_seq)

    def lacking(self, broadcast: str) -> dict[int, int]:
        """By stream id, the first packet that another upstream should send."""
        return {
            stream.track.stream_id: self._engine.stream_stats(stream.handle).first_lacking_seq
            for stream in self.registry.of(broadcast)
            if stream.is_started
        }

    def sample(self, broadcast: str) -> PathSample | None:
        """How its video arrives, or its only track."""
        streams = sorted(self.registry.of(broadcast), key=lambda s: s.track.media != "video")
        if not streams:
            return None
        stats = self._engine.stream_stats(streams[0].handle)
        return PathSample(stats.next_stream_seq, stats.packets, stats.delay_us)

    def _add_local(self, name: str, tracks: tuple[Track, ...]) -> None:
        for configured, track in zip(self._ingests[name].tracks, tracks, strict=True):
            if self.registry.by_id(track.stream_id) is not None:
                continue
            stream = self.registry.add(name, track, None)
            self._engine.set_ingest(
                self._ports[name, track.media],
                stream=stream.handle,
                codec=CODECS[track.codec],
                payload_type=track.payload_type,
                parameter_sets=configured.parameter_sets,
                rtcp_to=parse_address(configured.rtcp_to) if configured.rtcp_to else None,
            )
