# Repeatable random numbers: SplitMix64 (Steele, Lea and Flood, 2014).
from libc.stdint cimport uint64_t

ctypedef struct draws_t:
    uint64_t state

cdef uint64_t draw_bits(draws_t* draws) noexcept nogil
cdef double draw_unit(draws_t* draws) noexcept nogil
