"""What a flow is to whoever carries it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

SEGMENT_BYTES = 1_472  # of UDP payload: 1,500 on the wire, as TCP's packets on an Ethernet
ACK_BYTES = 12  # 40 on the wire: an IPv4 and a TCP header


@dataclass(frozen=True, slots=True)
class Segment:
    """number: each that is sent has its own, also one that is sent again. Bytes: UDP payload."""

    number: int
    size_bytes: int


class Flow(Protocol):
    """A sender. Its times are of one clock; whoever carries it calls `send` when that is due."""

    @property
    def is_acknowledged(self) -> bool:
        """Whether it wants to hear of each segment that arrives."""
        ...

    def next_send_us(self) -> int | None:
        """None: not before an acknowledgement, or never again."""
        ...

    def send(self, now_us: int) -> Segment | None:
        """The next segment; None if there is none now after all."""
        ...

    def on_ack(self, number: int, now_us: int) -> None: ...


class CbrFlow:
    """A constant rate, counted on the wire as `lab.link` does, in equal segments."""

    is_acknowledged = False

    def __init__(
        self,
        rate_bps: int,
        *,
        start_us: int,
        end_us: int | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        header_bytes: int = 28,
    ) -> None:
        self._microbits = 8_000_000 * (segment_bytes + header_bytes)
        self._rate_bps = rate_bps
        self._start_us = start_us
        self._end_us = end_us
        self._segment_bytes = segment_bytes
        self._sent = 0

    def next_send_us(self) -> int | None:
        due_us = self._start_us + self._sent * self._microbits // self._rate_bps
        return None if self._end_us is not None and due_us >= self._end_us else due_us

    def send(self, now_us: int) -> Segment | None:
        due_us = self.next_send_us()
        if due_us is None or now_us < due_us:
            return None
        self._sent += 1
        return Segment(self._sent - 1, self._segment_bytes)

    def on_ack(self, number: int, now_us: int) -> None:
        """It asks for none."""
