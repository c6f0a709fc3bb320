"""Dropping for a viewer whose link is too slow: what the queue, head minus cursor, may come to.

A packet may wait `max_lag_us`, and `max_lag_bytes` may wait together. Before that is used up, frames are
left out, in the order of what they are worth: at half of it those that no other frame refers to, at
seven eighths all up to the next key frame, at the whole a key frame and what follows it. What counts
is when a frame's last packet would leave, so that a frame that is begun can be finished; if it cannot
after all, its rest and the rest of its GoP are left out. Frames that would make a newer key frame late
go before that does. A key frame that is too large for the limit by itself is sent nonetheless if next
to nothing waits before it. Audio is never dropped, and nodes drop nothing for each other: only the last
one knows its viewer's link.

A cursor is looked at only while it lags: from when its link had no room for it until it is at the
head again. A viewer that has just come, or has changed its stream, lags by what was here before: it is
sent that as fast as its link allows, and frames are left out only if a newer key frame is here already;
for 2 s, or if it went on unseen, when there was little, until it lags by the limit.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from fastpath.cursor cimport (
    CURSOR_ACTIVE, CURSOR_BEHIND, CURSOR_CATCHES_UP, CURSOR_PAUSED, CURSOR_SKIPS_FRAME, CURSOR_SKIPS_GOP,
    CURSOR_SKIPS_PREDICTED, CURSOR_WAITS_FOR_KEY, DROP_DISCARDABLE, DROP_GOP, DROP_KINDS, DROP_PREDICTED, NOBODY,
    cursor_jump, cursor_lag_bytes, cursor_lag_us, cursor_seek, cursor_stands, cursor_t,
)
from fastpath.link cimport LATE_VIDEO, link_media_bps, link_t
from fastpath.mailbox cimport EVENT_KEY_FRAME_WANTED, EVENT_VIEWER_LAGS, mailbox_post, message_t
from fastpath.pacer cimport pacer_t
from fastpath.ring cimport ring_held, ring_t, slot_t
from fastpath.switch cimport try_switch
from fastpath.verdict cimport DROPPED_DISCARDABLE
from fastpath.worker cimport (
    MEDIA_VIDEO, count_many, new_event, post_event, stream_handle, stream_t, want_key_frame, worker_t,
)
from rtp.payload.marks cimport MARK_DISCARDABLE, MARK_FRAME_END, MARK_FRAME_START, MARK_GOP_START, MARK_KEY

cdef enum:
    EIGHTHS = 8                  # of the limits, at which a frame is left out:
    DISCARDABLE_AT = 4
    PREDICTED_AT = 7
    TOLD_AT = 2                  # Python hears of a viewer from here on
    ALONE = 2                    # a key frame with less than this before it is sent, however large it is
    KEY_PATIENCE = 2             # limits that a key frame once begun may take: cutting it off shows nothing
    CATCH_UP_US = 2000000        # chosen: two GoPs of a second; a viewer that takes longer is a slow one
    TELL_US = 250000             # chosen: a tick of relay/slowpath/versions
    SEND = -1                    # else a DropKind

ctypedef struct frame_t:         # as far as it is here
    uint32_t bytes
    bint is_discardable
    bint is_key


cdef void measure_frame(const ring_t* ring, uint32_t first, frame_t* frame) noexcept nogil:
    cdef uint32_t at = first
    cdef const slot_t* slot = ring_held(ring, at)
    frame.bytes = 0
    frame.is_discardable = True
    frame.is_key = False
    while slot != NULL and (at == first or not slot.marks & MARK_FRAME_START):
        frame.bytes += slot.size
        frame.is_discardable = frame.is_discardable and (slot.marks & MARK_DISCARDABLE) != 0
        frame.is_key = frame.is_key or (slot.marks & MARK_KEY) != 0
        at += 1
        if slot.marks & MARK_FRAME_END or at == ring.head:
            return
        slot = ring_held(ring, at)


cdef inline bint is_beyond(
    const worker_t* worker, int64_t lag_us, int64_t lag_bytes, int64_t eighths
) noexcept nogil:
    return lag_us * EIGHTHS > worker.max_lag_us * eighths or lag_bytes * EIGHTHS > worker.max_lag_bytes * eighths


cdef int judge_rest(const worker_t* worker, const cursor_t* cursor, uint8_t marks) noexcept nogil:
    """A frame has been begun: is it worth finishing?"""
    if not is_beyond(worker, cursor.lag_us, cursor.lag_bytes, EIGHTHS * KEY_PATIENCE if marks & MARK_KEY else EIGHTHS):
        return SEND
    return DROP_DISCARDABLE if marks & MARK_DISCARDABLE else DROP_GOP


cdef bint delays_key(const worker_t* worker, const cursor_t* cursor, const slot_t* slot, int64_t now_us) noexcept nogil:
    """If all up to the newest key frame here is sent, would that be too late?"""
    cdef const ring_t* ring = &worker.streams[cursor.stream].ring
    cdef const slot_t* key
    cdef frame_t frame
    cdef int64_t lag_us
    if not ring.has_gop or <int32_t>(ring.gop_start - cursor.next) <= 0:
        return False
    key = ring_held(ring, ring.gop_start)
    measure_frame(ring, ring.gop_start, &frame)
    lag_us = now_us - (cursor.began_us if key.arrival_us < cursor.began_us else key.arrival_us)
    lag_us += <int64_t>(key.bytes_before - slot.bytes_before + frame.bytes) * 8000000 // link_media_bps(
        &worker.links[cursor.link]
    )
    return is_beyond(worker, lag_us, 0, EIGHTHS)


cdef int judge(worker_t* worker, cursor_t* cursor, const slot_t* slot, int64_t now_us) noexcept nogil:
    """SEND, or as what the next packet is dropped, with those that it takes along."""
    cdef const ring_t* ring = &worker.streams[cursor.stream].ring
    cdef const link_t* link = &worker.links[cursor.link]
    cdef bint catches_up = cursor.state == CURSOR_CATCHES_UP
    cdef int64_t bytes = 0 if catches_up else cursor.lag_bytes
    cdef int64_t until_us
    cdef frame_t frame
    if worker.max_lag_us == 0:
        return SEND
    if not slot.marks & MARK_FRAME_START:
        return SEND if catches_up else judge_rest(worker, cursor, slot.marks)
    measure_frame(ring, slot.stream_seq, &frame)
    until_us = cursor.lag_us + <int64_t>frame.bytes * 8000000 // link_media_bps(link)
    if frame.is_key:
        if catches_up or not is_beyond(worker, until_us, bytes, EIGHTHS):
            return SEND
        return DROP_GOP if is_beyond(worker, cursor.lag_us, 0, ALONE) else SEND
    if frame.is_discardable and is_beyond(worker, until_us, bytes, DISCARDABLE_AT):
        return DROP_DISCARDABLE
    if delays_key(worker, cursor, slot, now_us):
        return DROP_DISCARDABLE if frame.is_discardable else DROP_PREDICTED
    if frame.is_discardable or not is_beyond(worker, until_us, bytes, PREDICTED_AT):
        return SEND
    if catches_up and (not ring.has_gop or <int32_t>(ring.gop_start - cursor.next) <= 0):
        return SEND
    return DROP_PREDICTED


cdef inline void count_dropped(worker_t* worker, cursor_t* cursor, int kind) noexcept nogil:
    cursor.dropped[kind] += 1
    count_many(worker, <int>DROPPED_DISCARDABLE + kind, 1)


cdef inline int kind_of(const cursor_t* cursor) noexcept nogil:
    return <int>DROP_DISCARDABLE + cursor.state - <int>CURSOR_SKIPS_FRAME


cdef bint skip_frame(worker_t* worker, cursor_t* cursor, const ring_t* ring) noexcept nogil:
    """The rest of a discardable frame, as far as it has come; True at its end. A hole may be another
    frame's, so its number is kept."""
    cdef const slot_t* slot
    while <int32_t>(cursor.next - ring.head) < 0:
        slot = ring_held(ring, cursor.next)
        if slot == NULL:
            cursor.next += 1
            continue
        if slot.marks & MARK_FRAME_START or not slot.marks & MARK_DISCARDABLE:
            return True
        count_dropped(worker, cursor, DROP_DISCARDABLE)
        cursor_jump(cursor, &worker.spans, cursor.next + 1)
        if slot.marks & MARK_FRAME_END:
            return True
    return False


