"""Viewers: they join, try again when they are turned away or their node is gone, move and leave."""

from __future__ import annotations

from lab.scenario.feedback import Speech
from lab.scenario.model import Broadcast, ScenarioViewer
from lab.scenario.report import IN_TIME_US
from lab.virtual.clock import Agenda
from lab.virtual.node_host import NodeHost
from lab.virtual.settings import viewer_addresses
from lab.virtual.world import TRANSPORT_CC_ID, World
from relay.edge.plain_rtp import NO_EXTENSIONS, Extensions, Viewer
from relay.errors import Refused

RETRY_US = 500_000  # chosen: a player's next attempt


class Watcher:
    """One viewer, from its first joining to its last leaving."""

    def __init__(self, name: str, number: int, entry: ScenarioViewer, broadcast: Broadcast) -> None:
        self.name = name
        self.number = number
        self.entry = entry
        self.broadcast = broadcast
        self.host: NodeHost | None = None
        """Where it watches or tries to; None: it is away."""
        self.viewer: Viewer | None = None
        self.joined_us: int | None = None
        self.left_us: int | None = None
        self.refused: str | None = None
        self.is_cache_hit: bool | None = None
        self.path: tuple[str, ...] = ()
        self.attempt = 0
        self.speech = Speech()

    @property
    def extensions(self) -> Extensions:
        """Of RTP headers, that it asks for."""
        if self.speech.tells_arrivals:
            return Extensions(transport_cc=TRANSPORT_CC_ID)
        return NO_EXTENSIONS


class Audience:
    """All viewers of a scenario."""

    def __init__(self, watchers: list[Watcher], world: World, agenda: Agenda) -> None:
        self.watchers = watchers
        self._world = world
        self._agenda = agenda
        self._by_viewer: dict[tuple[str, str], Watcher] = {}

    def of(self, entry: str) -> list[Watcher]:
        """Those of one table of the file."""
        return [watcher for watcher in self.watchers if watcher.entry.name == entry]

    def join(self, watcher: Watcher, host: NodeHost) -> None:
        """It watches at this node from now on, as soon as that lets it."""
        self.leave(watcher)
        watcher.host, watcher.left_us = host, None
        if watcher.joined_us is None:
            watcher.joined_us = self._agenda.now_us
        self._try(watcher)

    def leave(self, watcher: Watcher) -> None:
        host, viewer = watcher.host, watcher.viewer
        if host is None:
            return
        self._end_stay(watcher)
        watcher.host = None
        watcher.attempt += 1
        watcher.left_us = self._agenda.now_us
        if host.is_running and viewer is not None:
            host.node.remove_viewer(viewer, self._agenda.now_us)
            host.settle()

    def switch(self, watcher: Watcher, broadcast: Broadcast, encoder: int) -> None:
        """It goes on with another broadcast, or joins that when it comes back. encoder: its best
        version's."""
        watcher.broadcast = broadcast
        self._world.switch_viewer(watcher.number, encoder)
        host, viewer = watcher.host, watcher.viewer
        if viewer is None or host is None or not host.is_running:
            return
        try:
            host.node.switch_viewer(viewer, broadcast.name, self._agenda.now_us)
        except Refused as error:
            watcher.refused = str(error)
        host.settle()

    def on_turned_away(self, host: NodeHost, viewer_id: str, text: str) -> None:
        """The node has refused it, or let it go."""
        watcher = self._by_viewer.pop((host.name, viewer_id), None)
        if watcher is not None and watcher.host is host and watcher.viewer is not None:
            watcher.refused = text
            self._end_stay(watcher)
            self._try_later(watcher, RETRY_US)

    def on_switch_refused(self, host: NodeHost, viewer_id: str, text: str) -> None:
        """It goes on with what it has."""
        watcher = self._by_viewer.get((host.name, viewer_id))
        if watcher is not None:
            watcher.refused = text

    def on_killed(self, host: NodeHost) -> None:
        """Its viewers notice."""
        for watcher in self.watchers:
            if watcher.host is host and watcher.viewer is not None:
                self._end_stay(watcher)
                self._try_later(watcher, RETRY_US)

    def end(self) -> None:
        """The scenario is over; all that was sent was due."""
        for watcher in self.watchers:
            if watcher.viewer is not None:
                self._note_path(watcher)
                self._world.leave(watcher.number, self._agenda.now_us)

    def _try(self, watcher: Watcher) -> None:
        host, now_us = watcher.host, self._agenda.now_us
        watcher.attempt += 1
        if host is None or watcher.viewer is not None:
            return
        if not host.is_running:
            watcher.refused = f"{host.name} is down"
            self._try_later(watcher, RETRY_US)
            return
        node, stream = host.node, watcher.broadcast.name
        addresses = viewer_addresses(watcher.number)
        if not watcher.broadcast.audio:
            del addresses["audio"]
        is_here = bool(node.tracks_of(stream))
        try:
            viewer = node.add_viewer(
                stream,
                addresses,
                now_us,
                expiry_us=None,
                rtx_payload_type=watcher.speech.rtx_payload_type,
                extensions=watcher.extensions,
                is_premium=watcher.entry.premium,
            )
        except Refused as error:
            watcher.refused = str(error)
            self._try_later(watcher, RETRY_US)
            return
        watcher.viewer = viewer
        watcher.is_cache_hit = is_here
        watcher.refused = None
        self._by_viewer[host.name, viewer.id] = watcher
        self._world.join(watcher.number)
        host.settle()

    def _try_later(self, watcher: Watcher, delay_us: int) -> None:
        watcher.attempt += 1
        attempt = watcher.attempt
        self._agenda.after(
            delay_us, lambda: self._try(watcher) if watcher.attempt == attempt else None
        )

    def _end_stay(self, watcher: Watcher) -> None:
        viewer, host = watcher.viewer, watcher.host
        if viewer is None or host is None:
            return
        self._note_path(watcher)
        self._by_viewer.pop((host.name, viewer.id), None)
        watcher.viewer = None
        least_us = max(0, self._world.viewer(watcher.number).least_delay_us)
        self._world.leave(watcher.number, self._agenda.now_us - least_us - IN_TIME_US)

    def _note_path(self, watcher: Watcher) -> None:
        if watcher.host is not None and watcher.host.is_running:
            watcher.path = watcher.host.node.path_of(watcher.broadcast.name)
