"""When each packet of a frame leaves: small bursts, evenly over a part of the frame interval."""

from dataclasses import dataclass

# Ours: few enough that a burst fits any device queue, enough that a 30-packet key frame is out
# within 10 ms; the gap is what an event loop's timers can keep.
BURST_PACKETS = 4
BURST_GAP_US = 1_000
WINDOW_DIVISOR = 3  # of a frame interval: a key frame is out well before the next frame


@dataclass(frozen=True, slots=True)
class Burst:
    """`packets` back to back, `offset_us` after the frame's first packet."""

    offset_us: int
    packets: int


def plan_bursts(packets: int, frame_interval_us: int) -> list[Burst]:
    """Bursts of BURST_PACKETS a gap apart; larger ones if the window has no room for so many."""
    window_us = frame_interval_us // WINDOW_DIVISOR
    slots = min(-(-packets // BURST_PACKETS), window_us // BURST_GAP_US + 1)
    bounds = [packets * slot // slots for slot in range(slots + 1)]
    return [Burst(slot * BURST_GAP_US, bounds[slot + 1] - bounds[slot]) for slot in range(slots)]
