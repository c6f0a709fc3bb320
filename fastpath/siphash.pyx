"""SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012, section 2)."""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy


cdef inline uint64_t rotate(uint64_t x, int bits) noexcept nogil:
    return (x << bits) | (x >> (64 - bits))


cdef inline void sip_round(uint64_t* v0, uint64_t* v1, uint64_t* v2, uint64_t* v3) noexcept nogil:
    v0[0] += v1[0]
    v1[0] = rotate(v1[0], 13) ^ v0[0]
    v0[0] = rotate(v0[0], 32)
    v2[0] += v3[0]
    v3[0] = rotate(v3[0], 16) ^ v2[0]
    v0[0] += v3[0]
    v3[0] = rotate(v3[0], 21) ^ v0[0]
    v2[0] += v1[0]
    v1[0] = rotate(v1[0], 17) ^ v2[0]
    v2[0] = rotate(v2[0], 32)


cdef uint64_t siphash24(const uint8_t* data, size_t size, const siphash_key_t* key) noexcept nogil:
    cdef uint64_t v0 = key.k0 ^ <uint64_t>0x736F6D6570736575
    cdef uint64_t v1 = key.k1 ^ <uint64_t>0x646F72616E646F6D
    cdef uint64_t v2 = key.k0 ^ <uint64_t>0x6C7967656E657261
    cdef uint64_t v3 = key.k1 ^ <uint64_t>0x7465646279746573
    cdef uint64_t word = 0
    cdef size_t words = size // 8
    cdef size_t i
    for i in range(words):
        memcpy(&word, data + 8 * i, 8)  # little-endian hosts only, as CPython's wheels are
        v3 ^= word
        sip_round(&v0, &v1, &v2, &v3)
        sip_round(&v0, &v1, &v2, &v3)
        v0 ^= word
    word = 0
    memcpy(&word, data + 8 * words, size & 7)
    word |= <uint64_t>(size & 0xFF) << 56
    v3 ^= word
    sip_round(&v0, &v1, &v2, &v3)
    sip_round(&v0, &v1, &v2, &v3)
    v0 ^= word
    v2 ^= 0xFF
    sip_round(&v0, &v1, &v2, &v3)
    sip_round(&v0, &v1, &v2, &v3)
    sip_round(&v0, &v1, &v2, &v3)
    sip_round(&v0, &v1, &v2, &v3)
    return v0 ^ v1 ^ v2 ^ v3


def digest(bytes data, bytes key) -> int:
    """The 64-bit SipHash-2-4 of `data`. key: 16 bytes."""
    if len(key) != 16:
        raise ValueError("a SipHash key has 16 bytes")
    cdef siphash_key_t native
    memcpy(&native, <const uint8_t*>key, 16)
    return siphash24(data, len(data), &native)
