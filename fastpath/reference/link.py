"""A link: one pair of ports of two nodes, or one viewer's leg.

It owns the numbers (`hop_seq`), the keys, the replay window (RFC 6479), the holes it is asking for,
the history it answers from, what waits to leave, and the budget: loss, repair and rate are each
link's own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from rtp.sequence import difference

if TYPE_CHECKING:
    from fastpath.reference.cursor import Cursor
    from fastpath.reference.pacing import Pacer
    from fastpath.reference.worker import Stream

Address = tuple[str, int]

REPLAY_WINDOW = 8192
HISTORY_ENTRIES = 8192
MAX_HOLES = 1024
DEAD_PROBES = 3  # RFC 5880's detection multiplier
NODE_LATE_ENTRIES, VIEWER_LATE_ENTRIES = 1024, 256
BURST_US = 5000  # what an idle link may send at once beyond its rate
MAX_DEBT_US = 500_000  # libwebrtc kMaxDebtInTime
AUDIO, VIDEO = CLASSES = (0, 1)  # in the order in which they leave


@dataclass(frozen=True, slots=True)
class Keys:
    receive: bytes
    send: bytes


@dataclass(slots=True)
class Hole:
    """A number that was skipped: lost on this link, unless it is only late."""

    seen_us: int
    next_request_us: int
    requests: int = 0


class SentKind(Enum):
    MEDIA = auto()
    REPAIR = auto()  # a copy of what `repairs` names
    OTHER = auto()  # probe, feedback, control: never sent again


@dataclass(slots=True)
class Sent:
    """What a number carried. stream and number: of media, its place in a ring. bytes: on the wire;
    0: its fate has been told to the controller."""

    kind: SentKind
    sent_us: int
    bytes: int = 0
    repairs: int = 0
    resent_us: int | None = None
    stream: Stream | None = None
    number: int = 0
    which: int = VIDEO


@dataclass(frozen=True, slots=True)
class Late:
    """A packet that leaves out of order: recovered behind a cursor, or (answers) asked for."""

    stream: Stream
    number: int
    cursor: Cursor | None = None
    answers: int = 0


@dataclass(eq=False, slots=True)
class Link:
    handle: int
    rate_bps: int
    is_viewer: bool
    port: int = -1
    peer: Address = ("", 0)
    hello_key: bytes = b""
    peer_node: int = 0
    cname: str = ""  # of a viewer, in its sender reports
    # Where an authentic HELLO came from that is not `peer`: believed once a packet verifies there.
    candidate: Address | None = None
    candidate_until_us: int = 0
    is_open: bool = True
    is_up: bool = False
    keys: Keys | None = None
    offered: Keys | None = None
    sends_offered: bool = False  # no keys yet: the offered ones are used for sending
    first_hop_seq: int = 1  # of what is sent under the offered keys, and of what is received
    peer_first_hop_seq: int = 1
    # receiving
    highest: int = 0  # newest hop_seq accepted
    taken_over: int = 0  # last hop_seq that another engine had received under the same keys
    seen: set[int] = field(default_factory=set)
    holes: dict[int, Hole] = field(default_factory=dict)  # in rising order
    next_repair_us: int | None = None
    last_received_us: int = 0
    hello_tokens_us: int = 0
    # sending
    hop_seq: int = 0  # last used
    history: dict[int, Sent] = field(default_factory=dict)
    late: tuple[deque[Late], deque[Late]] = field(default_factory=lambda: (deque(), deque()))
    queues: tuple[list[Cursor], list[Cursor]] = field(default_factory=lambda: ([], []))
    cursors: list[Cursor] = field(default_factory=list)
    free_at_ns: int = 0  # when what was sent has left at the link's rate
    pacer: Pacer | None = None  # None: the rate is fixed
    target_bps: int = 0  # what media may take
    pacing_bps: int = 0  # what is charged for a packet
    key_pacing_bps: int = 0  # and for one of a video key frame
    next_probe_us: int = 0
    # what is told of arrivals
    tells_arrivals: bool = False  # the peer wants to know
    arrivals: dict[int, int] = field(default_factory=dict)  # by number, in units
    told_from: int = 1  # what the next report begins with: each number is said twice
    told_to: int = 1  # behind the newest that was said
    next_arrivals_us: int | None = None
    # round trip
    rtt_us: int = 0  # 0: not measured
    peer_probe_us: int = 0  # newest probe's send time, to echo
    peer_probe_at_us: int = 0
    # counters
    sent_packets: int = 0
    sent_bytes: int = 0
    received_packets: int = 0
    received_bytes: int = 0
    lost: int = 0
    reordered: int = 0
    repaired: int = 0
    voided: int = 0
    gone: int = 0
    given_up: int = 0
    requests_sent: int = 0
    resent: int = 0
    resend_suppressed: int = 0
    history_evicted: int = 0
    unchecked_seen: int = 0  # what of Overload.unchecked is accounted for

    def __post_init__(self) -> None:
        self.set_rate(self.rate_bps)

    # -- receiving

    def candidate_at(self, now_us: int) -> Address | None:
        """Where the neighbour may have moved, if that is recent enough to be believed."""
        return self.candidate if now_us < self.candidate_until_us else None

    def may_come_from(self, source: Address, now_us: int) -> bool:
        return source in (self.peer, self.candidate_at(now_us))

    def extended(self, hop_seq: int) -> int:
        """The number nearest to the newest accepted whose low 32 bits these are; may be below 1."""
        return self.highest + difference(hop_seq, self.highest & 0xFFFFFFFF, 32)

    def is_before_window(self, number: int) -> bool:
        return number < 1 or number + REPLAY_WINDOW <= self.highest

    def was_seen(self, number: int) -> bool:
        return number <= self.taken_over or number in self.seen

    def accept(self, number: int, now_us: int, first_request_us: int) -> None:
        """An authentic number, not seen before. Each one that it skips is a hole."""
        self.seen.add(number)
        if number < self.highest:
            if self.holes.pop(number, None) is not None:
                self.reordered += 1
                self._disarm_if_whole()
            return
        first = max(self.highest + 1, number - MAX_HOLES)
        self._give_up(first - self.highest - 1)
        for skipped in range(first, number):
            if len(self.holes) == MAX_HOLES:
                del self.holes[next(iter(self.holes))]
                self._give_up(1)
            self.holes[skipped] = Hole(now_us, first_request_us)
            if self.next_repair_us is None or first_request_us < self.next_repair_us:
                self.next_repair_us = first_request_us
        self.highest = number

    def close_hole(self, number: int) -> bool:
        """It will not be asked for again; True if it was a hole. The caller counts why."""
        if self.holes.pop(number, None) is None:
            return False
        self.lost += 1
        self._disarm_if_whole()
        return True

    def give_up_holes(self) -> None:
        """None is asked for again."""
        self._give_up(len(self.holes))
        self.holes.clear()
        self.next_repair_us = None

    def _give_up(self, packets: int) -> None:
        self.given_up += packets
        self.lost += packets

    def _disarm_if_whole(self) -> None:
        if not self.holes:
            self.next_repair_us = None

    # -- keys

    @property
    def send_key(self) -> bytes | None:
        if self.keys is not None:
            return self.keys.send
        if self.offered is not None and self.sends_offered:
            return self.offered.send
        return None

    def offer(self, offered: Keys, send_now: bool, first: int, peer_first: int) -> bool:
        """Keys for the time when a packet verifies under them. Without current keys, and with
        `send_now`, sending uses them already; another sending key begins at number `first`. False
        for the keys in use: as an offer they would let an old packet open a new window."""
        if offered == self.keys:
            return False
        self.first_hop_seq, self.peer_first_hop_seq = first, peer_first
        if self.keys is None and (self.offered is None or self.offered.send != offered.send):
            self._number_anew()
            self.sends_offered = False
        self.offered = offered
        if send_now and self.keys is None:
            self.sends_offered = True
            self.next_probe_us = 0
        return True

    def take_offered(self) -> None:
        """A packet verified under the offered keys: they are the link's now."""
        assert self.offered is not None
        if self.send_key != self.offered.send:
            self._number_anew()
        self.keys, self.offered, self.sends_offered = self.offered, None, False
        self.highest = self.taken_over = self.peer_first_hop_seq - 1
        self.seen.clear()
        self.holes.clear()
        self.next_repair_us = None
        self.told_from = self.told_to = self.peer_first_hop_seq
        self.next_arrivals_us = None
        self.peer_probe_us = 0
        for queue in self.late:  # answers name numbers of the old keys
            kept = [late for late in queue if late.cursor is not None]
            queue.clear()
            queue.extend(kept)

    def _number_anew(self) -> None:
        self.hop_seq = self.first_hop_seq - 1
        self.history.clear()

    # -- sending

    def remember(self, sent: Sent) -> int:
        """The next number, and what it carries. The history keeps the newest 8,192."""
        self.hop_seq += 1
        oldest = self.history.pop(self.hop_seq - HISTORY_ENTRIES, None)
        # Kept for max(1 s, 4 RTT); a younger one that must leave is counted.
        if oldest is not None and sent.sent_us - oldest.sent_us < max(1_000_000, 4 * self.rtt_us):
            self.history_evicted += 1
        self.history[self.hop_seq] = sent
        return self.hop_seq

    def push_late(self, which: int, late: Late) -> bool:
        """False if there is no room."""
        limit = VIEWER_LATE_ENTRIES if self.is_viewer else NODE_LATE_ENTRIES
        if len(self.late[which]) == limit:
            return False
        self.late[which].append(late)
        return True

    def backlog(self) -> int:
        """In how many classes something waits to leave."""
        return sum(bool(self.late[which] or self.queues[which]) for which in CLASSES)

    def may_send(self, now_us: int) -> bool:
        """Has what was sent left at the link's rate? Idle time is credited up to BURST_US."""
        self.free_at_ns = max(self.free_at_ns, (now_us - BURST_US) * 1000)
        return self.free_at_ns <= now_us * 1000

    def set_rate(self, rate_bps: int) -> None:
        """Of a link without a pacer; a pacer sets what is below the configured rate."""
        self.rate_bps = self.target_bps = self.pacing_bps = self.key_pacing_bps = rate_bps

    def limit_debt(self, now_us: int) -> None:
        """Audio and messages are charged though they do not wait: video waits for them, but not for
        ever."""
        self.free_at_ns = min(self.free_at_ns, (now_us + MAX_DEBT_US) * 1000)

    def charge(self, wire_bytes: int, is_key: bool = False) -> None:
        """is_key: of a video key frame."""
        rate_bps = self.key_pacing_bps if is_key else self.pacing_bps
        self.free_at_ns += wire_bytes * 8 * 1_000_000_000 // rate_bps
        self.sent_packets += 1
        self.sent_bytes += wire_bytes

    def dead_at_us(self, probe_interval_us: int) -> int:
        """When a link that is up is down unless something authentic comes: three probes missed, and
        some time for the third to be late."""
        return self.last_received_us + DEAD_PROBES * probe_interval_us + probe_interval_us * 2 // 5

    def on_rtt(self, sample_us: int) -> None:
        """Smoothed as in RFC 6298 2.3 (gain 1/8)."""
        sample_us = max(sample_us, 1)
        self.rtt_us = (7 * self.rtt_us + sample_us) // 8 if self.rtt_us else sample_us
