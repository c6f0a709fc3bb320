"""Nodes whose paths come from outside, as a brain would give them, and what their viewers got."""

from __future__ import annotations

from itertools import pairwise

from relay.config import NodeConfig
from relay.edge.plain_rtp import Viewer
from relay.errors import RefusalCode
from relay.events import NodeEvent, PathsWanted, UpstreamSwitched
from relay.slowpath.routes import Paths
from tests.relay.encoder import Encoder
from tests.relay.overlay import (
    AUDIO_VIEWER,
    SMALL,
    VIEWER,
    Overlay,
    Running,
    config_of,
    demo_ingest,
)

LIMITS = {**SMALL, "node_links": 8}


class Routed(Overlay):
    """paths: by node; who is not in it gets "no path". A node may be asked about `demo` only.
    deadline_us: of repair."""

    def __init__(
        self, seed: int = 1, *, answer_us: int = 30_000, deadline_us: int = 300_000
    ) -> None:
        super().__init__(seed)
        self.deadline_us = deadline_us
        self.paths: dict[str, Paths] = {}
        self.wanted: list[tuple[int, str]] = []
        self.answer_us = answer_us
        self._answers: list[tuple[int, str, str]] = []
        self._ids: dict[str, int] = {}

    def join(self, links: dict[str, int], **parts: float) -> None:
        """Nodes a, b, ... of one letter each and links between them: {"ab": one way delay}."""
        for name in sorted(set("".join(links))):
            self._ids[name] = ord(name) - ord("a") + 1
        for ends, delay_us in links.items():
            self.connect(self._ids[ends[0]], self._ids[ends[1]], delay_us, **parts)
        for name in self._ids:
            self.start(self.config(name, links))

    def config(self, name: str, links: dict[str, int], **parts: object) -> NodeConfig:
        peers = {ends.replace(name, ""): 0 for ends in links if name in ends}
        parts = {"limits": LIMITS, "repair": {"deadline_us": self.deadline_us}, **parts}
        if name == "a":
            parts["ingests"] = demo_ingest(1)
        return config_of(name, self._ids[name], {p: self._ids[p] for p in peers}, **parts)

    def start(self, config: NodeConfig) -> Running:
        running = super().start(config)
        running.node.subscriptions.asks_for_paths = True
        return running

    def cut_link(self, ends: str) -> None:
        self.cut(self._ids[ends[0]], self._ids[ends[1]])

    def mend_link(self, ends: str) -> None:
        self.mend(self._ids[ends[0]], self._ids[ends[1]])

    def watch(self, name: str, *, is_premium: bool = False) -> Viewer:
        """Viewers of different nodes are told apart by their SSRC."""
        addresses = {"video": VIEWER, "audio": AUDIO_VIEWER}
        node = self.nodes[name].node
        return node.add_viewer(
            "demo", addresses, self.now_us, expiry_us=None, is_premium=is_premium
        )

    def on_event(self, running: Running, event: NodeEvent) -> None:
        if isinstance(event, PathsWanted):
            self.wanted.append((self.now_us, running.node.config.name))
            answer = self.now_us + self.answer_us, running.node.config.name, event.stream
            self._answers.append(answer)

    def _next_us(self) -> int | None:
        times = [super()._next_us(), *(at_us for at_us, _, _ in self._answers)]
        return min((time_us for time_us in times if time_us is not None), default=None)

    def _settle(self) -> None:
        due = [answer for answer in self._answers if answer[0] <= self.now_us]
        self._answers = [answer for answer in self._answers if answer[0] > self.now_us]
        for _, name, stream in due:
            if name not in self.nodes:
                continue
            node = self.nodes[name].node
            if paths := self.paths.get(name):
                node.on_paths(stream, paths, self.now_us)
            else:
                node.on_no_path(stream, RefusalCode.NO_PATH, "there is none", self.now_us)
        super()._settle()

    # -- what came of it

    def switches(self, name: str) -> list[UpstreamSwitched]:
        return [e for _, e in self.nodes[name].events if isinstance(e, UpstreamSwitched)]

    def video(self, viewer: Viewer) -> list[tuple[int, int]]:
        """When each packet came, and its number, counted on from the first."""
        ssrc = viewer.legs["video"].ssrc
        found: list[tuple[int, int]] = []
        newest = -1
        for time_us, to, data in self.received:
            if to == VIEWER and int.from_bytes(data[8:12], "big") == ssrc:
                number = int.from_bytes(data[2:4], "big")
                step = (number - newest + 0x8000) % 0x10000 - 0x8000 if found else 0
                newest = newest + step if found else number
                found.append((time_us, newest))
                newest = max(newest, max(n for _, n in found[-200:]))
        return found

    def longest_gap(self, viewer: Viewer, since_us: int) -> tuple[int, int]:
        """Between two video packets, the later after `since_us`: its length and when it ended."""
        times = [time_us for time_us, _ in self.video(viewer)]
        return max((b - a, b) for a, b in pairwise(times) if b >= since_us)

    def missing(self, viewer: Viewer) -> set[int]:
        """Numbers never sent, between the first and the last; asserts that none came twice."""
        numbers = [number for _, number in self.video(viewer)]
        assert len(set(numbers)) == len(numbers), "a packet came twice"
        return set(range(min(numbers), max(numbers) + 1)) - set(numbers)


def watched(overlay: Routed, name: str = "c", settle_us: int = 1_500_000) -> tuple[Encoder, Viewer]:
    """An encoder at a, and a viewer whose node has had time to find its paths."""
    encoder = Encoder(overlay, "a")
    encoder.run_for(600_000)
    viewer = overlay.watch(name)
    encoder.run_for(settle_us)
    return encoder, viewer
