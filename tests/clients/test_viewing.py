"""Real players behind an access link: RTX, feedback, switches: `make test-clients`."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from tests.clients.source import FPS
from tests.clients.test_clients import SECONDS
from tests.clients.viewing import Outcome, carry
from tests.clients.viewing_cases import CASES

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120 + 3 * SECONDS)]
BY_NAME = {case.name: case for case in CASES}
FRAME_MS = 1_000 / FPS
SOUND_S = 0.02  # in a packet


def carried(name: str, directory: Path) -> Outcome:
    """What every case has to hold to."""
    outcome = asyncio.run(carry(BY_NAME[name], SECONDS, directory, seed=1))
    sound = outcome.audio.runs
    assert (sound[-1][2] - sound[0][1]) * SOUND_S > SECONDS - 6
    # Two broadcasters do not begin at the same instant; else there is no gap at all.
    apart_s = [SOUND_S * abs(after - end - 1) for (_, _, end), (_, after, _) in pairwise(sound)]
    assert len(apart_s) <= len(BY_NAME[name].switches), outcome
    assert max(apart_s, default=0) < 0.15, outcome
    assert outcome.video.damaged == outcome.video.backwards == outcome.audio.damaged == 0, outcome
    assert outcome.wire.ill_formed == 0
    assert [track.missing for track in outcome.wire.tracks.values()] == [0, 0]
    return outcome


def test_gstreamer_recovers_by_rtx_what_its_access_link_loses(tmp_path: Path) -> None:
    outcome = carried("gstreamer-rtx", tmp_path)
    rtx = outcome.player["rtx"]
    assert outcome.lost > 10
    assert rtx["num-rtx-assoc-packets"] == rtx["num-rtx-packets"] > 10
    assert rtx["num-rtx-packets"] <= outcome.wire.again
    assert len(outcome.video.runs) == 1, outcome
    assert sum(outcome.video.intact) == outcome.wire.tracks["video"].frames
    assert outcome.decode_errors == 0


def test_gstreamers_feedback_brings_a_slow_viewer_to_the_lower_version(tmp_path: Path) -> None:
    outcome = carried("gstreamer-transport-cc", tmp_path)
    rate = outcome.rate
    assert rate["controller"] == "gcc"
    assert rate["feedbacks"] > 2 * (SECONDS - 6)
    assert {4, 5} == set(outcome.wire.extensions)
    versions = [sample.version for sample in outcome.samples]
    assert versions[0] == 0
    assert 1 in versions, outcome
    since = versions[versions.index(1) :]
    assert since.count(1) > 0.8 * len(since)  # it may try the better one
    targets = [sample.target_bps for sample in outcome.samples]
    assert max(targets) <= 4_000_000  # where it begins
    settled = sorted(targets[len(targets) // 2 :])
    assert 500_000 < settled[len(settled) // 2] < 2_200_000, outcome
    # What is missing was left out whole, so what came could be decoded.
    _, lower = outcome.video.intact
    assert lower > 0.6 * FPS * (SECONDS - 8), outcome
    assert outcome.decode_errors <= 2


@pytest.mark.parametrize("player", ["gstreamer", "ffmpeg"])
def test_a_player_sees_no_seam_where_the_broadcast_is_switched(player: str, tmp_path: Path) -> None:
    outcome = carried(f"{player}-switch", tmp_path)
    assert [source for source, _, _ in outcome.video.runs] == [0, 1, 0], outcome
    assert outcome.video.repeated == 0
    assert outcome.decode_errors == 0
    video = outcome.wire.tracks["video"]
    assert video.least_step_ms > 0
    assert video.longest_step_ms < 1.5 * FRAME_MS, outcome
    assert outcome.wire.tracks["audio"].longest_step_ms < 60
    if player == "gstreamer":  # half a round trip, as its reports tell it, and a turn of the node
        assert outcome.wire.delay_ms is not None
        assert 19 < outcome.wire.delay_ms < 40
