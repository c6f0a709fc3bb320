"""Each link repairs its own losses: a hole in `hop_seq` is a loss on this link and nobody else's.

Receiver: a hole is asked for when reordering no longer explains it, once more soon after in case
the request is lost, then twice again each time its answer is overdue, until its playout has passed.
Sender: `hop_seq` leads through the history to the ring; the packet goes out again under a new
`hop_seq` that names the old one, at most once per round trip (for both requests, where the link
loses much) and within a quarter of what the subscriber is sent. What the ring no longer holds, or
comes too late for its stream, is answered GONE, what was no media VOID. Messages, in network order:

    REQUEST  1, then per item: base u32, bitmap u32 of base+1 .. base+32
    VOID     2, then items alike
    GONE     3, stream_id u32, first stream_seq u32, count u32, first hop_seq u32
             (0: told downstream)
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fastpath.events import LinkDown
from fastpath.reference.arrivals_report import begin_arrivals, say_arrivals
from fastpath.reference.link import Late, Link, Sent, SentKind
from fastpath.reference.ring import Ring
from fastpath.reference.send import send_message
from fastpath.reference.shed import shed_answer
from fastpath.reference.wire import LOW_32, Header, PacketType
from fastpath.reference.worker import Worker
from rtp.sequence import difference

REQUEST, VOID, GONE = 1, 2, 3
ITEM = struct.Struct(">II")
GONE_FIELDS = struct.Struct(">IIII")
PROBE = struct.Struct(">QQI")  # own time, the peer's newest time, how long that lay here
WISH_ARRIVALS = 1  # in a further byte, if there is one
MAX_ITEMS = 128
MAX_GONE_HOLES = 4096
INSURED_RTT_US = 30_000  # above it each request is made twice: the first may be lost
RETRY_MARGIN_US = 5_000  # beyond a round trip and an eighth
APART_US = 1_000  # requests that come together are one
LOSS_WINDOW = 512  # numbers over which a link's loss is counted
NEIGHBOURS = 16  # packets that are looked at to see how late one came
REPAIR_LEG_BYTES = 36
MAX_RTT_US = 10_000_000


class Items:
    """Numbers packed as (base, bitmap of the 32 after it); they are added in rising order."""

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.items: list[list[int]] = []

    def add(self, number: int) -> None:
        """What finds no room among 128 items is left out."""
        if self.items:
            base, bitmap = self.items[-1]
            step = (number - base) & LOW_32
            if step <= 32:
                self.items[-1][1] = bitmap | 1 << step >> 1
                return
        if len(self.items) < MAX_ITEMS:
            self.items.append([number & LOW_32, 0])

    def pack(self) -> bytes:
        return bytes([self.kind]) + b"".join(ITEM.pack(*item) for item in self.items)


def numbers_of(payload: bytes) -> Iterator[int]:
    """What the items of a REQUEST or VOID name; an incomplete item at the end is ignored."""
    whole = (len(payload) - 1) // ITEM.size * ITEM.size
    for base, bitmap in ITEM.iter_unpack(payload[1 : 1 + whole]):
        yield base
        yield from ((base + 1 + bit) & LOW_32 for bit in range(32) if bitmap >> bit & 1)


# -- the receiver of media


def hole_deadline_us(worker: Worker, link: Link) -> int:
    """How long a hole is worth asking for: nobody knows whose it is."""
    return max(link.deadline_us, worker.settings.repair_deadline_us)


def first_request_us(worker: Worker, link: Link, now_us: int) -> int:
    """When a hole seen now is first asked for; without repair, when it is given up. A packet is
    only late for a little, as long as this link keeps its packets in order; otherwise for longer
    than the latest of those that it did not."""
    settings = worker.settings
    if not settings.repair:
        return now_us + hole_deadline_us(worker, link)
    if settings.repair_early:
        wait_us = max(link.settle_us, link.lateness_us + link.lateness_us // 4)
        return now_us + min(wait_us, settings.reorder_us)
    return (now_us // settings.repair_scan_us + 1) * settings.repair_scan_us


def ask_for_holes(worker: Worker, link: Link, now_us: int) -> None:
    """Give up what is too old, ask for what is due, note when the next one is."""
    request = Items(REQUEST)
    deadline_us = hole_deadline_us(worker, link)
    insurance_us = link.settle_us if link.rtt_us > INSURED_RTT_US else 0
    overdue_us = link.rtt_us + link.rtt_us // 8 + RETRY_MARGIN_US - insurance_us
    for number, hole in list(link.holes.items()):
        if now_us - hole.seen_us >= deadline_us:
            del link.holes[number]
            link.given_up += 1
            link.lost += 1
        elif hole.next_request_us <= now_us and len(request.items) < MAX_ITEMS - 1:
            # What finds no room stays due: the next message takes it.
            request.add(number)
            hole.requests += 1
            is_first = insurance_us > 0 and hole.requests % 2 == 1
            next_us = now_us + (insurance_us if is_first else overdue_us)
            hole.next_request_us = min(next_us, hole.seen_us + deadline_us)
    link.next_repair_us = min((h.next_request_us for h in link.holes.values()), default=None)
    if request.items and send_message(worker, link, PacketType.FEEDBACK, request.pack(), now_us):
        link.requests_sent += 1


def behind_us(ring: Ring, number: int, arrival_us: int) -> int:
    """How much later than those that follow it a packet came here: what repairs have cost it so
    far. What many have waited for, as in a cache, does not count."""
    following = range(number + 1, number + 1 + NEIGHBOURS)
    arrivals = [ring.packets[n].arrival_us for n in following if n in ring.packets]
    return arrival_us - min([arrival_us, *arrivals])


def _is_past_playout(worker: Worker, header: Header, now_us: int) -> bool:
    """Of a packet that is not here yet."""
    stream = worker.find_stream(header.stream_id)
    if stream is None:
        return False
    number = stream.ring.extended(header.stream_seq)
    if number in stream.ring.packets:
        return False
    return behind_us(stream.ring, number, now_us) >= stream.deadline_us


def on_repair_received(worker: Worker, link: Link, header: Header, now_us: int) -> None:
    """A repair block names the number it answers."""
    is_late = _is_past_playout(worker, header, now_us)
    link.repaired_late += is_late
    if link.close_hole(link.extended(header.repairs_hop_seq)):
        if is_late:
            link.given_up += 1
        else:
            link.repaired += 1


def on_void(link: Link, payload: bytes) -> None:
    for number in numbers_of(payload):
        link.voided += link.close_hole(link.extended(number))


def on_gone(worker: Worker, link: Link, payload: bytes, now_us: int) -> None:
    """Upstream no longer has these packets: mark them, tell the nodes that follow this stream."""
    stream_id, first, count, hop_seq = GONE_FIELDS.unpack_from(payload, 1)
    if hop_seq != 0:
        for step in range(min(count, MAX_GONE_HOLES)):
            link.gone += link.close_hole(link.extended(hop_seq + step))
    stream = worker.find_stream(stream_id)
    if stream is None or stream.upstream is not link:
        return
    marked = stream.ring.mark_gone(stream.ring.extended(first), count)
    stream.gone += marked
    if marked:
        for cursor in stream.cursors:
            if cursor.viewer is None:
                Gone(stream_id, first, count, 0).say(worker, cursor.link, now_us)


# -- the sender of media


@dataclass(slots=True)
class Gone:
    """A run of packets that the ring no longer holds; their hop_seq follow one by one."""

    stream_id: int
    first: int
    count: int
    hop_seq: int

    def extend(self, stream_id: int, entry: Sent, hop_seq: int) -> bool:
        """Take one more in, if it follows."""
        follows = (
            self.stream_id == stream_id
            and (self.first + self.count - entry.number) & LOW_32 == 0
            and (self.hop_seq + self.count - hop_seq) & LOW_32 == 0
        )
        self.count += follows
        return follows

    def say(self, worker: Worker, link: Link, now_us: int) -> None:
        fields = (self.stream_id, self.first & LOW_32, self.count, self.hop_seq & LOW_32)
        payload = bytes([GONE]) + GONE_FIELDS.pack(*fields)
        send_message(worker, link, PacketType.FEEDBACK, payload, now_us)


class Answer:
    """What a REQUEST is answered with: packets, GONE runs as they end, one VOID at the end."""

    def __init__(self, worker: Worker, link: Link, now_us: int) -> None:
        self.worker, self.link, self.now_us = worker, link, now_us
        self.run: Gone | None = None
        self.voids = Items(VOID)

    def add(self, number: int) -> None:
        link = self.link
        behind = difference(link.hop_seq & LOW_32, number, 32)
        if not 0 <= behind < link.hop_seq:
            return  # never sent: nothing to say
        hop_seq = link.hop_seq - behind
        entry = link.history.get(hop_seq)
        if entry is not None and entry.kind is SentKind.MEDIA:
            self._again(hop_seq, entry)
            return
        if entry is not None and entry.kind is SentKind.REPAIR:
            # A copy was lost: its own number is void, what it repaired is sent again.
            original = link.history.get(entry.repairs)
            if original is not None and original.kind is SentKind.MEDIA:
                self._again(entry.repairs, original)
        self.voids.add(number)

    def _again(self, hop_seq: int, entry: Sent) -> None:
        """Media: the packet, or GONE, or nothing now: at most once per round trip (less an eighth),
        or twice where the link loses much."""
        link, stream, now_us = self.link, entry.stream, self.now_us
        assert stream is not None
        if entry.resent_us is None:
            self._note_asked()
            is_second = False
        else:
            passed_us = now_us - entry.resent_us
            is_second = passed_us < link.rtt_us - link.rtt_us // 8
            is_once = entry.is_doubled or passed_us < APART_US or not link.is_lossy
            if is_second and is_once:
                link.resend_suppressed += 1
                return
        packet = stream.ring.packets.get(entry.number) if stream.is_open else None
        if packet is not None:
            spent_us = behind_us(stream.ring, entry.number, packet.arrival_us)
            if spent_us + now_us - entry.sent_us >= stream.deadline_us:
                link.resend_expired += 1
                packet = None
        if packet is None or shed_answer(self.worker, stream):
            entry.resent_us = now_us
            self._gone(stream.stream_id if stream.is_open else 0, entry, hop_seq)
        elif not link.may_repair(len(packet.payload) + REPAIR_LEG_BYTES):
            pass  # it is asked for again
        elif self.worker.push_late(link, entry.which, Late(stream, entry.number, answers=hop_seq)):
            link.resent_twice += is_second
            entry.resent_us, entry.is_doubled = now_us, is_second
        else:
            link.repair_credit += len(packet.payload) + REPAIR_LEG_BYTES

    def _note_asked(self) -> None:
        """A number is asked for, for the first time: what share of them is lost on this link?"""
        link = self.link
        numbers = link.hop_seq - link.asked_from
        link.asked += 1
        if numbers >= LOSS_WINDOW:
            link.asked_share = link.asked * 65_536 // numbers
            link.asked_from, link.asked = link.hop_seq, 0

    def _gone(self, stream_id: int, entry: Sent, hop_seq: int) -> None:
        if self.run is None or not self.run.extend(stream_id, entry, hop_seq):
            self._end_run()
            self.run = Gone(stream_id, entry.number, 1, hop_seq)

    def _end_run(self) -> None:
        if self.run is not None:
            self.run.say(self.worker, self.link, self.now_us)
        self.run = None

    def finish(self) -> None:
        self._end_run()
        if self.voids.items:
            send_message(
                self.worker, self.link, PacketType.FEEDBACK, self.voids.pack(), self.now_us
            )


def on_request(worker: Worker, link: Link, payload: bytes, now_us: int) -> None:
    answer = Answer(worker, link, now_us)
    for number in numbers_of(payload):
        answer.add(number)
    answer.finish()


# -- probes and liveness


def send_probe(worker: Worker, link: Link, now_us: int) -> None:
    """Each side measures its round trip with its own clock alone."""
    lay_us = now_us - link.peer_probe_at_us if link.peer_probe_us else 0
    payload = PROBE.pack(now_us, link.peer_probe_us, lay_us & LOW_32)
    if link.pacer is not None:
        payload += bytes([WISH_ARRIVALS])
    send_message(worker, link, PacketType.PROBE, payload, now_us)
    link.probed_us = now_us
    link.next_probe_us = now_us + worker.settings.probe_interval_us


def probe_due_us(worker: Worker, link: Link) -> int:
    """At its interval; before that when media has paused, whose last packets nothing else would
    show to be lost."""
    latest_us = link.probed_us + worker.settings.probe_interval_us
    return min(link.last_sent_us + link.settle_us, latest_us)


def receive_probe(link: Link, payload: bytes, arrived_us: int) -> str:
    if len(payload) < PROBE.size:
        return "malformed"
    own_us, echoed_us, lay_us = PROBE.unpack_from(payload)
    if echoed_us and 0 <= arrived_us - echoed_us - lay_us <= MAX_RTT_US:
        link.on_rtt(arrived_us - echoed_us - lay_us)
    link.peer_probe_us, link.peer_probe_at_us = own_us, arrived_us
    if not any(wishes & WISH_ARRIVALS for wishes in payload[PROBE.size : PROBE.size + 1]):
        link.tells_arrivals, link.next_arrivals_us = False, None
    elif not link.tells_arrivals:
        begin_arrivals(link)
    return "probe_taken"


def on_link_timer(worker: Worker, link: Link, now_us: int) -> None:
    """A link's deadline has come: requests, probe, liveness; its backlog is drained afterwards."""
    if link.send_key is not None:
        if link.next_repair_us is not None and link.next_repair_us <= now_us:
            ask_for_holes(worker, link, now_us)
        if link.next_arrivals_us is not None and link.next_arrivals_us <= now_us:
            say_arrivals(worker, link, now_us)
        if link.next_probe_us <= now_us:
            link.next_probe_us = probe_due_us(worker, link)
            if link.next_probe_us <= now_us:
                send_probe(worker, link, now_us)
        if link.is_up and now_us >= link.dead_at_us(worker.settings.probe_interval_us):
            link.is_up = False
            worker.post(LinkDown(link.handle))
    worker.mark_ready(link)
