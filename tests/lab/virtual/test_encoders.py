"""What virtual encoders send: B frames, versions, pauses; and what viewers make of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest

from lab.scenario.loader import scenario_of
from lab.scenario.model import CODECS
from lab.scenario.report import ViewerReport
from lab.virtual.encoder import SyntheticEncoder
from lab.virtual.pyramid import pyramid
from lab.virtual.run import VirtualOverlay, run_virtual
from relay.config import Track
from rtp.packet import RtpPacket
from rtp.payload import h264, vp8
from rtp.payload.marks import Marks
from service.errors import ConfigError

TAKEN = get_args(Track.model_fields["codec"].annotation)
"""Codecs that nodes know."""


def document(**changes: Any) -> dict[str, Any]:
    """One node, one viewer of one broadcast."""
    broadcast = {"name": "live", "node": "a", "bitrate_bps": 800_000, **changes}
    return {
        "name": "small",
        "duration_s": 10.0,
        "nodes": [{"name": "a"}],
        "broadcasts": [broadcast],
        "viewers": [{"name": "v", "stream": "live", "node": "a", "join_s": 2.0}],
    }


def run(parts: dict[str, Any]) -> list[ViewerReport]:
    return run_virtual(scenario_of(parts)).viewers


def test_pyramids() -> None:
    assert pyramid(0) == []
    assert pyramid(1) == [(0, False, 0b1)]
    assert pyramid(2) == [(0, False, 0b1), (1, False, 0b1)]
    assert pyramid(3) == [(1, True, 0b1), (0, False, 0b11), (2, False, 0b11)]
    assert [place for place, _, _ in pyramid(7)] == [3, 1, 0, 2, 5, 4, 6]
    assert [needs for _, _, needs in pyramid(7)] == [1, 3, 7, 7, 3, 0b100011, 0b100011]
    for b_frames in range(8):
        entries = pyramid(b_frames)
        assert sorted(place for place, _, _ in entries) == list(range(b_frames))
        for at, (_, is_reference, needs) in enumerate(entries):
            assert needs < 1 << (at + 1)  # only what was sent before
            assert is_reference == any(e[2] >> (at + 1) & 1 for e in entries)
    with pytest.raises(ValueError, match="8"):
        pyramid(8)


@pytest.mark.parametrize("b_frames", range(8))
@pytest.mark.parametrize("gop_s", [0.1, 1.0, 1.1])
def test_every_frame_of_a_whole_stream_can_be_decoded(b_frames: int, gop_s: float) -> None:
    (viewer,) = run(document(b_frames=b_frames, gop_s=gop_s) | {"duration_s": 5.0})
    assert viewer.frames_intact == viewer.frames_expected > 80
    assert viewer.frames_undecodable == 0


@pytest.mark.parametrize(("codec", "marks"), [("H264", h264.marks), ("VP8", vp8.marks)])
def test_nodes_see_what_each_packet_is(codec: str, marks: Callable[..., int]) -> None:
    encoder = SyntheticEncoder(1, codec=CODECS.index(codec), b_frames=3, gop_frames=10)
    kinds = set()
    for _ in range(30):
        packets, is_key, is_discardable = encoder.frame()
        found = [RtpPacket.parse(packet) for packet in packets]
        assert [packet.marker for packet in found] == [False] * (len(found) - 1) + [True]
        assert len({packet.timestamp for packet in found}) == 1
        assert max(map(len, packets)) <= 1_200
        seen = [Marks(marks(p.payload, int(p is found[0]), p.marker)) for p in found]
        assert (Marks.GOP_START in seen[0]) == is_key
        assert all((Marks.DISCARDABLE in each) == is_discardable for each in seen)
        assert [Marks.FRAME_START in each for each in seen] == [p is found[0] for p in found]
        kinds.add((is_key, is_discardable))
    assert len(kinds) == 3


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec in TAKEN])
@pytest.mark.parametrize("b_frames", [0, 3])
def test_frames_of_any_codec_are_whole_and_decodable(codec: str, b_frames: int) -> None:
    parts = document(codec=codec, b_frames=b_frames, gop_s=1.0) | {"duration_s": 6.0}
    lossy = [{"viewers": "v", "delay_ms": 10, "loss": 0.02, "back": {"loss": 0}}]
    (clean,) = run(parts)
    (repaired,) = run({**parts, "access": lossy})
    for viewer in clean, repaired:
        assert viewer.packets_corrupt == viewer.sequence_breaks == 0
        assert viewer.frames_undecodable <= 2  # the last ones, whose packets were under way
    assert clean.intact_ratio == 1.0
    assert (repaired.intact_ratio or 0) > 0.98
    # From a key frame on: nodes know them.
    assert clean.frames_expected == pytest.approx(30 * 5.0, abs=31)
    assert clean.first_frame_ms is not None
    assert clean.first_frame_ms < 50


@pytest.mark.parametrize("b_frames", [0, 3])
def test_the_bitrate_is_that_of_the_file(b_frames: int) -> None:
    (viewer,) = run(document(b_frames=b_frames, audio=False) | {"duration_s": 42.0})
    assert viewer.rate_bps == pytest.approx(800_000, rel=0.06)  # with RTP's headers


def test_a_lost_frame_spoils_those_that_need_it() -> None:
    """Whole frames after a loss in a group of 2 s are worth nothing until the next key frame; if
    each is one, nothing is spoilt."""
    cut = [
        {"at_s": 5.1, "do": "access", "viewers": "v", "loss": 1.0},
        {"at_s": 5.3, "do": "access", "viewers": "v", "loss": 0.0},
    ]
    parts = document(b_frames=3, gop_s=2.0)
    access = [{"viewers": "v", "delay_ms": 5}]
    silent = [{**parts["viewers"][0], "feedback": []}]
    (viewer,) = run({**parts, "access": access, "events": cut, "viewers": silent})
    assert 5 <= viewer.frames_missing + viewer.frames_damaged <= 8
    # From 5.3 s to the key frame at 7 s, at 30 frames/s.
    assert 48 <= viewer.frames_undecodable <= 53
    key_only = run({**document(gop_s=1 / 30), "access": access, "events": cut, "viewers": silent})
    assert key_only[0].frames_undecodable == 0


def test_versions_are_the_same_pictures_at_several_bitrates() -> None:
    parts = document(versions=[1_200_000, 400_000])
    del parts["broadcasts"][0]["bitrate_bps"]
    overlay = VirtualOverlay(scenario_of(parts))
    overlay.run_until(overlay.end_us)
    node = overlay.nodes["a"].node
    assert set(node.ports.ingests) == {("live", "video"), ("live", "audio"), ("live.1", "video")}
    bytes_of = [
        node.engine.stream_stats(stream.handle).bytes
        for name in ("live", "live.1")
        for stream in node.streams.of(name)
        if stream.track.media == "video"
    ]
    assert bytes_of[0] == pytest.approx(3 * bytes_of[1], rel=0.05)
    assert overlay.world.frames_sent(0) == overlay.world.frames_sent(1)


def test_nodes_switch_a_viewer_whose_path_is_slow_to_another_version() -> None:
    """4 Mbit/s that fall to 1, behind a node that has the versions from another one."""
    parts = document(versions=[3_000_000, 700_000])
    del parts["broadcasts"][0]["bitrate_bps"]
    parts |= {
        "duration_s": 20.0,
        "nodes": [{"name": "a"}, {"name": "b"}],
        "links": [{"a": "a", "b": "b", "delay_ms": 10}],
        "paths": [{"node": "b", "stream": "live", "via": ["a"]}],
        "access": [
            {
                "viewers": "v",
                "delay_ms": 10,
                "queue_ms": 300,
                "rate_trace": [[0.0, 8_000_000], [10.0, 1_000_000]],
            }
        ],
    }
    parts["viewers"][0] |= {"node": "b", "feedback": ["reports", "nack", "transport_cc"]}
    (viewer,) = run(parts)
    assert viewer.version_frames[1] > 100
    assert [change.version for change in viewer.version_changes] == [1]
    assert 10.0 < viewer.version_changes[0].at_s < 13.0
    assert viewer.packets_corrupt == viewer.sequence_breaks == viewer.audio_missing == 0


def test_a_viewer_with_receiver_reports_alone_comes_back_to_the_better_version() -> None:
    """Its path falls from 4 to 1 Mbit/s for 10 s."""
    trace = [[0.0, 4_000_000], [10.0, 1_000_000], [20.0, 4_000_000]]
    parts = document(versions=[3_000_000, 700_000])
    del parts["broadcasts"][0]["bitrate_bps"]
    parts |= {
        "duration_s": 35.0,
        "access": [{"viewers": "v", "delay_ms": 10, "queue_ms": 300, "rate_trace": trace}],
    }
    parts["viewers"][0]["feedback"] = ["reports", "nack"]
    (viewer,) = run(parts)
    assert [change.version for change in viewer.version_changes] == [1, 0]
    down, up = (change.at_s for change in viewer.version_changes)
    assert 10.0 < down < 20.0
    assert 20.0 < up < 30.0


def test_a_pause_is_no_loss() -> None:
    events = [
        {"at_s": 4.0, "do": "pause_encoder", "broadcast": "live"},
        {"at_s": 7.0, "do": "resume_encoder", "broadcast": "live"},
    ]
    (viewer,) = run({**document(b_frames=2), "events": events})
    assert viewer.frames_intact == viewer.frames_expected
    assert viewer.frames_expected == pytest.approx(30 * (2.0 + 1.0 + 3.0), abs=35)
    assert viewer.longest_gap_ms == pytest.approx(3_000, abs=70)
    assert viewer.frames_undecodable == 0
    assert viewer.sequence_breaks == 0
    assert viewer.audio_missing == 0


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"versions": [400_000, 1_200_000]}, "the highest bitrate comes first"),
        ({"b_frames": 8}, "less than or equal to 7"),
        ({"versions": [900_000, 400_000], "adaptive": {}}, "exclude each other"),
        ({"adaptive": {"min_bps": 900_000, "max_bps": 400_000}}, "min_bps is above max_bps"),
    ],
)
def test_broadcasts_that_make_no_sense(keys: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        scenario_of(document(**keys))
    assert any(expected in str(problem) for problem in caught.value.problems)
