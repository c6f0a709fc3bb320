"""Viewers over plain RTP: an address for each track, and a session kept alive by refreshes.

A viewer sees one RTP stream per track, with an SSRC and a first sequence number drawn at random
(RFC 3550 5.1). When the broadcast goes on under other stream ids, SSRC, sequence numbers and RTP
time go on. Sender reports leave the socket that RTP leaves; where they go is the viewer's choice:
"next", the port after that of its RTP (RFC 3550 11); "mux", that port itself (RFC 5761); "none".
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, TypeAlias

from relay.stream import Stream
from relay.workers import Workers
from service.address import Address

RtcpMode: TypeAlias = Literal["next", "mux", "none"]


@dataclass(slots=True, eq=False)
class Leg:
    """One track to one viewer."""

    stream: Stream
    cursor: int
    ssrc: int


@dataclass(frozen=True, slots=True)
class Next:
    """What a viewer is about to go on with: a stream of its broadcast or of another one. by_us: when
    it does at the latest, seen or unseen; None while the stream is not here."""

    broadcast: str
    stream: Stream | None = None
    by_us: int | None = None


@dataclass(slots=True, eq=False)
class Viewer:
    """link, legs, worker: once its broadcast is here. addresses: by "video" and "audio". expiry_us:
    None if it lives until it is removed. version: which of several bitrates, 0 the best."""

    number: int
    broadcast: str
    addresses: Mapping[str, Address]
    expires_us: int | None
    expiry_us: int | None = None
    rtcp: RtcpMode = "next"
    link: int | None = None
    worker: int = 0
    version: int = 0
    next: Next | None = None
    legs: dict[str, Leg] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """How the API names it: not to be guessed."""
        return f"{self.number:016x}"

    @property
    def cname(self) -> str:
        """Of its tracks' sender reports (RFC 3550 6.5.1). Others see it, so it is not the id."""
        return hashlib.blake2s(self.number.to_bytes(8, "big"), digest_size=8).hexdigest()

    def rtcp_address(self, media: str) -> Address | None:
        """Where the reports of a track go."""
        host, port = self.addresses[media]
        return {"next": (host, port + 1), "mux": (host, port), "none": None}[self.rtcp]


def choose(streams: Iterable[Stream], media: str, version: int) -> Stream | None:
    """That of a medium and version, or of the nearest version, the better of two as near."""
    found = [stream for stream in streams if stream.track.media == media]
    return min(
        found,
        key=lambda s: (abs(s.track.version - version), s.track.version),
        default=None,
    )


