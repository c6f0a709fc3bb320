"""Schedules: the rate that was asked for, in the shape that encoders send."""

from __future__ import annotations

import numpy as np
import pytest

from bench.support.schedule import (
    FRAME_PACKETS,
    KEY_FRAME_PACKETS,
    encoders,
    key_frames,
    length_s,
    packets_per_s,
    saturated,
)


def test_saturated_bursts_keep_a_rate() -> None:
    frames = saturated(1_000, 160_000)
    assert (frames["packets"] == 16).all()
    assert frames["due_ns"][0] == 0
    assert frames["due_ns"][-1] == pytest.approx(999 * 16 / 160_000 * 1e9, rel=1e-6)
    assert length_s(frames) == pytest.approx(0.1)
    assert frames["is_key"].sum() == 32  # of 1,000 frames, each 32nd
    assert frames["is_key"][0]


def test_encoders_send_at_their_own_pace() -> None:
    frames = encoders(200, 10.0)
    assert (np.diff(frames["due_ns"]) >= 0).all()
    assert frames["packets"].sum() == pytest.approx(10 * packets_per_s(200), rel=0.03)
    for stream in range(200):
        mine = frames[frames["stream"] == stream]
        gaps_ms = np.diff(mine["due_ns"]) / 1e6
        assert gaps_ms.min() >= 1000 / 30 - 0.001
        assert gaps_ms.max() <= 1000 / 25 + 0.001
        keys = mine["is_key"] == 1
        assert 4 <= keys.sum() <= 6
        assert (mine["packets"][keys] == KEY_FRAME_PACKETS).all()
        assert set(mine["packets"][~keys]) == set(range(FRAME_PACKETS[0], FRAME_PACKETS[1] + 1))
    # Phases differ: no instant has many streams' frames.
    per_ms = np.bincount(frames["due_ns"] // 1_000_000)
    assert per_ms.max() < 25


def test_each_stream_has_its_key_frame() -> None:
    frames = key_frames(5, 160.0)
    assert list(frames["stream"]) == list(range(5))
    assert list(frames["due_ns"]) == [n * 100_000_000 for n in range(5)]
    assert set(frames["packets"]) == {KEY_FRAME_PACKETS}
    assert frames["is_key"].all()


def test_speed_changes_the_rate_alone() -> None:
    slow, fast = encoders(10, 4.0), encoders(10, 2.0, speed=2.0)
    assert np.array_equal(slow["packets"], fast["packets"])
    assert np.allclose(slow["due_ns"], 2 * fast["due_ns"], atol=2)


def test_a_short_time_has_the_frames_that_fall_into_it() -> None:
    frames = encoders(10_000, 0.01)
    assert frames["packets"].sum() == pytest.approx(0.01 * packets_per_s(10_000), rel=0.05)
    assert frames["due_ns"].max() < 0.01 * 1e9
    assert len(encoders(1, 1e-6)) == 1  # never nothing at all
