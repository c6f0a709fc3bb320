# RTCP read and written per packet; pointers are borrowed for the call, or for the datagram's life.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t


# RFC 3550 12.1, RFC 4585 6.1.
cdef enum:
    RTCP_SR = 200
    RTCP_RR = 201
    RTCP_SDES = 202
    RTCP_BYE = 203
    RTCP_APP = 204
    RTCP_RTPFB = 205
    RTCP_PSFB = 206

# Formats of RTPFB and PSFB, in `count`: RFC 4585 6.2.1 and 6.3.1, RFC 5104 4.3.1.
cdef enum:
    RTPFB_NACK = 1
    PSFB_PLI = 1
    PSFB_FIR = 4

cdef enum:
    RTCP_HEADER_BYTES = 4
    SENDER_INFO_BYTES = 24       # SSRC of the sender and sender info, RFC 3550 6.4.1
    REPORT_BLOCK_BYTES = 24
    FEEDBACK_BYTES = 8           # both SSRCs, RFC 4585 6.1
    NACK_ITEM_BYTES = 4          # pid and blp
    FIR_ITEM_BYTES = 8           # SSRC, command number, three octets reserved

# Room that the writers need.
cdef enum:
    WRITTEN_SR_BYTES = 28
    WRITTEN_RR_BYTES = 32        # with its block; 8 without
    WRITTEN_PLI_BYTES = 12
    MAX_CNAME_BYTES = 32         # ours: an SDES within 44 bytes
    WRITTEN_CNAME_BYTES = 44     # with a CNAME of MAX_CNAME_BYTES

# One packet of a compound. `count`: report count, or the format of feedback.
ctypedef struct rtcp_packet_t:
    uint8_t packet_type
    uint8_t count
    const uint8_t* body          # after the 4-byte header
    size_t body_bytes            # without padding

# RFC 3550 6.4.1; `ntp`: 64 bits, see rtp/ntp.py.
ctypedef struct sender_info_t:
    uint32_t ssrc
    uint64_t ntp
    uint32_t timestamp
    uint32_t packet_count
    uint32_t octet_count

# RFC 3550 6.4.1; fraction_lost in 1/256, jitter in RTP clock units, the last two as 16.16 seconds.
ctypedef struct report_block_t:
    uint32_t ssrc
    uint8_t fraction_lost
    int32_t cumulative_lost      # 24 bits, signed
    uint32_t extended_highest
    uint32_t jitter
    uint32_t last_sr
    uint32_t delay_since_last_sr

# RFC 4585 6.1; `fci`: feedback control information, its layout is the format's.
ctypedef struct feedback_t:
    uint32_t sender_ssrc
    uint32_t media_ssrc
    const uint8_t* fci
    size_t fci_bytes


# The packet at `at[0]`, which goes on to the next: 1; 0 at the end; -1 malformed (`at` stays).
cdef int rtcp_next(
    const uint8_t* data, size_t size, size_t* at, rtcp_packet_t* packet
) noexcept nogil

# The datagram holds at least one packet and none is malformed: one bad packet spoils it all.
cdef bint rtcp_is_whole(const uint8_t* data, size_t size) noexcept nogil

# False if it is no SR or shorter than its report count says.
cdef bint read_sender_report(const rtcp_packet_t* packet, sender_info_t* info) noexcept nogil

# How many report blocks an SR or RR holds; 0 for others, and if it is shorter than its count says.
cdef int report_blocks(const rtcp_packet_t* packet) noexcept nogil

# False if `index` is not in 0 .. report_blocks() - 1.
cdef bint read_report_block(
    const rtcp_packet_t* packet, int index, report_block_t* block
) noexcept nogil

# False if it is neither RTPFB nor PSFB, or too short for both SSRCs.
cdef bint read_feedback(const rtcp_packet_t* packet, feedback_t* feedback) noexcept nogil

# Each writes one whole packet and returns its bytes; `out` has the room named above.
cdef size_t write_sender_report(
    uint8_t* out, uint32_t ssrc, uint64_t ntp, uint32_t timestamp, uint32_t packet_count,
    uint32_t octet_count,
) noexcept nogil

# `block` may be NULL; its cumulative_lost saturates at 24 bits (RFC 3550 A.3).
cdef size_t write_receiver_report(
    uint8_t* out, uint32_t ssrc, const report_block_t* block
) noexcept nogil

# SDES with one CNAME. 0, and nothing written, unless cname_bytes is in 1 .. MAX_CNAME_BYTES.
cdef size_t write_cname(
    uint8_t* out, uint32_t ssrc, const uint8_t* cname, size_t cname_bytes
) noexcept nogil

cdef size_t write_pli(uint8_t* out, uint32_t sender_ssrc, uint32_t media_ssrc) noexcept nogil

# Generic NACK for these numbers (at least one), in rising order; 12 bytes and 4 for each at most.
cdef size_t write_nack(
    uint8_t* out, uint32_t sender_ssrc, uint32_t media_ssrc, const uint16_t* numbers, int32_t count
) noexcept nogil
