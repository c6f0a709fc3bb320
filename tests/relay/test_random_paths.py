"""Random cuts, deaths, restarts, viewers and better paths over a full mesh: what must always hold.

No packet comes to a viewer twice, no node gets a stream by way of itself for long, and when the
trouble is over everybody who has a path gets packets again; when all have left, nothing stays.
"""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest

from relay.edge.plain_rtp import Viewer
from relay.slowpath.routes import Paths
from relay.slowpath.subscription_events import BroadcastState
from tests.relay.encoder import Encoder
from tests.relay.routed_overlay import Routed

NAMES = "abcdef"


class Trouble:
    """One scenario. The producer, a, neither dies nor is restarted."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.overlay = Routed(seed)
        self.links = {
            one + other: self.rng.randrange(2_000, 80_000) for one, other in combinations(NAMES, 2)
        }
        self.overlay.join(self.links, loss=self.rng.choice((0.0, 0.01, 0.03)))
        self.cut: set[str] = set()
        self.dead: set[str] = set()
        self.viewers: dict[int, tuple[str, Viewer]] = {}
        self.joined = 0
        self.encoder = Encoder(self.overlay, "a")

    def paths(self, name: str) -> Paths:
        """Some that might work, in any order, as an out-of-date brain would give them."""
        rng = self.rng
        others = [n for n in NAMES if n not in ("a", name)]
        rng.shuffle(others)
        found = [("a",), (others[0], "a"), (others[1], "a"), (others[2], others[3], "a")]
        rng.shuffle(found)
        return tuple(found[: rng.randint(1, 4)])

    def step(self) -> None:
        rng, overlay = self.rng, self.overlay
        overlay.paths = {name: self.paths(name) for name in NAMES[1:]}
        action = rng.choice((self.cut_one, self.cut_one, self.mend, self.mend, self.kill,
                             self.revive, self.revive, self.watch, self.watch, self.leave,
                             self.rehome, self.rehome))  # fmt: skip
        action()
        self.encoder.run_for(rng.choice((20_000, 100_000, 300_000, 1_500_000)))

    def cut_one(self) -> None:
        ends = self.rng.choice(sorted(self.links))
        if len(self.cut) < 6:
            self.cut.add(ends)
            self.overlay.cut_link(ends)

    def mend(self) -> None:
        if self.cut:
            ends = self.rng.choice(sorted(self.cut))
            self.cut.remove(ends)
            self.overlay.mend_link(ends)

    def kill(self) -> None:
        name = self.rng.choice(NAMES[1:])
        if name not in self.dead and len(self.dead) < 2:
            self.dead.add(name)
            self.overlay.kill(name)
            self.viewers = {n: (at, v) for n, (at, v) in self.viewers.items() if at != name}

    def revive(self) -> None:
        if self.dead:
            name = self.rng.choice(sorted(self.dead))
            self.dead.remove(name)
            self.overlay.start(self.overlay.config(name, self.links))

    def watch(self) -> None:
        name = self.rng.choice(NAMES[1:])
        if name not in self.dead and len(self.viewers) < 6:
            self.joined += 1
            self.viewers[self.joined] = name, self.overlay.watch(name)

    def leave(self) -> None:
        if self.viewers:
            name, viewer = self.viewers.pop(self.rng.choice(sorted(self.viewers)))
            self.overlay.nodes[name].node.remove_viewer(viewer, self.overlay.now_us)

    def rehome(self) -> None:
        name = self.rng.choice(NAMES[1:])
        if name not in self.dead:
            node = self.overlay.nodes[name].node
            node.rehome("demo", self.paths(name), self.overlay.now_us)

    def check_no_loop(self) -> None:
        for name, running in self.overlay.nodes.items():
            broadcast = running.node.subscriptions.find("demo")
            if broadcast is not None and broadcast.state is BroadcastState.LIVE:
                assert name not in broadcast.ancestors

    def end(self) -> None:
        """All is mended: who still watches gets packets; then all leave, and nothing stays."""
        overlay = self.overlay
        while self.cut:
            self.mend()
        while self.dead:
            self.revive()
        overlay.paths = {name: (("a",), *self.paths(name)[:2]) for name in NAMES[1:]}
        self.encoder.run_for(8_000_000)
        watching = {n: (at, v) for n, (at, v) in self.viewers.items()
                    if overlay.nodes[at].node.find_viewer(v.id) is v}  # fmt: skip
        for at, viewer in watching.values():
            overlay.missing(viewer)  # that none came twice
            newest_us = overlay.video(viewer)[-1][0]
            assert newest_us > overlay.now_us - 300_000, f"{at} gets nothing"
        for at, viewer in watching.values():
            overlay.nodes[at].node.remove_viewer(viewer, overlay.now_us)
        overlay.run_for(30_000_000)
        for name in NAMES[1:]:
            memory = overlay.nodes[name].engine.memory()
            assert memory.streams[0] == memory.cursors[0] == 0, name
            assert overlay.nodes[name].node.subscriptions.find("demo") is None


@pytest.mark.parametrize("seed", range(8))
def test_random_trouble(seed: int) -> None:
    trouble = Trouble(seed)
    trouble.encoder.run_for(600_000)
    for _ in range(25):
        trouble.step()
    trouble.check_no_loop()
    trouble.end()
