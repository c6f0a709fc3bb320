# What is to happen when: one heap for the whole world, and the datagrams that are under way.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    BLOCK_BYTES = 1536           # no path carries a larger datagram

cdef enum Happening:
    ARRIVAL                      # of a datagram: a source and target host, size, block
    HOST_TIMER                   # target: whose
    ENCODER_VIDEO                # target: encoder
    ENCODER_AUDIO
    TO_VIEWER                    # a datagram over an access path: source host, target viewer
    FROM_VIEWER                  # source viewer, target host
    FROM_ENCODER                 # source encoder, target host
    TO_ENCODER                   # source host, target encoder
    VIEWER_TIMER                 # target: whose

ctypedef struct happening_t:
    int64_t time_us
    uint64_t number              # order of those at the same time
    uint32_t block
    uint16_t kind
    uint16_t size
    int32_t source
    int32_t target
    int32_t port                 # the receiver's, over an access path: of UDP, or an engine's index

ctypedef struct queue_t:
    happening_t* heap
    int64_t count
    int64_t limit
    uint64_t number
    uint8_t** slabs              # of 1,024 blocks
    uint32_t slab_count
    uint32_t slab_limit
    uint32_t* free_blocks
    int64_t free_count

cdef void queue_close(queue_t* queue) noexcept nogil
cdef bint queue_push(queue_t* queue, const happening_t* what) noexcept nogil
cdef void queue_pop(queue_t* queue, happening_t* what) noexcept nogil
cdef int64_t queue_take_block(queue_t* queue) noexcept nogil
cdef void queue_give_block(queue_t* queue, uint32_t block) noexcept nogil
cdef uint8_t* queue_block(queue_t* queue, uint32_t block) noexcept nogil
