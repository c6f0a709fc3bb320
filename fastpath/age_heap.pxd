# Which of many things has the lowest key, when keys rise by themselves and nobody says so.
from libc.stdint cimport int32_t, int64_t

ctypedef struct aged_t:
    int64_t key                  # at most what it is really
    int32_t member

ctypedef struct age_heap_t:
    aged_t* entries              # the lowest key first, each at most its two followers'
    int32_t count

cdef int age_heap_open(age_heap_t* heap, int32_t members) noexcept nogil
cdef void age_heap_close(age_heap_t* heap) noexcept nogil
cdef void age_heap_add(age_heap_t* heap, int32_t member, int64_t key) noexcept nogil
cdef void age_heap_raise_first(age_heap_t* heap, int64_t key) noexcept nogil
cdef void age_heap_drop_first(age_heap_t* heap) noexcept nogil
