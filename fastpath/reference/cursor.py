"""A cursor: one subscriber's place in one ring.

Forwarding, pacing, fast start and being lapped are moves of it; see the table in ARCHITECTURE.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
    CATCHES_UP = auto()  # is sent what was here before it came
    BEHIND = auto()  # its link had no room for it, or it is about to change its stream
    SKIPS_FRAME = auto()  # the rest of a frame that no other refers to
    SKIPS_PREDICTED = auto()  # all up to the next key frame
    SKIPS_GOP = auto()  # the same, a key frame or the rest of a frame among it
    WAITS_FOR_KEY = auto()
    WAITS_FOR_NEXT_KEY = auto()  # one that is not here yet


GOES_ON = (State.ACTIVE, State.CATCHES_UP, State.BEHIND)
SKIPS = (State.SKIPS_FRAME, State.SKIPS_PREDICTED, State.SKIPS_GOP)
SPANS_OF_CURSOR = 32


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


@dataclass(frozen=True, slots=True)
class Span:
    """Packets first .. end-1 of a stream, sent to a viewer under numbers that follow each other."""

    stream: Stream
    first: int
    end: int
    sequence_offset: int
    timestamp_offset: int
    payload_type: int


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
    has_switched: bool = False  # what it catches up with is of a stream it went on with unseen
    began_us: int = 0  # what came before it left when it could; 0: it has reached the head
    # of viewers
    spans: list[Span] = field(default_factory=list)  # before its last jump, newest first
    skipped_from: int = 0
    lag_us: int = 0  # as last looked at
    lag_bytes: int = 0
    told_us: int = 0
    told_dropped: int = 0
    dropped: list[int] = field(default_factory=lambda: [0, 0, 0])  # discardable, predicted, GoP
    switch_to: Stream | None = None  # goes on with it when nobody can see that
    switch_payload_type: int = 0

    @property
    def stands(self) -> bool:
        """It has a place in its ring, from which it goes on."""
        return self.state in GOES_ON or self.state in SKIPS

    def begin(self, *, gop_cache: bool = True, start_at_gop: bool = False) -> bool:
        """Stand in a ring, as a new cursor or after a move from another. False: it waits for a key
        frame that is to be asked for.

        Video: at the newest whole key frame, or the one before it. Audio: live. An empty ring: its
        first packet. Without a key frame a node gets all that is held, as it may need it; a viewer
        waits. Without a cache all begin live, viewers at the next key frame.
        """
        ring = self.stream.ring
        is_viewer, is_video = self.viewer is not None, self.stream.is_video
        place: int | None = ring.head
        if not gop_cache:
            self.jump(ring.head)
            self.state = State.WAITS_FOR_NEXT_KEY if is_viewer and is_video else State.ACTIVE
            return True
        if is_video and (ring.packets or is_viewer):
            place = ring.fast_start()
            if place is not None and start_at_gop:
                place = ring.gop_before(place)
            if place is None and not is_viewer:
                place = ring.tail
        self.jump(ring.head if place is None else place)
        self.state = State.WAITS_FOR_KEY if place is None else self._state_here()
        return place is not None

    def _state_here(self) -> State:
        lags = self.viewer is not None and self.stream.is_video
        return State.CATCHES_UP if lags and self.next != self.stream.ring.head else State.ACTIVE

    def begin_at(self, place: int) -> bool:
        """Stand at this place, which may be ahead of the head: whoever asks has what is before it.
        False if the ring no longer holds it or will not reach it soon."""
        ring = self.stream.ring
        if not ring.tail <= place <= ring.head + LARGEST:
            return False
        self.next = self.start = place
        self.state = State.ACTIVE
        return True

    def close_span(self) -> None:
        """What a viewer was sent since its last jump is remembered with its numbers; then nothing
        more is owed of it under the cursor's own."""
        if self.viewer is not None and self.start != self.next:
            span = Span(
                self.stream,
                self.start,
                self.next,
                self.sequence_offset,
                self.timestamp_offset,
                self.payload_type,
            )
            self.spans = [span, *self.spans[: SPANS_OF_CURSOR - 1]]
        self.start = self.next

    def jump(self, place: int) -> None:
        """Go on at another place. A viewer's sequence numbers go on without a gap: a new cursor's
        `next` is 0 and its offset the first number."""
        self.close_span()
        self.sequence_offset += self.next - place
        self.next = self.start = place

    def span_of(self, stream: Stream, number: int) -> Span | None:
        """The one before its last jump that this packet belongs to."""
        spans = (s for s in self.spans if s.stream is stream and s.first <= number < s.end)
        return next(spans, None)

    def _find_key(self) -> bool:
        """The key frame that is waited for has come."""
        start = self.stream.ring.gop_start
        if start is None or (self.state is State.WAITS_FOR_NEXT_KEY and start < self.next):
            return False
        self.jump(start)
        self.state = self._state_here()
        return True

    def seek(self) -> Packet | None:
        """The next packet to send, holes passed over: what is recovered later is sent then. What
        upstream has skipped has no number.

        A cursor that the ring has lapped goes on at the newest key frame (audio: the oldest held).
        """
        ring = self.stream.ring
        if self.state in (State.WAITS_FOR_KEY, State.WAITS_FOR_NEXT_KEY):
            if not self._find_key():
                return None
        elif self.next < ring.tail:
            self.lapped += 1
            place = ring.fast_start() if self.stream.is_video else ring.tail
            if place is None:
                self.close_span()
                self.state = State.WAITS_FOR_KEY
                return None
            self.jump(place)
            self.state = self._state_here()
        while self.next < ring.head:
            if self.next in ring.packets:
                return ring.packets[self.next]
            if self.next in ring.skipped and self.viewer is not None:
                self.jump(self.next + 1)
            else:
                self.next += 1
        return None

    def owes(self, number: int) -> bool:
        """Has the cursor passed this place since it last jumped? Then what is recovered there is
        sent at once, under the number that was left free for it."""
        return self.stands and self.start <= number < self.next

    def measure_lag(self, packet: Packet, now_us: int) -> None:
        """How long the next packet has waited for this cursor, which it did not before that was
        there; and how many bytes there are up to the head. One that came late counts from then."""
        self.lag_us = now_us - max(packet.arrival_us, self.began_us)
        self.lag_bytes = self.stream.bytes - self.stream.ring.bytes_before[self.next]
