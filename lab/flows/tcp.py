"""A TCP sender as a bottleneck sees it: window, slow start, fast retransmit, time-out.

Each segment is acknowledged by itself and one that is sent again has a new number, so what was lost
is known as with SACK (RFC 6675): three later ones have arrived. There is no handshake, and the
receiver takes whatever comes.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import takewhile
from random import Random

from lab.flows.flow import SEGMENT_BYTES, Segment
from lab.flows.window import CubicWindow, RenoWindow, Window

REORDERING = 3  # segments, RFC 5681 3.2
LEAST_TIMEOUT_US = 200_000  # as Linux has it; RFC 6298 2.4 says 1 s
FIRST_TIMEOUT_US = 1_000_000  # RFC 6298 2.1
LONGEST_TIMEOUT_US = 60_000_000  # RFC 6298 2.5
WINDOWS: dict[str, type[RenoWindow | CubicWindow]] = {"reno": RenoWindow, "cubic": CubicWindow}


class TcpFlow:
    """One transfer after the other: each of so many segments, None: without end."""

    is_acknowledged = True

    def __init__(
        self,
        window: type[RenoWindow | CubicWindow] = CubicWindow,
        *,
        start_us: int,
        end_us: int | None = None,
        segments: int | None = None,
    ) -> None:
        """end_us: nothing is sent from then on."""
        self.retransmitted = 0
        self.timeouts = 0
        self._kind = window
        self._recovery_us = start_us  # what was sent before the last loss tells no new one
        self._end_us = end_us
        self._number = 0
        self._begin(start_us, segments)

    @property
    def window_segments(self) -> float:
        return self._window.segments

    @property
    def is_done(self) -> bool:
        """The transfer has arrived whole."""
        return self._left == 0 and not self._flying

    def next_send_us(self) -> int | None:
        due_us = None
        if self._left != 0 and len(self._flying) < int(self._window.segments):
            due_us = self._ready_us
        elif self._flying:
            due_us = self._timeout_us
        return None if due_us is not None and self._is_over(due_us) else due_us

    def send(self, now_us: int) -> Segment | None:
        if self._is_over(now_us):
            return None
        if self._flying and now_us >= self._timeout_us:
            self._on_timeout(now_us)
        if self._left == 0 or len(self._flying) >= int(self._window.segments):
            return None
        if self._left is not None:
            self._left -= 1
        if not self._flying:
            self._arm(now_us)
        number = self._number
        self._number += 1
        self._flying[number] = now_us
        return Segment(number, SEGMENT_BYTES)

    def on_ack(self, number: int, now_us: int) -> None:
        sent_us = self._flying.pop(number, None)
        if sent_us is None:
            return  # it was taken for lost
        self._measure(now_us - sent_us)
        self._backoff = 1
        self._arm(now_us)
        if sent_us >= self._recovery_us:
            self._window.on_ack(now_us - sent_us, now_us)
        lost = list(takewhile(lambda old: old <= number - REORDERING, self._flying))
        if not lost:
            return
        if self._flying[lost[-1]] >= self._recovery_us:
            self._window.on_loss()
            self._recovery_us = now_us
        self._send_again(lost, now_us)

    def _begin(self, start_us: int, segments: int | None) -> None:
        """A new connection."""
        self._window: Window = self._kind()
        self._left = segments  # that are to be sent, some of them again
        self._flying: OrderedDict[int, int] = OrderedDict()  # when each was sent, the oldest first
        self._ready_us = start_us
        self._recovery_us = start_us
        self._rtt_us: float | None = None
        self._deviation_us = 0.0
        self._backoff = 1
        self._timeout_us = start_us + FIRST_TIMEOUT_US

    def _is_over(self, now_us: int) -> bool:
        return self._end_us is not None and now_us >= self._end_us

    def _send_again(self, numbers: list[int], now_us: int) -> None:
        for number in numbers:
            del self._flying[number]
        self.retransmitted += len(numbers)
        self._ready_us = now_us
        if self._left is not None:
            self._left += len(numbers)

    def _on_timeout(self, now_us: int) -> None:
        self.timeouts += 1
        self._window.on_timeout()
        self._recovery_us = now_us
        self._backoff *= 2
        self._send_again(list(self._flying), now_us)

    def _measure(self, rtt_us: int) -> None:
        """RFC 6298 2."""
        if self._rtt_us is None:
            self._rtt_us, self._deviation_us = float(rtt_us), rtt_us / 2
        else:
            self._deviation_us += (abs(self._rtt_us - rtt_us) - self._deviation_us) / 4
            self._rtt_us += (rtt_us - self._rtt_us) / 8

    def _arm(self, now_us: int) -> None:
        timeout_us = FIRST_TIMEOUT_US
        if self._rtt_us is not None:
            timeout_us = max(LEAST_TIMEOUT_US, round(self._rtt_us + 4 * self._deviation_us))
        self._timeout_us = now_us + min(timeout_us * self._backoff, LONGEST_TIMEOUT_US)
        self._ready_us = now_us


class ShortTcpFlow(TcpFlow):
    """Downloads with pauses between them, each over a new connection: 100 kB to 1 MB, evenly, and
    10 s of silence on average, exponentially (RFC 8867 5.7)."""

    LEAST_BYTES = 100_000
    MOST_BYTES = 1_000_000
    MEAN_PAUSE_US = 10_000_000

    def __init__(
        self,
        rng: Random,
        window: type[RenoWindow | CubicWindow] = CubicWindow,
        *,
        start_us: int,
        end_us: int | None = None,
        begins_silent: bool = True,
    ) -> None:
        """rng: owned by it from now on."""
        self._rng = rng
        self.transfers = 0
        if begins_silent:
            start_us += self._pause_us()
        super().__init__(window, start_us=start_us, end_us=end_us, segments=self._segments())

    def on_ack(self, number: int, now_us: int) -> None:
        super().on_ack(number, now_us)
        if self.is_done:
            self.transfers += 1
            self._begin(now_us + self._pause_us(), self._segments())

    def send(self, now_us: int) -> Segment | None:
        return super().send(now_us) if now_us >= self._ready_us else None

    def _pause_us(self) -> int:
        return round(self._rng.expovariate(1 / self.MEAN_PAUSE_US))

    def _segments(self) -> int:
        return -(-round(self._rng.uniform(self.LEAST_BYTES, self.MOST_BYTES)) // SEGMENT_BYTES)
