"""What the parts of an engine share: its tables, its counters, its lists of work."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from fastpath.reference.overload import Overload
from fastpath.reference.siphash import siphash24
from fastpath.reference.timers import Timers

if TYPE_CHECKING:
    from fastpath.events import Event
    from fastpath.reference.cursor import Cursor
    from fastpath.reference.link import Address, Late, Link
    from fastpath.reference.media_clock import MediaClock
    from fastpath.reference.ring import Packet, Ring
    from fastpath.reference.wire import Digest


@dataclass(frozen=True, slots=True)
class Settings:
    repair: bool = True
    repair_scan_us: int = 50_000
    repair_early: bool = True
    reorder_us: int = 20_000
    repair_deadline_us: int = 300_000
    probe_interval_us: int = 50_000
    shed_age_us: int = 5_000
    max_lag_us: int = 500_000
    max_lag_bytes: int = 524_288
    gop_cache: bool = True
    start_at_gop: bool = False


class ShedState(Enum):
    NO = auto()
    CHOSEN = auto()  # the whole stream
    AWAITING = auto()  # no longer, but its key frame has not come
    RESUMED = auto()  # it has; what was before it may still come late


@dataclass(slots=True)
class Shed:
    """What overload does to a video stream."""

    state: ShedState = ShedState.NO
    drops_frame: bool = False  # the rest of a discardable frame
    first: int = 0  # first packet that was shed
    newest: int = 0
    resumed: int = 0  # the key frame it went on at


@dataclass(eq=False, slots=True)
class Stream:
    """One track: its ring, where it comes from, who follows it."""

    handle: int
    stream_id: int
    is_video: bool
    ring: Ring
    upstream: Link | None
    second_upstream: Link | None = None  # may deliver it as well, while it takes over
    awaited: Link | None = None  # its first packet is to be told of
    cursors: list[Cursor] = field(default_factory=list)  # newest first
    is_open: bool = True
    has_started: bool = False
    clock_rate: int = 90_000  # of its RTP time, Hz
    deadline_us: int = 300_000  # a packet so much later than those that follow it is of no use
    clock: MediaClock | None = None
    wants_key: bool = False  # a key frame is to be asked for at the end of turns, until one comes
    key_frames_before: int = 0  # that it had when this began
    key_asked_us: int | None = None
    packets: int = 0
    bytes: int = 0
    duplicates: int = 0
    late: int = 0
    too_old: int = 0
    gone: int = 0
    restarts: int = 0
    delay_us: int = 0  # smoothed
    last_packet_us: int = -1
    copies: int = 0  # packets that the second path brought first
    copies_confirmed: int = 0  # of these, the first path brought as well, unasked
    shed: Shed = field(default_factory=Shed)

    def comes_from(self, link: Link) -> bool:
        """May this link deliver it?"""
        return link in (self.upstream, self.second_upstream)

    def note_deadline(self) -> None:
        """What is lost on the links that it may come on is worth asking for so long."""
        for link in (self.upstream, self.second_upstream):
            if link is not None:
                link.deadline_us = max(link.deadline_us, self.deadline_us)


@dataclass(frozen=True, eq=False, slots=True)
class Early:
    """Media held until its stream is known, or until the jump it announces is believed."""

    stream_id: int
    stream_seq: int
    link: Link
    packet: Packet


@dataclass(slots=True)
class Worker:
    settings: Settings
    digest: Digest = siphash24
    node_id: int = 0
    links: list[Link] = field(default_factory=list)  # with nodes, by index
    stranger_tokens_us: int = 0  # HELLOs from unknown addresses that are looked at
    streams: list[Stream] = field(default_factory=list)
    early: list[Early | None] = field(default_factory=list)  # places; None: free, or claimed
    timers: Timers = field(default_factory=Timers)
    overload: Overload = field(init=False)
    shed_before: Counter[str] = field(default_factory=Counter)  # when the episode began
    turn_us: int = 0  # when this turn began
    arrived_us: int = 0  # what is received in this turn
    # work of this turn, each thing once, in order
    dirty: dict[Stream, None] = field(default_factory=dict)
    ready: dict[Link, None] = field(default_factory=dict)
    # what comes out
    sent: list[tuple[int, Address, bytes]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.overload = Overload(self.settings.shed_age_us)

    def count(self, verdict: str, number: int = 1) -> None:
        self.counters[verdict] += number

    def post(self, event: Event) -> None:
        self.events.append(event)

    def mark_ready(self, link: Link) -> None:
        """The link is drained at the end of this turn, and its timer set."""
        self.ready[link] = None

    def push_late(self, link: Link, which: int, late: Late) -> bool:
        """Have a packet leave out of order. False, and counted, if there is no room."""
        if not link.push_late(which, late):
            self.count("late_queue_full")
            return False
        self.mark_ready(link)
        return True

    def mark_dirty(self, stream: Stream) -> None:
        """The stream got packets: its cursors are woken at the end of this turn."""
        self.dirty[stream] = None

    def find_stream(self, stream_id: int) -> Stream | None:
        """The Stream FIB; the newest of several with one id."""
        matches = (stream for stream in self.streams if stream.stream_id == stream_id)
        return next(matches, None)

    def want_key_frame(self, stream: Stream) -> None:
        """Have one asked for at the end of this turn (or of the next if that has begun), until one
        comes."""
        if stream.wants_key:
            self.count("key_requests_merged")
        else:
            stream.wants_key, stream.key_frames_before = True, stream.ring.key_frames
        self.mark_dirty(stream)

    def find_peer(self, port: int, source: Address, now_us: int) -> Link | None:
        """The link whose neighbour sends from this address, or may have moved there."""
        links = (k for k in self.links if k.port == port and k.may_come_from(source, now_us))
        return next(links, None)

    def transmit(self, port: int, address: Address, datagram: bytes) -> None:
        self.sent.append((port, address, datagram))
        self.count("sent_packets")
