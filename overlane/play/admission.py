"""Which packets that arrive on a track's port belong to the track. Pure.

The node tells a viewer SSRC and payload type of each track, and sends all from one socket. A packet
is admitted if it has an announced SSRC, and teaches where the node sends from; or if it comes from
there, since a node may go on under a new SSRC before it tells. Packets that came before the first
announcement, or from elsewhere, wait for the next one: a node that was restarted sends first and is
asked later. Whoever guesses a 32-bit SSRC, or forges addresses, is not kept out.
"""

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

from rtp.packet import RtpPacket

Source: TypeAlias = tuple[str, int]
MAX_WAITING = 2048  # ours: two seconds of a fast start at 10 Mbit/s; more than that is no track


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet, when and from where it came."""

    packet: RtpPacket
    time_us: int
    source: Source


class Admission:
    """One track. `admit` each packet; `announce` what the node says, each time."""

    def __init__(self) -> None:
        self._ssrcs: set[int] = set()
        self._sources: set[Source] = set()
        self._payload_type: int | None = None
        self._is_open = False
        self._waiting: deque[Arrival] = deque()
        self._foreign = 0

    @property
    def foreign(self) -> int:
        """Packets that belong to no announced track."""
        return self._foreign + len(self._waiting)

    def announce(self, ssrc: int, payload_type: int) -> list[Arrival]:
        """The track as the node describes it; returns what waited and is admitted now."""
        self._ssrcs.add(ssrc)
        self._payload_type = payload_type
        waiting, self._waiting = self._waiting, deque()
        # A source may have been taught by a packet behind others of the same source.
        for arrival in waiting:
            self._learn(arrival)
        return [arrival for arrival in waiting if self.admit(arrival)]

    def open_to_all(self) -> list[Arrival]:
        """The node describes no track: everything is admitted."""
        self._is_open = True
        waiting, self._waiting = self._waiting, deque()
        return list(waiting)

    def admit(self, arrival: Arrival) -> bool:
        """Whether it belongs to the track; if not, it may be returned by `announce` later."""
        if self._is_open:
            return True
        if self._payload_type is not None and arrival.packet.payload_type != self._payload_type:
            self._foreign += 1
            return False
        self._learn(arrival)
        if self._payload_type is not None and arrival.source in self._sources:
            return True
        if len(self._waiting) == MAX_WAITING:
            self._waiting.popleft()
            self._foreign += 1
        self._waiting.append(arrival)
        return False

    def _learn(self, arrival: Arrival) -> None:
        if arrival.packet.ssrc in self._ssrcs:
            self._sources.add(arrival.source)
