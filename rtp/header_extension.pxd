# Header extensions in the one-byte form (RFC 8285 4.2), read in place.
from libc.stdint cimport uint8_t, uint16_t
from rtp.big_endian cimport load_be16

cdef enum:
    ONE_BYTE_FORM = 0xBEDE
    HAS_EXTENSION = 0x10         # RFC 3550 5.1: the X bit
    CSRC_COUNT = 0x0F
    STOPS_READING = 15           # RFC 8285 4.2: this id


cdef inline bint read_extension(
    const uint8_t* data, size_t header_bytes, uint8_t extension_id, uint16_t* value
) noexcept nogil:
    """The first two bytes of an element, of a packet whose header was parsed (`header_bytes`: with CSRCs
    and extension). False if it is not there or shorter."""
    cdef size_t at = 12 + 4 * <size_t>(data[0] & CSRC_COUNT)
    cdef size_t length
    if not data[0] & HAS_EXTENSION or at + 4 > header_bytes or load_be16(data + at) != ONE_BYTE_FORM:
        return False
    at += 4
    while at < header_bytes and data[at] >> 4 != STOPS_READING:
        length = (data[at] & 0x0F) + 1
        if data[at] == 0:        # padding
            length = 0
        if at + 1 + length > header_bytes:
            return False
        if length >= 2 and data[at] >> 4 == extension_id:
            value[0] = load_be16(data + at + 1)
            return True
        at += 1 + length
    return False
