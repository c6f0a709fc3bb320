"""What the brain answers to "how do I get this stream?"."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from controller.paths.overlay_path import OverlayPath


class PathKind(StrEnum):
    ORDINARY = "ordinary"
    LAST_RESORT = "last_resort"  # over reserved nodes
    OVERLOADED = "overloaded"  # no reserved node helps: through what is overloaded or suspect


@dataclass(frozen=True, slots=True)
class Paths:
    """paths: best first, never empty; all are of one kind. version: of the network."""

    broadcast: str
    producer: str
    consumer: str
    paths: tuple[OverlayPath, ...]
    kind: PathKind
    version: int


@dataclass(frozen=True, slots=True)
class UnknownStream:
    """Nobody announces it, or it has ended."""

    stream: str | int


@dataclass(frozen=True, slots=True)
class UnknownConsumer:
    """The asker is not registered."""

    consumer: str


@dataclass(frozen=True, slots=True)
class UnknownProducer:
    """The stream's producer is not part of the network (any more)."""

    broadcast: str
    producer: str


@dataclass(frozen=True, slots=True)
class NoPath:
    """No links, not even overloaded ones, join the two within the hop limit."""

    broadcast: str
    producer: str
    consumer: str


PathAnswer: TypeAlias = Paths | UnknownStream | UnknownConsumer | UnknownProducer | NoPath
