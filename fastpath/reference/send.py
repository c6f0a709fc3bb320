"""Sending: what leaves a link, in the order of its classes, within its budget.

Order: control and feedback (at once), audio repairs and audio (charged, but not held back), video
repairs, video. Within a class the cursors take turns by deficit round robin.
"""

from dataclasses import replace
from struct import Struct

from fastpath.reference.cursor import Cursor, Span, State
from fastpath.reference.drop import look, look_at_blocked
from fastpath.reference.link import AUDIO, VIDEO, Late, Link, Sent, SentKind
from fastpath.reference.report import clock_message, next_report_us, viewer_report
from fastpath.reference.ring import Packet
from fastpath.reference.rtp_extension import delay_at_egress, extended_payload
from fastpath.reference.switch import class_of
from fastpath.reference.wire import LOW_32, Flag, Header, PacketType, TrafficClass, tag
from fastpath.reference.worker import Stream, Worker
from rtp.payload.marks import Marks
from rtp.sequence import difference

QUANTUM_BYTES = 16_384
ENCODER_RESTART_S = 10
SKIP = 8  # a feedback message: see `skip`
SKIP_FIELDS = Struct(">III")


def is_of_key_frame(stream: Stream, packet: Packet) -> bool:
    return stream.is_video and bool(packet.marks & Marks.KEY)


def send_datagram(
    worker: Worker,
    link: Link,
    header: Header,
    payload: bytes,
    key: bytes,
    sent: Sent | None,
    is_key: bool = False,
) -> bytes:
    """sent: what the link remembers of it; None for a HELLO, which has no number."""
    hop_seq = 0 if sent is None else link.remember(sent)
    head = replace(header, hop_seq=hop_seq & LOW_32).pack()
    datagram = head + tag(head, payload, key, hop_seq, worker.digest) + payload
    if sent is not None:
        sent.bytes = len(datagram)
    worker.transmit(link.port, link.peer, datagram)
    link.charge(len(datagram), is_key)
    return datagram


def send_message(worker: Worker, link: Link, kind: PacketType, payload: bytes, now_us: int) -> bool:
    """Send a packet that belongs to no stream, at once and ahead of media. False without keys.

    A HELLO has its own key and no number, names this node, and goes also to where the neighbour may
    have moved.
    """
    key = link.hello_key if kind is PacketType.HELLO else link.send_key
    if key is None:
        return False
    is_hello = kind is PacketType.HELLO
    header = Header(
        kind,
        traffic_class=TrafficClass.PROBE if kind is PacketType.PROBE else TrafficClass.CONTROL,
        stream_id=worker.node_id if is_hello else 0,
        send_ts=now_us & LOW_32,
    )
    sent = None if is_hello else Sent(SentKind.OTHER, now_us)
    datagram = send_datagram(worker, link, header, payload, key, sent)
    candidate = link.candidate_at(now_us)
    if is_hello and candidate is not None:
        worker.transmit(link.port, candidate, datagram)
    return True


def say_skip(
    worker: Worker, link: Link, stream_id: int, first: int, count: int, now_us: int
) -> None:
    message = bytes([SKIP]) + SKIP_FIELDS.pack(stream_id, first & LOW_32, count)
    send_message(worker, link, PacketType.FEEDBACK, message, now_us)


