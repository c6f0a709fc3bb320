"""Going on with another stream: at once, when the old one is over, or when nobody can see it.

Unseen: the viewer is sent the old stream up to the end of a frame, and then the new one from a key frame
that is newer than this one and whole, with all that has come behind it. Sequence numbers go on, and
RTP time by what went by between the two frames where they were made. So there is no gap longer than a frame,
nothing is seen twice, and what was sent before is sent again if the viewer asks for it. This is
LiveNet's seamless switch (SIGCOMM 2022, 5.2), and how a viewer changes to another bitrate.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from fastpath.cursor cimport (
    CURSOR_ACTIVE, CURSOR_BEHIND, CURSOR_CATCHES_UP, CURSOR_PAUSED, NOBODY, cursor_begin,
    cursor_close_span, cursor_jump, cursor_stands, cursor_t,
)
from fastpath.mailbox cimport EVENT_VIEWER_SWITCHED, mailbox_post, message_t
from fastpath.ring cimport ring_held, ring_t, ring_whole_gop, slot_t
from fastpath.send cimport queue_cursor, unqueue_cursor
from fastpath.slab cimport slab_payload
from fastpath.spans cimport span_t
from fastpath.worker cimport (
    MEDIA_VIDEO, mark_ready, new_event, stream_handle, stream_t, want_key_frame, worker_t,
)
from rtp.big_endian cimport load_be32
from rtp.payload.marks cimport MARK_FRAME_END, MARK_FRAME_START

cdef enum:
    AGAIN_US = 150000            # chosen: what may be shown twice, so that a key frame is not just missed
    TOGETHER_US = 15000          # chosen, below a frame: pictures of one moment come so far apart
    DELAY_UNIT_US = 250
    MOST_LACKING = 256           # packets in a row that are looked past: half a second of 5 Mbit/s


cdef void join_stream(worker_t* worker, int32_t index, int32_t stream_index) noexcept nogil:
    cdef cursor_t* cursor = &worker.cursors[index]
    cdef stream_t* stream = &worker.streams[stream_index]
    cursor.stream = stream_index
    cursor.stream_generation = stream.generation
    cursor.previous_of_stream = NOBODY
    cursor.next_of_stream = stream.first_cursor
    if stream.first_cursor >= 0:
        worker.cursors[stream.first_cursor].previous_of_stream = index
    stream.first_cursor = index
    stream.subscribers += 1


cdef void part_stream(worker_t* worker, int32_t index) noexcept nogil:
    """The stream no longer knows the cursor; what it was sent of it, and where it stood, is remembered."""
    cdef cursor_t* cursor = &worker.cursors[index]
    cdef stream_t* stream = &worker.streams[cursor.stream]
    cursor_close_span(cursor, &worker.spans)
    if cursor.previous_of_stream >= 0:
        worker.cursors[cursor.previous_of_stream].next_of_stream = cursor.next_of_stream
    else:
        stream.first_cursor = cursor.next_of_stream
    if cursor.next_of_stream >= 0:
        worker.cursors[cursor.next_of_stream].previous_of_stream = cursor.previous_of_stream
    stream.subscribers -= 1


cdef void begin_cursor(worker_t* worker, int32_t index) noexcept nogil:
    """Let it stand where it can begin, and have its link look at it."""
    cdef cursor_t* cursor = &worker.cursors[index]
    cdef stream_t* stream = &worker.streams[cursor.stream]
    if not cursor_begin(
        cursor, &stream.ring, &worker.spans, stream.media == MEDIA_VIDEO, worker.start_at
    ) and stream.has_started:
        want_key_frame(worker, cursor.stream)
    cursor.began_us = worker.turn_us
    cursor.has_switched = False
    if cursor.state == CURSOR_ACTIVE and cursor.switch_to != NOBODY:
        cursor.state = CURSOR_BEHIND
    queue_cursor(worker, index)
    mark_ready(worker, cursor.link)


cdef void move_at_once(worker_t* worker, int32_t index, int32_t stream, uint8_t payload_type) noexcept nogil:
    """Same SSRC, next sequence number; RTP time goes on by what goes by until its first packet."""
    cdef cursor_t* cursor = &worker.cursors[index]
    forget_switch(worker, index)
    unqueue_cursor(worker, index)
    part_stream(worker, index)
    join_stream(worker, index, stream)
    cursor.payload_type = payload_type
    cursor.has_moved = True
    cursor.next_report_us = 0
    if cursor.state != CURSOR_PAUSED:
        begin_cursor(worker, index)


# -- unseen

cdef void tell_switched(worker_t* worker, int32_t index) noexcept nogil:
    cdef message_t* event = new_event(worker, EVENT_VIEWER_SWITCHED)
    if event != NULL:
        event.handle = (<int64_t>worker.cursors[index].generation << 20) | index
        event.stream = stream_handle(worker, worker.cursors[index].stream)
        mailbox_post(&worker.events)


cdef void forget_switch(worker_t* worker, int32_t index) noexcept nogil:
    cdef cursor_t* cursor = &worker.cursors[index]
    if cursor.switch_to != NOBODY:
        worker.streams[cursor.switch_to].awaited_by -= 1
        cursor.switch_to = NOBODY


cdef void want_switch(worker_t* worker, int32_t index, int32_t stream, uint8_t payload_type) noexcept nogil:
    """Another wish takes the place of the one before; the stream that it follows ends it."""
    cdef cursor_t* cursor = &worker.cursors[index]
    forget_switch(worker, index)
    if stream == cursor.stream:
        cursor.payload_type = payload_type
        tell_switched(worker, index)
        return
    if cursor.state == CURSOR_PAUSED or worker.streams[stream].media != MEDIA_VIDEO:
        move_at_once(worker, index, stream, payload_type)
        tell_switched(worker, index)
        return
    cursor.switch_to = stream
    cursor.switch_payload_type = payload_type
    worker.streams[stream].awaited_by += 1
    if cursor.state == CURSOR_ACTIVE:
        cursor.state = CURSOR_BEHIND
    queue_cursor(worker, index)
    mark_ready(worker, cursor.link)


cdef void settle_switches(worker_t* worker, int32_t stream) noexcept nogil:
    """This stream is about to be removed: who is to leave it, leaves at once."""
    cdef int32_t at = worker.streams[stream].first_cursor
    cdef int32_t following
    while at >= 0:
        following = worker.cursors[at].next_of_stream
        if worker.cursors[at].switch_to != NOBODY:
            move_at_once(worker, at, worker.cursors[at].switch_to, worker.cursors[at].switch_payload_type)
            tell_switched(worker, at)
        at = following


cdef const slot_t* last_held(const ring_t* ring, uint32_t first, uint32_t end, bint* is_lacking) noexcept nogil:
    """The last packet of these that is held; is_lacking is set if others are behind it."""
    cdef const slot_t* slot
    cdef uint32_t seq = end
    while seq != first and end - seq < MOST_LACKING:
        seq -= 1
        slot = ring_held(ring, seq)
        if slot != NULL:
            return slot
        is_lacking[0] = True
    return NULL


cdef const slot_t* last_sent(const worker_t* worker, const cursor_t* cursor, bint* is_lacking) noexcept nogil:
    """What it was sent last of the stream it follows, before its last jump if nothing since; NULL if it was
    sent nothing, or that is not held. is_lacking: packets after that one have been lost, and passed over."""
    cdef const ring_t* ring = &worker.streams[cursor.stream].ring
    cdef const slot_t* slot
    cdef const span_t* span
    is_lacking[0] = False
    slot = last_held(ring, cursor.start, cursor.next, is_lacking)
    if slot != NULL or cursor.next - cursor.start >= MOST_LACKING or cursor.spans.count == 0:
        return slot
    span = &worker.spans.entries[cursor.spans.newest]
    if span.stream != cursor.stream or span.stream_generation != cursor.stream_generation:
        return NULL
    return last_held(ring, span.first, span.end, is_lacking)


cdef inline int64_t made_us(const slot_t* slot) noexcept nogil:
    """When its broadcaster's node had it, by this clock: what was cached on its way came later."""
    return slot.arrival_us - <int64_t>slot.delay * DELAY_UNIT_US


