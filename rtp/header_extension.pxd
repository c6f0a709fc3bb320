# Elements of header extensions (RFC 8285 4), read in place.
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t
from rtp.big_endian cimport load_be16

cdef enum:
    ONE_BYTE_FORM = 0xBEDE       # 4.2
    TWO_BYTE_FORM = 0x1000       # 4.3, lowest four bits free
    HAS_EXTENSION = 0x10         # RFC 3550 5.1: the X bit
    CSRC_COUNT = 0x0F
    STOPS_READING = 15           # 4.2: this id


cdef inline const uint8_t* find_extension(
    const uint8_t* data, size_t header_bytes, uint8_t extension_id, size_t* found_bytes
) noexcept nogil:
    """The element with this id of a packet whose header was parsed (`header_bytes`: with CSRCs and
    extension), in either form; NULL if there is none."""
    cdef size_t at = 12 + 4 * <size_t>(data[0] & CSRC_COUNT)
    cdef size_t head_bytes, element_bytes
    cdef uint8_t element_id
    cdef uint16_t profile
    if not data[0] & HAS_EXTENSION or at + 4 > header_bytes:
        return NULL
    profile = load_be16(data + at)
    if profile != ONE_BYTE_FORM and profile & 0xFFF0 != TWO_BYTE_FORM:
        return NULL
    head_bytes = 1 if profile == ONE_BYTE_FORM else 2
    at += 4
    while at < header_bytes:
        if data[at] == 0:        # padding
            at += 1
            continue
        if at + head_bytes > header_bytes:
            return NULL
        if profile == ONE_BYTE_FORM:
            element_id = data[at] >> 4
            element_bytes = (data[at] & 0x0F) + 1
            if element_id == STOPS_READING:
                return NULL
        else:
            element_id = data[at]
            element_bytes = data[at + 1]
        at += head_bytes
        if element_bytes > header_bytes - at:
            return NULL
        if element_id == extension_id:
            found_bytes[0] = element_bytes
            return data + at
        at += element_bytes
    return NULL


cdef inline bint read_extension(
    const uint8_t* data, size_t header_bytes, uint8_t extension_id, uint16_t* value
) noexcept nogil:
    """The first two bytes of an element. False if it is not there or shorter."""
    cdef size_t found_bytes = 0
    cdef const uint8_t* found = find_extension(data, header_bytes, extension_id, &found_bytes)
    if found == NULL or found_bytes < 2:
        return False
    value[0] = load_be16(found)
    return True