def send_to_node(
    worker: Worker,
    link: Link,
    stream: Stream,
    number: int,
    packet: Packet,
    answers: int,
    now_us: int,
    *,
    is_copy: bool = False,
) -> None:
    """A packet of a ring under a fresh number. answers: the number it repairs, or 0. is_copy: the
    neighbour has another path."""
    if packet.hop_limit <= 1:
        worker.count("hop_limit_reached")  # the receiver would refuse it
        return
    key = link.send_key
    assert key is not None
    kind = SentKind.REPAIR if answers else SentKind.MEDIA
    sent = Sent(kind, now_us, repairs=answers, stream=stream, number=number, which=class_of(stream))
    header = Header(
        PacketType.MEDIA,
        flags=packet.flags & Flag.SEALED
        | (Flag.REPAIR if answers else 0)
        | (Flag.DUPLICATE if is_copy else 0),
        hop_limit=packet.hop_limit - 1,
        traffic_class=TrafficClass.VIDEO if stream.is_video else TrafficClass.AUDIO,
        marks=packet.marks,
        delay=delay_at_egress(packet, now_us + link.rtt_us // 2),
        stream_id=stream.stream_id,
        stream_seq=number & LOW_32,
        send_ts=now_us & LOW_32,
        repairs_hop_seq=answers & LOW_32,
    )
    send_datagram(worker, link, header, packet.payload, key, sent, is_of_key_frame(stream, packet))
    link.last_sent_us = now_us
    link.next_probe_us = min(link.next_probe_us, now_us + link.settle_us)


def send_report(worker: Worker, cursor: Cursor, now_us: int) -> None:
    """The stream's clock, if it is known and due, in the form its subscriber understands."""
    viewer, clock = cursor.viewer, cursor.stream.clock
    if clock is None or now_us < cursor.next_report_us:
        return
    if viewer is None:
        message = clock_message(cursor.stream, clock, now_us)
        send_message(worker, cursor.link, PacketType.FEEDBACK, message, now_us)
    elif viewer.rtcp is None:
        return
    else:
        report = viewer_report(cursor, viewer, clock, now_us)
        worker.transmit(viewer.port, viewer.rtcp, report)
        cursor.link.charge(len(report))
    cursor.next_report_us = next_report_us(cursor, now_us)
    cursor.reports += 1


def join_timestamps(cursor: Cursor, timestamp: int, now_us: int) -> None:
    """A viewer that has moved sees its RTP time go on by what went by here meanwhile."""
    if cursor.last_sent_us:
        passed = (now_us - cursor.last_sent_us) * cursor.stream.clock_rate // 1_000_000
        cursor.timestamp_offset = cursor.last_timestamp + passed - timestamp
    cursor.has_moved = False


def viewer_timestamp(cursor: Cursor, timestamp: int, now_us: int) -> int:
    shown = (timestamp + cursor.timestamp_offset) & LOW_32
    behind = -difference(shown, cursor.last_timestamp, 32)
    # A frame's other packets, B frames, and what is sent again or late are not the newest. None is
    # as late as this: the encoder has begun anew.
    is_newest = behind < 0 or behind > ENCODER_RESTART_S * cursor.stream.clock_rate
    if not cursor.last_sent_us or is_newest:
        cursor.last_timestamp, cursor.last_sent_us = shown, now_us
    return shown


def send_to_viewer(
    worker: Worker, cursor: Cursor, number: int, packet: Packet, now_us: int
) -> None:
    """Plain RTP: own payload type, sequence number, timestamp and SSRC; the encoder's marker."""
    viewer = cursor.viewer
    assert viewer is not None
    payload = extended_payload(cursor.link, viewer, packet, now_us)
    datagram = (
        payload[:1]
        + bytes([payload[1] & 0x80 | cursor.payload_type])
        + ((number + cursor.sequence_offset) & 0xFFFF).to_bytes(2)
        + viewer_timestamp(cursor, int.from_bytes(payload[4:8]), now_us).to_bytes(4)
        + viewer.ssrc.to_bytes(4)
        + payload[12:]
    )
    worker.transmit(viewer.port, viewer.address, datagram)
    cursor.link.charge(len(datagram), is_of_key_frame(cursor.stream, packet))


def send_for_cursor(
    worker: Worker, cursor: Cursor, number: int, packet: Packet, now_us: int
) -> None:
    if cursor.has_moved:  # before a report tells of it
        join_timestamps(cursor, int.from_bytes(packet.payload[4:8]), now_us)
    send_report(worker, cursor, now_us)
    if cursor.viewer is None:
        send_to_node(
            worker, cursor.link, cursor.stream, number, packet, 0, now_us, is_copy=cursor.is_copy
        )
    else:
        send_to_viewer(worker, cursor, number, packet, now_us)
    cursor.packets += 1
    cursor.bytes += len(packet.payload)


def send_from_span(
    worker: Worker, cursor: Cursor, span: Span, number: int, packet: Packet, now_us: int
) -> None:
    """A packet of before the cursor's last jump, as it was, or was to be, sent then."""
    names = "stream", "sequence_offset", "timestamp_offset", "payload_type"
    now = [getattr(cursor, name) for name in names]
    for name in names:
        setattr(cursor, name, getattr(span, name))
    send_to_viewer(worker, cursor, number, packet, now_us)
    for name, value in zip(names, now, strict=True):
        setattr(cursor, name, value)
    cursor.packets += 1
    cursor.bytes += len(packet.payload)


def send_late(worker: Worker, link: Link, late: Late, now_us: int) -> None:
    """A packet out of order, if the ring still holds it and its cursor still owes it."""
    packet = late.stream.ring.packets.get(late.number) if late.stream.is_open else None
    if packet is None:
        return
    if late.cursor is None:
        link.resent += 1
        send_to_node(worker, link, late.stream, late.number, packet, late.answers, now_us)
    elif late.cursor.stream is late.stream and late.cursor.owes(late.number):
        late.cursor.late_packets += 1
        send_for_cursor(worker, late.cursor, late.number, packet, now_us)
    elif (span := late.cursor.span_of(late.stream, late.number)) is not None:
        late.cursor.late_packets += 1
        send_from_span(worker, late.cursor, span, late.number, packet, now_us)


def next_packet(worker: Worker, cursor: Cursor, now_us: int) -> Packet | None:
    """Of a cursor that may have to look for it. A node that was lapped is told what it misses."""
    ring = cursor.stream.ring
    if cursor.state is State.ACTIVE and (cursor.next == ring.head or cursor.next in ring.packets):
        return ring.packets.get(cursor.next)
    lapped, before = cursor.lapped, cursor.next
    packet = look(worker, cursor, now_us)
    if cursor.lapped != lapped and cursor.viewer is None and cursor.start != before:
        count = cursor.start - before
        say_skip(worker, cursor.link, cursor.stream.stream_id, before, count, now_us)
    return packet


def drain_cursor(worker: Worker, queue: list[Cursor], now_us: int) -> bool:
    """The turn of the first cursor; False if the link's budget ended it."""
    cursor = queue[0]
    while True:
        packet = next_packet(worker, cursor, now_us)
        if packet is None:
            queue.pop(0)
            cursor.deficit_bytes = 0
            return True
        if cursor.deficit_bytes < len(packet.payload):
            cursor.deficit_bytes += QUANTUM_BYTES
            queue.append(queue.pop(0))
            return True
        if not cursor.link.may_send(now_us) and cursor.stream.is_video:
            return False
        cursor.deficit_bytes -= len(packet.payload)
        number = cursor.next
        cursor.next += 1
        send_for_cursor(worker, cursor, number, packet, now_us)


def drain_class(worker: Worker, link: Link, which: int, now_us: int) -> bool:
    while link.late[which]:
        if not link.may_send(now_us) and which != AUDIO:
            return False
        send_late(worker, link, link.late[which].popleft(), now_us)
    while link.queues[which]:
        if not drain_cursor(worker, link.queues[which], now_us):
            return False
    return True


def drain_link(worker: Worker, link: Link, now_us: int) -> None:
    """Send what the budget allows, highest class first, and set the link's timer."""
    if not link.is_open:
        return
    if link.is_viewer or link.send_key is not None:
        if link.pacer is not None:
            link.pacer.before_drain(link, now_us)
        drain_class(worker, link, AUDIO, now_us)
        link.limit_debt(now_us)
        if not drain_class(worker, link, VIDEO, now_us) and link.is_viewer:
            look_at_blocked(worker, link, now_us)
        if link.pacer is not None:
            link.pacer.after_drain(worker, link, now_us)
    arm_link(worker, link, now_us)


def arm_link(worker: Worker, link: Link, now_us: int) -> None:
    """The earliest of: budget for the backlog, next probe, next request, the link's end if nothing
    comes. Idle viewers: none."""
    deadlines = []
    if link.send_key is not None:
        deadlines.append(link.next_probe_us)
        if link.next_repair_us is not None:
            deadlines.append(link.next_repair_us)
        if link.tells_arrivals and link.next_arrivals_us is not None:
            deadlines.append(link.next_arrivals_us)
        if link.is_up:
            deadlines.append(link.dead_at_us(worker.settings.probe_interval_us))
    is_probing = link.pacer is not None and link.pacer.probe is not None
    if (link.is_viewer or deadlines) and (link.backlog() or is_probing):
        deadlines.append(max(link.free_at_ns // 1000, now_us + 1))
    if deadlines:
        worker.timers.set(link, min(deadlines))
    else:
        worker.timers.cancel(link)
