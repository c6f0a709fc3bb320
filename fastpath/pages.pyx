"""Memory for a worker's tables. Untouched pages cost nothing: large areas come from the kernel as they
are (calloc may give memory that was in use before, and then clears it, which takes all of it).

A packet touches a few lines of each of several large tables. With pages of 4 KiB each of these is
a miss of the translation buffer as well; with huge pages a table of tens of megabytes needs some
tens of entries.
"""

from libc.errno cimport errno
from libc.stdint cimport uint8_t, uintptr_t
from libc.stdlib cimport calloc, free


cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void*, size_t, int, int, int, long)
    int munmap(void*, size_t)
    int madvise(void*, size_t, int)
    int PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS, MADV_HUGEPAGE
    void* MAP_FAILED

cdef extern from *:
    """
    #ifdef __SANITIZE_ADDRESS__
    #define OVERLANE_MAPS 0  /* calloc's areas have bounds that are watched */
    #else
    #define OVERLANE_MAPS 1
    #endif
    """
    int OVERLANE_MAPS

cdef enum:
    MAPPED_BYTES = 262144        # from here on an area is the kernel's own

ctypedef struct area_t:          # stands just in front of the aligned start
    void* whole
    size_t mapped                # 0: by calloc


cdef void* area_take(size_t total, size_t* mapped) noexcept nogil:
    cdef void* whole
    mapped[0] = 0
    if total < MAPPED_BYTES or not OVERLANE_MAPS:
        return calloc(1, total)
    whole = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if whole == MAP_FAILED:
        return NULL
    mapped[0] = total
    return whole


cdef void* pages_take(size_t count, size_t size, int* refused) noexcept nogil:
    """`count` times `size` zero bytes from the start of a line (of a huge page, if they fill two); NULL
    without memory. refused: NULL for no huge pages; else it gets the errno if there are none."""
    cdef size_t wanted = count * size
    cdef size_t alignment = LINE_BYTES
    cdef size_t mapped
    cdef uint8_t* whole
    cdef uint8_t* start
    if count != 0 and wanted // count != size:
        return NULL
    if refused != NULL and wanted >= 2 * <size_t>HUGE_PAGE_BYTES:
        alignment = HUGE_PAGE_BYTES
    if wanted + alignment < wanted:
        return NULL
    whole = <uint8_t*>area_take(wanted + alignment, &mapped)
    if whole == NULL:
        return NULL
    # Both ways align to 16 bytes at least, so as many are free in front.
    start = whole + (alignment - <uintptr_t>whole % alignment)
    (<area_t*>start - 1).whole = whole
    (<area_t*>start - 1).mapped = mapped
    if alignment == HUGE_PAGE_BYTES and madvise(start, wanted - wanted % HUGE_PAGE_BYTES, MADV_HUGEPAGE) < 0:
        refused[0] = errno
    return start


cdef void pages_give(void* memory) noexcept nogil:
    cdef area_t area
    if memory == NULL:
        return
    area = (<area_t*>memory - 1)[0]
    if area.mapped != 0:
        munmap(area.whole, area.mapped)
    else:
        free(area.whole)
