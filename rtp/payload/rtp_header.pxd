from libc.stdint cimport uint8_t, uint16_t, uint32_t


# RFC 3550 5.1. header_bytes: fixed header, CSRC and extension; payload_bytes: without padding.
ctypedef struct rtp_header_t:
    uint8_t payload_type
    bint marker
    uint16_t sequence_number
    uint32_t timestamp
    uint32_t ssrc
    uint16_t header_bytes
    uint16_t payload_bytes


# Why a packet was refused; 0 if it was not.
cdef enum:
    RTP_HEADER_OK = 0
    RTP_TOO_SHORT = -1
    RTP_TOO_LONG = -2
    RTP_BAD_VERSION = -3
    RTP_CSRC_TRUNCATED = -4
    RTP_EXTENSION_TRUNCATED = -5
    RTP_BAD_PADDING = -6


# `data` is borrowed for the call. `header` is written only if RTP_HEADER_OK is returned.
cdef int parse_rtp_header(const uint8_t* data, size_t size, rtp_header_t* header) noexcept nogil

# The datagram is RTCP, on a port that RTP shares with it (RFC 5761 4).
cdef bint is_rtcp(const uint8_t* data, size_t size) noexcept nogil
