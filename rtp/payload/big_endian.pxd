# Loads in network byte order; the caller has checked that the bytes are there.
from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef inline uint16_t load_be16(const uint8_t* data) noexcept nogil:
    return <uint16_t>((<uint32_t>data[0] << 8) | data[1])


cdef inline uint32_t load_be32(const uint8_t* data) noexcept nogil:
    return (<uint32_t>data[0] << 24) | (<uint32_t>data[1] << 16) | (<uint32_t>data[2] << 8) | data[3]
