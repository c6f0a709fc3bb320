"""Viewers over plain RTP: an address for each track, and a session kept alive by refreshes.

A viewer sees one RTP stream per track, with an SSRC and a first sequence number drawn at random
(RFC 3550 5.1). When the broadcast goes on under other stream ids its RTP clock starts anew, and so
the viewer gets a new SSRC; a refresh says which.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random

from fastpath import Engine
from relay.address import Address
from relay.stream import Stream


@dataclass(slots=True, eq=False)
class Leg:
    """One track to one viewer."""

    stream: Stream
    cursor: int
    ssrc: int


@dataclass(slots=True, eq=False)
class Viewer:
    """link, legs: once its broadcast is here. addresses: by "video" and "audio"."""

    number: int
    broadcast: str
    addresses: Mapping[str, Address]
    expires_us: int
    link: int | None = None
    legs: dict[str, Leg] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """How the API names it: not to be guessed."""
        return f"{self.number:016x}"


class PlainRtpEdge:
    """Owns viewer links and their cursors. Engine errors of `start` pass through."""

    def __init__(
        self, engine: Engine, port: int, rate_bps: int, expiry_us: int, rng: Random
    ) -> None:
        self._engine = engine
        self._port = port
        self._rate_bps = rate_bps
        self._expiry_us = expiry_us
        self._rng = rng
        self._viewers: dict[int, Viewer] = {}

    @property
    def viewers(self) -> Collection[Viewer]:
        """Everybody, also those who still wait."""
        return self._viewers.values()

    def find(self, number: int) -> Viewer | None:
        """None if it left or expired."""
        return self._viewers.get(number)

    def find_leg(self, cursor: int) -> tuple[Viewer, str] | None:
        """Whose cursor it is, and for which medium; None if it is gone."""
        for viewer in self._viewers.values():
            for media, leg in viewer.legs.items():
                if leg.cursor == cursor:
                    return viewer, media
        return None

    def add(self, broadcast: str, addresses: Mapping[str, Address], now_us: int) -> Viewer:
        """A viewer that waits for its broadcast."""
        number = self._rng.getrandbits(64)
        while number in self._viewers:
            number = self._rng.getrandbits(64)
        viewer = Viewer(number, broadcast, addresses, now_us + self._expiry_us)
        self._viewers[number] = viewer
        return viewer

    def refresh(self, viewer: Viewer, now_us: int) -> None:
        """It is still there."""
        viewer.expires_us = now_us + self._expiry_us

    def start(self, viewer: Viewer, streams: Iterable[Stream]) -> None:
        """Send it those of the streams it has an address for. Raises EngineFullError."""
        if viewer.link is None:
            viewer.link = self._engine.add_viewer_link(rate_bps=self._rate_bps)
        for stream in streams:
            media = stream.track.media
            if media in viewer.addresses and media not in viewer.legs:
                ssrc, first = self._rng.randrange(1, 1 << 32), self._rng.getrandbits(16)
                cursor = self._add_cursor(viewer, stream, ssrc, first)
                viewer.legs[media] = Leg(stream, cursor, ssrc)

    def move(self, broadcast: str, streams: Collection[Stream]) -> None:
        """The broadcast consists of these streams now; cursors on others went with their rings.

        Raises EngineFullError.
        """
        for viewer in [v for v in self._viewers.values() if v.broadcast == broadcast and v.legs]:
            kept = {media: leg for media, leg in viewer.legs.items() if leg.stream in streams}
            viewer.legs = kept
            self.start(viewer, streams)

    def remove(self, viewer: Viewer) -> None:
        """Stop sending to it."""
        del self._viewers[viewer.number]
        if viewer.link is not None:
            self._engine.remove_link(viewer.link)

    def expired(self, now_us: int) -> list[Viewer]:
        """Those not refreshed in time; the caller removes them."""
        return [viewer for viewer in self._viewers.values() if now_us >= viewer.expires_us]

    def next_timer_us(self) -> int | None:
        """When the next one expires."""
        return min((viewer.expires_us for viewer in self._viewers.values()), default=None)

    def _add_cursor(self, viewer: Viewer, stream: Stream, ssrc: int, first: int) -> int:
        assert viewer.link is not None
        return self._engine.add_viewer_cursor(
            stream=stream.handle,
            link=viewer.link,
            port=self._port,
            address=viewer.addresses[stream.track.media],
            ssrc=ssrc,
            payload_type=stream.track.payload_type,
            first_sequence_number=first,
        )
