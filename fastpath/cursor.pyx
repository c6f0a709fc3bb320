"""A cursor: one subscriber's place in a ring. Forwarding, pacing, fast start and being lapped are
moves of it; see the table in ARCHITECTURE.md.
"""

from libc.stdint cimport int32_t, uint16_t, uint32_t
from fastpath.ring cimport LARGEST_RING, ring_fast_start, ring_held, ring_t, slot_t


cdef void enter(cursor_t* cursor, uint32_t seq, uint8_t state) noexcept nogil:
    """Stand at `seq`. A viewer's RTP sequence numbers go on without a gap; a new cursor's `next` is
    0 and its offset the first number."""
    cursor.sequence_offset = <uint16_t>(cursor.sequence_offset + <uint16_t>cursor.next - <uint16_t>seq)
    cursor.next = seq
    cursor.start = seq
    cursor.state = state


cdef bint cursor_begin(cursor_t* cursor, const ring_t* ring, bint is_video) noexcept nogil:
    """Place a cursor that is new, has moved to another ring, or was paused. True if it stands; False
    if it waits for a key frame.

    Video: newest complete key frame. A node without one gets all that is held, as it may need it;
    a viewer waits. Audio: live. An empty ring: from its first packet on."""
    cdef uint32_t seq = ring.head
    if is_video and (ring.held > 0 or cursor.is_viewer) and not ring_fast_start(ring, &seq):
        if cursor.is_viewer:
            enter(cursor, ring.head, CURSOR_WAITS_FOR_KEY)
            return False
        seq = ring.tail
    enter(cursor, seq, CURSOR_ACTIVE)
    return True


cdef bint cursor_begin_at(cursor_t* cursor, const ring_t* ring, uint32_t seq) noexcept nogil:
    """Place a new cursor at `seq`, which may be ahead of the head: whoever asks has what is before it.
    False, and nothing done, if the ring no longer holds that place or will not reach it soon."""
    if <int32_t>(seq - ring.tail) < 0 or <int32_t>(seq - ring.head) > LARGEST_RING:
        return False
    enter(cursor, seq, CURSOR_ACTIVE)
    return True


cdef slot_t* cursor_seek(cursor_t* cursor, const ring_t* ring, bint is_video) noexcept nogil:
    """cursor_peek from any place: holes are passed over (what is recovered later is sent then).

    A cursor that the ring has lapped goes on at the newest key frame (audio: at the oldest held)."""
    cdef slot_t* slot
    cdef uint32_t seq
    if cursor.state == CURSOR_PAUSED:
        return NULL
    if cursor.state == CURSOR_WAITS_FOR_KEY:
        if not ring.has_gop:
            return NULL
        enter(cursor, ring.gop_start, CURSOR_ACTIVE)
    elif <int32_t>(cursor.next - ring.tail) < 0 or <int32_t>(cursor.next - ring.head) > LARGEST_RING:
        cursor.lapped += 1
        seq = ring.tail
        if is_video and not ring_fast_start(ring, &seq):
            cursor.state = CURSOR_WAITS_FOR_KEY
            return NULL
        enter(cursor, seq, CURSOR_ACTIVE)
    while <int32_t>(cursor.next - ring.head) < 0:
        slot = ring_held(ring, cursor.next)
        if slot != NULL:
            return slot
        cursor.next += 1
    return NULL
