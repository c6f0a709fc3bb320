"""Insertion: the one way a packet enters a ring, from a link or from the early store.

A packet at the head wakes the stream's cursors once per turn. One that fills a hole is sent at once
for every cursor that has passed its place. Media that comes before its stream is known is held for
up to 1 s in a store of 1,024 places, oldest out first; a place that was claimed is free again when
all before it are.
"""

from fastpath.events import KeyFrameWanted, StreamStarted
from fastpath.reference.cursor import State
from fastpath.reference.link import Late, Link
from fastpath.reference.ring import Insertion, Packet, Ring
from fastpath.reference.shed import shed_media
from fastpath.reference.switch import class_of, queue_cursor
from fastpath.reference.wire import Flag
from fastpath.reference.worker import Early, Stream, Worker

EARLY_PACKETS = 1024
EARLY_AGE_US = 1_000_000
DELAY_UNIT_US = 250


def insert_media(
    worker: Worker, stream: Stream, stream_seq: int, packet: Packet, link: Link, now_us: int
) -> str:
    """The packet's verdict; one that is refused changes nothing but counters."""
    ring = stream.ring
    number = ring.extended(stream_seq)
    shed = shed_media(worker, stream, number, packet.marks, packet.arrival_us)
    if shed is not None:
        return shed
    insertion = ring.classify(number)
    if insertion is Insertion.JUMP:
        # Its number was accepted on the link, so nobody sends it again: keep it until believed.
        hold_early(worker, Early(stream.stream_id, stream_seq, link, packet))
        return "jump_unconfirmed"
    if insertion is Insertion.DUPLICATE:
        stream.duplicates += 1
        if not packet.flags & (Flag.DUPLICATE | Flag.REPAIR):
            # What came as a copy has come by the first path too, which had not lost it.
            held = ring.packets[number]
            stream.copies_confirmed += bool(held.flags & Flag.DUPLICATE)
        return "duplicate_packet"
    if insertion is Insertion.TOO_OLD:
        stream.too_old += 1
        return "too_old_for_ring"
    _put_in(worker, stream, number, packet, insertion, now_us)
    if insertion is Insertion.RESTART:
        stream.restarts += 1
        for cursor in stream.cursors:  # what they were sent has numbers that may come again
            cursor.start = cursor.next
            cursor.spans.clear()
        claim_early(worker, stream, now_us)
    if not stream.has_started:
        _on_first_packet(worker, stream)
    worker.mark_dirty(stream)
    if insertion is Insertion.LATE:
        stream.late += 1
        _wake_late(worker, stream, number)
        return "accepted_late"
    # A recovered packet's header does not tell the path's delay; a fresh one's does.
    step_us = packet.delay * DELAY_UNIT_US - stream.delay_us
    if stream.delay_us == 0:
        stream.delay_us = step_us
    else:
        stream.delay_us += step_us // 16 if step_us >= 0 else -(-step_us // 16)
    return "accepted"


def _put_in(
    worker: Worker, stream: Stream, number: int, packet: Packet, insertion: Insertion, now_us: int
) -> None:
    ring: Ring = stream.ring
    grown, refused = ring.grown, ring.growth_refused
    if ring.insert(number, packet, insertion, now_us):
        worker.post(KeyFrameWanted(stream.handle))
        worker.want_key_frame(stream)
    worker.count("ring_grown", ring.grown - grown)
    worker.count("ring_growth_refused", ring.growth_refused - refused)
    ring.bytes_before[number] = stream.bytes
    stream.packets += 1
    stream.bytes += len(packet.payload)
    stream.copies += bool(packet.flags & Flag.DUPLICATE)
    stream.last_packet_us = packet.arrival_us


def _on_first_packet(worker: Worker, stream: Stream) -> None:
    """It may be from within a GoP, and viewers have come before it."""
    stream.has_started = True
    worker.post(StreamStarted(stream.handle))
    if stream.ring.gop_start is None and any(
        cursor.state is State.WAITS_FOR_KEY for cursor in stream.cursors
    ):
        worker.want_key_frame(stream)


def _wake_late(worker: Worker, stream: Stream, number: int) -> None:
    """To a node behind a link that loses much it leaves twice: there is no time for one more
    repair."""
    size = len(stream.ring.packets[number].payload)
    for cursor in stream.cursors:
        if cursor.owes(number) or cursor.span_of(stream, number) is not None:
            link, late = cursor.link, Late(stream, number, cursor)
            if not worker.push_late(link, class_of(stream), late) or not link.is_lossy:
                continue
            if link.may_repair(size) and worker.push_late(link, class_of(stream), late):
                link.resent_twice += 1


def wake_cursors(worker: Worker) -> None:
    """Once per turn: the cursors of each stream that got packets stand in their links' turns."""
    for stream in worker.dirty:
        for cursor in stream.cursors:
            queue_cursor(cursor)
            worker.mark_ready(cursor.link)
    worker.dirty.clear()


def hold_early(worker: Worker, early: Early) -> str:
    if len(worker.early) == EARLY_PACKETS:
        worker.count("early_evicted", worker.early[0] is not None)
        _free_oldest(worker)
    worker.early.append(early)
    return "held_early"


def _free_oldest(worker: Worker) -> None:
    worker.count("unknown_stream", worker.early.pop(0) is not None)


def expire_early(worker: Worker, now_us: int) -> None:
    while worker.early:
        oldest = worker.early[0]
        if oldest is not None and now_us - oldest.packet.arrival_us < EARLY_AGE_US:
            return
        _free_oldest(worker)


def forget_early(worker: Worker, link: Link) -> None:
    """The link is removed: what came from it belongs to nobody."""
    for place, early in enumerate(worker.early):
        if early is not None and early.link is link:
            worker.early[place] = None
            worker.count("unknown_stream")


def claim_early(worker: Worker, stream: Stream, now_us: int) -> None:
    """A stream has become known: what was held for it goes in, in the order it came."""
    expire_early(worker, now_us)
    held = [
        e
        for e in worker.early
        if e is not None and e.stream_id == stream.stream_id and stream.comes_from(e.link)
    ]
    for early in held:
        if early in worker.early:  # else taken by one before it, which restarted the ring
            worker.early[worker.early.index(early)] = None
            verdict = insert_media(
                worker, stream, early.stream_seq, early.packet, early.link, now_us
            )
            worker.count(verdict)
