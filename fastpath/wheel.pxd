# A timer wheel: one deadline per link.
from libc.stdint cimport int32_t, int64_t, uint64_t

cdef enum:
    WHEEL_SLOTS = 1024
    WHEEL_WORDS = 16             # of 64 slots
    WHEEL_TICK_US = 1000         # 1 ms: finer than any timer here needs; forwarding never waits for it

ctypedef struct wheel_entry_t:
    int64_t due_us               # -1: not in the wheel
    int32_t next
    int32_t previous
    int32_t slot

ctypedef struct wheel_t:
    wheel_entry_t* entries
    uint64_t* armed              # a bit for each entry: the many that wait for nothing stay untouched
    uint64_t occupied[WHEEL_WORDS]  # a bit for each slot
    int32_t slots[WHEEL_SLOTS]
    int64_t tick                 # every slot before it has been emptied
    int64_t count

cdef int wheel_open(wheel_t* wheel, int32_t entries) noexcept nogil
cdef void wheel_close(wheel_t* wheel) noexcept nogil
cdef void wheel_set(wheel_t* wheel, int32_t entry, int64_t due_us) noexcept nogil
cdef void wheel_cancel(wheel_t* wheel, int32_t entry) noexcept nogil
cdef int32_t wheel_pop(wheel_t* wheel, int64_t now_us) noexcept nogil
cdef int64_t wheel_next_us(const wheel_t* wheel) noexcept nogil
