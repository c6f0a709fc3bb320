"""Insertion: the one way a packet enters a ring, from an encoder, a link, or the early store.

A packet at the head wakes the stream's cursors once per turn. One that fills a hole is sent at
once for every cursor that has passed its place. Media that comes before its stream is known (it
overtook OK) is held for up to 1 s in a bounded store, oldest out first.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy
from fastpath.cursor cimport CURSOR_WAITS_FOR_KEY, NOBODY, cursor_owes, cursor_t
from fastpath.late cimport late_t
from fastpath.link cimport LATE_AUDIO, LATE_VIDEO, link_is_lossy, link_may_repair, link_t
from fastpath.mailbox cimport EVENT_STREAM_STARTED
from fastpath.ring cimport (
    INSERT_DUPLICATE, INSERT_JUMP, INSERT_LATE, INSERT_RESTARTED, INSERT_TOO_OLD,
    ring_classify, ring_fill, ring_held, ring_note_lacking, ring_place, ring_t, slot_t,
)
from fastpath.send cimport queue_cursor
from fastpath.shed cimport KEPT, may_be_shed, shed_media
from fastpath.slab cimport NO_BLOCK, slab_give, slab_payload
from fastpath.spans cimport spans_clear, spans_with_packet
from fastpath.verdict cimport (
    ACCEPTED, ACCEPTED_LATE, DUPLICATE_PACKET, EARLY_EVICTED, HELD_EARLY, JUMP_UNCONFIRMED,
    NO_BLOCK_LEFT, RING_GROWN, RING_GROWTH_REFUSED, TOO_OLD_FOR_RING, UNKNOWN_STREAM,
)
from fastpath.wire cimport FLAG_DUPLICATE, FLAG_REPAIR
from fastpath.worker cimport (
    EARLY_AGE_US, EARLY_PACKETS, MEDIA_AUDIO, comes_from, count_many, count, early_t, mark_dirty, mark_ready,
    post_event, push_late, stream_handle, stream_t, get_block, want_key_frame, want_lost_gop,
    worker_t,
)


cdef void wake_late(worker_t* worker, int32_t stream_index, uint32_t seq, uint32_t bytes) noexcept nogil:
    """Cursors that have passed a place that is only now filled send it out of order, at once. To a node
    behind a link that loses much it leaves twice: it has no time for one more repair."""
    cdef stream_t* stream = &worker.streams[stream_index]
    cdef int which = LATE_AUDIO if stream.media == MEDIA_AUDIO else LATE_VIDEO
    cdef int32_t at = stream.first_cursor
    cdef cursor_t* cursor
    cdef link_t* link
    cdef late_t late
    while at >= 0:
        cursor = &worker.cursors[at]
        if cursor_owes(cursor, seq) or (
            cursor.spans.count > 0
            and spans_with_packet(&worker.spans, &cursor.spans, stream_index, stream.generation, seq) != NULL
        ):
            late.cursor = at
            late.cursor_generation = cursor.generation
            late.stream = stream_index
            late.stream_generation = stream.generation
            late.stream_seq = seq
            late.answers = 0
            link = &worker.links[cursor.link]
            if push_late(worker, cursor.link, which, &late) and not link.is_viewer and link_is_lossy(link):
                if link_may_repair(link, bytes) and push_late(worker, cursor.link, which, &late):
                    link.loss.resent_twice += 1
        at = cursor.next_of_stream


cdef inline void count_growth(
    worker_t* worker, int32_t stream_index, uint64_t grown, uint64_t refused, uint64_t overwritten
) noexcept nogil:
    """The arguments: as the ring counted them before a packet was put in."""
    cdef const ring_t* ring = &worker.streams[stream_index].ring
    count_many(worker, RING_GROWN, ring.grown - grown)
    count_many(worker, RING_GROWTH_REFUSED, ring.growth_refused - refused)
    if ring.gop_overwritten != overwritten:
        want_lost_gop(worker, stream_index, overwritten)


cdef void on_first_packet(worker_t* worker, int32_t stream_index) noexcept nogil:
    """It may be from within a GoP, and viewers have come before it."""
    cdef stream_t* stream = &worker.streams[stream_index]
    cdef int32_t at = stream.first_cursor
    stream.has_started = True
    post_event(worker, EVENT_STREAM_STARTED, stream_handle(worker, stream_index))
    if stream.ring.has_gop:
        return
    while at >= 0:
        if worker.cursors[at].state == CURSOR_WAITS_FOR_KEY:
            want_key_frame(worker, stream_index)
            return
        at = worker.cursors[at].next_of_stream


cdef inline void confirm_copy(stream_t* stream, uint32_t seq) noexcept nogil:
    """What came as a copy has come by the first path too: that had not lost it. What it repairs it had."""
    if stream.copies and ring_held(&stream.ring, seq).flags & FLAG_DUPLICATE:
        stream.copies_confirmed += 1


cdef int refuse(worker_t* worker, stream_t* stream, const media_t* media, int result) noexcept nogil:
    if result == INSERT_DUPLICATE:
        stream.duplicates += 1
        if not media.flags & (FLAG_DUPLICATE | FLAG_REPAIR):
            confirm_copy(stream, media.stream_seq)
        return DUPLICATE_PACKET
    if result == INSERT_TOO_OLD:
        stream.too_old += 1
        return TOO_OLD_FOR_RING
    return JUMP_UNCONFIRMED


cdef void forget_numbers(worker_t* worker, const stream_t* stream) noexcept nogil:
    """The ring has begun anew: what its cursors were sent before has numbers that may come again."""
    cdef int32_t at = stream.first_cursor
    while at >= 0:
        worker.cursors[at].start = worker.cursors[at].next
        spans_clear(&worker.spans, &worker.cursors[at].spans)
        at = worker.cursors[at].next_of_stream


cdef int insert_media(worker_t* worker, int32_t stream_index, const media_t* media, int64_t now_us) noexcept nogil:
    """The packet's verdict. Copies the packet; changes nothing if it is refused."""
    cdef stream_t* stream = &worker.streams[stream_index]
    cdef int result
    cdef uint32_t block
    cdef slot_t* slot
    cdef uint64_t grown, refused, overwritten
    if may_be_shed(worker, stream):
        result = shed_media(worker, stream_index, media.stream_seq, media.marks, media.arrival_us)
        if result != KEPT:
            return result
    result = ring_classify(&stream.ring, media.stream_seq)
    if result == INSERT_JUMP and media.link != NOBODY:
        # Its number was accepted on the link, so nobody sends it again: keep it until it is believed.
        hold_early(worker, stream.stream_id, media, now_us)
    if result == INSERT_DUPLICATE or result == INSERT_TOO_OLD or result == INSERT_JUMP:
        return refuse(worker, stream, media, result)
    block = get_block(worker, media.size)
    if block == NO_BLOCK:
        return NO_BLOCK_LEFT
    # Making room may have evicted from this very ring.
    if result == INSERT_LATE and <int32_t>(media.stream_seq - stream.ring.tail) < 0:
        slab_give(&worker.slab, block)
        return refuse(worker, stream, media, INSERT_TOO_OLD)
    grown = stream.ring.grown
    refused = stream.ring.growth_refused
    overwritten = stream.ring.gop_overwritten
    slot = ring_place(&stream.ring, &worker.rings, &worker.slab, media.stream_seq, now_us)
    memcpy(slab_payload(&worker.slab, block), media.data, media.size)
    slot.delay = media.delay
    slot.flags = media.flags
    slot.hop_limit = media.hop_limit
    slot.bytes_before = <uint32_t>stream.bytes
    ring_fill(&stream.ring, slot, media.stream_seq, block, media.size, media.marks, media.arrival_us)
    ring_note_lacking(&stream.ring, now_us)
    count_growth(worker, stream_index, grown, refused, overwritten)
    stream.packets += 1
    stream.bytes += media.size
    if media.flags & FLAG_DUPLICATE:
        stream.copies += 1
    stream.last_packet_us = media.arrival_us
    if result == INSERT_RESTARTED:
        stream.restarts += 1
        forget_numbers(worker, stream)
        claim_early(worker, stream_index, now_us)
    if not stream.has_started:
        on_first_packet(worker, stream_index)
    mark_dirty(worker, stream_index)
    if result == INSERT_LATE:
        stream.late += 1
        wake_late(worker, stream_index, media.stream_seq, media.size)
        return ACCEPTED_LATE
    # A recovered packet's header does not tell the path's delay; a fresh one's does.
    if stream.delay_us == 0:
        stream.delay_us = <int64_t>media.delay * 250
    else:
        stream.delay_us += (<int64_t>media.delay * 250 - stream.delay_us) // 16
    return ACCEPTED


