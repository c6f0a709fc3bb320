# Counters that one thread writes and others read. Relaxed atomics: each value is whole and none is
# invented, which a plain access promises nobody; with one writer no locked instruction is needed.
from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #define overlane_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
    #define overlane_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
    """
    uint64_t overlane_load_relaxed(const uint64_t*) nogil
    void overlane_store_relaxed(uint64_t*, uint64_t) nogil


cdef inline void add_to_counter(uint64_t* counter, uint64_t number) noexcept nogil:
    """By its one writer."""
    overlane_store_relaxed(counter, counter[0] + number)


cdef inline uint64_t read_counter(const uint64_t* counter) noexcept nogil:
    """By anybody."""
    return overlane_load_relaxed(counter)
