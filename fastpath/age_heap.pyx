"""A binary heap whose keys may be behind the times.

The age of a stream's oldest packet changes with nearly every packet, but is asked for only when the
slab is empty. So nothing is noted per packet: a key is looked up again when it has come to the
front, and the member goes to where it belongs.
"""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free


cdef int age_heap_open(age_heap_t* heap, int32_t members) noexcept nogil:
    heap.entries = <aged_t*>calloc(members, sizeof(aged_t))
    heap.count = 0
    return -1 if heap.entries == NULL else 0


cdef void age_heap_close(age_heap_t* heap) noexcept nogil:
    free(heap.entries)
    heap.entries = NULL


cdef void age_heap_add(age_heap_t* heap, int32_t member, int64_t key) noexcept nogil:
    """A member that is not in it yet; the heap has room for each once."""
    cdef int32_t at = heap.count
    cdef int32_t above
    heap.count += 1
    while at > 0:
        above = (at - 1) >> 1
        if heap.entries[above].key <= key:
            break
        heap.entries[at] = heap.entries[above]
        at = above
    heap.entries[at].key = key
    heap.entries[at].member = member


cdef void sink(age_heap_t* heap, aged_t entry) noexcept nogil:
    """Put the entry into the free place at the front, and then down to where it belongs."""
    cdef int32_t at = 0
    cdef int32_t below = 1
    while below < heap.count:
        if below + 1 < heap.count and heap.entries[below + 1].key < heap.entries[below].key:
            below += 1
        if heap.entries[below].key >= entry.key:
            break
        heap.entries[at] = heap.entries[below]
        at = below
        below = 2 * at + 1
    heap.entries[at] = entry


cdef void age_heap_raise_first(age_heap_t* heap, int64_t key) noexcept nogil:
    cdef aged_t entry
    entry.key = key
    entry.member = heap.entries[0].member
    sink(heap, entry)


cdef void age_heap_drop_first(age_heap_t* heap) noexcept nogil:
    heap.count -= 1
    if heap.count > 0:
        sink(heap, heap.entries[heap.count])
