"""A binary heap of what is to happen, by time and then in the order it was put in, and a store of
equal blocks for datagrams. Both grow as needed and give nothing back before the end.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc

cdef enum:
    SLAB_BLOCKS = 1024
    SLAB_SHIFT = 10


cdef void queue_close(queue_t* queue) noexcept nogil:
    cdef uint32_t i
    for i in range(queue.slab_count):
        free(queue.slabs[i])
    free(queue.slabs)
    free(queue.free_blocks)
    free(queue.heap)


cdef bint is_before(const happening_t* a, const happening_t* b) noexcept nogil:
    return a.time_us < b.time_us or (a.time_us == b.time_us and a.number < b.number)


cdef bint queue_push(queue_t* queue, const happening_t* what) noexcept nogil:
    """False: no memory. Its number is given here."""
    cdef happening_t* grown
    cdef happening_t added = what[0]
    cdef int64_t at, parent
    if queue.count == queue.limit:
        grown = <happening_t*>realloc(queue.heap, (2 * queue.limit + 1024) * sizeof(happening_t))
        if grown == NULL:
            return False
        queue.heap = grown
        queue.limit = 2 * queue.limit + 1024
    added.number = queue.number
    queue.number += 1
    at = queue.count
    queue.count += 1
    while at > 0:
        parent = (at - 1) >> 1
        if not is_before(&added, &queue.heap[parent]):
            break
        queue.heap[at] = queue.heap[parent]
        at = parent
    queue.heap[at] = added
    return True


cdef void queue_pop(queue_t* queue, happening_t* what) noexcept nogil:
    """The first one; there must be one."""
    cdef happening_t last
    cdef int64_t at = 0
    cdef int64_t child
    what[0] = queue.heap[0]
    queue.count -= 1
    last = queue.heap[queue.count]
    while 2 * at + 1 < queue.count:
        child = 2 * at + 1
        if child + 1 < queue.count and is_before(&queue.heap[child + 1], &queue.heap[child]):
            child += 1
        if not is_before(&queue.heap[child], &last):
            break
        queue.heap[at] = queue.heap[child]
        at = child
    queue.heap[at] = last


cdef bint add_slab(queue_t* queue) noexcept nogil:
    cdef uint8_t** slabs
    cdef uint32_t* blocks
    cdef uint8_t* slab
    cdef uint32_t limit
    cdef uint32_t i
    if queue.slab_count == queue.slab_limit:
        limit = 2 * queue.slab_limit + 16
        slabs = <uint8_t**>realloc(queue.slabs, limit * sizeof(uint8_t*))
        if slabs == NULL:
            return False
        queue.slabs = slabs
        blocks = <uint32_t*>realloc(queue.free_blocks, <size_t>limit * SLAB_BLOCKS * sizeof(uint32_t))
        if blocks == NULL:
            return False
        queue.free_blocks = blocks
        queue.slab_limit = limit
    slab = <uint8_t*>malloc(SLAB_BLOCKS * BLOCK_BYTES)
    if slab == NULL:
        return False
    queue.slabs[queue.slab_count] = slab
    for i in range(SLAB_BLOCKS):
        queue.free_blocks[queue.free_count] = (queue.slab_count << SLAB_SHIFT) + i
        queue.free_count += 1
    queue.slab_count += 1
    return True


cdef int64_t queue_take_block(queue_t* queue) noexcept nogil:
    """-1: no memory."""
    if queue.free_count == 0 and not add_slab(queue):
        return -1
    queue.free_count -= 1
    return queue.free_blocks[queue.free_count]


cdef void queue_give_block(queue_t* queue, uint32_t block) noexcept nogil:
    queue.free_blocks[queue.free_count] = block
    queue.free_count += 1


cdef uint8_t* queue_block(queue_t* queue, uint32_t block) noexcept nogil:
    return queue.slabs[block >> SLAB_SHIFT] + <size_t>(block & (SLAB_BLOCKS - 1)) * BLOCK_BYTES
