"""Encoders that follow a rate: what the slowest of their viewers has room for, as its node sees it.

Between an encoder and the nodes of its viewers nobody carries that rate yet in an overlay, so it is
taken to the encoder here: what is asked is how well a node's rate controller finds out about a path
when the media follow it, as in RFC 8867.
"""

from __future__ import annotations

from collections.abc import Sequence

from lab.scenario.link_keys import ms_to_us
from lab.scenario.model import Adaptive, Broadcast
from lab.virtual.audience import Audience
from lab.virtual.clock import Agenda
from lab.virtual.world import World

ASKED_US = 50_000  # chosen: about what browsers tell of arrivals in
AUDIO_BPS = 78_000  # of the lab's Opus track with RTP headers
MEDIA_SHARE = 1_186 / 1_206  # of a full RTP packet: a rate counts its header and one extension


class Adaptation:
    """One broadcast's. numbers: of its encoder in the world."""

    def __init__(
        self,
        broadcast: Broadcast,
        numbers: Sequence[int],
        audience: Audience,
        world: World,
        agenda: Agenda,
    ) -> None:
        self.broadcast = broadcast
        self.bitrates: list[tuple[int, int]] = []
        """When each new bitrate came into force, and which: for plots."""
        self._numbers = numbers
        self._audience = audience
        self._world = world
        self._agenda = agenda
        self._last_bps = 0
        self._ask()

    def _ask(self) -> None:
        """Again and again."""
        adaptive = self.broadcast.adaptive
        assert adaptive is not None
        wanted_bps = self._wanted_bps(adaptive)
        if wanted_bps is not None and wanted_bps != self._last_bps:
            self._last_bps = wanted_bps
            self._agenda.after(ms_to_us(adaptive.lag_ms), lambda: self._set(wanted_bps))
        self._agenda.after(ASKED_US, self._ask)

    def _wanted_bps(self, adaptive: Adaptive) -> int | None:
        """None: nobody watches."""
        rates = [
            watcher.host.node.engine.link_stats(watcher.viewer.link).target_bps
            for watcher in self._audience.watchers
            if watcher.entry.stream == self.broadcast.name
            and watcher.viewer is not None
            and watcher.viewer.link is not None
            and watcher.host is not None
            and watcher.host.is_running
        ]
        if not rates:
            return None
        video_bps = min(rates) - (AUDIO_BPS if self.broadcast.audio else 0)
        return max(adaptive.min_bps, min(round(video_bps * MEDIA_SHARE), adaptive.max_bps))

    def _set(self, bitrate_bps: int) -> None:
        self.bitrates.append((self._agenda.now_us, bitrate_bps))
        for number in self._numbers:
            self._world.set_bitrate(number, bitrate_bps)
