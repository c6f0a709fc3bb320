"""Encoders that follow a rate: what the slowest of their viewers has room for, as its node sees it.

A viewer has room for what its link's rate leaves when packets are sent again and the queue at the
node is sent within a second: a sender knows both, and keeps its encoder below.

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
from relay.edge.plain_rtp import Viewer
from relay.workers import Workers

ASKED_US = 50_000  # chosen: about what browsers tell of arrivals in
AUDIO_BPS = 78_000  # of the lab's Opus track with RTP headers
MEDIA_SHARE = 1_186 / 1_206  # of a full RTP packet: a rate counts its header and one extension
PACKET_BITS = 8 * 1_206
DRAIN_S = 1.0  # chosen
PACED_S = 0.1  # chosen: what waits for less is being paced, and no queue
RESENT_US = 1_000_000  # chosen: over how long what is sent again is averaged


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
        self._resent: dict[int, tuple[int, float]] = {}
        """Of each cursor: packets sent again so far, and how many a second of late."""
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
            self._room_bps(watcher.host.node.engine, watcher.viewer)
            for watcher in self._audience.watchers
            if watcher.broadcast.name == self.broadcast.name
            and watcher.viewer is not None
            and watcher.viewer.link is not None
            and watcher.host is not None
            and watcher.host.is_running
        ]
        if not rates:
            return None
        video_bps = min(rates) - (AUDIO_BPS if self.broadcast.audio else 0)
        return max(adaptive.min_bps, min(round(video_bps * MEDIA_SHARE), adaptive.max_bps))

    def _room_bps(self, engine: Workers, viewer: Viewer) -> float:
        assert viewer.link is not None
        target_bps = engine.link_stats(viewer.link).target_bps
        waiting_bits = resent_bps = 0.0
        for leg in viewer.legs.values():
            stats = engine.cursor_stats(leg.cursor)
            waiting_bits += PACKET_BITS * stats.lag_packets
            resent_bps += PACKET_BITS * self._resent_a_second(leg.cursor, stats.resent)
        queue_bits = max(0.0, waiting_bits - PACED_S * target_bps)
        return target_bps - resent_bps - queue_bits / DRAIN_S

    def _resent_a_second(self, cursor: int, resent: int) -> float:
        before, rate = self._resent.get(cursor, (resent, 0.0))
        rate += (1_000_000 * (resent - before) / ASKED_US - rate) * ASKED_US / RESENT_US
        self._resent[cursor] = resent, rate
        return rate

    def _set(self, bitrate_bps: int) -> None:
        self.bitrates.append((self._agenda.now_us, bitrate_bps))
        for number in self._numbers:
            self._world.set_bitrate(number, bitrate_bps)
