# An engine fed from memory: valid datagrams of many streams, made natively, through the engine's own
# receive path. For measurements and for fuzzing; no socket is needed.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from fastpath.address cimport address_t
from fastpath.engine cimport Engine
from fastpath.siphash cimport siphash_key_t
from fastpath.worker cimport batch_t, transmit_t, worker_t

cdef enum:
    FEED_BUFFER_BYTES = 65536    # as socket_io's: what one recvmmsg entry may hold
    BATCH_RANGES = 7             # 1, 2, 3-4, 5-8, .. 33-64 packets

ctypedef struct source_t:        # the far end of one link
    int32_t port
    address_t address
    siphash_key_t key
    uint64_t hop_seq             # next
    int32_t buffer               # of this turn that takes more of its packets; -1: none

ctypedef struct fed_stream_t:
    uint32_t stream_id
    int32_t source
    uint32_t stream_seq          # next
    uint32_t bursts              # made so far

ctypedef struct feed_buffer_t:   # as the kernel coalesces them: one source, equal sizes
    uint8_t* data
    int32_t source
    uint32_t used
    uint32_t packets

cdef struct feed_t
ctypedef void (*engine_turn_t)(feed_t* feed) noexcept nogil
# Another relay in the engine's place: one buffer, and the end of a turn.
ctypedef void (*other_take_t)(void* relay, const uint8_t* data, uint32_t size, uint32_t segment_bytes) noexcept nogil
ctypedef void (*other_send_t)(void* relay) noexcept nogil

cdef struct feed_t:
    worker_t* worker
    source_t* sources
    int32_t source_count
    fed_stream_t* streams
    int32_t stream_count
    int32_t next_stream
    feed_buffer_t* buffers
    int32_t buffer_count         # filled in this turn
    int32_t buffer_limit
    bint is_out_of_memory
    uint32_t datagram_bytes
    int32_t burst
    int32_t bursts_a_turn
    uint32_t bursts_a_gop
    int64_t now_us
    int64_t turn_us              # 0: the machine's monotonic clock
    engine_turn_t engine_turn
    void* other
    other_take_t other_take
    other_send_t other_send
    bint sends
    void* socket_context         # socket_io's own, where packets really leave
    # counters
    uint64_t turns
    uint64_t packets_in
    uint64_t packets_out
    uint64_t others_out
    uint64_t batches
    uint64_t batch_ranges[BATCH_RANGES]
    int64_t engine_ns
    int64_t clock_ns             # what reading the clock adds to each reading of a span

cdef void make_packet(source_t* source, fed_stream_t* stream, uint8_t marks, uint32_t size, uint8_t* data) noexcept nogil
cdef void make_turn(feed_t* feed) noexcept nogil
cdef void tag_datagram(uint8_t* data, uint32_t header_bytes, uint32_t size, uint64_t hop_seq, const siphash_key_t* key) noexcept nogil
cdef void hand_over(
    feed_t* feed, const source_t* source, const uint8_t* data, uint32_t size, uint32_t segment_bytes
) noexcept nogil


@cython.final
cdef class MemoryFeed:
    cdef feed_t feed
    cdef Engine engine
    cdef transmit_t own_transmit
    cdef void* own_context

    cdef int take_over(self) except -1
    cdef void give_back(self) noexcept
