"""What rate controllers give, looked at once a second: of viewers that tell when packets came, and
of links between nodes where those are controlled. From `SETTLED_US` after each one's first look on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lab.scenario.report import SETTLED_US, Range
from lab.virtual.audience import Audience
from lab.virtual.clock import Agenda
from lab.virtual.node_host import NodeHost

LOOK_US = 1_000_000


class Targets:
    """of_viewer: by number; of_link: by sender and receiver. has_links: look at those too."""

    def __init__(
        self,
        audience: Audience,
        nodes: Callable[[], Iterable[NodeHost]],
        agenda: Agenda,
        *,
        has_links: bool,
    ) -> None:
        self.of_viewer: dict[int, Range] = {}
        self.of_link: dict[tuple[str, str], Range] = {}
        self._audience = audience
        self._nodes = nodes
        self._agenda = agenda
        self._has_links = has_links
        self._since_us: dict[object, int] = {}
        self._speak = [each for each in audience.watchers if each.speech.tells_arrivals]
        if self._speak or has_links:
            self._look()

    def _look(self) -> None:
        for watcher in self._speak:
            host, viewer = watcher.host, watcher.viewer
            if viewer is None or viewer.link is None or host is None or not host.is_running:
                continue
            target_bps = host.node.engine.link_stats(viewer.link).target_bps
            if self._is_settled(watcher.number):
                before = self.of_viewer.get(watcher.number, Range())
                self.of_viewer[watcher.number] = before.with_value(target_bps)
        for host in self._nodes() if self._has_links else ():
            for peer, neighbour in host.node.neighbours.items() if host.is_running else ():
                if self._is_settled((host.name, peer)):
                    key = host.name, peer
                    before = self.of_link.get(key, Range())
                    self.of_link[key] = before.with_value(neighbour.stats().target_bps)
        self._agenda.after(LOOK_US, self._look)

    def _is_settled(self, key: object) -> bool:
        now_us = self._agenda.now_us
        return now_us - self._since_us.setdefault(key, now_us) >= SETTLED_US
