# What a viewer asks for again, as packets of a stream of its own (RFC 4588).
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    RTX_OSN_BYTES = 2            # the original sequence number, before the payload (RFC 4588 4)

cdef uint32_t rtx_end_header(uint8_t* header, uint32_t header_bytes, uint16_t original) noexcept nogil
