# One subscriber's place in a ring.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.address cimport address_t, sockaddr_in6, socklen_t
from fastpath.ring cimport SLOT_HELD, ring_t, slot_t
from fastpath.view_qoe cimport view_qoe_t

cdef enum CursorState:
    CURSOR_FREE
    CURSOR_ACTIVE
    CURSOR_WAITS_FOR_KEY
    CURSOR_PAUSED                # a viewer whose host refuses its packets

cdef enum:
    NOBODY = -1

cdef enum:
    TOLD_REPORTS = 4             # a second each: longer than any path's round trip

cdef enum ExtensionBit:          # which header extensions a viewer wants (fastpath/rtp_extension)
    EXTENDS_TRANSPORT_CC = 1
    EXTENDS_DELAY = 2

ctypedef struct told_t:          # a sender report that left
    uint32_t middle              # of its NTP time: what a receiver gives back (RFC 3550 6.4.1)
    int64_t at_us                # 0: none

# Two cache lines are all that a packet needs; what is told of it stands behind.
ctypedef struct cursor_t:
    uint32_t generation
    uint8_t state
    uint8_t is_viewer
    uint8_t is_queued            # stands in its link's list of cursors with something to send
    uint8_t has_moved            # to another stream: its timestamps are to be joined to those sent
    int32_t stream
    int32_t link
    uint32_t next                # next stream_seq to send
    uint32_t start               # first stream_seq it may send
    int32_t deficit_bytes        # deficit round robin
    int32_t next_of_stream
    int32_t next_queued
    int32_t previous_queued
    int64_t next_report_us       # sender report to a viewer, clock to a node
    uint64_t packets
    uint64_t bytes
    # plain RTP viewer
    int32_t port
    uint32_t ssrc
    sockaddr_in6 address         # of either family
    socklen_t address_bytes
    uint32_t timestamp_offset    # RTP timestamp = the stream's + this
    uint32_t last_timestamp      # newest sent, and when
    int64_t last_sent_us
    uint16_t sequence_offset     # RTP sequence number = low half of stream_seq + this
    uint8_t payload_type
    uint8_t extensions           # of the RTP header, ExtensionBit: 0 for most
    uint32_t reports
    # what a packet does not need
    int32_t previous_of_stream
    int32_t next_of_link         # all cursors of a link
    int32_t previous_of_link
    int32_t next_in_ssrc_bucket
    int32_t next_in_address_bucket
    address_t peer
    sockaddr_in6 rtcp_address
    socklen_t rtcp_address_bytes # 0: no RTCP
    told_t told[TOLD_REPORTS]    # newest, of a viewer
    # what it reported
    int64_t rtt_us
    uint8_t fraction_lost        # RFC 3550 6.4
    uint8_t transport_cc_id      # of its header extensions
    uint8_t delay_id
    uint8_t has_reported
    uint32_t extended_highest    # of its newest report
    int32_t cumulative_lost
    uint32_t jitter
    uint64_t reports_received
    uint64_t nacked
    uint64_t resent
    uint64_t keys_wanted
    # ICMP refused it
    int64_t resume_us
    int64_t paused_us
    uint32_t pauses
    uint64_t paused_times
    uint64_t late_packets
    uint64_t lapped
    int64_t began_us             # what came before it left when it could, which is no delay
    uint32_t rtx_ssrc            # what a viewer asks for again goes under this
    uint16_t rtx_number          # next
    uint8_t rtx_payload_type     # 0: under its own number, as at first
    uint8_t is_copy              # to a node that gets the stream from elsewhere too: packets are marked
    view_qoe_t qoe               # of a viewer: what its player makes of what leaves
    uint8_t apart[8]             # seven lines in all

cdef bint cursor_begin(cursor_t* cursor, const ring_t* ring, bint is_video) noexcept nogil
cdef bint cursor_begin_at(cursor_t* cursor, const ring_t* ring, uint32_t seq) noexcept nogil
cdef slot_t* cursor_seek(cursor_t* cursor, const ring_t* ring, bint is_video) noexcept nogil


cdef inline bint cursor_owes(const cursor_t* cursor, uint32_t seq) noexcept nogil:
    """A packet just recovered at `seq`: has the cursor passed its place without sending it?"""
    return (
        cursor.state == CURSOR_ACTIVE
        and <int32_t>(seq - cursor.start) >= 0
        and <int32_t>(seq - cursor.next) < 0
    )


cdef inline slot_t* cursor_peek(cursor_t* cursor, const ring_t* ring, bint is_video) noexcept nogil:
    """The next slot to send, or NULL. Usual are a held one, and the head."""
    cdef slot_t* slot
    if cursor.state == CURSOR_ACTIVE:
        if cursor.next == ring.head:
            return NULL
        slot = &ring.slots[cursor.next & ring.mask]
        if slot.state == SLOT_HELD and slot.stream_seq == cursor.next:
            return slot
    return cursor_seek(cursor, ring, is_video)
