"""Which broadcasts are live, who produces them, and the ids of their streams (LiveNet's SIB).

A producer announces a broadcast with its tracks, and repeats that whenever it likes: the same
announcement changes nothing. `session` names one run of the broadcast at one producer. Another
session of the same name replaces the first, as after a restart, or when the broadcaster has moved:
its tracks get ids of their own, and each old id knows its successor. What the replaced session
still says is answered with Superseded, whatever order messages arrive in.

The old producer of a moved broadcast should subscribe to the new one, so that paths need not change
(LiveNet 7.1): `Announced.moved_from` names it.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from controller.errors import InvalidAnnouncementError
from controller.paths.stream_ids import StreamIds

RETIRED_SESSIONS = 100_000  # chosen: remembered in all, some hours of a large network's broadcasts


@dataclass(frozen=True, slots=True)
class Track:
    """What a producer says of one track. name: unique in its broadcast; one bitrate version is one
    track. Another description under the same name is another stream."""

    name: str
    media: Literal["video", "audio"]
    codec: str
    payload_type: int
    clock_rate: int
    fmtp: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    stream_id: int
    track: Track


@dataclass(frozen=True, slots=True)
class Broadcast:
    """One that is live. since_us: its session's first announcement."""

    name: str
    producer: str
    session: int
    streams: tuple[Stream, ...]
    since_us: int

    @property
    def stream_ids(self) -> tuple[int, ...]:
        return tuple(stream.stream_id for stream in self.streams)


@dataclass(frozen=True, slots=True)
class Announced:
    """successors: (old id, new id or None) of streams that are over because of this.

    is_new: something changed; False for a repetition. moved_from: the producer before, if another.
    """

    broadcast: Broadcast
    is_new: bool
    successors: tuple[tuple[int, int | None], ...] = ()
    moved_from: str | None = None


