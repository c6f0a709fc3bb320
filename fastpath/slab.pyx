"""Packet blocks: two sizes, allocated once. A quarter of the memory holds small blocks (audio)."""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free


cdef int class_open(block_class_t* blocks, size_t total_bytes, size_t block_bytes) noexcept nogil:
    cdef uint32_t i
    blocks.count = <uint32_t>(total_bytes // block_bytes)
    blocks.memory = <uint8_t*>calloc(blocks.count, block_bytes)
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
    free(slab.small.memory)
    free(slab.small.free)
    free(slab.large.memory)
    free(slab.large.free)


cdef uint32_t slab_take(slab_t* slab, uint32_t payload_bytes) noexcept nogil:
    """A block with room for the payload behind the headroom, or NO_BLOCK."""
    if payload_bytes <= SMALL_PAYLOAD_BYTES and slab.small.free_count > 0:
        slab.small.free_count -= 1
        return slab.small.free[slab.small.free_count]
    if slab.large.free_count == 0:
        return NO_BLOCK
    slab.large.free_count -= 1
    return slab.large.free[slab.large.free_count] | LARGE_BLOCK_BIT


cdef void slab_give(slab_t* slab, uint32_t block) noexcept nogil:
    if block & LARGE_BLOCK_BIT:
        slab.large.free[slab.large.free_count] = block & ~<uint32_t>LARGE_BLOCK_BIT
        slab.large.free_count += 1
    else:
        slab.small.free[slab.small.free_count] = block
        slab.small.free_count += 1


cdef uint8_t* slab_payload(const slab_t* slab, uint32_t block) noexcept nogil:
    if block & LARGE_BLOCK_BIT:
        return (
            slab.large.memory + <size_t>(block & ~<uint32_t>LARGE_BLOCK_BIT) * LARGE_BLOCK_BYTES + HEADROOM_BYTES
        )
    return slab.small.memory + <size_t>block * SMALL_BLOCK_BYTES + HEADROOM_BYTES
