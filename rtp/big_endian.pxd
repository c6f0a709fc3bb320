# Loads and stores in network byte order; the caller has checked that the bytes are there. Whole words
# are moved and turned: from single bytes gcc often makes many instructions. Little-endian hosts only.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    uint16_t __builtin_bswap16(uint16_t) nogil
    uint32_t __builtin_bswap32(uint32_t) nogil
    uint64_t __builtin_bswap64(uint64_t) nogil


cdef inline uint16_t load_be16(const uint8_t* data) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, data, 2)
    return __builtin_bswap16(value)


cdef inline uint32_t load_be32(const uint8_t* data) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, data, 4)
    return __builtin_bswap32(value)


cdef inline uint64_t load_be64(const uint8_t* data) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, data, 8)
    return __builtin_bswap64(value)


cdef inline void store_be16(uint8_t* out, uint16_t value) noexcept nogil:
    value = __builtin_bswap16(value)
    memcpy(out, &value, 2)


cdef inline void store_be32(uint8_t* out, uint32_t value) noexcept nogil:
    value = __builtin_bswap32(value)
    memcpy(out, &value, 4)


cdef inline void store_be64(uint8_t* out, uint64_t value) noexcept nogil:
    value = __builtin_bswap64(value)
    memcpy(out, &value, 8)
