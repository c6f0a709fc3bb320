"""A cursor: one subscriber's place in one ring.

Forwarding, pacing, fast start and being lapped are moves of it; see the table in ARCHITECTURE.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from fastpath.reference.ring import LARGEST

if TYPE_CHECKING:
    from fastpath.reference.link import Address, Link
    from fastpath.reference.ring import Packet
    from fastpath.reference.worker import Stream


class State(Enum):
    REMOVED = auto()
    ACTIVE = auto()
    WAITS_FOR_KEY = auto()


@dataclass(frozen=True, slots=True)
class Viewer:
    """Where a viewer's plain RTP and its sender reports go (rtcp, or nowhere), its SSRC, and the
    ids of the header extensions that it wants (0: not)."""

    port: int
    address: Address
    ssrc: int
    rtcp: Address | None
    transport_cc_id: int = 0
    delay_id: int = 0


@dataclass(eq=False, slots=True)
class Cursor:
    handle: int
    stream: Stream
    link: Link
    viewer: Viewer | None
    sequence_offset: int  # RTP sequence number = low 16 bits of (packet number + this)
    payload_type: int = 0
    timestamp_offset: int = 0  # RTP timestamp = the stream's + this
    has_moved: bool = False  # to another stream: its timestamps are to be joined to those sent
    last_timestamp: int = 0  # newest sent, and when
    last_sent_us: int = 0
    next_report_us: int = 0
    reports: int = 0
    state: State = State.ACTIVE
    next: int = 0  # the packet number to send next
    start: int = 0  # the first one it may send
    deficit_bytes: int = 0
    packets: int = 0
    bytes: int = 0
    late_packets: int = 0
    lapped: int = 0
    is_copy: bool = False  # to a node that gets the stream from elsewhere too

    def begin(self) -> None:
        """Stand in a ring, as a new cursor or after a move from another.

        Video: at the newest whole key frame. Audio: live. An empty ring: its first packet. Without
        a key frame a node gets all that is held, as it may need it; a viewer waits.
        """
        ring = self.stream.ring
        place: int | None = ring.head
        if self.stream.is_video and (ring.packets or self.viewer is not None):
            place = ring.fast_start()
            if place is None and self.viewer is None:
                place = ring.tail
        self._enter(ring.head if place is None else place)
        if place is None:
            self.state = State.WAITS_FOR_KEY

    def begin_at(self, place: int) -> bool:
        """Stand at this place, which may be ahead of the head: whoever asks has what is before it.
        False if the ring no longer holds it or will not reach it soon."""
        ring = self.stream.ring
        if not ring.tail <= place <= ring.head + LARGEST:
            return False
        self._enter(place)
        return True

    def _enter(self, place: int) -> None:
        """Go on at another place. A viewer's sequence numbers go on without a gap: a new cursor's
        `next` is 0 and its offset the first number."""
        self.sequence_offset += self.next - place
        self.next = self.start = place
        self.state = State.ACTIVE

    def peek(self) -> Packet | None:
        """The next packet to send, holes passed over: what is recovered later is sent then.

        A cursor that the ring has lapped goes on at the newest key frame (audio: the oldest held).
        """
        ring = self.stream.ring
        if self.state is State.WAITS_FOR_KEY:
            if ring.gop_start is None:
                return None
            self._enter(ring.gop_start)
        elif self.next < ring.tail:
            self.lapped += 1
            place = ring.fast_start() if self.stream.is_video else ring.tail
            if place is None:
                self.state = State.WAITS_FOR_KEY
                return None
            self._enter(place)
        while self.next < ring.head:
            if self.next in ring.packets:
                return ring.packets[self.next]
            self.next += 1
        return None

    def owes(self, number: int) -> bool:
        """Has the cursor passed this place since it last jumped? Then what is recovered there is
        sent at once, under the number that was left free for it."""
        return self.state is State.ACTIVE and self.start <= number < self.next
