# What a viewer asks for again, as packets of a stream of its own (RFC 4588).
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    RTX_OSN_BYTES = 2            # the original sequence number, before the payload (RFC 4588 4)

cdef uint32_t rtx_write_header(
    const uint8_t* packet, uint32_t size, uint8_t* header, uint32_t room, uint16_t original, uint32_t* payload_bytes
) noexcept nogil
