# Loads and stores in network byte order; the caller has checked that the bytes are there.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef inline uint16_t load_be16(const uint8_t* data) noexcept nogil:
    return <uint16_t>((<uint32_t>data[0] << 8) | data[1])


cdef inline uint32_t load_be32(const uint8_t* data) noexcept nogil:
    return (<uint32_t>data[0] << 24) | (<uint32_t>data[1] << 16) | (<uint32_t>data[2] << 8) | data[3]


cdef inline uint64_t load_be64(const uint8_t* data) noexcept nogil:
    return (<uint64_t>load_be32(data) << 32) | load_be32(data + 4)


cdef inline void store_be16(uint8_t* out, uint16_t value) noexcept nogil:
    out[0] = <uint8_t>(value >> 8)
    out[1] = <uint8_t>value


cdef inline void store_be32(uint8_t* out, uint32_t value) noexcept nogil:
    store_be16(out, <uint16_t>(value >> 16))
    store_be16(out + 2, <uint16_t>value)


cdef inline void store_be64(uint8_t* out, uint64_t value) noexcept nogil:
    store_be32(out, <uint32_t>(value >> 32))
    store_be32(out + 4, <uint32_t>value)
