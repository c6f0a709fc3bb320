"""Debian's ffmpeg and GStreamer over three nodes and lossy links: `make test-clients`.

OVERLANE_CLIENT_SECONDS changes the length of each broadcast (20).
"""

import asyncio
import os
from pathlib import Path

import pytest

from tests.clients.broadcast import CASES, Case, carry
from tests.clients.source import FPS

SECONDS = float(os.environ.get("OVERLANE_CLIENT_SECONDS", "20"))
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120 + 3 * SECONDS)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_broadcast_arrives_as_it_was_sent(case: Case, tmp_path: Path) -> None:
    outcome = asyncio.run(carry(case, SECONDS, 0.01, tmp_path, seed=1))

    packets, lip_sync = outcome.packets, outcome.lip_sync
    assert packets.lost > 0
    assert packets.unread == 0, "the machine is too slow for the player"
    assert outcome.video.is_whole, outcome
    assert outcome.audio.is_whole, outcome
    assert outcome.video.after_last < FPS
    assert outcome.video.sent > (SECONDS - 5) * FPS
    assert packets.sender_reports > SECONDS - 5
    assert packets.not_in_time == 0
    if case.player_loss:
        assert packets.sent_again > 0
        assert packets.receiver_reports > 0
    assert lip_sync.pairs >= 3
    assert lip_sync.worst_ms is not None
    assert abs(lip_sync.worst_ms) <= case.in_step_ms, outcome
