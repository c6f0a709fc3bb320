# What viewers were sent before they skipped something, so that it can be sent again.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

cdef enum:
    SPANS_OF_CURSOR = 32         # chosen: half a second of 60 frames/s of which each other one is dropped
    SPANS_LEAST = 8192           # chosen: of all viewers together; beyond it two for each cursor

ctypedef struct span_t:          # packets of one stream, sent under numbers that follow each other
    int32_t next                 # the one before it, or in the free list
    int32_t stream
    uint32_t stream_generation
    uint32_t first               # stream_seq
    uint32_t end                 # one after the last
    uint32_t timestamp_offset
    uint16_t sequence_offset
    uint8_t payload_type
    uint8_t apart

ctypedef struct span_list_t:
    int32_t newest               # -1: none
    int32_t count

ctypedef struct span_pool_t:
    span_t* entries
    int32_t count
    int32_t fresh                # of these and those behind it none was ever used
    int32_t free                 # first of those given back
    int32_t used

cdef int span_pool_open(span_pool_t* pool, int32_t cursors, int* refused) noexcept nogil
cdef void span_pool_close(span_pool_t* pool) noexcept nogil
cdef void spans_add(span_pool_t* pool, span_list_t* spans, const span_t* span) noexcept nogil
cdef void spans_clear(span_pool_t* pool, span_list_t* spans) noexcept nogil
cdef const span_t* spans_with_number(
    const span_pool_t* pool, const span_list_t* spans, uint16_t number
) noexcept nogil
cdef const span_t* spans_with_packet(
    const span_pool_t* pool, const span_list_t* spans, int32_t stream, uint32_t stream_generation, uint32_t seq
) noexcept nogil
