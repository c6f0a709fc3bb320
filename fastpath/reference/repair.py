"""Each link repairs its own losses: a hole in `hop_seq` is a loss on this link and nobody else's.

Receiver: a hole is asked for when reordering no longer explains it, once more soon after in case
the request is lost, then each time its answer is overdue, until it is too old. Sender: `hop_seq`
leads through the history to the ring; the packet goes out again under a new `hop_seq` that names
the old one, at most once per round trip; what the ring no longer holds is answered GONE, what was
no media VOID. Messages, in network order:

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
from fastpath.reference.send import send_message
from fastpath.reference.shed import shed_answer
from fastpath.reference.wire import LOW_32, PacketType
from fastpath.reference.worker import Worker
from rtp.sequence import difference

REQUEST, VOID, GONE = 1, 2, 3
ITEM = struct.Struct(">II")
GONE_FIELDS = struct.Struct(">IIII")
PROBE = struct.Struct(">QQI")  # own time, the peer's newest time, how long that lay here
WISH_ARRIVALS = 1  # in a further byte, if there is one
MAX_ITEMS = 128
MAX_GONE_HOLES = 1024
INSURANCE_US = 15_000  # after the first request, the second: the first may be lost
RETRY_MARGIN_US = 10_000  # beyond a round trip and an eighth
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


def first_request_us(worker: Worker, now_us: int) -> int:
    """When a hole seen now is first asked for; without repair, when it is given up."""
    settings = worker.settings
    if not settings.repair:
        return now_us + settings.repair_give_up_us
    if settings.repair_early:
        return now_us + settings.reorder_us
    return (now_us // settings.repair_scan_us + 1) * settings.repair_scan_us


def ask_for_holes(worker: Worker, link: Link, now_us: int) -> None:
    """Give up what is too old, ask for what is due, note when the next one is."""
    request = Items(REQUEST)
    is_insured = link.rtt_us > 2 * INSURANCE_US
    for number, hole in list(link.holes.items()):
        if now_us - hole.seen_us >= worker.settings.repair_give_up_us:
            del link.holes[number]
            link.given_up += 1
            link.lost += 1
        elif hole.next_request_us <= now_us and len(request.items) < MAX_ITEMS - 1:
            # What finds no room stays due: the next message takes it.
            request.add(number)
            hole.requests += 1
            if hole.requests == 1 and is_insured:
                hole.next_request_us = now_us + INSURANCE_US
            else:
                hole.next_request_us = now_us + link.rtt_us + link.rtt_us // 8 + RETRY_MARGIN_US
                if hole.requests == 2 and is_insured:
                    hole.next_request_us -= INSURANCE_US
    link.next_repair_us = min((h.next_request_us for h in link.holes.values()), default=None)
    if request.items and send_message(worker, link, PacketType.FEEDBACK, request.pack(), now_us):
        link.requests_sent += 1


def on_repair_received(link: Link, hop_seq: int) -> None:
    """A repair block names the number it answers."""
    link.repaired += link.close_hole(link.extended(hop_seq))


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
        """Media: the packet, or GONE; at most once per round trip (less an eighth)."""
        link, stream = self.link, entry.stream
        assert stream is not None
        apart_us = link.rtt_us - link.rtt_us // 8
        if entry.resent_us is not None and self.now_us - entry.resent_us < apart_us:
            link.resend_suppressed += 1
        elif (
            not stream.is_open
            or entry.number not in stream.ring.packets
            or shed_answer(self.worker, stream)
        ):
            entry.resent_us = self.now_us
            self._gone(stream.stream_id if stream.is_open else 0, entry, hop_seq)
        elif link.push_late(entry.which, Late(stream, entry.number, answers=hop_seq)):
            entry.resent_us = self.now_us
            self.worker.mark_ready(link)
        else:
            self.worker.count("late_queue_full")

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
    link.next_probe_us = now_us + worker.settings.probe_interval_us


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
            send_probe(worker, link, now_us)
        if link.is_up and now_us >= link.dead_at_us(worker.settings.probe_interval_us):
            link.is_up = False
            worker.post(LinkDown(link.handle))
    worker.mark_ready(link)
