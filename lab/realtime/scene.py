"""A running scenario at one moment, as a view shows it. Plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Tone = Literal["plain", "good", "bad"]


@dataclass(frozen=True, slots=True)
class Hop:
    """One direction of a link, as its receiver counts it."""

    sender: str
    receiver: str
    is_up: bool
    packets: int
    lost: int
    repaired: int
    gone: int
    given_up: int
    rtt_us: int

    @property
    def loss(self) -> float:
        """Share of all packets sent to the receiver."""
        return self.lost / max(1, self.packets + self.lost)


@dataclass(frozen=True, slots=True)
class Carried:
    """A broadcast at one node. path: from the producer to the node; standby: likewise, of the
    second way, if there is one."""

    node: str
    state: str
    path: tuple[str, ...]
    standby: tuple[str, ...]
    delay_us: int
    viewers: int
    subscribers: int

    @property
    def upstream(self) -> str | None:
        return self.path[-2] if len(self.path) > 1 else None


@dataclass(frozen=True, slots=True)
class Watching:
    """A viewer."""

    name: str
    stream: str
    node: str
    is_here: bool
    frames: int
    first_frame_ms: float | None
    gap_ms: float | None
    """The longest silence since the last event."""
    path: tuple[str, ...]
    refusal: str | None


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened."""

    at_s: float
    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class BrainScene:
    is_up: bool
    term: int
    connected: int


@dataclass(frozen=True, slots=True)
class Scene:
    """All of it. streams: by name, then by node; nodes that are down are in `down`."""

    title: str
    step: str
    elapsed_s: float
    duration_s: float
    nodes: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    cut: tuple[tuple[str, str], ...] = ()
    brain: BrainScene | None = None
    streams: dict[str, dict[str, Carried]] = field(default_factory=dict)
    hops: dict[tuple[str, str], Hop] = field(default_factory=dict)
    """By (sender, receiver)."""
    viewers: tuple[Watching, ...] = ()
    moments: tuple[Moment, ...] = ()
