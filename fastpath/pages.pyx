"""Memory for a worker's tables. Untouched pages cost nothing: calloc takes large areas from the
kernel as they are, and what is in front of the aligned start is never touched.

A packet touches a few lines of each of several large tables. With pages of 4 KiB each of these is
a miss of the translation buffer as well; with huge pages a table of tens of megabytes needs some
tens of entries.
"""

from libc.errno cimport errno
from libc.stdint cimport uint8_t, uintptr_t
from libc.stdlib cimport calloc, free

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void*, size_t, int)
    int MADV_HUGEPAGE


cdef void* pages_take(size_t count, size_t size, int* refused) noexcept nogil:
    """`count` times `size` zero bytes from the start of a line (a huge page, if they fill two); NULL
    without memory. refused: NULL for no huge pages; else it gets the errno if there are none."""
    cdef size_t wanted = count * size
    cdef size_t alignment = LINE_BYTES
    cdef uint8_t* whole
    cdef uint8_t* start
    if count != 0 and wanted // count != size:
        return NULL
    if refused != NULL and wanted >= 2 * <size_t>HUGE_PAGE_BYTES:
        alignment = HUGE_PAGE_BYTES
    if wanted + alignment < wanted:
        return NULL
    whole = <uint8_t*>calloc(1, wanted + alignment)
    if whole == NULL:
        return NULL
    # At least 16 bytes lie in front, as calloc aligns to these: the last eight say where it began.
    start = whole + (alignment - <uintptr_t>whole % alignment)
    (<void**>start - 1)[0] = whole
    if alignment == HUGE_PAGE_BYTES and madvise(start, wanted - wanted % HUGE_PAGE_BYTES, MADV_HUGEPAGE) < 0:
        refused[0] = errno
    return start


cdef void pages_give(void* memory) noexcept nogil:
    if memory != NULL:
        free((<void**>memory - 1)[0])
