"""What of the brain is saved, and when: soon after streams or nodes change, and as often as links
are reported after measurements do, which are most of it and of which an older copy will do."""

from __future__ import annotations

from collections.abc import Mapping

from controller.core.members import Member, Members
from controller.core.saved_state import (
    SavedBroadcast,
    SavedNode,
    SavedTrack,
)
from controller.core.settings import BrainSettings
from controller.paths import Broadcast, Stream, StreamBase, Track
from controller.tables.registry import KnownNode

MAX_RETIRED = 4096  # chosen: some hours of ended broadcasts; only a late repetition needs them


class Saving:
    """Says when a save is due."""

    def __init__(self, settings: BrainSettings) -> None:
        self._delay_us = settings.save_delay_us
        self._measurements_us = settings.measurements_save_us
        self._due_us: int | None = None

    def on_change(self, now_us: int) -> None:
        """Of what a restart must not lose."""
        self._at(now_us + self._delay_us)

    def on_measurement(self, now_us: int) -> None:
        self._at(now_us + self._measurements_us)

    def take_due(self, now_us: int) -> bool:
        """Whether to save now."""
        is_due = self._due_us is not None and now_us >= self._due_us
        if is_due:
            self._due_us = None
        return is_due

    def next_timer_us(self) -> int | None:
        return self._due_us

    def _at(self, due_us: int) -> None:
        self._due_us = due_us if self._due_us is None else min(self._due_us, due_us)


def saved_nodes(members: Members) -> tuple[SavedNode, ...]:
    return tuple(
        SavedNode(
            name=member.name,
            address=member.address,
            capacity=member.capacity,
            admin_url=member.admin_url,
            software=member.software,
            boot_id=member.boot_id,
            seen_us=member.seen_us,
            is_connected=member.connection is not None,
        )
        for member in members.all()
    )


def saved_broadcasts(streams: StreamBase) -> tuple[SavedBroadcast, ...]:
    return tuple(
        SavedBroadcast(
            broadcast.name,
            broadcast.producer,
            broadcast.session,
            broadcast.since_us,
            tuple(_saved_track(stream) for stream in broadcast.streams),
        )
        for broadcast in streams.broadcasts()
    )


def restore_members(
    members: Members, saved: tuple[SavedNode, ...], known: Mapping[str, KnownNode], now_us: int
) -> frozenset[str]:
    """Those that are still in the list of nodes. Returns who was connected."""
    kept = [node for node in saved if node.name in known]
    members.restore(_member(node, known[node.name], now_us) for node in kept)
    return frozenset(node.name for node in kept if node.is_connected)


def restore_streams(
    streams: StreamBase,
    saved: tuple[SavedBroadcast, ...],
    retired: tuple[tuple[str, str, int], ...],
    known: Mapping[str, KnownNode],
    now_us: int,
) -> None:
    """The broadcasts of nodes that are still in the list."""
    broadcasts = [_broadcast(each, now_us) for each in saved if each.producer in known]
    streams.restore(broadcasts, retired)


def _saved_track(stream: Stream) -> SavedTrack:
    track = stream.track
    return SavedTrack(
        stream.stream_id,
        track.name,
        track.media,
        track.codec,
        track.payload_type,
        track.clock_rate,
        track.fmtp,
    )


def _broadcast(saved: SavedBroadcast, now_us: int) -> Broadcast:
    streams = tuple(
        Stream(
            t.stream_id,
            Track(t.name, t.media, t.codec, t.payload_type, t.clock_rate, t.fmtp),
        )
        for t in saved.tracks
    )
    since_us = min(saved.since_us, now_us)
    return Broadcast(saved.name, saved.producer, saved.session, streams, since_us)


def _member(saved: SavedNode, known: KnownNode, now_us: int) -> Member:
    seen_us = min(saved.seen_us, now_us)
    return Member(
        known=known,
        address=saved.address,
        capacity=saved.capacity,
        admin_url=saved.admin_url,
        software=saved.software,
        boot_id=saved.boot_id,
        seen_us=now_us if saved.is_connected else seen_us,
        joined_us=seen_us,
    )
