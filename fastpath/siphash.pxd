# SipHash-2-4 with a 64-bit result (Aumasson and Bernstein, 2012).
from libc.stdint cimport uint8_t, uint64_t

ctypedef struct siphash_key_t:
    uint64_t k0                  # little-endian halves of the 16 key bytes
    uint64_t k1

cdef uint64_t siphash24(const uint8_t* data, size_t size, const siphash_key_t* key) noexcept nogil
