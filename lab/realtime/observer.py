"""Watches a run from outside: what nodes and brain answer and log, made into scenes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.realtime.journal import Entry, Journal
from lab.realtime.overlay import ScenarioOverlay
from lab.realtime.scene import BrainScene, Carried, Hop, Moment, Tone
from lab.scenario.report import SETTLED_US, Range
from lab.timer_fd import now_us


@dataclass(frozen=True, slots=True)
class Switch:
    """A node told that a broadcast comes to it through another neighbour."""

    at_us: int
    node: str
    stream: str
    reason: str
    before: str
    after: str
    gap_us: int

    def __str__(self) -> str:
        return (
            f"{self.node}: {self.before or 'itself'} -> {self.after or 'itself'} "
            f"({self.reason.replace('_', ' ')}, {self.gap_us / 1_000:.0f} ms)"
        )


@dataclass(slots=True)
class Observer:
    """Holds the newest answers, and all that happened. began_us: zero of the moments' times."""

    overlay: ScenarioOverlay
    journal: Journal
    began_us: int
    statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    brain_status: dict[str, Any] | None = None
    brain_lives: dict[int, dict[str, int]] = field(default_factory=dict)
    """By term: what the brain had counted when it was last asked."""
    moments: list[Moment] = field(default_factory=list)
    switches: list[Switch] = field(default_factory=list)
    targets_bps: defaultdict[tuple[str, str], Range] = field(
        default_factory=lambda: defaultdict(Range)
    )
    """By sender and receiver, what rate control gave, if links between nodes have it."""
    paths: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """By stream and node, as the node said last."""

    def say(self, text: str, tone: Tone = "plain", at_us: int | None = None) -> None:
        """Puts a moment on the time line; now, unless it was at another time."""
        at_us = now_us() if at_us is None else at_us
        self.moments.append(Moment((at_us - self.began_us) / 1_000_000, text, tone))
        self.moments.sort(key=lambda moment: moment.at_s)

    async def look(self) -> None:
        """Ask everybody, and read what they have logged."""
        self.statuses, self.brain_status = await asyncio.gather(
            self.overlay.statuses(), self.overlay.brain("/status")
        )
        if self.brain_status is not None:
            self.brain_lives[self.brain_status["term"]] = self.brain_status["counters"]
        self.read_journal()
        if self.overlay.scenario.rate.node_links.controller != "fixed":
            self._note_targets()
        for node, status in self.statuses.items():
            for stream in status["streams"]:
                if stream["path"] and stream["state"] == "live":
                    self._note_path(stream["name"], node, tuple(stream["path"]))

    def read_journal(self) -> None:
        """What is new in the logs."""
        children = list(self.overlay.node_children.values())
        if self.overlay.brain_child is not None:
            children.append(self.overlay.brain_child)
        for entry in self.journal.new_entries(child.name for child in children):
            if entry.process.startswith("node-"):
                self._on_node(entry)

    def path_of(self, stream: str, node: str) -> tuple[str, ...]:
        """From the producer to the node; empty if the node has told none yet."""
        return self.paths.get((stream, node), ())

    @property
    def fallbacks(self) -> list[str]:
        """What the kernel lacks, of any node."""
        return sorted({name for each in self.statuses.values() for name in each["fallbacks"]})

    def brain_scene(self) -> BrainScene | None:
        if self.overlay.scenario.brain is None:
            return None
        status = self.brain_status
        if status is None:
            return BrainScene(is_up=False, term=0, connected=0)
        return BrainScene(is_up=True, term=int(status["term"]), connected=int(status["nodes"]))

    def streams(self) -> dict[str, dict[str, Carried]]:
        found: dict[str, dict[str, Carried]] = {}
        for node, status in self.statuses.items():
            for stream in status["streams"]:
                # A node that only stands by for others carries nothing yet.
                if stream["state"] not in ("asking", "standby") or stream["viewers"]:
                    found.setdefault(stream["name"], {})[node] = _carried(node, stream)
        return found

    def hops(self) -> dict[tuple[str, str], Hop]:
        """Between nodes that answer."""
        return {
            (link["name"], node): Hop(
                sender=link["name"],
                receiver=node,
                is_up=link["is_up"],
                packets=link["received_packets"],
                lost=link["lost"],
                repaired=link["repaired"],
                gone=link["gone"],
                given_up=link["given_up"],
                rtt_us=link["rtt_us"],
            )
            for node, status in self.statuses.items()
            for link in status["neighbours"]
        }

    def _note_targets(self) -> None:
        """What nodes' rate controllers give their links now."""
        if now_us() - self.began_us < SETTLED_US:
            return
        for node, status in self.statuses.items():
            for link in status["neighbours"]:
                key = node, link["name"]
                self.targets_bps[key] = self.targets_bps[key].with_value(link["target_bps"])

    def _on_node(self, entry: Entry) -> None:
        fields = entry.fields
        if entry.event == "upstream_switched":
            switch = Switch(
                at_us=entry.at_us,
                node=str(fields["node"]),
                stream=str(fields["stream"]),
                reason=str(fields["reason"]),
                before=str(fields["before"]),
                after=str(fields["after"]),
                gap_us=int(fields["gap_us"]),
            )
            self.switches.append(switch)
            self.say(str(switch), "good", entry.at_us)

    def _note_path(self, stream: str, node: str, path: tuple[str, ...]) -> None:
        before = self.paths.get((stream, node))
        self.paths[stream, node] = path
        if before is not None and before != path:
            self.say(f"{node} is now served {' > '.join(path)}")


def _carried(node: str, stream: Mapping[str, Any]) -> Carried:
    delays = [track["delay_us"] for track in stream["tracks"].values()]
    return Carried(
        node=node,
        state=stream["state"],
        path=tuple(stream["path"]),
        standby=tuple(stream["standby"]),
        delay_us=max(delays, default=0),
        viewers=int(stream["viewers"]),
        subscribers=len(stream["subscribers"]),
    )
