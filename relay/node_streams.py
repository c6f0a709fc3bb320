"""The streams that a node carries, as its workers hold them: from encoders or from upstream, their
copies in further workers, and the cursors of neighbours on them. What the subscription table
decides about streams is done here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from random import Random

import msgspec

from relay.config import Produced
from relay.edge.plain_rtp import PlainRtpEdge
from relay.lanes import Lanes
from relay.messages import Track, is_version_of
from relay.placement import Placement
from relay.replicas import Replicas
from relay.slowpath.path_monitor import PathSample
from relay.stream import CODECS, Stream, StreamRegistry
from relay.subscriber import NodeCursors
from relay.workers import Workers, worker_of
from rtp.sequence import is_newer
from service.address import parse_address

FIRST_STREAM_SEQ_LIMIT = 1 << 16  # chosen: far from 2^32, so that short tests stay readable
STREAM_SEQ_BITS = 32
MOST_LEFT = 8  # chosen: streams of one broadcast that its upstreams may go back to


class NodeStreams:
    """Engine errors pass through."""

    def __init__(
        self,
        workers: Workers,
        registry: StreamRegistry,
        replicas: Replicas,
        placement: Placement,
        lanes: Lanes,
        rng: Random,
    ) -> None:
        self.registry = registry
        self.cursors = NodeCursors(workers)
        self._workers = workers
        self._replicas = replicas
        self._placement = placement
        self._lanes = lanes
        self._rng = rng
        self._ingests: dict[str, Produced] = {}
        self._upstreams: dict[str, int | None] = {}
        # Of neighbours' cursors that wait for a copy, by stream id: the neighbour and where from.
        self._waiting: defaultdict[int, dict[str, int | None]] = defaultdict(dict)
        # By broadcast and stream id: the first packet that viewers here were not sent.
        self._left: defaultdict[str, dict[int, int]] = defaultdict(dict)

    def open(
        self,
        edge: PlainRtpEdge,
        ingests: Iterable[Produced],
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
        produced = self._ingests[name]
        for track in produced.tracks:
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
                version=track.version,
                bitrates_bps=produced.bitrates_bps if track.kind == "video" else (),
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
            self._upstreams.pop(broadcast, None)
            self._placement.forget(broadcast)
            self._add_local(broadcast, tracks)
        else:
            link = self._upstreams[broadcast] = self._lanes.upstream(peer, broadcast)
            home = self._placement.home(broadcast)
            for track in tracks:
                stream = self.registry.by_id(track.stream_id)
                if stream is not None:
                    self._workers.set_upstream(stream.handle, link)
                elif self._lanes.knows(peer):
                    unseen = self._unseen(broadcast, track)
                    self._add(broadcast, unseen, link, home)
        kept = [track.stream_id for track in tracks]
        staying = [s for s in self.registry.of(broadcast) if s.track.stream_id in kept]
        self._edge.move(broadcast, staying)
        self._note_left(broadcast, kept)
        self._remove_but(broadcast, kept)

    def remove(self, broadcast: str) -> None:
        """All of the broadcast's streams, and their cursors."""
        self._left.pop(broadcast, None)
        self._upstreams.pop(broadcast, None)
        self._remove_but(broadcast, ())

    def _add(self, broadcast: str, track: Track, upstream: int | None, worker: int) -> Stream:
        """With a copy wherever the broadcast has one already, or viewers."""
        count = len(self._workers)
        copies = {w for w in range(count) if count > 1 and self._edge.is_followed(broadcast, w)}
        copies |= self._replicas.workers_of(broadcast) if count > 1 else set()
        stream = self.registry.add(broadcast, track, upstream, worker)
        self._replicas.follow(stream, copies)
        return stream

    def _remove_but(self, broadcast: str, kept: Collection[int]) -> None:
        for stream in self.registry.of(broadcast):
            if stream.track.stream_id not in kept:
                self._waiting.pop(stream.track.stream_id, None)
                self.cursors.forget_stream(stream.track.stream_id)
                self._replicas.forget(stream)
                self.registry.remove(stream)
        self._replicas.part_unused()

    def _note_left(self, broadcast: str, kept: Collection[int]) -> None:
        """Where the streams end here that are no longer among those of the broadcast."""
        if not self._edge.is_watched(broadcast):
            self._left.pop(broadcast, None)
            return
        left = self._left[broadcast]
        for stream in self.registry.of(broadcast):
            if stream.track.stream_id not in kept:
                stats = self._workers.stream_stats(stream.handle)
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
        link = self._lanes.upstream(peer, broadcast)
        other = self._lanes.upstream(second, broadcast) if second else None
        self._upstreams[broadcast] = link
        for stream in self.registry.of(broadcast):
            self._workers.set_upstream(stream.handle, link, second=other)

    def follow_lane(self, broadcast: str, peer: str, second: str | None) -> None:
        """As `set_upstream`, where only the neighbour's worker may be another now: what is on its
        way from the one before is taken too."""
        before = self._upstreams.get(broadcast)
        link = self._lanes.upstream(peer, broadcast)
        other = self._lanes.upstream(second, broadcast) if second else None
        if link == before and second is None:
            return
        self._upstreams[broadcast] = link
        for stream in self.registry.of(broadcast):
            late = before
            if (
                before is None
                or worker_of(before) != stream.home
                or before == link
                or not self._lanes.has_link(peer, before)
            ):
                late = None
            self._workers.set_upstream(stream.handle, link, second=late if other is None else other)

    def add_cursor(self, peer: str, stream_id: int, start_seq: int | None, now_us: int) -> None:
        """Send a stream to a neighbour; one of the two that is gone already is fine."""
        stream = self.registry.by_id(stream_id)
        if stream is None:
            return
        link = self._lanes.downstream(peer, stream.broadcast, now_us)
        if link is None:
            return
        if worker_of(link) in stream.handles:
            self.cursors.add(peer, stream, link, start_seq)
        else:
            self._waiting[stream_id][peer] = start_seq
            self._replicas.add_one(stream, worker_of(link), start_seq)

    def remove_cursor(self, peer: str, stream_id: int) -> None:
        """One that is gone already is fine."""
        if (waiting := self._waiting.get(stream_id)) is not None:
            waiting.pop(peer, None)  # the copy is begun all the same: `on_cursor_started`
        self.cursors.mark_copy(peer, stream_id, is_copy=False)
        self.cursors.remove(peer, stream_id)
        if len(self._workers) > 1 and (stream := self.registry.by_id(stream_id)) is not None:
            self.prune(stream.broadcast)

    def move_cursors(self, peer: str, broadcast: str, now_us: int) -> bool:
        """To the link that the neighbour is sent it on now; True if that was another."""
        has_moved = False
        for stream in self.registry.of(broadcast):
            stream_id = stream.track.stream_id
            cursor = self.cursors.of(peer, stream_id)
            if cursor is None:
                continue
            link = self._lanes.downstream(peer, broadcast, now_us)
            if link is not None and link != self.cursors.link_of(cursor):
                has_moved = True
                start_seq = self._workers.cursor_stats(cursor).next_stream_seq
                self.cursors.remove(peer, stream_id)
                self.add_cursor(peer, stream_id, start_seq, now_us)
        if has_moved:
            self.prune(broadcast)
        return has_moved

    def copied_by(self, cursor: int) -> int | None:
        """The id of the stream that a cursor is to make a copy of; None if it is for another
        purpose."""
        stream = self._replicas.copied_by(cursor)
        return stream.track.stream_id if stream else None

    def take_waiting(self, stream_id: int) -> dict[str, int | None] | None:
        """Neighbours that a copy is made for, and where each begins; None: it is for viewers."""
        return self._waiting.pop(stream_id, None)

    def has_parts(self, broadcast: str) -> bool:
        """Whether some copy has not all of its tracks."""
        workers = self._replicas.workers_of(broadcast)
        return any(not self._replicas.is_ready(broadcast, worker) for worker in workers)

    def on_copy_started(self, cursor: int, first_stream_seq: int) -> None:
        """There is a copy now."""
        self._replicas.on_cursor_started(cursor, first_stream_seq)

    def move_home(self, broadcast: str, worker: int, now_us: int) -> None:
        """It is to be delivered to another worker; the upstream is still to be set. What an encoder
        sends here stays where that arrives, until it comes from elsewhere."""
        self._placement.set_home(broadcast, worker)
        if broadcast not in self._upstreams:
            return
        self._replicas.move_home(broadcast, worker)
        for stream in self.registry.of(broadcast):  # copies that were being made are not any more
            stream_id = stream.track.stream_id
            for peer, start_seq in self._waiting.pop(stream_id, {}).items():
                self.add_cursor(peer, stream_id, start_seq, now_us)
        self.prune(broadcast)

    def is_sent_on(self, peer: str, broadcast: str, link: int | None) -> bool:
        """Whether a neighbour has cursors on a link, though it should be sent it on another."""
        cursors = (
            self.cursors.of(peer, stream.track.stream_id) for stream in self.registry.of(broadcast)
        )
        return any(c is not None and self.cursors.link_of(c) == link for c in cursors)

    def prune(self, broadcast: str) -> None:
        """Remove copies that nobody is served from any more."""
        for worker in sorted(self._replicas.workers_of(broadcast)):
            streams = self.registry.of(broadcast)
            ids = [stream.track.stream_id for stream in streams]
            is_needed = (
                self._edge.is_followed(broadcast, worker)
                or self._replicas.is_making(broadcast, worker)
                or any(worker in self.cursors.workers_of(stream_id) for stream_id in ids)
            )
            if not is_needed:
                self._replicas.remove(broadcast, worker)

    def prune_versions(self, broadcast: str) -> None:
        """The same of all its versions."""
        for name in sorted(self._replicas.broadcasts):
            if is_version_of(name, broadcast):
                self.prune(name)

    def lacking(self, broadcast: str) -> dict[int, int]:
        """By stream id, the first packet that another upstream should send."""
        return {
            stream.track.stream_id: self._workers.stream_stats(stream.handle).first_lacking_seq
            for stream in self.registry.of(broadcast)
            if stream.is_started
        }

    def sample(self, broadcast: str) -> PathSample | None:
        """How its video arrives, or its only track."""
        streams = sorted(self.registry.of(broadcast), key=lambda s: s.track.media != "video")
        if not streams:
            return None
        stats = self._workers.stream_stats(streams[0].handle)
        return PathSample(stats.next_stream_seq, stats.packets, stats.delay_us)

    def _add_local(self, name: str, tracks: tuple[Track, ...]) -> None:
        for configured, track in zip(self._ingests[name].tracks, tracks, strict=True):
            if self.registry.by_id(track.stream_id) is not None:
                continue
            port = self._ports[name, track.media]
            stream = self._add(name, track, None, worker_of(port))
            self._workers.set_ingest(
                port,
                stream=stream.handle,
                codec=CODECS[track.codec],
                payload_type=track.payload_type,
                parameter_sets=configured.parameter_sets,
                rtcp_to=parse_address(configured.rtcp_to) if configured.rtcp_to else None,
                nack=configured.nack,
                rtx_payload_type=configured.rtx_payload_type or 0,
                transport_cc_id=configured.transport_cc_id,
                dependency_id=configured.dependency_id,
            )
