# SipHash-2-4 with a 64-bit result (Aumasson and Bernstein, 2012).
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "siphash_lanes.h" nogil:
    ctypedef struct covered_t "overlane_covered_t":  # of a plain media packet, where it lies
        const uint8_t* start     # of the header; readable to the payload's 16th byte
        uint32_t high            # half of hop_seq
        uint32_t payload_bytes   # 16 or more

ctypedef struct siphash_key_t:
    uint64_t k0                  # little-endian halves of the 16 key bytes
    uint64_t k1

cdef uint64_t siphash24(const uint8_t* data, size_t size, const siphash_key_t* key) noexcept nogil
cdef uint64_t media_tag(const covered_t* packet, const siphash_key_t* key) noexcept nogil
cdef void media_tags(const covered_t* packets, int count, const siphash_key_t* key, uint64_t* tags) noexcept nogil