cdef void wake_cursors(worker_t* worker) noexcept nogil:
    """Once per turn: the cursors of each stream that got packets stand in their links' turns."""
    cdef int32_t i, at
    cdef stream_t* stream
    for i in range(worker.dirty_count):
        stream = &worker.streams[worker.dirty_streams[i]]
        stream.is_dirty = False
        at = stream.first_cursor if stream.is_used else -1
        while at >= 0:
            queue_cursor(worker, at)
            mark_ready(worker, worker.cursors[at].link)
            at = worker.cursors[at].next_of_stream
    worker.dirty_count = 0


cdef void drop_early(worker_t* worker, early_t* early) noexcept nogil:
    """Nobody claimed it. A place that was claimed is left as it is."""
    if early.block != NO_BLOCK:
        slab_give(&worker.slab, early.block)
        early.block = NO_BLOCK
        worker.early_held -= 1
        count(worker, UNKNOWN_STREAM)


cdef void drop_oldest_early(worker_t* worker) noexcept nogil:
    drop_early(worker, &worker.early[worker.early_read & (EARLY_PACKETS - 1)])
    worker.early_read += 1


cdef void expire_early(worker_t* worker, int64_t now_us) noexcept nogil:
    cdef const early_t* oldest
    while worker.early_read != worker.early_written:
        oldest = &worker.early[worker.early_read & (EARLY_PACKETS - 1)]
        if oldest.block != NO_BLOCK and now_us - oldest.arrival_us < EARLY_AGE_US:
            return
        drop_oldest_early(worker)