cdef bint may_leave(
    const cursor_t* cursor, const ring_t* ring, const slot_t* last, bint is_lacking, const slot_t* key
) noexcept nogil:
    """No frame has been begun that is not finished, and all is sent that is older than the key frame;
    or it would not be anyway."""
    cdef const slot_t* following = ring_held(ring, cursor.next)
    if not cursor_stands(cursor) or cursor.state > CURSOR_BEHIND or last == NULL:
        return True
    if is_lacking or not last.marks & MARK_FRAME_END:
        if following == NULL or not following.marks & MARK_FRAME_START:
            return False
    return following == NULL or made_us(following) + TOGETHER_US >= made_us(key)


cdef uint32_t rtp_time(const worker_t* worker, const slot_t* slot) noexcept nogil:
    return load_be32(slab_payload(&worker.slab, slot.block) + 4)


cdef void join_time(
    worker_t* worker, cursor_t* cursor, const slot_t* last, const slot_t* key, int64_t clock_rate, int64_t now_us
) noexcept nogil:
    """The key frame's RTP time is as much after the last frame's as it was made after it, and never before
    what was sent."""
    cdef uint32_t timestamp
    if cursor.last_sent_us == 0:
        return
    if last != NULL:
        timestamp = rtp_time(worker, last) + cursor.timestamp_offset
        timestamp += <uint32_t>((made_us(key) - made_us(last)) * clock_rate // 1000000)
    else:
        timestamp = cursor.last_timestamp + <uint32_t>((now_us - cursor.last_sent_us) * clock_rate // 1000000)
    if <int32_t>(timestamp - cursor.last_timestamp) <= 0:
        timestamp = cursor.last_timestamp + 1
    cursor.timestamp_offset = timestamp - rtp_time(worker, key)


cdef bint try_switch(worker_t* worker, int32_t index, int64_t now_us) noexcept nogil:
    """Leave for the stream it is to go on with, if nobody can see it now. True if it has."""
    cdef cursor_t* cursor = &worker.cursors[index]
    cdef stream_t* to = &worker.streams[cursor.switch_to]
    cdef bint is_lacking = False
    cdef const slot_t* last = last_sent(worker, cursor, &is_lacking)
    cdef const slot_t* key
    cdef uint32_t seq
    if not to.ring.has_gop:
        return False
    key = ring_held(&to.ring, to.ring.gop_start)
    if key == NULL or not may_leave(cursor, &worker.streams[cursor.stream].ring, last, is_lacking, key):
        return False
    if last != NULL and made_us(last) - made_us(key) > AGAIN_US:
        return False
    if not ring_whole_gop(&to.ring, &seq):
        return False
    part_stream(worker, index)  # first: what was sent is remembered with its own times
    join_time(worker, cursor, last, key, to.clock_rate, now_us)
    join_stream(worker, index, cursor.switch_to)
    cursor.payload_type = cursor.switch_payload_type
    cursor.has_moved = False
    cursor.next_report_us = 0
    cursor_jump(cursor, &worker.spans, seq)
    cursor.state = CURSOR_CATCHES_UP
    cursor.has_switched = True
    cursor.began_us = now_us
    forget_switch(worker, index)
    tell_switched(worker, index)
    return True
