"""Repeatable random numbers for what runs per packet: 64 bits of state, any seed is a good one.

SplitMix64: the state counts up by an odd constant, and a bijection of it is the number. The same on
every machine and in every process.
"""

cimport cython
from libc.stdint cimport uint64_t


cdef uint64_t draw_bits(draws_t* draws) noexcept nogil:
    """64 even bits."""
    cdef uint64_t z
    draws.state += <uint64_t>0x9E3779B97F4A7C15
    z = draws.state
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


cdef double draw_unit(draws_t* draws) noexcept nogil:
    """Evenly from 0 to below 1, in steps of 2^-53."""
    return <double>(draw_bits(draws) >> 11) * (1.0 / 9007199254740992.0)


@cython.final
cdef class Draws:
    """The same numbers for Python, so that a test can hand them to the model in `lab.link`."""
    cdef draws_t state

    def __cinit__(self, uint64_t seed):
        self.state.state = seed

    def random(self):
        return draw_unit(&self.state)
