"""Viewers that go on with another stream while they watch: another broadcast, or another bitrate.

The engine does it where nobody can see it (fastpath/switch): at a key frame of the other stream that
has just come. Here it is known who is to go where. A viewer that the engine could not move within
MOVE_BY_US is moved at once, to the newest key frame there is. Source: LiveNet (SIGCOMM 2022) 5.2.
"""

from __future__ import annotations

from collections.abc import Collection

from relay.edge.plain_rtp import Next, PlainRtpEdge, Viewer, choose
from relay.stream import Stream
from relay.workers import Workers

MOVE_BY_US = 5_000_000  # chosen: two GoPs of 2 s, and what comes late of them
_MEDIA = "video"  # audio follows it


class Switches:
    """Owns `Viewer.next`. Engine errors pass through."""

    def __init__(self, workers: Workers, edge: PlainRtpEdge) -> None:
        self._workers = workers
        self._edge = edge
        self._waiting: dict[int, Viewer] = {}  # by number: those with a `next`

    @property
    def waiting(self) -> Collection[Viewer]:
        """Who is about to go on with something else."""
        return self._waiting.values()

    def next_timer_us(self) -> int | None:
        """When the first is overdue."""
        times = (v.next.by_us for v in self._waiting.values() if v.next is not None)
        return min((time_us for time_us in times if time_us is not None), default=None)

    def want(self, viewer: Viewer, broadcast: str) -> None:
        """It is to go on with a broadcast, or with another version of its own; `begin` follows when
        that is here."""
        self.forget(viewer)
        viewer.next = Next(broadcast)
        self._waiting[viewer.number] = viewer

    def begin(self, viewer: Viewer, streams: Collection[Stream], now_us: int) -> bool:
        """What it waits for is here, as these streams. True: it has gone on already, as nobody can see
        that; False: it will, and `on_switched` or `overdue` says when."""
        assert viewer.next is not None
        leg, to = viewer.legs.get(_MEDIA), choose(streams, _MEDIA, viewer.version)
        if leg is None or to is None or to is leg.stream:
            return True
        self._workers.switch_viewer_cursor(
            leg.cursor, stream=to.handles[viewer.worker], payload_type=to.track.payload_type
        )
        viewer.next = Next(viewer.next.broadcast, to, now_us + MOVE_BY_US)
        return False

    def on_switched(self, cursor: int, stream: int) -> Viewer | None:
        """The engine has moved a cursor: whose, if that was what it is waiting for."""
        for viewer in self._waiting.values():
            leg = viewer.legs.get(_MEDIA)
            to = viewer.next.stream if viewer.next else None
            if leg is not None and leg.cursor == cursor and to is not None:
                return viewer if to.handles.get(viewer.worker) == stream else None
        return None

    def overdue(self, now_us: int) -> list[Viewer]:
        """Those for whom the engine found no key frame in time; they are moved now, and the caller
        finishes."""
        found = [
            v for v in self._waiting.values() if v.next and v.next.by_us and now_us >= v.next.by_us
        ]
        for viewer in found:
            assert viewer.next is not None and viewer.next.stream is not None
            to = viewer.next.stream
            self._workers.move_viewer_cursor(
                viewer.legs[_MEDIA].cursor,
                stream=to.handles[viewer.worker],
                payload_type=to.track.payload_type,
            )
        return found

    def finish(self, viewer: Viewer, streams: Collection[Stream]) -> None:
        """It has gone on: its audio follows, and what else the broadcast has."""
        assert viewer.next is not None
        broadcast, to = viewer.next.broadcast, viewer.next.stream
        if to is not None:
            viewer.legs[_MEDIA].stream = to
        self._drop(viewer)
        if broadcast != viewer.broadcast:
            self._edge.move_on(viewer, broadcast, streams)

    def forget(self, viewer: Viewer) -> None:
        """It stays where it is, or is gone."""
        leg = viewer.legs.get(_MEDIA)
        if viewer.next is not None and viewer.next.stream is not None and leg is not None:
            self._workers.switch_viewer_cursor(
                leg.cursor,
                stream=leg.stream.handles[viewer.worker],
                payload_type=leg.stream.track.payload_type,
            )
        self._drop(viewer)

    def on_streams(self, broadcast: str, streams: Collection[Stream], now_us: int) -> None:
        """A broadcast consists of these streams now; others are about to be removed, with the cursors
        that belong to them."""
        for viewer in [v for v in self._waiting.values() if v.next and v.next.stream is not None]:
            assert viewer.next is not None and viewer.next.stream is not None
            to = viewer.next.stream
            if viewer.next.broadcast == broadcast and to not in streams:
                self.forget(viewer)
                if choose(streams, _MEDIA, viewer.version) is not None:
                    self.want(viewer, broadcast)
                    self.begin(viewer, streams, now_us)

    def _drop(self, viewer: Viewer) -> None:
        viewer.next = None
        self._waiting.pop(viewer.number, None)