cdef void forget_early(worker_t* worker, int32_t link) noexcept nogil:
    """The link is removed: what came from it is not for whoever gets its index next."""
    cdef uint32_t at = worker.early_read
    while at != worker.early_written:
        if worker.early[at & (EARLY_PACKETS - 1)].link == link:
            drop_early(worker, &worker.early[at & (EARLY_PACKETS - 1)])
        at += 1


cdef int hold_early(worker_t* worker, uint32_t stream_id, const media_t* media, int64_t now_us) noexcept nogil:
    cdef early_t* early
    cdef uint32_t block
    if worker.early_written - worker.early_read == EARLY_PACKETS:
        if worker.early[worker.early_read & (EARLY_PACKETS - 1)].block != NO_BLOCK:
            count(worker, EARLY_EVICTED)
        drop_oldest_early(worker)
    block = get_block(worker, media.size)
    if block == NO_BLOCK:
        return NO_BLOCK_LEFT
    memcpy(slab_payload(&worker.slab, block), media.data, media.size)
    early = &worker.early[worker.early_written & (EARLY_PACKETS - 1)]
    early.block = block
    early.stream_id = stream_id
    early.stream_seq = media.stream_seq
    early.link = media.link
    early.size = media.size
    early.delay = media.delay
    early.marks = media.marks
    early.flags = media.flags
    early.hop_limit = media.hop_limit
    early.arrival_us = media.arrival_us
    worker.early_written += 1
    worker.early_held += 1
    return HELD_EARLY


cdef void claim_early(worker_t* worker, int32_t stream_index, int64_t now_us) noexcept nogil:
    """A stream has become known: what was held for it goes in, in the order it came."""
    cdef stream_t* stream = &worker.streams[stream_index]
    cdef uint32_t at, end
    cdef early_t* early
    cdef early_t taken
    cdef media_t media
    expire_early(worker, now_us)
    at = worker.early_read
    end = worker.early_written  # one that is held again goes behind it
    while at != end:
        early = &worker.early[at & (EARLY_PACKETS - 1)]
        at += 1
        if early.block == NO_BLOCK or early.stream_id != stream.stream_id or not comes_from(stream, early.link):
            continue
        taken = early[0]
        early.block = NO_BLOCK  # ours now, whatever inserting does to the store
        worker.early_held -= 1
        media.data = slab_payload(&worker.slab, taken.block)
        media.size = taken.size
        media.delay = taken.delay
        media.marks = taken.marks
        media.flags = taken.flags
        media.hop_limit = taken.hop_limit
        media.stream_seq = taken.stream_seq
        media.link = taken.link
        media.arrival_us = taken.arrival_us
        count(worker, insert_media(worker, stream_index, &media, now_us))
        slab_give(&worker.slab, taken.block)
