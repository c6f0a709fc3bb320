"""Frame marks of one Opus RTP payload (RFC 7587).

Each packet is one whole frame that a decoder can begin with, so all have the same marks; the first
octet (TOC, RFC 6716 3.1) must be there. Out: marks, or -1 for an empty payload.
"""

from libc.stdint cimport uint8_t

from rtp.payload.marks cimport MARK_FRAME_END, MARK_FRAME_START, MARK_KEY


cdef int opus_marks(const uint8_t* payload, size_t size) noexcept nogil:
    if size < 1:
        return -1
    return MARK_FRAME_START | MARK_FRAME_END | MARK_KEY


def marks(const uint8_t[::1] payload not None):
    cdef size_t size = payload.shape[0]
    cdef int found = opus_marks(&payload[0] if size else NULL, size)
    return None if found < 0 else found