class PlainRtpEdge:
    """Owns viewer links and their cursors. ports: of the workers. place: which worker a viewer of a
    broadcast is served by. Engine errors of `start` pass through."""

    def __init__(
        self,
        workers: Workers,
        ports: Sequence[int],
        rate_bps: int,
        expiry_us: int,
        rng: Random,
        place: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self._workers = workers
        self._ports = ports
        self._rate_bps = rate_bps
        self._expiry_us = expiry_us
        self._rng = rng
        self._place = place
        self._viewers: dict[int, Viewer] = {}
        self._served: Counter[tuple[str, int]] = Counter()

    @property
    def viewers(self) -> Collection[Viewer]:
        """Everybody, also those who still wait."""
        return self._viewers.values()

    def find(self, number: int) -> Viewer | None:
        """None if it left or expired."""
        return self._viewers.get(number)

    def is_watched(self, broadcast: str) -> bool:
        """Whether anybody is being sent it."""
        return any(viewer.broadcast == broadcast and viewer.legs for viewer in self.viewers)

    def served(self, broadcast: str, worker: int) -> int:
        """How many viewers it has in a worker."""
        return self._served[broadcast, worker]

    def of(self, broadcast: str) -> list[Viewer]:
        """Its viewers, and those that are about to be."""
        return [
            viewer
            for viewer in self._viewers.values()
            if viewer.broadcast == broadcast
            or (viewer.next is not None and viewer.next.broadcast == broadcast)
        ]

    def find_leg(self, cursor: int) -> tuple[Viewer, str] | None:
        """Whose cursor it is, and for which medium; None if it is gone."""
        for viewer in self._viewers.values():
            for media, leg in viewer.legs.items():
                if leg.cursor == cursor:
                    return viewer, media
        return None

    def add(
        self,
        broadcast: str,
        addresses: Mapping[str, Address],
        now_us: int,
        *,
        rtcp: RtcpMode = "next",
        expiry_us: int | None = -1,
    ) -> Viewer:
        """A viewer that waits for its broadcast. expiry_us: None: never; -1: as configured."""
        expiry_us = self._expiry_us if expiry_us == -1 else expiry_us
        expires_us = None if expiry_us is None else now_us + expiry_us
        number = self._rng.getrandbits(64)
        while number in self._viewers:
            number = self._rng.getrandbits(64)
        viewer = Viewer(number, broadcast, addresses, expires_us, expiry_us, rtcp)
        self._viewers[number] = viewer
        return viewer

    def refresh(self, viewer: Viewer, now_us: int) -> None:
        """It is still there."""
        if viewer.expiry_us is not None:
            viewer.expires_us = now_us + viewer.expiry_us

    def start(self, viewer: Viewer, streams: Collection[Stream]) -> None:
        """Send it those of the streams it has an address for. Raises EngineFullError."""
        if viewer.link is None and viewer.addresses:
            viewer.worker = self._place(viewer.broadcast)
            viewer.link = self._workers.add_viewer_link(
                rate_bps=self._rate_bps, cname=viewer.cname.encode(), worker=viewer.worker
            )
            self._served[viewer.broadcast, viewer.worker] += 1
        for media in viewer.addresses:
            stream = choose(streams, media, viewer.version)
            if stream is not None and media not in viewer.legs:
                ssrc, first = self._rng.randrange(1, 1 << 32), self._rng.getrandbits(16)
                cursor = self._add_cursor(viewer, stream, ssrc, first)
                viewer.legs[media] = Leg(stream, cursor, ssrc)

    def move(self, broadcast: str, streams: Collection[Stream]) -> None:
        """The broadcast consists of these streams now; the others are about to be removed.

        Raises EngineFullError.
        """
        for viewer in self._viewers.values():
            if viewer.broadcast != broadcast or viewer.link is None:
                continue  # it waits: `start` is for it
            for media, leg in list(viewer.legs.items()):
                if leg.stream not in streams:
                    self._move_leg(viewer, media, leg, choose(streams, media, viewer.version))
            self.start(viewer, streams)

    def move_on(self, viewer: Viewer, broadcast: str, streams: Collection[Stream]) -> None:
        """It watches another broadcast now; what it is not sent of that yet, it is from now on.

        Raises EngineFullError."""
        self._served[viewer.broadcast, viewer.worker] -= 1
        self._served[broadcast, viewer.worker] += 1
        viewer.broadcast = broadcast
        for media, leg in list(viewer.legs.items()):
            if leg.stream not in streams:
                self._move_leg(viewer, media, leg, choose(streams, media, viewer.version))
        self.start(viewer, streams)

    def _move_leg(self, viewer: Viewer, media: str, leg: Leg, to: Stream | None) -> None:
        """On to another stream; a leg that cannot go on ends."""
        if to is None or to.track.clock_rate != leg.stream.track.clock_rate:
            self._workers.remove_cursor(leg.cursor)
            del viewer.legs[media]
            return
        self._workers.move_viewer_cursor(
            leg.cursor, stream=to.handles[viewer.worker], payload_type=to.track.payload_type
        )
        leg.stream = to

    def remove(self, viewer: Viewer) -> None:
        """Stop sending to it."""
        del self._viewers[viewer.number]
        if viewer.link is not None:
            self._workers.remove_link(viewer.link)
            place = viewer.broadcast, viewer.worker
            self._served[place] -= 1
            if not self._served[place]:
                del self._served[place]

    def expired(self, now_us: int) -> list[Viewer]:
        """Those not refreshed in time; the caller removes them."""
        return [
            viewer
            for viewer in self._viewers.values()
            if viewer.expires_us is not None and now_us >= viewer.expires_us
        ]

    def next_timer_us(self) -> int | None:
        """When the next one expires."""
        times = [viewer.expires_us for viewer in self._viewers.values()]
        return min((time_us for time_us in times if time_us is not None), default=None)

    def _add_cursor(self, viewer: Viewer, stream: Stream, ssrc: int, first: int) -> int:
        assert viewer.link is not None
        return self._workers.add_viewer_cursor(
            stream=stream.handles[viewer.worker],
            link=viewer.link,
            port=self._ports[viewer.worker],
            address=viewer.addresses[stream.track.media],
            ssrc=ssrc,
            payload_type=stream.track.payload_type,
            first_sequence_number=first,
            rtcp_address=viewer.rtcp_address(stream.track.media),
        )
