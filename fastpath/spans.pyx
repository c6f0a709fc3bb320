"""A viewer's numbers go on without a gap over what it is not sent: dropped frames, a jump to a key
frame, a change of stream. So one number means another packet after each of these, and a NACK has to be
mapped back. A span is what lies between two of them; the one that goes on is the cursor itself.

Most viewers never skip anything, and some do all the time: the places are one pool's, laid out at
start. A viewer keeps its newest ones; where the pool is used up, it gives its oldest for the next.
"""

from libc.stdint cimport int32_t, uint16_t, uint32_t
from fastpath.pages cimport pages_give, pages_take

cdef enum:
    SPANS_OF_EACH = 2


cdef int span_pool_open(span_pool_t* pool, int32_t cursors, int* refused) noexcept nogil:
    pool.count = SPANS_LEAST + SPANS_OF_EACH * cursors
    pool.fresh = 0
    pool.free = -1
    pool.used = 0
    pool.entries = <span_t*>pages_take(<size_t>pool.count, sizeof(span_t), refused)
    return -1 if pool.entries == NULL else 0


cdef void span_pool_close(span_pool_t* pool) noexcept nogil:
    pages_give(pool.entries)
    pool.entries = NULL


cdef int32_t take(span_pool_t* pool) noexcept nogil:
    cdef int32_t at = pool.free
    if at >= 0:
        pool.free = pool.entries[at].next
    elif pool.fresh < pool.count:
        at = pool.fresh
        pool.fresh += 1
    else:
        return -1
    pool.used += 1
    return at


cdef void give(span_pool_t* pool, int32_t at) noexcept nogil:
    pool.entries[at].next = pool.free
    pool.free = at
    pool.used -= 1


cdef void forget_oldest(span_pool_t* pool, span_list_t* spans) noexcept nogil:
    cdef int32_t* at = &spans.newest
    if spans.count == 0:
        return
    while pool.entries[at[0]].next >= 0:
        at = &pool.entries[at[0]].next
    give(pool, at[0])
    at[0] = -1
    spans.count -= 1


cdef void spans_add(span_pool_t* pool, span_list_t* spans, const span_t* span) noexcept nogil:
    """As the newest; the oldest goes where there are as many as there may be."""
    cdef int32_t at
    if spans.count >= SPANS_OF_CURSOR or (pool.free < 0 and pool.fresh == pool.count):
        forget_oldest(pool, spans)
    at = take(pool)
    if at < 0:
        return
    pool.entries[at] = span[0]
    pool.entries[at].next = spans.newest
    spans.newest = at
    spans.count += 1


cdef void spans_clear(span_pool_t* pool, span_list_t* spans) noexcept nogil:
    while spans.count > 0:
        forget_oldest(pool, spans)


cdef const span_t* spans_with_number(
    const span_pool_t* pool, const span_list_t* spans, uint16_t number
) noexcept nogil:
    """The newest one in which this RTP sequence number was used, or NULL."""
    cdef int32_t at = spans.newest
    cdef const span_t* span
    while at >= 0:
        span = &pool.entries[at]
        if <uint16_t>(<uint16_t>span.end + span.sequence_offset - 1 - number) < span.end - span.first:
            return span
        at = span.next
    return NULL


cdef const span_t* spans_with_packet(
    const span_pool_t* pool, const span_list_t* spans, int32_t stream, uint32_t stream_generation, uint32_t seq
) noexcept nogil:
    """The one that this packet of a stream belongs to, or NULL."""
    cdef int32_t at = spans.newest
    cdef const span_t* span
    while at >= 0:
        span = &pool.entries[at]
        if (
            span.stream == stream and span.stream_generation == stream_generation
            and seq - span.first < span.end - span.first
        ):
            return span
        at = span.next
    return NULL