cdef bint skip_to_key(worker_t* worker, cursor_t* cursor, const ring_t* ring) noexcept nogil:
    """All up to the next key frame, as far as it has come; True if that is here. Its start may have been
    recovered behind the head."""
    cdef const slot_t* slot
    if (
        ring.has_gop and <int32_t>(ring.gop_start - cursor.next) < 0
        and <int32_t>(ring.gop_start - cursor.skipped_from) > 0
    ):
        cursor_jump(cursor, &worker.spans, ring.gop_start)
        return True
    while <int32_t>(cursor.next - ring.head) < 0:
        slot = ring_held(ring, cursor.next)
        if slot != NULL:
            if slot.marks & MARK_GOP_START:
                return True
            count_dropped(worker, cursor, kind_of(cursor))
        cursor_jump(cursor, &worker.spans, cursor.next + 1)
    return False


cdef void begin_skip(worker_t* worker, cursor_t* cursor, const slot_t* slot, int kind, int64_t now_us) noexcept nogil:
    """Leave out this packet, and with it what `kind` says."""
    cdef pacer_t* pacer = worker.links[cursor.link].pacer
    if pacer != NULL:
        pacer.left_out_us = now_us
    cursor.state = <uint8_t>(<int>CURSOR_SKIPS_FRAME + kind)
    cursor.skipped_from = cursor.next
    count_dropped(worker, cursor, kind)
    cursor_jump(cursor, &worker.spans, cursor.next + 1)
    if kind == DROP_DISCARDABLE and slot.marks & MARK_FRAME_END:
        cursor.state = CURSOR_CATCHES_UP if cursor.began_us > 0 else CURSOR_BEHIND


