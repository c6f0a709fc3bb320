# Packets that leave a link out of order, in queues over one bounded pool.
from libc.stdint cimport int32_t, uint32_t, uint64_t

cdef enum:
    LATE_LEAST = 8192            # chosen: several links' queues; beyond it four for each cursor

ctypedef struct late_t:
    int32_t next                 # behind it in its queue, or in the free list
    int32_t cursor               # whose packet; NOBODY for an answer to a request
    uint32_t cursor_generation
    int32_t stream
    uint32_t stream_generation
    uint32_t stream_seq
    uint64_t answers             # hop_seq this repairs; of a viewer's packet when it asked, us; or 0

ctypedef struct late_queue_t:
    int32_t first                # -1: nothing waits
    int32_t last

ctypedef struct late_pool_t:
    late_t* entries
    int32_t count
    int32_t fresh                # of these and those behind it none was ever used
    int32_t free                 # first of those given back
    int32_t used

cdef int late_pool_open(late_pool_t* pool, int32_t cursors, int* refused) noexcept nogil
cdef void late_pool_close(late_pool_t* pool) noexcept nogil
cdef bint late_push(late_pool_t* pool, late_queue_t* queue, const late_t* late) noexcept nogil
cdef void late_pop(late_pool_t* pool, late_queue_t* queue, late_t* late) noexcept nogil
cdef int32_t late_drop_answers(late_pool_t* pool, late_queue_t* queue) noexcept nogil
