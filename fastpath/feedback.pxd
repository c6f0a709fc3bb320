# What neighbours tell each other about the packets between them.
from libc.stdint cimport int32_t, int64_t, uint8_t
from fastpath.worker cimport worker_t

cdef enum FeedbackMessage:
    MESSAGE_REQUEST = 1
    MESSAGE_VOID = 2
    MESSAGE_GONE = 3
    MESSAGE_CLOCK = 4
    MESSAGE_KEY_WANTED = 5
    MESSAGE_ARRIVALS = 6
    MESSAGE_SKIP = 8

cdef enum:
    CLOCK_BYTES = 17
    KEY_WANTED_BYTES = 5

cdef int receive_feedback(
    worker_t* worker, int32_t link, const uint8_t* payload, size_t size, int64_t now_us
) noexcept nogil