cdef void tell(worker_t* worker, cursor_t* cursor, int32_t index, int64_t now_us) noexcept nogil:
    """Python, now and then, of a viewer that lags or was not sent something."""
    cdef uint32_t dropped = <uint32_t>(cursor.dropped[0] + cursor.dropped[1] + cursor.dropped[2])
    cdef message_t* event
    if now_us - cursor.told_us < TELL_US or worker.max_lag_us == 0:
        return
    if dropped == cursor.told_dropped and (
        cursor.state == CURSOR_CATCHES_UP or not is_beyond(worker, cursor.lag_us, cursor.lag_bytes, TOLD_AT)
    ):
        return
    event = new_event(worker, EVENT_VIEWER_LAGS)
    if event != NULL:
        event.handle = (<int64_t>cursor.generation << 20) | index
        event.number = cursor.lag_us
        event.tag = dropped - cursor.told_dropped
        mailbox_post(&worker.events)
    cursor.told_us = now_us
    cursor.told_dropped = dropped


cdef void be_at_head(cursor_t* cursor) noexcept nogil:
    cursor.lag_us = 0
    cursor.lag_bytes = 0
    if cursor_stands(cursor) and cursor.state <= CURSOR_BEHIND:
        cursor.began_us = 0
        cursor.state = CURSOR_ACTIVE if cursor.switch_to == NOBODY else CURSOR_BEHIND


cdef slot_t* seek(worker_t* worker, cursor_t* cursor, bint is_video) noexcept nogil:
    """cursor_seek, and a key frame asked for if it now waits for one."""
    cdef bint stood = cursor_stands(cursor)
    cdef slot_t* slot = cursor_seek(cursor, &worker.streams[cursor.stream].ring, &worker.spans, is_video)
    if stood and cursor.state == CURSOR_WAITS_FOR_KEY:
        post_event(worker, EVENT_KEY_FRAME_WANTED, stream_handle(worker, cursor.stream))
        want_key_frame(worker, cursor.stream)
    if slot == NULL:
        be_at_head(cursor)
    elif cursor.state == CURSOR_ACTIVE and cursor.is_viewer and cursor.switch_to != NOBODY:
        cursor.state = CURSOR_BEHIND
    return slot


cdef bint is_skipping(worker_t* worker, cursor_t* cursor, const ring_t* ring) noexcept nogil:
    """It leaves out what has come; False if it goes on at what is next."""
    cdef bint is_over
    if cursor.state == CURSOR_SKIPS_FRAME:
        is_over = skip_frame(worker, cursor, ring)
    elif cursor.state == CURSOR_SKIPS_PREDICTED or cursor.state == CURSOR_SKIPS_GOP:
        is_over = skip_to_key(worker, cursor, ring)
    else:
        return False
    if is_over:
        cursor.state = CURSOR_CATCHES_UP if cursor.began_us > 0 else CURSOR_BEHIND
    return not is_over


cdef slot_t* look(worker_t* worker, int32_t index, int64_t now_us) noexcept nogil:
    """The packet that a cursor is to send next, or NULL: it may leave others out, or change its stream."""
    cdef cursor_t* cursor = &worker.cursors[index]
    cdef bint is_video = worker.streams[cursor.stream].media == MEDIA_VIDEO
    cdef const ring_t* ring
    cdef slot_t* slot
    cdef int kind
    if not (cursor.is_viewer and is_video):
        return seek(worker, cursor, is_video)
    while True:
        ring = &worker.streams[cursor.stream].ring
        if cursor.switch_to != NOBODY and cursor.state != CURSOR_PAUSED and try_switch(worker, index, now_us):
            continue
        if <int32_t>(cursor.next - ring.tail) >= 0 and is_skipping(worker, cursor, ring):
            cursor.lag_us = 0
            cursor.lag_bytes = 0
            tell(worker, cursor, index, now_us)
            return NULL
        slot = seek(worker, cursor, True)
        if slot == NULL:
            return NULL
        if cursor.state == CURSOR_ACTIVE:
            return slot
        cursor.lag_us = cursor_lag_us(cursor, ring, now_us)
        cursor.lag_bytes = cursor_lag_bytes(cursor, ring, worker.streams[cursor.stream].bytes)
        if cursor.state == CURSOR_CATCHES_UP and (
            now_us - cursor.began_us > CATCH_UP_US
            or (cursor.has_switched and is_beyond(worker, cursor.lag_us, 0, EIGHTHS))
        ):
            cursor.state = CURSOR_BEHIND
            cursor.began_us = 0
        kind = judge(worker, cursor, slot, now_us)
        if kind == SEND:
            tell(worker, cursor, index, now_us)
            return slot
        begin_skip(worker, cursor, slot, kind, now_us)


cdef void look_at_blocked(worker_t* worker, int32_t link_index, int64_t now_us) noexcept nogil:
    """The link has no room now: those of its video cursors that have something to send lag from here."""
    cdef int32_t at = worker.links[link_index].queues[LATE_VIDEO].first
    while at >= 0:
        if worker.cursors[at].state == CURSOR_ACTIVE:
            worker.cursors[at].state = CURSOR_BEHIND
        look(worker, at, now_us)
        at = worker.cursors[at].next_queued
