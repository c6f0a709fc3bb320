"""Viewers that go on with another stream while they watch: another broadcast, or another bitrate.

The engine does it where nobody can see it (fastpath/switch), at a key frame of the other stream.
Here it is known who is to go where, and that audio follows. A viewer that the engine could not move
within MOVE_BY_US is moved at once, to the newest key frame there is. Source: LiveNet (SIGCOMM 2022)
5.2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from relay.edge.plain_rtp import Next, PlainRtpEdge, Viewer
from relay.messages import version_name
from relay.stream import Stream
from relay.workers import Workers

MOVE_BY_US = 5_000_000  # chosen: two GoPs of 2 s, and what comes late of them
VIDEO = "video"  # audio follows it


def subscribed(viewer: Viewer) -> set[str]:
    """The broadcasts that a viewer is sent something of: all else comes with the best version."""
    return {viewer.broadcast, version_name(viewer.broadcast, viewer.version)}


class Switches:
    """Owns `Viewer.next` and `Viewer.version`. Engine errors pass through."""

    def __init__(self, workers: Workers, edge: PlainRtpEdge) -> None:
        self._workers = workers
        self._edge = edge
        self._waiting: dict[int, Viewer] = {}

    @property
    def waiting(self) -> Mapping[int, Viewer]:
        """Who is about to go on with something else, by number."""
        return self._waiting

    def want(self, viewer: Viewer, broadcast: str, version: int) -> None:
        """It is to go on with this; `begin` follows when that is here."""
        self.forget(viewer)
        viewer.next = Next(broadcast, version)
        self._waiting[viewer.number] = viewer
        self._edge.note_followed(viewer)

    def begin(self, viewer: Viewer, streams: Collection[Stream], now_us: int) -> bool:
        """What it waits for is here, as these streams, in its worker. True: it can go on at once,
        as it is sent no video, or none is there; False: `on_switched` or `overdue` says when."""
        assert viewer.next is not None
        leg = viewer.legs.get(VIDEO)
        to = next((stream for stream in streams if stream.track.media == VIDEO), None)
        if leg is None or to is None or to is leg.stream:
            return True
        self._workers.switch_viewer_cursor(
            leg.cursor, stream=to.handles[viewer.worker], payload_type=leg.payload_type
        )
        viewer.next = Next(viewer.next.broadcast, viewer.next.version, to, now_us + MOVE_BY_US)
        return False

    def on_switched(self, cursor: int, stream: int) -> Viewer | None:
        """The engine has moved a cursor: whose, if that was what it is waiting for."""
        found = self._edge.find_leg(cursor)
        if found is None or (viewer := found[0]).next is None or viewer.next.stream is None:
            return None
        return viewer if viewer.next.stream.handles.get(viewer.worker) == stream else None

    def overdue(self, now_us: int) -> list[Viewer]:
        """Those for whom the engine found no key frame in time; they are moved now, and the caller
        finishes."""
        found = []
        for viewer in self._waiting.values():
            to = viewer.next.stream if viewer.next else None
            if viewer.next is not None and to is not None and now_us >= (viewer.next.by_us or 0):
                self._workers.move_viewer_cursor(
                    viewer.legs[VIDEO].cursor,
                    stream=to.handles[viewer.worker],
                    payload_type=viewer.legs[VIDEO].payload_type,
                )
                found.append(viewer)
        return found

    def finish(self, viewer: Viewer, streams: Collection[Stream]) -> None:
        """It has gone on: its audio follows, and what else the broadcast has. Raises
        EngineFullError."""
        assert viewer.next is not None
        following = viewer.next
        if following.stream is not None:
            viewer.legs[VIDEO].stream = following.stream
        self.drop(viewer)
        viewer.version = following.version
        if following.broadcast != viewer.broadcast:
            self._edge.move_on(viewer, following.broadcast, streams)

    def forget(self, viewer: Viewer) -> None:
        """It stays where it is, or is gone."""
        leg = viewer.legs.get(VIDEO)
        if viewer.next is not None and viewer.next.stream is not None and leg is not None:
            self._workers.switch_viewer_cursor(
                leg.cursor,
                stream=leg.stream.handles[viewer.worker],
                payload_type=leg.payload_type,
            )
        self.drop(viewer)

    def release(self, broadcast: str, staying: Collection[Stream]) -> None:
        """Other streams of a broadcast are about to be removed: who was to go on with one of them
        begins again, for its cursor would go with that."""
        for viewer in list(self._waiting.values()):
            to = viewer.next
            stream = to.stream if to else None
            is_leaving = stream is not None and stream not in staying
            if to and stream and is_leaving and stream.broadcast == broadcast:
                self.want(viewer, to.broadcast, to.version)

    def drop(self, viewer: Viewer) -> None:
        """It waits for nothing any more."""
        viewer.next = None
        self._waiting.pop(viewer.number, None)
        self._edge.note_followed(viewer)
