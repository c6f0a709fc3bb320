"""Viewers over plain RTP: an address for each track, and a session kept alive by refreshes.

A viewer sees one RTP stream per track, with an SSRC and a first sequence number drawn at random
(RFC 3550 5.1). When the broadcast goes on under other stream ids, SSRC, sequence numbers and RTP
time go on. Sender reports leave the socket that RTP leaves; where they go is the viewer's choice:
"next", the port after that of its RTP (RFC 3550 11); "mux", that port itself (RFC 5761); "none".
Video that a viewer asks for again comes as RTX (RFC 4588), with an SSRC of its own, where the
viewer names a payload type for that; else under its own number.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace
from random import Random
from typing import Literal, NamedTuple, TypeAlias

from relay.config import ViewerRate
from relay.messages import version_name
from relay.slowpath.rate import viewer_controller
from relay.stream import Stream
from relay.workers import Workers
from service.address import Address

RtcpMode: TypeAlias = Literal["next", "mux", "none"]


class Extensions(NamedTuple):
    """Ids that a viewer has chosen for RTP header extensions (RFC 8285 4.2), 1 to 14; 0: none.

    transport_cc: a number across its tracks of one address, which its feedback names. delay: a
    packet's age."""

    transport_cc: int = 0
    delay: int = 0


NO_EXTENSIONS = Extensions()


@dataclass(slots=True, eq=False)
class Leg:
    """One track to one viewer. payload_type: of the first stream, which the viewer was told; it
    stays, whatever it is sent later."""

    stream: Stream
    cursor: int
    ssrc: int
    payload_type: int
    rtx_ssrc: int | None = None


@dataclass(frozen=True, slots=True)
class Next:
    """What a viewer is about to go on with: its broadcast or another one, in this version. stream,
    by_us: the video, and when it goes on at the latest, seen or unseen; None while not here."""

    broadcast: str
    version: int = 0
    stream: Stream | None = None
    by_us: int | None = None


