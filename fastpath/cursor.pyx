"""A cursor: one subscriber's place in a ring. Forwarding, pacing, fast start and being lapped are
moves of it; see the table in ARCHITECTURE.md. Dropping is in fastpath/drop, going on with another
stream in fastpath/switch.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.ring cimport (
    LARGEST_RING, SLOT_SKIPPED, ring_fast_start, ring_gop_before, ring_held, ring_t, slot_t,
)
from fastpath.spans cimport span_pool_t, span_t, spans_add


cdef void cursor_span(const cursor_t* cursor, span_t* span) noexcept nogil:
    """What it was sent since its last jump."""
    span.stream = cursor.stream
    span.stream_generation = cursor.stream_generation
    span.first = cursor.start
    span.end = cursor.next
    span.timestamp_offset = cursor.timestamp_offset
    span.sequence_offset = cursor.sequence_offset
    span.payload_type = cursor.payload_type


cdef void cursor_close_span(cursor_t* cursor, span_pool_t* pool) noexcept nogil:
    """What a viewer was sent since its last jump is remembered with its numbers; then nothing more is
    owed of it under the cursor's own."""
    cdef span_t span
    if cursor.is_viewer and cursor.start != cursor.next:
        cursor_span(cursor, &span)
        spans_add(pool, &cursor.spans, &span)
    cursor.start = cursor.next


cdef void cursor_jump(cursor_t* cursor, span_pool_t* pool, uint32_t seq) noexcept nogil:
    """Go on at `seq`. A viewer's RTP sequence numbers go on without a gap; a new cursor's `next` is 0
    and its offset the first number."""
    cursor_close_span(cursor, pool)
    cursor.sequence_offset = <uint16_t>(cursor.sequence_offset + <uint16_t>cursor.next - <uint16_t>seq)
    cursor.next = seq
    cursor.start = seq


cdef uint8_t state_at(const cursor_t* cursor, const ring_t* ring, bint is_video) noexcept nogil:
    return CURSOR_CATCHES_UP if cursor.is_viewer and is_video and cursor.next != ring.head else CURSOR_ACTIVE


cdef bint cursor_begin(
    cursor_t* cursor, const ring_t* ring, span_pool_t* pool, bint is_video, int start_at
) noexcept nogil:
    """Place a cursor that is new, has moved to another ring, or was paused. False if it waits for a
    key frame that is to be asked for.

    Video: newest complete key frame, or the one before it. A node without one gets all that is held,
    as it may need it; a viewer waits. Audio: live. An empty ring: from its first packet on."""
    cdef uint32_t seq = ring.head
    if start_at == START_LIVE:
        cursor_jump(cursor, pool, seq)
        cursor.state = CURSOR_WAITS_FOR_NEXT_KEY if is_video and cursor.is_viewer else CURSOR_ACTIVE
        return True
    if is_video and (ring.held > 0 or cursor.is_viewer):
        if ring_fast_start(ring, &seq):
            if start_at == START_AT_GOP:
                seq = ring_gop_before(ring, seq)
        elif cursor.is_viewer:
            cursor_jump(cursor, pool, ring.head)
            cursor.state = CURSOR_WAITS_FOR_KEY
            return False
        else:
            seq = ring.tail
    cursor_jump(cursor, pool, seq)
    cursor.state = state_at(cursor, ring, is_video)
    return True


cdef bint cursor_begin_at(cursor_t* cursor, const ring_t* ring, uint32_t seq) noexcept nogil:
    """Place a node's new cursor at `seq`, which may be ahead of the head: whoever asks has what is
    before it. False, and nothing done, if the ring no longer holds that place or will not reach it soon."""
    if <int32_t>(seq - ring.tail) < 0 or <int32_t>(seq - ring.head) > LARGEST_RING:
        return False
    cursor.next = seq
    cursor.start = seq
    cursor.state = CURSOR_ACTIVE
    return True


cdef bint find_key(cursor_t* cursor, const ring_t* ring, span_pool_t* pool) noexcept nogil:
    """The key frame that is waited for has come."""
    if not ring.has_gop:
        return False
    if cursor.state == CURSOR_WAITS_FOR_NEXT_KEY and <int32_t>(ring.gop_start - cursor.next) < 0:
        return False
    cursor_jump(cursor, pool, ring.gop_start)
    cursor.state = state_at(cursor, ring, True)
    return True


cdef slot_t* cursor_seek(cursor_t* cursor, const ring_t* ring, span_pool_t* pool, bint is_video) noexcept nogil:
    """The next slot to send from any place, or NULL: holes are passed over (what is recovered later is
    sent then), and so is what upstream has skipped, which has no number.

    A cursor that the ring has lapped goes on at the newest key frame (audio: at the oldest held)."""
    cdef slot_t* slot
    cdef uint32_t seq
    if cursor.state == CURSOR_PAUSED:
        return NULL
    if cursor.state == CURSOR_WAITS_FOR_KEY or cursor.state == CURSOR_WAITS_FOR_NEXT_KEY:
        if not find_key(cursor, ring, pool):
            return NULL
    elif <int32_t>(cursor.next - ring.tail) < 0 or <int32_t>(cursor.next - ring.head) > LARGEST_RING:
        cursor.lapped += 1
        seq = ring.tail
        if is_video and not ring_fast_start(ring, &seq):
            cursor_close_span(cursor, pool)
            cursor.state = CURSOR_WAITS_FOR_KEY
            return NULL
        cursor_jump(cursor, pool, seq)
        cursor.state = state_at(cursor, ring, is_video)
    while <int32_t>(cursor.next - ring.head) < 0:
        slot = ring_held(ring, cursor.next)
        if slot != NULL:
            return slot
        slot = &ring.slots[cursor.next & ring.mask]
        if slot.state == SLOT_SKIPPED and slot.stream_seq == cursor.next and cursor.is_viewer:
            cursor_jump(cursor, pool, cursor.next + 1)
        else:
            cursor.next += 1
    return NULL


cdef int64_t cursor_lag_us(const cursor_t* cursor, const ring_t* ring, int64_t now_us) noexcept nogil:
    """How long the next packet has waited for this cursor: it did not before the cursor was there."""
    cdef const slot_t* slot = ring_held(ring, cursor.next)
    if slot == NULL:
        return 0
    return now_us - (cursor.began_us if slot.arrival_us < cursor.began_us else slot.arrival_us)


cdef uint32_t cursor_lag_bytes(const cursor_t* cursor, const ring_t* ring, uint64_t stream_bytes) noexcept nogil:
    """From the next packet to the head. A packet that came late counts where it came."""
    cdef const slot_t* slot = ring_held(ring, cursor.next)
    return 0 if slot == NULL else <uint32_t>stream_bytes - slot.bytes_before
