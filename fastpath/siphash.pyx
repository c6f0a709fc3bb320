"""SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012, section 2): of bytes,
and of media packets, several at a time where the processor has lanes for it.
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

cdef extern from "siphash_lanes.h" nogil:
    uint64_t overlane_tag(const covered_t*, uint64_t, uint64_t)
    void overlane_tags(const covered_t*, int, uint64_t, uint64_t, uint64_t*, int)
    int overlane_widest()
    int OVERLANE_SCALAR, OVERLANE_AVX2, OVERLANE_AVX512

cdef int widest = overlane_widest()


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


cdef uint64_t media_tag(const covered_t* packet, const siphash_key_t* key) noexcept nogil:
    """The tag of a plain media packet: wire.packet_tag for the usual case, without a copy."""
    return overlane_tag(packet, key.k0, key.k1)


cdef void media_tags(const covered_t* packets, int count, const siphash_key_t* key, uint64_t* tags) noexcept nogil:
    """The same of many under one key."""
    overlane_tags(packets, count, key.k0, key.k1, tags, widest)


_WAYS = {"scalar": OVERLANE_SCALAR, "avx2": OVERLANE_AVX2, "avx512": OVERLANE_AVX512}


def ways() -> list[str]:
    """How this processor can make many tags at once; the last is used."""
    return [name for name, way in _WAYS.items() if way <= widest]


def tags_of(list packets, bytes key, str way) -> list[int]:
    """The tags of plain media packets, made in one of `ways()`."""
    cdef covered_t covered[64]
    cdef uint64_t tags[64]
    cdef const uint8_t[::1] packet
    cdef siphash_key_t native
    cdef int i
    if len(key) != 16 or len(packets) > 64 or any(len(packet) < 48 for _, packet in packets) or way not in ways():
        raise ValueError("a key has 16 bytes, a packet at least 48; at most 64 packets, in one of ways()")
    memcpy(&native, <const uint8_t*>key, 16)
    for i in range(len(packets)):
        high, packet = packets[i]
        covered[i].start = &packet[0]  # the list keeps it alive
        covered[i].high = high
        covered[i].payload_bytes = <uint32_t>(len(packet) - 32)
    overlane_tags(covered, len(packets), native.k0, native.k1, tags, _WAYS[way])
    return [tags[i] for i in range(len(packets))]


def digest(bytes data, bytes key) -> int:
    """The 64-bit SipHash-2-4 of `data`. key: 16 bytes."""
    if len(key) != 16:
        raise ValueError("a SipHash key has 16 bytes")
    cdef siphash_key_t native
    memcpy(&native, <const uint8_t*>key, 16)
    return siphash24(data, len(data), &native)