@dataclass(frozen=True, slots=True)
class Superseded:
    """The announcing session is over: replaced by `current`, or ended if that is None."""

    current: Broadcast | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The last state of a broadcast that is over now."""

    broadcast: Broadcast


Announcement: TypeAlias = Announced | Superseded
_Session: TypeAlias = tuple[str, str, int]


class StreamBase:
    """ids: where new stream ids come from; save its `next_id` with the state."""

    def __init__(self, ids: StreamIds) -> None:
        self._ids = ids
        self._broadcasts: dict[str, Broadcast] = {}
        self._by_id: dict[int, str] = {}
        self._by_producer: defaultdict[str, set[str]] = defaultdict(set)
        self._retired: OrderedDict[_Session, None] = OrderedDict()
        self.version = 0

    def announce(
        self,
        name: str,
        producer: str,
        session: int,
        tracks: tuple[Track, ...],
        now_us: int,
        ids: tuple[int, ...] = (),
    ) -> Announcement:
        """A broadcast is, or still is, live. Raises InvalidAnnouncementError for bad `tracks`.

        ids: one a track, already in use by the producer; taken where no living stream has them.
        """
        if not tracks:
            raise InvalidAnnouncementError(f"broadcast {name!r} has no tracks")
        if len({track.name for track in tracks}) < len(tracks):
            raise InvalidAnnouncementError(f"broadcast {name!r} has two tracks of one name")
        if ids and len(ids) != len(tracks):
            raise InvalidAnnouncementError(f"{len(ids)} ids for {len(tracks)} tracks of {name!r}")
        current = self._broadcasts.get(name)
        if (name, producer, session) in self._retired:
            return Superseded(current)
        if current is None:
            made = self._set(None, name, producer, session, tracks, now_us, ids)
            return Announced(made, is_new=True)
        if (current.producer, current.session) == (producer, session):
            if tuple(stream.track for stream in current.streams) == tracks:
                return Announced(current, is_new=False)
            now_us = current.since_us
        else:
            self._retire(current)
        made = self._set(current, name, producer, session, tracks, now_us, ids)
        return Announced(
            made,
            is_new=True,
            successors=_successors(current, made),
            moved_from=current.producer if current.producer != producer else None,
        )

    def end(self, name: str, producer: str, session: int) -> Ended | None:
        """This session is over. None if it was over already, or is not the current one."""
        current = self._broadcasts.get(name)
        if current is None or (current.producer, current.session) != (producer, session):
            return None
        self._retire(current)
        self._remove(current)
        self.version += 1
        return Ended(current)

    def end_producer(self, producer: str) -> tuple[Ended, ...]:
        """A node is lost with all it produced, by name. Its sessions may come back with it."""
        ended = [Ended(broadcast) for broadcast in self.produced_by(producer)]
        for end in ended:
            self._remove(end.broadcast)
        self.version += bool(ended)
        return tuple(ended)

    def find(self, stream: str | int) -> Broadcast | None:
        """By its name, or by the id of one of its streams."""
        if isinstance(stream, int):
            name = self._by_id.get(stream)
            return None if name is None else self._broadcasts[name]
        return self._broadcasts.get(stream)

    @property
    def count(self) -> int:
        """Of broadcasts that are live."""
        return len(self._broadcasts)

    @property
    def next_id(self) -> int:
        """Where the ids go on: part of the state to save."""
        return self._ids.next_id

    def retired(self, most: int) -> tuple[tuple[str, str, int], ...]:
        """Sessions that are over, the latest ones: broadcast, producer, session."""
        return tuple(self._retired)[-most:]

    def restore(
        self, broadcasts: Iterable[Broadcast], retired: Iterable[tuple[str, str, int]]
    ) -> None:
        """Those of a saved state, into an empty base."""
        assert not self._broadcasts
        for broadcast in broadcasts:
            self._add(broadcast)
        self._retired.update(dict.fromkeys(retired))
        self.version += 1

    def produced_by(self, producer: str) -> tuple[Broadcast, ...]:
        """Those that start at one node, by name."""
        return tuple(self._broadcasts[name] for name in sorted(self._by_producer.get(producer, ())))

    def broadcasts(self) -> tuple[Broadcast, ...]:
        """All that are live, by name."""
        return tuple(self._broadcasts[name] for name in sorted(self._broadcasts))

    def _set(
        self,
        current: Broadcast | None,
        name: str,
        producer: str,
        session: int,
        tracks: tuple[Track, ...],
        now_us: int,
        ids: tuple[int, ...],
    ) -> Broadcast:
        """Ids are kept for unchanged tracks of an unchanged session only."""
        kept: dict[Track, int] = {}
        if current is not None and (current.producer, current.session) == (producer, session):
            kept = {stream.track: stream.stream_id for stream in current.streams}
        streams = []
        for place, track in enumerate(tracks):
            # Living ids include those of `current`: they go only once their successors are known.
            wanted = ids[place] if ids and ids[place] not in self._by_id else None
            stream_id = kept.get(track) or wanted or self._ids.draw(self._by_id)
            self._by_id[stream_id] = name
            streams.append(Stream(stream_id, track))
        if current is not None:
            self._remove(current)
        made = Broadcast(name, producer, session, tuple(streams), now_us)
        self._add(made)
        self.version += 1
        return made

    def _add(self, broadcast: Broadcast) -> None:
        self._broadcasts[broadcast.name] = broadcast
        self._by_id.update(dict.fromkeys(broadcast.stream_ids, broadcast.name))
        self._by_producer[broadcast.producer].add(broadcast.name)

    def _remove(self, broadcast: Broadcast) -> None:
        del self._broadcasts[broadcast.name]
        for stream_id in broadcast.stream_ids:
            del self._by_id[stream_id]
        names = self._by_producer[broadcast.producer]
        names.discard(broadcast.name)
        if not names:
            del self._by_producer[broadcast.producer]

    def _retire(self, broadcast: Broadcast) -> None:
        self._retired[broadcast.name, broadcast.producer, broadcast.session] = None
        if len(self._retired) > RETIRED_SESSIONS:
            self._retired.popitem(last=False)


def _successors(old: Broadcast, new: Broadcast) -> tuple[tuple[int, int | None], ...]:
    """A track's successor is the one of its name; without one its stream just ends."""
    by_name = {stream.track.name: stream.stream_id for stream in new.streams}
    return tuple(
        (stream.stream_id, by_name.get(stream.track.name))
        for stream in old.streams
        if stream.stream_id not in new.stream_ids
    )
