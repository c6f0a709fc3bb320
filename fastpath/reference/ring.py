"""A ring: a stream's packets, written once, by the producer's packet number `stream_seq`.

Places tail .. head-1 may be held. One of them that is not held is a hole: lost, late or gone. The
ring holds at most `capacity` places; it moves up a size rather than lose a packet younger than 2 s
or the start of the newest GoP. Numbers are extended: they never wrap here.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from rtp.payload.marks import Marks
from rtp.sequence import difference

CAPACITIES = tuple(64 << size for size in range(7))
LARGEST = CAPACITIES[-1]
AUDIO_CAPACITY, VIDEO_CAPACITY = 256, 1024
RETENTION_US = 2_000_000
LACKING_US = 1_000_000
TELLING_US = 1_000_000  # a rate over less than this says nothing
JUMP_REACH = 64  # a jump is confirmed by a packet at most this far after the one that announced it


@dataclass(frozen=True, slots=True)
class Packet:
    """An RTP packet with what its overlay header said."""

    payload: bytes
    delay: int
    marks: int
    flags: int
    hop_limit: int
    arrival_us: int


class Insertion(Enum):
    NEW = auto()  # at the head or ahead of it
    LATE = auto()  # fills a hole
    DUPLICATE = auto()
    TOO_OLD = auto()
    JUMP = auto()  # further ahead than any ring reaches, and nobody has confirmed it
    RESTART = auto()  # as far ahead, confirmed: the ring begins anew at the packet that jumped


@dataclass(slots=True)
class Ring:
    capacity: int
    head: int  # one after the newest
    tail: int = field(init=False)  # oldest that may be held
    packets: dict[int, Packet] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)  # holes that upstream cannot fill
    skipped: set[int] = field(default_factory=set)  # of frames that upstream has skipped whole
    bytes_before: dict[int, int] = field(default_factory=dict)  # of the stream, at each packet
    gop_start: int | None = None  # newest first packet of a key frame
    jumped_to: int | None = None
    lacking: int = 0  # lowest that may still be had from another upstream
    lacking_floor: int = 0  # nothing before it is lacked any more
    lacking_next: int = 0  # the floor from lacking_us + LACKING_US on
    lacking_us: int = 0
    key_frames: int = 0
    grown: int = 0
    growth_refused: int = 0

    def __post_init__(self) -> None:
        self.tail = self.head
        self._lack_nothing_before(self.head)

    def _lack_nothing_before(self, number: int) -> None:
        self.lacking = self.lacking_floor = self.lacking_next = number

    def extended(self, stream_seq: int) -> int:
        """The packet number nearest to the head whose low 32 bits these are."""
        return self.head + difference(stream_seq, self.head & 0xFFFFFFFF, 32)

    def bps(self) -> int:
        """What came per second, over all that is held; 0: that is too little to tell."""
        first = range(self.tail, min(self.tail + CAPACITIES[0], self.head))
        oldest = next((number for number in first if number in self.packets), None)
        if oldest is None or self.head - 1 not in self.packets:
            return 0
        passed_us = self.packets[self.head - 1].arrival_us - self.packets[oldest].arrival_us
        if passed_us < TELLING_US:
            return 0
        size = self.bytes_before[self.head - 1] - self.bytes_before[oldest]
        return size * 8_000_000 // passed_us

    def classify(self, number: int) -> Insertion:
        """What inserting this number means. Remembers a jump, changes nothing else."""
        if number < self.tail:
            return Insertion.TOO_OLD
        if number < self.head:
            return Insertion.DUPLICATE if number in self.packets else Insertion.LATE
        if number < self.head + LARGEST:
            self.jumped_to = None
            return Insertion.NEW
        # RFC 3550 A.1: a far jump is believed when a second packet agrees with it.
        if self.jumped_to is not None and 0 < number - self.jumped_to <= JUMP_REACH:
            return Insertion.RESTART
        self.jumped_to = number
        return Insertion.JUMP

    def insert(self, number: int, packet: Packet, insertion: Insertion, now_us: int) -> bool:
        """Put a packet in as it was classified; True if the newest GoP's start was lost for it."""
        had_gop = self.gop_start is not None
        if insertion is Insertion.RESTART:
            assert self.jumped_to is not None
            self._let_go(self.head)
            # The packet that announced the jump may still be put in.
            self.head = self.tail = self.jumped_to
            self._lack_nothing_before(self.head)
            self.jumped_to = None
        if insertion is not Insertion.LATE:
            self._make_room(number, now_us)
            self.head = number + 1
        lost_gop = had_gop and self.gop_start is None
        self.gone.discard(number)
        self.skipped.discard(number)
        self.packets[number] = packet
        if packet.marks & Marks.GOP_START:
            self.key_frames += 1
            if self.gop_start is None or number > self.gop_start:
                self.gop_start = number
        self._note_lacking(now_us)
        return lost_gop

    def _note_lacking(self, now_us: int) -> None:
        """The lowest hole of the last one to two seconds, or the head."""
        if now_us - self.lacking_us >= LACKING_US:
            self.lacking_us = now_us
            self.lacking_floor, self.lacking_next = self.lacking_next, self.head
        self.lacking = max(self.lacking, self.lacking_floor, self.tail)
        while self.lacking < self.head and (
            self.lacking in self.packets
            or self.lacking in self.gone
            or self.lacking in self.skipped
        ):
            self.lacking += 1

    def _make_room(self, number: int, now_us: int) -> None:
        while (tail := number - self.capacity + 1) > self.tail:
            if not self._is_worth_keeping(tail, now_us) or not self._grow():
                self._let_go(tail)
                return

    def _is_worth_keeping(self, tail: int, now_us: int) -> bool:
        """Would moving the tail here lose the newest GoP's start or a young packet?"""
        if self.gop_start is not None and self.gop_start < tail:
            return True
        return any(
            now_us - packet.arrival_us < RETENTION_US
            for number, packet in self.packets.items()
            if number < tail
        )

    def _grow(self) -> bool:
        if self.capacity == LARGEST:
            self.growth_refused += 1
            return False
        self.capacity *= 2
        self.grown += 1
        return True

    def _let_go(self, tail: int) -> None:
        """Of everything older than the new tail."""
        self.tail = tail
        self.packets = {number: p for number, p in self.packets.items() if number >= tail}
        before = self.bytes_before.items()
        self.bytes_before = {number: size for number, size in before if number >= tail}
        self.gone = {number for number in self.gone if number >= tail}
        self.skipped = {number for number in self.skipped if number >= tail}
        if self.gop_start is not None and self.gop_start < tail:
            self.gop_start = None

    def mark_gone(self, first: int, count: int) -> int:
        """Upstream no longer has these; how many of them were holes here, not yet known as gone."""
        marked = {
            number
            for number in range(max(first, self.tail), min(first + count, self.head))
            if not (number in self.packets or number in self.gone or number in self.skipped)
        }
        self.gone |= marked
        return len(marked)

    def skip(self, first: int, count: int, now_us: int) -> int:
        """Upstream has left these out, whole frames: nobody lacks them, no number is kept for them.
        How many were holes here, or are ahead; more than a ring holds are left to what follows."""
        if count > LARGEST or first > self.head:
            return 0
        skipped = 0
        for number in range(max(first, self.tail), first + count):
            if number == self.head:
                self._make_room(number, now_us)
                self.head = number + 1
            if number not in self.packets and number not in self.skipped:
                self.gone.discard(number)
                self.skipped.add(number)
                skipped += 1
        if skipped:
            self._note_lacking(now_us)
        return skipped

    def gop_before(self, number: int) -> int:
        """Where the GoP before this one begins, if it is held without a hole; else the number."""
        for earlier in range(number - 1, self.tail - 1, -1):
            packet = self.packets.get(earlier)
            if packet is None:
                break
            if packet.marks & Marks.GOP_START:
                return earlier
        return number

    def whole_gop(self) -> int | None:
        """The newest GoP's start, if its key frame is whole and all of it is held that has come."""
        if self.gop_start is None:
            return None
        packets = [self.packets.get(number) for number in range(self.gop_start, self.head)]
        has_end = any(packet and packet.marks & Marks.FRAME_END for packet in packets)
        return self.gop_start if has_end and None not in packets else None

    def fast_start(self) -> int | None:
        """First packet of the newest key frame that is complete, or still arriving without a hole.

        If there is none, the newest key frame whose first packet is held. None: no key frame.
        """
        for number in range(self.head - 1, self.tail - 1, -1):
            if self._begins_whole_key_frame(number):
                return number
        return self.gop_start

    def _begins_whole_key_frame(self, first: int) -> bool:
        """A key frame begins here and nothing is missing up to its end, or up to the head."""
        is_key = False
        for number in range(first, self.head):
            packet = self.packets.get(number)
            if packet is None:
                return False
            if bool(packet.marks & Marks.FRAME_START) != (number == first):
                return False  # no frame begins here, or its end is lost: another one begins
            is_key = is_key or bool(packet.marks & Marks.KEY)
            if packet.marks & Marks.FRAME_END:
                return is_key
        return is_key
