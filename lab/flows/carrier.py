"""Brings a flow's segments over a path and its acknowledgements back, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from lab.flows.flow import ACK_BYTES, Flow

Admit: TypeAlias = Callable[[int, int], tuple[int, ...]]
"""Payload bytes and the time: when it arrives, if it does (`lab.link.LinkModel.admit`)."""


class Clock(Protocol):
    """`lab.virtual.clock.Agenda` is one."""

    now_us: int

    def at(self, time_us: int, action: Callable[[], None]) -> None: ...


class Carrier:
    """Carries one flow from its making on, as long as the clock's actions are run."""

    def __init__(self, flow: Flow, clock: Clock, forward: Admit, back: Admit) -> None:
        self.flow = flow
        self.sent = 0
        self.delivered = 0
        self.delivered_bytes = 0
        """UDP payload, copies of a path left out."""
        self._clock = clock
        self._forward = forward
        self._back = back
        self._wake_us: int | None = None
        self._plan()

    def _plan(self) -> None:
        """The next sending, unless one as early is planned already."""
        due_us = self.flow.next_send_us()
        if due_us is None:
            return
        due_us = max(due_us, self._clock.now_us)
        if self._wake_us is None or due_us < self._wake_us:
            self._wake_us = due_us
            self._clock.at(due_us, lambda: self._on_due(due_us))

    def _on_due(self, due_us: int) -> None:
        if self._wake_us != due_us:
            return  # an earlier one has taken its place
        self._wake_us = None
        while (segment := self.flow.send(due_us)) is not None:
            self.sent += 1
            arrivals = self._forward(segment.size_bytes, due_us)
            if arrivals:
                number, size_bytes = segment.number, segment.size_bytes
                self._clock.at(
                    arrivals[0],
                    lambda n=number, s=size_bytes: self._on_arrival(n, s),  # type: ignore[misc]
                )
        self._plan()

    def _on_arrival(self, number: int, size_bytes: int) -> None:
        self.delivered += 1
        self.delivered_bytes += size_bytes
        if self.flow.is_acknowledged:
            for arrival_us in self._back(ACK_BYTES, self._clock.now_us):
                self._clock.at(arrival_us, lambda: self._on_ack(number))

    def _on_ack(self, number: int) -> None:
        self.flow.on_ack(number, self._clock.now_us)
        self._plan()
