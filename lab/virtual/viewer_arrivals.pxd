# What a viewer tells of each packet: when it came, by its transport number.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    KEPT_ARRIVALS = 1024         # numbers that may still have to be told

ctypedef struct viewer_arrivals_t:
    bint has_begun
    uint64_t next                # the first number that has not been told
    uint64_t highest
    int64_t at_us[KEPT_ARRIVALS] # by number; -1: it has not come
    int64_t due_us               # when the next report is; -1: there is nothing to tell
    uint8_t report               # number of the next report

cdef void arrivals_begin(viewer_arrivals_t* arrivals) noexcept nogil
cdef int32_t transport_number_of(const uint8_t* packet, uint32_t size, uint8_t extension_id) noexcept nogil
cdef void arrivals_note(viewer_arrivals_t* arrivals, uint16_t number, int64_t now_us) noexcept nogil
cdef uint32_t arrivals_write(viewer_arrivals_t* arrivals, uint32_t sender_ssrc, uint32_t media_ssrc, int64_t now_us, uint8_t* target) noexcept nogil
