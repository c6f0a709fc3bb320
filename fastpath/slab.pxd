# Fixed-size blocks for packets, two classes, laid out at start and owned by one worker.
from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    SMALL_BLOCK_BYTES = 256
    LARGE_BLOCK_BYTES = 2048
    HEADROOM_BYTES = 64          # largest header written before a payload: 24 + 4 + 8, kept aligned
    SMALL_PAYLOAD_BYTES = 192
    LARGE_BLOCK_BIT = 0x80000000
    NO_BLOCK = 0xFFFFFFFF

ctypedef struct block_class_t:
    uint8_t* memory
    uint32_t* free
    uint32_t free_count
    uint32_t count

ctypedef struct slab_t:
    block_class_t small
    block_class_t large

cdef int slab_open(slab_t* slab, size_t total_bytes) noexcept nogil
cdef void slab_close(slab_t* slab) noexcept nogil


cdef inline uint32_t slab_take(slab_t* slab, uint32_t payload_bytes) noexcept nogil:
    """A block with room for the payload behind the headroom, or NO_BLOCK."""
    if payload_bytes <= SMALL_PAYLOAD_BYTES and slab.small.free_count > 0:
        slab.small.free_count -= 1
        return slab.small.free[slab.small.free_count]
    if slab.large.free_count == 0:
        return NO_BLOCK
    slab.large.free_count -= 1
    return slab.large.free[slab.large.free_count] | LARGE_BLOCK_BIT


cdef inline void slab_give(slab_t* slab, uint32_t block) noexcept nogil:
    if block & LARGE_BLOCK_BIT:
        slab.large.free[slab.large.free_count] = block & ~<uint32_t>LARGE_BLOCK_BIT
        slab.large.free_count += 1
    else:
        slab.small.free[slab.small.free_count] = block
        slab.small.free_count += 1


cdef inline uint8_t* slab_payload(const slab_t* slab, uint32_t block) noexcept nogil:
    if block & LARGE_BLOCK_BIT:
        return (
            slab.large.memory + <size_t>(block & ~<uint32_t>LARGE_BLOCK_BIT) * LARGE_BLOCK_BYTES + HEADROOM_BYTES
        )
    return slab.small.memory + <size_t>block * SMALL_BLOCK_BYTES + HEADROOM_BYTES