@dataclass(slots=True, eq=False)
class Viewer:
    """link, legs, worker: once its broadcast is here. addresses: by "video" and "audio". expiry_us:
    None if it lives until it is removed. transport_cc_id, delay_id: of the RTP header extensions
    that it wants (RFC 8285), 0 for none. controller: what paces it. asks_premium: it is to get what
    one path loses from another, whatever it watches; premium_streams: of these all who watch them
    do. asked_us: when it was asked for. version: which of several bitrates,
    0 the best: of these each is a broadcast of its own (`messages.version_name`), and all else
    comes with the best. wished_bps: what its link would have to carry for a better one; 0: none."""

    number: int
    broadcast: str
    addresses: Mapping[str, Address]
    expires_us: int | None
    expiry_us: int | None = None
    rtcp: RtcpMode = "next"
    rtx_payload_type: int | None = None
    transport_cc_id: int = 0
    delay_id: int = 0
    controller: str = "fixed"
    asks_premium: bool = False
    premium_streams: Collection[str] = frozenset()
    asked_us: int = 0
    link: int | None = None
    worker: int = 0
    version: int = 0
    wished_bps: int = 0
    next: Next | None = None
    legs: dict[str, Leg] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """How the API names it: not to be guessed."""
        return f"{self.number:016x}"

    @property
    def is_premium(self) -> bool:
        """Of what it watches or, once it is to go on with something else, of that."""
        broadcast = self.broadcast if self.next is None else self.next.broadcast
        return self.asks_premium or broadcast in self.premium_streams

    @property
    def cname(self) -> str:
        """Of its tracks' sender reports (RFC 3550 6.5.1). Others see it, so it is not the id."""
        return hashlib.blake2s(self.number.to_bytes(8, "big"), digest_size=8).hexdigest()

    def follows(self, broadcast: str) -> bool:
        """Whether it is sent something of this, or is about to be."""
        to = self.next
        return any(leg.stream.broadcast == broadcast for leg in self.legs.values()) or (
            to is not None and version_name(to.broadcast, to.version) == broadcast
        )

    def rtcp_address(self, media: str) -> Address | None:
        """Where the reports of a track go."""
        host, port = self.addresses[media]
        return {"next": (host, port + 1), "mux": (host, port), "none": None}[self.rtcp]

    def rtx_type(self, media: str, payload_type: int) -> int | None:
        """Of what is sent again of a track; None: it is sent as at first. A type that the track has
        itself would not tell the two apart."""
        if media != "video" or self.rtx_payload_type == payload_type:
            return None
        return self.rtx_payload_type

    def transport_cc_of(self, media: str) -> int:
        """The id under which packets of a track are numbered; 0: they are not. One sequence of
        numbers belongs to one transport, here an address: a player that reports of two would call
        lost in each what went to the other. So it is that of the video, if there is one."""
        counted = self.addresses.get("video", self.addresses[media])
        return self.transport_cc_id if self.addresses[media] == counted else 0


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
        rate: ViewerRate | None = None,
        premium_streams: Collection[str] = frozenset(),
    ) -> None:
        self._workers = workers
        self._ports = ports
        self._rate_bps = rate_bps
        self._expiry_us = expiry_us
        self._rng = rng
        self._place = place
        self._rate = ViewerRate() if rate is None else rate
        self._premium_streams = premium_streams
        self._viewers: dict[int, Viewer] = {}
        # Viewers by their broadcast and by those that what they are sent, or are about to be, is
        # of; and these names.
        self._of_broadcast: defaultdict[str, dict[int, Viewer]] = defaultdict(dict)
        self._names: dict[int, set[str]] = {}
        self._by_cursor: dict[int, tuple[Viewer, str]] = {}
        # When viewers expire, soonest first, as it was when they were put in: one that was
        # refreshed since, or has left, is told by its own time.
        self._expiries: list[tuple[int, int]] = []
        self._served: Counter[tuple[str, int]] = Counter()

    def note_followed(self, viewer: Viewer) -> None:
        """After a change of what it watches, is sent or is to go on with, or of whether it is
        there."""
        names: set[str] = set()
        if viewer.number in self._viewers:
            names = {viewer.broadcast} | {leg.stream.broadcast for leg in viewer.legs.values()}
            if viewer.next is not None:
                names.add(version_name(viewer.next.broadcast, viewer.next.version))
        before = self._names.pop(viewer.number, set())
        for name in names - before:
            self._of_broadcast[name][viewer.number] = viewer
        for name in before - names:
            del self._of_broadcast[name][viewer.number]
            if not self._of_broadcast[name]:
                del self._of_broadcast[name]
        if names:
            self._names[viewer.number] = names

    @property
    def viewers(self) -> Collection[Viewer]:
        """Everybody, also those who still wait."""
        return self._viewers.values()

    def find(self, number: int) -> Viewer | None:
        """None if it left or expired."""
        return self._viewers.get(number)

    def is_watched(self, broadcast: str) -> bool:
        """Whether anybody is being sent it."""
        return any(
            leg.stream.broadcast == broadcast
            for viewer in self._of_broadcast.get(broadcast, {}).values()
            for leg in viewer.legs.values()
        )

    def is_followed(self, broadcast: str, worker: int) -> bool:
        """Whether a viewer in a worker is sent something of it, or is about to be."""
        return any(
            viewer.worker == worker and viewer.follows(broadcast)
            for viewer in self._of_broadcast.get(broadcast, {}).values()
        )

    def served(self, broadcast: str, worker: int) -> int:
        """How many viewers it has in a worker."""
        return self._served[broadcast, worker]

    def find_leg(self, cursor: int) -> tuple[Viewer, str] | None:
        """Whose cursor it is, and for which medium; None if it is gone."""
        return self._by_cursor.get(cursor)

    def add(
        self,
        broadcast: str,
        addresses: Mapping[str, Address],
        now_us: int,
        *,
        rtcp: RtcpMode = "next",
        expiry_us: int | None = -1,
        rtx_payload_type: int | None = None,
        extensions: Extensions = NO_EXTENSIONS,
        is_premium: bool = False,
    ) -> Viewer:
        """A viewer that waits for its broadcast. expiry_us: None: never; -1: as configured."""
        expiry_us = self._expiry_us if expiry_us == -1 else expiry_us
        expires_us = None if expiry_us is None else now_us + expiry_us
        number = self._rng.getrandbits(64)
        while number in self._viewers:
            number = self._rng.getrandbits(64)
        viewer = Viewer(
            number,
            broadcast,
            addresses,
            expires_us,
            expiry_us,
            rtcp,
            rtx_payload_type,
            *extensions,
            asks_premium=is_premium,
            premium_streams=self._premium_streams,
            asked_us=now_us,
        )
        self._viewers[number] = viewer
        self.note_followed(viewer)
        if expires_us is not None:
            heappush(self._expiries, (expires_us, number))
        return viewer

    def refresh(self, viewer: Viewer, now_us: int) -> None:
        """It is still there."""
        if viewer.expiry_us is not None:
            viewer.expires_us = now_us + viewer.expiry_us

    def start(self, viewer: Viewer, streams: Iterable[Stream]) -> None:
        """Send it those of the streams it has an address for. Raises EngineFullError."""
        if viewer.link is None and viewer.addresses:
            viewer.worker = self._place(viewer.broadcast)
            controller = viewer_controller(
                self._rate,
                self._rate_bps,
                tells_packets=viewer.transport_cc_id > 0,
                tells_reports=viewer.rtcp != "none",
            )
            viewer.controller = "fixed" if controller is None else controller.kind.name.lower()
            viewer.link = self._workers.add_viewer_link(
                rate_bps=self._rate_bps,
                cname=viewer.cname.encode(),
                controller=controller,
                worker=viewer.worker,
            )
            self._served[viewer.broadcast, viewer.worker] += 1
        for stream in streams:
            media = stream.track.media
            if media in viewer.addresses and media not in viewer.legs:
                leg = viewer.legs[media] = self._add_leg(viewer, stream)
                self._by_cursor[leg.cursor] = viewer, media
        self.note_followed(viewer)

    def move(self, broadcast: str, streams: Collection[Stream]) -> None:
        """The broadcast consists of these streams now; the others are about to be removed.

        Raises EngineFullError.
        """
        for viewer in tuple(self._of_broadcast.get(broadcast, {}).values()):
            if viewer.link is None:
                continue  # it waits: `start` is for it
            self._move_legs(viewer, broadcast, streams)
            if viewer.broadcast == broadcast:
                self.start(viewer, streams)

    def move_on(self, viewer: Viewer, broadcast: str, streams: Collection[Stream]) -> None:
        """It watches another broadcast now; what it is not sent of that yet, it is from now on.

        Raises EngineFullError."""
        before, viewer.broadcast = viewer.broadcast, broadcast
        if viewer.link is not None:
            self._served[before, viewer.worker] -= 1
            self._served[broadcast, viewer.worker] += 1
            self._move_legs(viewer, before, streams)
            self.start(viewer, streams)

    def _move_legs(self, viewer: Viewer, broadcast: str, streams: Collection[Stream]) -> None:
        """Those that follow a stream of the broadcast which is none of these: to one of these."""
        by_media: dict[str, Stream] = {stream.track.media: stream for stream in streams}
        for media, leg in list(viewer.legs.items()):
            if leg.stream.broadcast == broadcast and leg.stream not in streams:
                self._move_leg(viewer, media, leg, by_media.get(media))
        self.note_followed(viewer)

    def put_back(self, viewer: Viewer, streams: Collection[Stream]) -> None:
        """What it follows of other broadcasts than its own is over: on to these, of its own."""
        followed = {leg.stream.broadcast for leg in viewer.legs.values()}
        for broadcast in sorted(followed - {viewer.broadcast}):
            self._move_legs(viewer, broadcast, streams)

    def _move_leg(self, viewer: Viewer, media: str, leg: Leg, to: Stream | None) -> None:
        """On to another stream; a leg that cannot go on ends."""
        if to is None or to.track.clock_rate != leg.stream.track.clock_rate:
            self._workers.remove_cursor(leg.cursor)
            del viewer.legs[media], self._by_cursor[leg.cursor]
            return
        self._workers.move_viewer_cursor(
            leg.cursor, stream=to.handles[viewer.worker], payload_type=leg.payload_type
        )
        leg.stream = to

    def remove(self, viewer: Viewer) -> None:
        """Stop sending to it."""
        del self._viewers[viewer.number]
        self.note_followed(viewer)
        for leg in viewer.legs.values():
            del self._by_cursor[leg.cursor]
        if viewer.link is not None:
            self._workers.remove_link(viewer.link)
            place = viewer.broadcast, viewer.worker
            self._served[place] -= 1
            if not self._served[place]:
                del self._served[place]

    def expired(self, now_us: int) -> list[Viewer]:
        """Those not refreshed in time; the caller removes them."""
        found = []
        while (due_us := self.next_timer_us()) is not None and due_us <= now_us:
            found.append(self._viewers[heappop(self._expiries)[1]])
        return found

    def next_timer_us(self) -> int | None:
        """When the next one expires."""
        while self._expiries:
            noted_us, number = self._expiries[0]
            viewer = self._viewers.get(number)
            if viewer is None or viewer.expires_us is None:
                heappop(self._expiries)
            elif viewer.expires_us > noted_us:
                heapreplace(self._expiries, (viewer.expires_us, number))
            else:
                return noted_us
        return None

    def _add_leg(self, viewer: Viewer, stream: Stream) -> Leg:
        assert viewer.link is not None
        ssrc, first = self._rng.randrange(1, 1 << 32), self._rng.getrandbits(16)
        rtx_ssrc, rtx_first = None, 0
        if viewer.rtx_payload_type is not None and stream.track.media == "video":
            rtx_ssrc = self._rng.randrange(1, 1 << 32)
            while rtx_ssrc == ssrc:
                rtx_ssrc = self._rng.randrange(1, 1 << 32)
            rtx_first = self._rng.getrandbits(16)
        cursor = self._workers.add_viewer_cursor(
            stream=stream.handles[viewer.worker],
            link=viewer.link,
            port=self._ports[viewer.worker],
            address=viewer.addresses[stream.track.media],
            ssrc=ssrc,
            payload_type=stream.track.payload_type,
            first_sequence_number=first,
            rtcp_address=viewer.rtcp_address(stream.track.media),
            rtx_payload_type=0 if rtx_ssrc is None else viewer.rtx_payload_type or 0,
            rtx_ssrc=rtx_ssrc or 0,
            rtx_first_sequence_number=rtx_first,
            transport_cc_id=viewer.transport_cc_of(stream.track.media),
            delay_id=viewer.delay_id,
        )
        return Leg(stream, cursor, ssrc, stream.track.payload_type, rtx_ssrc)
