"""Is a path that works worse than the one that stands by is likely to be? Pure.

Fed each `SAMPLE_US` with what the ring of the broadcast's video (or only track) has counted. Two
things are worth a switch while packets still arrive: loss that repair did not mend, and delay far
above what the same path has shown. A dead link or upstream is not its business: that is told.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

SAMPLE_US = 500_000
# chosen: shorter trouble is over before a switch pays, as repair mends a burst within a second
WINDOW_SAMPLES = 6
# chosen: 2 % of packets for ever lost damage most pictures; repair leaves 0.01 % of a link's 1 %
MOST_LOSS_PERMILLE = 20
LEAST_PACKETS = 100  # chosen: fewer say nothing about 2 %
# chosen: what a viewer notices, and more than a queue of a healthy link or a measured RTT's jitter
MOST_EXTRA_DELAY_US = 150_000
# chosen: longer than the trouble that two paths may have in common, so that none is left for the
# other by turns; the brain hears of it meanwhile
HOLD_DOWN_US = 30_000_000


@dataclass(frozen=True, slots=True)
class PathSample:
    """next_seq: one after the newest packet number. packets: ever put in. delay_us: smoothed."""

    next_seq: int
    packets: int
    delay_us: int


class PathMonitor:
    """Of one broadcast's present upstream."""

    def __init__(self) -> None:
        self._samples: deque[PathSample] = deque(maxlen=WINDOW_SAMPLES + 1)
        self._sampled_us = 0
        self._least_delay_us: int | None = None
        self._quiet_until_us = 0

    def on_changed(self, now_us: int) -> None:
        """Another upstream: its figures are its own, and nothing is said for a while."""
        self._samples.clear()
        self._least_delay_us = None
        self._quiet_until_us = now_us + HOLD_DOWN_US

    def on_sample(self, sample: PathSample, now_us: int) -> str | None:
        """Why to leave this path, "loss" or "delay"; None: it is good enough."""
        if self._samples and sample.packets < self._samples[-1].packets:
            self._samples.clear()  # other streams carry it now
        if now_us - self._sampled_us > 2 * SAMPLE_US:
            self._samples.clear()  # nothing stood by meanwhile: what went by was not lost here
        self._sampled_us = now_us
        self._samples.append(sample)
        if sample.delay_us and (
            self._least_delay_us is None or sample.delay_us < self._least_delay_us
        ):
            self._least_delay_us = sample.delay_us
        if len(self._samples) <= WINDOW_SAMPLES or now_us < self._quiet_until_us:
            return None
        if self._loses_too_much():
            return "loss"
        least_us = self._least_delay_us
        if least_us is not None and all(
            kept.delay_us > least_us + MOST_EXTRA_DELAY_US for kept in self._samples
        ):
            return "delay"
        return None

    def _loses_too_much(self) -> bool:
        oldest, newest = self._samples[0], self._samples[-1]
        expected = (newest.next_seq - oldest.next_seq) & 0xFFFFFFFF
        if not LEAST_PACKETS <= expected < 1 << 31:
            return False
        lost = expected - (newest.packets - oldest.packets)
        return lost * 1000 > MOST_LOSS_PERMILLE * expected
