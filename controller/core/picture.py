"""When the routing gets a new picture of the network.

A picture takes all links, so its cost grows with the square of the nodes. What cannot wait (a link
that is down, an alarm, a node that comes or goes) is shown as soon as the last picture is paid for;
ordinary measurements wait until pictures take a small part of the time.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.discovery import NetworkChanges, NetworkView
from controller.paths import Invalidation, PathBase

# Chosen, for nodes squared: a picture of 600 takes some 40 ms.
URGENT_US = 0.1
ORDINARY_US = 2.0


@dataclass(frozen=True, slots=True)
class NewPicture:
    changes: NetworkChanges
    invalidation: Invalidation


class Picture:
    """Of one view, for one base of paths."""

    def __init__(self, view: NetworkView, paths: PathBase, now_us: int) -> None:
        self._view = view
        self._paths = paths
        self._last_us = now_us
        self._due_us: int | None = now_us

    def on_news(self, nodes: int, now_us: int) -> None:
        """Something that cannot wait. nodes: how many there are."""
        self._at(max(now_us, self._last_us + round(nodes * nodes * URGENT_US)))

    def on_measurement(self, nodes: int, now_us: int) -> None:
        self._at(max(now_us, self._last_us + round(nodes * nodes * ORDINARY_US)))

    def take(self, now_us: int) -> NewPicture | None:
        """None: it is not time, or nothing relevant has changed."""
        if self._due_us is None or now_us < self._due_us:
            return None
        self._due_us = None
        self._last_us = now_us
        changes = self._view.publish()
        if changes is None:
            return None
        return NewPicture(changes, self._paths.update(self._view.snapshot))

    def next_timer_us(self) -> int | None:
        return self._due_us

    def _at(self, due_us: int) -> None:
        self._due_us = due_us if self._due_us is None else min(self._due_us, due_us)
