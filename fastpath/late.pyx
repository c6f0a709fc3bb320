"""What leaves out of order waits here: answers to requests, and packets recovered behind a cursor.

Nearly all links have nothing waiting, and a few have much after a loss: so the places are one
pool's, laid out at start, and a link has only the two ends of its queues.
"""

from libc.stdint cimport int32_t
from fastpath.pages cimport pages_give, pages_take

cdef enum:
    LATE_OF_CURSOR = 4


cdef int late_pool_open(late_pool_t* pool, int32_t cursors, int* refused) noexcept nogil:
    pool.count = LATE_LEAST + LATE_OF_CURSOR * cursors
    pool.fresh = 0
    pool.free = -1
    pool.used = 0
    pool.entries = <late_t*>pages_take(<size_t>pool.count, sizeof(late_t), refused)
    return -1 if pool.entries == NULL else 0


cdef void late_pool_close(late_pool_t* pool) noexcept nogil:
    pages_give(pool.entries)
    pool.entries = NULL


cdef bint late_push(late_pool_t* pool, late_queue_t* queue, const late_t* late) noexcept nogil:
    """False if the pool is empty."""
    cdef int32_t at = pool.free
    if at >= 0:
        pool.free = pool.entries[at].next
    elif pool.fresh < pool.count:
        at = pool.fresh
        pool.fresh += 1
    else:
        return False
    pool.used += 1
    pool.entries[at] = late[0]
    pool.entries[at].next = -1
    if queue.first < 0:
        queue.first = at
    else:
        pool.entries[queue.last].next = at
    queue.last = at
    return True


cdef void late_pop(late_pool_t* pool, late_queue_t* queue, late_t* late) noexcept nogil:
    """The oldest of a queue that is not empty."""
    cdef int32_t at = queue.first
    late[0] = pool.entries[at]
    queue.first = late.next
    pool.entries[at].next = pool.free
    pool.free = at
    pool.used -= 1


cdef int32_t late_drop_answers(late_pool_t* pool, late_queue_t* queue) noexcept nogil:
    """Answers name numbers of the old keys; what a cursor owes is still owed. How many stay."""
    cdef late_queue_t kept
    cdef late_t late
    cdef int32_t count = 0
    kept.first = -1
    kept.last = -1
    while queue.first >= 0:
        late_pop(pool, queue, &late)
        if late.answers == 0 and late_push(pool, &kept, &late):  # into the place just given back
            count += 1
    queue[0] = kept
    return count
