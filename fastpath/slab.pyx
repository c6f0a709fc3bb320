"""Packet blocks: two sizes, allocated once. A quarter of the memory holds small blocks (audio).

In ordinary pages: blocks are first used while packets pass, and where memory is new to a virtual
machine the first use of a huge page takes milliseconds. What huge pages would save here is within
the noise: a packet's 20 lines share one page of either kind.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from fastpath.pages cimport pages_give, pages_take


cdef int class_open(block_class_t* blocks, size_t total_bytes, size_t block_bytes) noexcept nogil:
    cdef uint32_t i
    blocks.count = <uint32_t>(total_bytes // block_bytes)
    blocks.memory = <uint8_t*>pages_take(blocks.count, block_bytes, NULL)
    blocks.free = <uint32_t*>calloc(blocks.count, sizeof(uint32_t))
    if blocks.memory == NULL or blocks.free == NULL:
        return -1
    for i in range(blocks.count):
        blocks.free[i] = blocks.count - 1 - i
    blocks.free_count = blocks.count
    return 0


cdef int slab_open(slab_t* slab, size_t total_bytes) noexcept nogil:
    if class_open(&slab.small, total_bytes // 4, SMALL_BLOCK_BYTES) < 0:
        return -1
    return class_open(&slab.large, total_bytes - total_bytes // 4, LARGE_BLOCK_BYTES)


cdef void slab_close(slab_t* slab) noexcept nogil:
    pages_give(slab.small.memory)
    free(slab.small.free)
    pages_give(slab.large.memory)
    free(slab.large.free)
