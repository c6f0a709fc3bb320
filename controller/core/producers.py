"""Which broadcasts are live: announcements, ends, and what becomes of a node's when it goes.

The nodes draw stream ids, so that media may flow before the brain has answered; they are kept if no
living stream has them. `session` of the stream base is made of the ids: a new run of a broadcast
has new ones. What a restarted node does not list at once is given some time to start again, so that
it is replaced rather than gone in between.
"""

from __future__ import annotations

import hashlib
from collections import deque
from random import Random
from typing import TypeAlias

from control_client.errors import RequestCode
from control_client.messages import MAX_PRODUCED, ProducedStream, TrackDescriptor
from controller.core.events import BroadcastEnded, BroadcastStarted
from controller.paths import Announced, Broadcast, StreamBase, Superseded, Track

ProducerEvent: TypeAlias = BroadcastStarted | BroadcastEnded


class AnnouncementProblem(Exception):  # noqa: N818  an answer to the node
    """Why a broadcast is not taken."""

    def __init__(self, code: RequestCode, text: str) -> None:
        self.code = code
        super().__init__(text)


class Producers:
    """grace_us: for the broadcasts of a restarted node. rng: numbers the sessions of nodes that do
    not bring ids."""

    def __init__(self, streams: StreamBase, grace_us: int, rng: Random) -> None:
        self._streams = streams
        self._grace_us = grace_us
        self._rng = rng
        self._missing: dict[str, tuple[str, int]] = {}  # broadcast: its producer, until when
        self._events: deque[ProducerEvent] = deque()

    def next_event(self) -> ProducerEvent | None:
        return self._events.popleft() if self._events else None

    def announce(self, producer: str, stream: ProducedStream, now_us: int) -> Announced:
        """Raises AnnouncementProblem: another node has the broadcast now, or this one too many."""
        name = stream.broadcast
        current = self._streams.find(name)
        is_another = current is None or current.producer != producer
        if is_another and len(self._streams.produced_by(producer)) >= MAX_PRODUCED:
            text = f"{producer} produces {MAX_PRODUCED} broadcasts already"
            raise AnnouncementProblem(RequestCode.FULL, text)
        tracks, ids = _tracks(stream.tracks), stream.stream_ids
        session = self._session(producer, stream, current)
        answer = self._streams.announce(name, producer, session, tracks, now_us, ids)
        if isinstance(answer, Superseded) and answer.current is None:
            # It was silent for a while, was ended, and goes on under the ids it had.
            session = self._rng.getrandbits(56)
            answer = self._streams.announce(name, producer, session, tracks, now_us, ids)
        if isinstance(answer, Superseded):
            assert answer.current is not None
            text = f"{name} is produced by {answer.current.producer} now"
            raise AnnouncementProblem(RequestCode.NAME_TAKEN, text)
        if self._missing.get(name, (None, 0))[0] == producer or answer.moved_from is not None:
            self._missing.pop(name, None)
        if answer.is_new:
            self._events.append(BroadcastStarted(name, producer, answer.moved_from))
        return answer

    def end(self, producer: str, name: str) -> None:
        """It says so. Without effect if another node has it by now."""
        self._end(producer, name, "it has ended")

    def on_joined(
        self, producer: str, listed: frozenset[str], *, is_restart: bool, now_us: int
    ) -> None:
        """listed: what it says it produces; those are announced beside this."""
        for broadcast in self._streams.produced_by(producer):
            if broadcast.name in listed:
                continue
            if is_restart:
                self._missing.setdefault(broadcast.name, (producer, now_us + self._grace_us))
            else:
                self._end(producer, broadcast.name, "it ended while the brain was away")

    def on_lost(self, producer: str) -> None:
        """The node is no more."""
        for ended in self._streams.end_producer(producer):
            self._missing.pop(ended.broadcast.name, None)
            event = BroadcastEnded(ended.broadcast.name, producer, f"{producer} is lost")
            self._events.append(event)

    def handle_timer(self, now_us: int) -> None:
        for name, (producer, until_us) in list(self._missing.items()):
            if now_us >= until_us:
                self._end(producer, name, f"{producer} has restarted without it")

    def next_timer_us(self) -> int | None:
        return min((until_us for _, until_us in self._missing.values()), default=None)

    def _end(self, producer: str, name: str, reason: str) -> None:
        current = self._streams.find(name)
        if current is not None and current.producer == producer:
            self._streams.end(name, producer, current.session)
            self._events.append(BroadcastEnded(name, producer, reason))
        if self._missing.get(name, (None, 0))[0] == producer:
            del self._missing[name]

    def _session(self, producer: str, stream: ProducedStream, current: Broadcast | None) -> int:
        is_own = current is not None and current.producer == producer
        if current is not None and is_own and stream.stream_ids in ((), current.stream_ids):
            return current.session
        if not stream.stream_ids:
            return self._rng.getrandbits(56)
        data = b"".join(stream_id.to_bytes(4, "big") for stream_id in stream.stream_ids)
        return int.from_bytes(hashlib.sha256(data).digest()[:7], "big")


def _tracks(descriptors: tuple[TrackDescriptor, ...]) -> tuple[Track, ...]:
    """Named by medium and place: video, audio, video2."""
    counts: dict[str, int] = {}
    tracks = []
    for track in descriptors:
        number = counts[track.media] = counts.get(track.media, 0) + 1
        name = track.media if number == 1 else f"{track.media}{number}"
        tracks.append(
            Track(name, track.media, track.codec, track.payload_type, track.clock_rate, track.fmtp)
        )
    return tuple(tracks)
