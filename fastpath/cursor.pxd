# One subscriber's place in a ring.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.address cimport sockaddr_storage, socklen_t
from fastpath.ring cimport ring_t, slot_t

cdef enum CursorState:
    CURSOR_FREE
    CURSOR_ACTIVE
    CURSOR_WAITS_FOR_KEY

cdef enum:
    NOBODY = -1

ctypedef struct cursor_t:
    uint32_t generation
    uint8_t state
    bint is_viewer
    bint is_queued               # stands in its link's list of cursors with something to send
    int32_t stream
    int32_t link
    uint32_t next                # next stream_seq to send
    uint32_t start               # first stream_seq it may send
    int32_t deficit_bytes        # deficit round robin
    int32_t next_of_stream
    int32_t previous_of_stream
    int32_t next_of_link         # all cursors of a link
    int32_t previous_of_link
    int32_t next_queued
    int32_t previous_queued
    # plain RTP viewer
    int32_t port
    socklen_t address_bytes
    sockaddr_storage address
    uint32_t ssrc
    uint8_t payload_type
    uint16_t sequence_offset     # RTP sequence number = low half of stream_seq + this
    uint64_t packets
    uint64_t bytes
    uint64_t late_packets
    uint64_t lapped

cdef bint cursor_begin(cursor_t* cursor, const ring_t* ring, bint is_video) noexcept nogil
cdef slot_t* cursor_peek(cursor_t* cursor, const ring_t* ring, bint is_video) noexcept nogil
cdef bint cursor_owes(const cursor_t* cursor, uint32_t seq) noexcept nogil
