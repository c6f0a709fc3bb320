# What a viewer says back: receiver reports, and which packets it misses.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from lab.virtual.draws cimport draws_t
from lab.virtual.viewer_arrivals cimport viewer_arrivals_t
from rtp.payload.rtp_header cimport rtp_header_t

cdef enum Wanted:                # flags
    FEEDBACK_REPORTS = 1
    FEEDBACK_NACK = 2
    FEEDBACK_TRANSPORT_CC = 4
    FEEDBACK_PLI = 8

cdef enum:
    MAX_MISSING = 512            # noted at a time; what is missing beyond is not asked for
    FEEDBACK_BYTES_MAX = 1200    # of a datagram
    TRANSPORT_CC_ID = 3          # of the header extension, as viewers here ask for it

ctypedef struct missing_t:
    uint16_t number
    uint8_t tries
    int64_t next_us              # when it is asked for (again)

ctypedef struct heard_t:         # one RTP source
    uint32_t ssrc                # 0: none yet
    uint64_t first               # sequence numbers, extended
    uint64_t highest
    uint64_t received
    uint64_t expected_before     # at the last report
    uint64_t received_before
    int64_t jitter               # RTP clock units, times 16 (RFC 3550 A.8)
    int64_t transit
    uint32_t last_sr
    int64_t last_sr_us
    bint has_given_up            # on a packet, and has not said so
    int64_t key_asked_us
    uint32_t missing_count
    missing_t missing[MAX_MISSING]

ctypedef struct viewer_feedback_t:
    uint8_t wanted
    uint32_t ssrc                # its own
    draws_t draws
    int64_t report_us            # when the next report is due; -1: nothing has come yet
    int64_t timer_us             # the caller's: of its newest timer
    heard_t heard[2]             # video, audio
    viewer_arrivals_t arrivals
    uint64_t asked               # packets, each time counted
    uint64_t reports

cdef viewer_feedback_t* feedback_open(uint8_t wanted, uint64_t seed) noexcept nogil
cdef void feedback_join(viewer_feedback_t* feedback) noexcept nogil
cdef void feedback_on_rtp(viewer_feedback_t* feedback, bint is_video, bint is_again, const rtp_header_t* rtp, int64_t now_us) noexcept nogil
cdef void feedback_on_packet(viewer_feedback_t* feedback, const uint8_t* data, uint32_t size, int64_t now_us) noexcept nogil
cdef uint32_t feedback_write_arrivals(viewer_feedback_t* feedback, int64_t now_us, uint8_t* target) noexcept nogil
cdef void feedback_on_rtcp(viewer_feedback_t* feedback, bint is_video, const uint8_t* data, uint32_t size, int64_t now_us) noexcept nogil
cdef int64_t feedback_next_us(const viewer_feedback_t* feedback) noexcept nogil
cdef bint feedback_is_report_due(const viewer_feedback_t* feedback, int64_t now_us) noexcept nogil
cdef void feedback_reported(viewer_feedback_t* feedback, int64_t now_us) noexcept nogil
cdef uint32_t feedback_write(viewer_feedback_t* feedback, bint is_video, bint with_report, int64_t now_us, uint8_t* target) noexcept nogil
