"""What the view asks for and notices."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class LossReason(StrEnum):
    """Why a node is no longer part of the view."""

    LEFT = "left"  # it said so
    SESSION_ENDED = "session_ended"  # its control session ended and did not come back in time


@dataclass(frozen=True, slots=True)
class PingWanted:
    """`node` should send a few UDP pings to each of `peers` and report what it measures."""

    node: str
    peers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeSuspected:
    """No report for some periods: no longer used as a relay, still as an end."""

    node: str


@dataclass(frozen=True, slots=True)
class NodeRecovered:
    """A suspect has reported again."""

    node: str


@dataclass(frozen=True, slots=True)
class NodeLost:
    """It is out of the view, with all its links."""

    node: str
    reason: LossReason


ViewEvent: TypeAlias = PingWanted | NodeSuspected | NodeRecovered | NodeLost
