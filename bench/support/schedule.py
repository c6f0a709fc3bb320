"""When which stream sends a frame of how many packets: what the generator plays."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Schedule: TypeAlias = NDArray[Any]  # of FRAME; dues rise

FRAME = np.dtype(
    [
        ("due_ns", "<i8"),
        ("stream", "<u4"),
        ("packets", "<u2"),
        ("is_key", "u1"),
        ("unused", "u1"),
    ]
)  # struct frame of bench/native/native.h

BURST_PACKETS = 16  # of saturated traffic: decides what GRO can join (method.burst_packets)
BURSTS_PER_GOP = 32
# Encoders at 25 to 30 frames/s with a key frame each 2 s: about 1 Mbit/s with 1,200-byte packets.
FRAME_RATES = (25.0, 30.0)
GOP_S = 2.0
FRAME_PACKETS = (2, 5)  # uniformly drawn, both included
KEY_FRAME_PACKETS = 16
SEED = 1


def saturated(bursts: int, packets_per_s: float, *, burst_packets: int = BURST_PACKETS) -> Schedule:
    """One stream, frames of equal size at equal distances."""
    frames = np.zeros(bursts, FRAME)
    frames["due_ns"] = np.arange(bursts) * (burst_packets / packets_per_s * 1e9)
    frames["packets"] = burst_packets
    frames["is_key"] = np.arange(bursts) % BURSTS_PER_GOP == 0
    return frames


def length_s(schedule: Schedule) -> float:
    """How long it should take, the last frame's share of the time included."""
    last_s = float(schedule["due_ns"][-1]) / 1e9
    return last_s * len(schedule) / max(len(schedule) - 1, 1)


def key_frames(streams: int, packets_per_s: float) -> Schedule:
    """One of each stream, at equal distances."""
    frames = saturated(streams, packets_per_s, burst_packets=KEY_FRAME_PACKETS)
    frames["stream"] = np.arange(streams)
    frames["is_key"] = 1
    return frames


def packets_per_s(streams: int) -> float:
    """What `encoders` send in the mean."""
    frame_rate = sum(FRAME_RATES) / 2
    per_gop = frame_rate * GOP_S
    mean = (KEY_FRAME_PACKETS + (per_gop - 1) * sum(FRAME_PACKETS) / 2) / per_gop
    return streams * frame_rate * mean


def encoders(streams: int, seconds: float, *, speed: float = 1.0) -> Schedule:
    """Each stream at a frame rate and phase of its own (of frames and of key frames), key frames
    larger, a frame's packets together. speed: how much faster than real time."""
    draws = np.random.default_rng(SEED)
    rates = draws.uniform(*FRAME_RATES, streams)
    phase = draws.uniform(0, 1, streams)
    counts = np.ceil(seconds * speed * rates - phase).clip(0).astype(np.int64)
    if not counts.any():
        counts[0] = 1
    stream = np.repeat(np.arange(streams), counts)
    number = np.arange(len(stream)) - np.repeat(np.cumsum(counts) - counts, counts)
    frames = np.zeros(len(stream), FRAME)
    frames["due_ns"] = (number + phase[stream]) / rates[stream] / speed * 1e9
    frames["stream"] = stream
    gop = np.round(rates * GOP_S).astype(np.int64)
    frames["is_key"] = (number + draws.integers(0, gop)[stream]) % gop[stream] == 0
    frames["packets"] = np.where(
        frames["is_key"],
        KEY_FRAME_PACKETS,
        draws.integers(*FRAME_PACKETS, len(stream), endpoint=True),
    )
    return frames[np.argsort(frames["due_ns"], kind="stable")]
