"""TCP as cross traffic: slow start, additive increase, half the window for a loss (RFC 5681).

A lost packet is noticed one round trip later and sent again; a window is halved once per round
trip. No handshake, no delayed acknowledgements, no time-outs: the queue it builds is what matters
here.
"""

from __future__ import annotations

import random

from bench.support.flow_network import Bottleneck, Timeline

SEGMENT_BYTES = 1500
FIRST_WINDOW = 10.0  # RFC 6928
MEAN_PAUSE_S = 10.0  # RFC 8867 5.7: between short transfers


class TcpFlow:
    """short: draws the size of each transfer and the pause after it; None: one without end."""

    def __init__(
        self,
        timeline: Timeline,
        bottleneck: Bottleneck,
        *,
        delay_us: int = 50_000,
        start_us: int = 0,
        short: random.Random | None = None,
    ) -> None:
        self.arrived: list[tuple[int, int]] = []
        self._timeline = timeline
        self._bottleneck = bottleneck
        self._delay_us = delay_us
        self._short = short
        self._rtt_us = 2 * delay_us
        self._flying = 0
        self._left = 0.0  # segments of this transfer that were never sent
        timeline.at(start_us, self._begin)

    def _begin(self) -> None:
        """RFC 8867 5.7: 100 kB to 1 MB, then 10 s of silence on average."""
        self._window = FIRST_WINDOW
        self._threshold = float("inf")
        self._reduced_us = -1
        self._left = float("inf")
        if self._short is not None:
            self._left = self._short.uniform(100_000, 1_000_000) // SEGMENT_BYTES
        self._fill()

    def _fill(self) -> None:
        while self._flying < int(self._window) and self._left > 0:
            self._flying += 1
            self._left -= 1
            self._send()

    def _send(self) -> None:
        now_us = self._timeline.now_us
        through = self._bottleneck.send(now_us, SEGMENT_BYTES)
        if through is None:
            self._timeline.at(now_us + self._rtt_us, lambda: self._on_loss(now_us))
            return
        arrival_us = through[0] + self._delay_us
        self.arrived.append((arrival_us, SEGMENT_BYTES))
        self._timeline.at(arrival_us + self._delay_us, lambda: self._on_ack(now_us))

    def _on_ack(self, sent_us: int) -> None:
        self._rtt_us = self._timeline.now_us - sent_us
        self._flying -= 1
        self._window += 1 if self._window < self._threshold else 1 / self._window
        self._fill()
        if self._short is not None and self._left == 0 and self._flying == 0:
            pause_us = round(1e6 * self._short.expovariate(1 / MEAN_PAUSE_S))
            self._timeline.at(self._timeline.now_us + pause_us, self._begin)

    def _on_loss(self, sent_us: int) -> None:
        if sent_us > self._reduced_us:
            self._window = max(self._window / 2, 2.0)
            self._threshold = self._window
            self._reduced_us = self._timeline.now_us
        self._send()
