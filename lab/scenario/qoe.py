"""A run's quality of experience in LiveNet's terms (SIGCOMM 2022, 6.1), from its viewers' own side.

Where a node has to estimate what its viewers see (relay/qoe), the lab knows it. Streaming delay is
that of frames, from the encoder's sending to the viewer's having them whole, and a player's buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from lab.scenario.report import QoeReport, ViewerReport

FAST_START_MS = 1_000.0  # LiveNet 6.1
PLAYER_BUFFER_MS = 300.0  # LiveNet 6.2


def qoe_of(
    viewers: Sequence[ViewerReport],
    *,
    cdn_path_delay_ms: float | None = None,
    covered_by_other_path: int = 0,
) -> QoeReport:
    """Of all viewers that have joined; those to whom nothing ever came did not start fast."""
    joined = [viewer for viewer in viewers if viewer.joined_s is not None]
    begun = [viewer for viewer in joined if viewer.first_frame_ms is not None]
    judged = [viewer.stalls for viewer in begun if viewer.stalls is not None]
    fast = [v for v in begun if v.first_frame_ms is not None and v.first_frame_ms <= FAST_START_MS]
    delays = [viewer.delay_ms.p50 for viewer in begun if viewer.delay_ms.p50 is not None]
    return QoeReport(
        views=len(joined),
        zero_stall_ratio=judged.count(0) / len(judged) if judged else None,
        fast_start_up_ratio=len(fast) / len(joined) if joined else None,
        first_packet_ms=_median([viewer.first_packet_ms for viewer in begun]),
        cdn_path_delay_ms=cdn_path_delay_ms,
        streaming_delay_ms=median(delays) + PLAYER_BUFFER_MS if delays else None,
        covered_by_other_path=covered_by_other_path,
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
