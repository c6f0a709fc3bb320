# One subscriber's place in a ring.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.address cimport address_t, sockaddr_in6, socklen_t
from fastpath.ring cimport SLOT_HELD, ring_t, slot_t
from fastpath.spans cimport span_list_t, span_pool_t, span_t
from fastpath.view_qoe cimport view_qoe_t

cdef enum CursorState:
    CURSOR_FREE
    CURSOR_ACTIVE                # sends what is next
    # of viewers' video, for which fastpath/drop looks before each packet
    CURSOR_CATCHES_UP            # sends what was here before it came
    CURSOR_BEHIND                # its link had no room for it, or it is about to change its stream
    CURSOR_SKIPS_FRAME           # the rest of a frame that no other refers to
    CURSOR_SKIPS_PREDICTED       # all up to the next key frame
    CURSOR_SKIPS_GOP             # the same, a key frame or the rest of a frame among it
    # nothing is sent
    CURSOR_WAITS_FOR_KEY
    CURSOR_WAITS_FOR_NEXT_KEY    # one that is not here yet
    CURSOR_PAUSED                # a viewer whose host refuses its packets

cdef enum StartAt:               # values of fastpath.engine's START
    START_AT_KEY = 0             # the newest complete key frame
    START_AT_GOP = 1             # the one before it: a whole GoP
    START_LIVE = 2               # no cache: the next key frame that comes

cdef enum DropKind:
    DROP_DISCARDABLE
    DROP_PREDICTED
    DROP_GOP
    DROP_KINDS

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
    int32_t switch_to            # stream it goes on with when that can be done unseen; or NOBODY
    uint64_t paused_times
    uint64_t late_packets
    uint64_t lapped
    int64_t began_us             # what came before it left when it could, which is no delay
    uint32_t rtx_ssrc            # what a viewer asks for again goes under this
    uint16_t rtx_number          # next
    uint8_t rtx_payload_type     # 0: under its own number, as at first
    uint8_t is_copy              # to a node that gets the stream from elsewhere too: packets are marked
    view_qoe_t qoe               # of a viewer: what its player makes of what leaves
    # what a viewer was not sent
    uint32_t stream_generation
    span_list_t spans            # what it was sent before that
    uint32_t skipped_from        # where the skip under way began
    uint32_t lag_bytes           # as last looked at, as is lag_us
    int64_t lag_us
    int64_t told_us              # that it lags, and how many packets it had not been sent then
    uint32_t told_dropped
    uint8_t switch_payload_type  # of switch_to
    uint8_t has_switched         # what it catches up with is of a stream that it went on with unseen
    uint64_t dropped[DROP_KINDS] # packets; eight lines in all

cdef void cursor_span(const cursor_t* cursor, span_t* span) noexcept nogil
cdef void cursor_close_span(cursor_t* cursor, span_pool_t* pool) noexcept nogil
cdef void cursor_jump(cursor_t* cursor, span_pool_t* pool, uint32_t seq) noexcept nogil
cdef bint cursor_begin(
    cursor_t* cursor, const ring_t* ring, span_pool_t* pool, bint is_video, int start_at
) noexcept nogil
cdef bint cursor_begin_at(cursor_t* cursor, const ring_t* ring, uint32_t seq) noexcept nogil
cdef slot_t* cursor_seek(cursor_t* cursor, const ring_t* ring, span_pool_t* pool, bint is_video) noexcept nogil
cdef uint32_t cursor_lag_bytes(const cursor_t* cursor, const ring_t* ring, uint64_t stream_bytes) noexcept nogil
cdef int64_t cursor_lag_us(const cursor_t* cursor, const ring_t* ring, int64_t now_us) noexcept nogil


cdef inline bint cursor_stands(const cursor_t* cursor) noexcept nogil:
    """It has a place in its ring, from which it goes on."""
    return CURSOR_ACTIVE <= cursor.state <= CURSOR_SKIPS_GOP


cdef inline bint cursor_owes(const cursor_t* cursor, uint32_t seq) noexcept nogil:
    """A packet just recovered at `seq`: has the cursor passed its place without sending it?"""
    return (
        cursor_stands(cursor)
        and <int32_t>(seq - cursor.start) >= 0
        and <int32_t>(seq - cursor.next) < 0
    )


cdef inline bint cursor_peek(const cursor_t* cursor, const ring_t* ring, slot_t** slot) noexcept nogil:
    """The usual cases: a held packet is next, or (NULL) the head. False: it takes a look."""
    if cursor.state != CURSOR_ACTIVE:
        return False
    slot[0] = NULL
    if cursor.next == ring.head:
        return True
    slot[0] = &ring.slots[cursor.next & ring.mask]
    return slot[0].state == SLOT_HELD and slot[0].stream_seq == cursor.next
