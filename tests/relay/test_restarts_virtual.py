"""A node of a line dies at any microsecond and starts again: when do viewers see video, and how?"""

from __future__ import annotations

import itertools
from random import Random

import pytest

from tests.relay.encoder import FRAME_US, Encoder
from tests.relay.overlay import VIEWER, Overlay
from tests.relay.test_node_virtual import start_a, start_b, start_c, watch

TRIALS = 200
BOUND_US = 2_000_000
TICKS = 1800  # of the encoder's RTP time, a frame
START = {"a": start_a, "b": start_b, "c": start_c}


def encode_until(overlay: Overlay, encoder: Encoder, end_us: int) -> None:
    """Frames as long as their node lives."""
    while overlay.now_us + FRAME_US <= end_us:
        if "a" in overlay.nodes:
            encoder.run_for(FRAME_US)
        else:
            overlay.run_for(FRAME_US)
    overlay.run_until(end_us)


def ssrc_of(packet: bytes) -> int:
    return int.from_bytes(packet[8:12])


@pytest.mark.parametrize("part", range(4))
def test_a_node_killed_at_any_moment(part: int) -> None:
    for trial in range(part, TRIALS, 4):
        check_restart(trial)


def check_restart(trial: int) -> None:
    rng = Random(trial)
    victim = rng.choice("abc")
    # The handshake takes 60 ms, a subscription 80 ms from 200 ms on; a GoP lasts 500 ms.
    kill_after_us = rng.choice([rng.randrange(400_000), rng.randrange(400_000, 1_600_000)])
    down_us = rng.choice([0, rng.randrange(700_000)])
    about = f"trial {trial}: {victim} after {kill_after_us} us for {down_us} us"

    overlay = Overlay(seed=trial)
    overlay.connect(1, 2)
    overlay.connect(2, 3)
    for start in START.values():
        start(overlay)
    encoder = Encoder(overlay, "a")
    began_us = overlay.now_us
    watch_us, kill_us = began_us + 200_000, began_us + kill_after_us
    encode_until(overlay, encoder, min(watch_us, kill_us))
    if watch_us < kill_us:
        watch(overlay, overlay.nodes["c"])
        encode_until(overlay, encoder, kill_us)
    overlay.kill(victim)
    encode_until(overlay, encoder, kill_us + down_us)
    START[victim](overlay)
    start_us = overlay.now_us
    if victim == "c" or watch_us >= kill_us:
        watch(overlay, overlay.nodes["c"])
    encode_until(overlay, encoder, start_us + BOUND_US)
    bound_us = overlay.now_us
    encode_until(overlay, encoder, bound_us + 500_000)

    video = [(time_us, data) for time_us, to, data in overlay.received if to == VIEWER]
    after = [data for time_us, data in video if time_us > bound_us]
    assert len(after) >= 500_000 // FRAME_US - 1, f"{about}: no flow"
    newest = ssrc_of(after[-1])
    ssrcs = {ssrc_of(data) for _, data in video}
    assert len(ssrcs) == 1 or (victim == "c" and len(ssrcs) == 2), about
    packets = [data for _, data in video if ssrc_of(data) == newest]
    numbers = [int.from_bytes(data[2:4]) for data in packets]
    if victim == "a":
        # Nobody has what it sent while it was away: the viewer's numbers go on at once.
        steps = {(after - before) & 0xFFFF for before, after in itertools.pairwise(numbers)}
        assert steps == {1}, f"{about}: steps {sorted(steps)}"
    else:
        # What the dead relay lost is missing, and nothing else has moved: one packet a frame.
        frames = [int.from_bytes(data[4:8]) // TICKS for data in packets]
        offsets = {(n - f) & 0xFFFF for n, f in zip(numbers, frames, strict=True)}
        assert len(offsets) == 1, f"{about}: offsets {sorted(offsets)}"
        assert len(set(numbers)) == len(numbers), f"{about}: a packet came twice"
