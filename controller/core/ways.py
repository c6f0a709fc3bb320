"""Paths of the brain as the channel's messages have them.

The brain's path goes as media does: producer first, consumer last. A message's path goes as
SUBSCRIBE does: from the asker, which is not in it, a neighbour first and the producer last.
"""

from __future__ import annotations

from control_client.messages import MAX_PATHS, Path
from controller.paths import OverlayPath, PathKind, Paths

MAX_COST_US = 3_600_000_000  # what the message's field holds


def way(path: OverlayPath, kind: PathKind) -> Path:
    """One of an answer's paths."""
    return Path(
        via=tuple(reversed(path.nodes[:-1])),
        cost_us=min(path.cost_us, MAX_COST_US),
        is_last_resort=kind is PathKind.LAST_RESORT,
    )


def ways(answer: Paths) -> tuple[Path, ...]:
    """Best first, as many as a message has."""
    return tuple(way(path, answer.kind) for path in answer.paths[:MAX_PATHS])
