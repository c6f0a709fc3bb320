# Memory for a worker's tables: zeroed, aligned to cache lines, in huge pages where large.

cdef enum:
    LINE_BYTES = 64              # of the processor's caches
    HUGE_PAGE_BYTES = 2097152

cdef void* pages_take(size_t count, size_t size, int* refused) noexcept nogil
cdef void pages_give(void* memory) noexcept nogil
