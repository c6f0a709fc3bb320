# How long packets took, in powers of two: one count of leading zeros and two additions each.
from libc.stdint cimport int64_t, uint64_t

cdef extern from *:
    """
    #define overlane_bits(x) (64 - __builtin_clzll(x))
    """
    int overlane_bits(uint64_t) nogil

cdef enum:
    HISTOGRAM_BUCKETS = 22       # below 1, 2, 4, ... 2^20 us (1.05 s), and the rest

ctypedef struct histogram_t:
    uint64_t sum_us
    uint64_t buckets[HISTOGRAM_BUCKETS]

cdef inline void histogram_note(histogram_t* histogram, int64_t us) noexcept nogil:
    cdef int bucket = 0
    if us > 0:
        histogram.sum_us += <uint64_t>us
        bucket = overlane_bits(<uint64_t>us)
        if bucket >= HISTOGRAM_BUCKETS:
            bucket = HISTOGRAM_BUCKETS - 1
    histogram.buckets[bucket] += 1
