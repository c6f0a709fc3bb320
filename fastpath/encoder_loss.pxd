# What an encoder's packets lack, and when to ask it.
from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t

cdef enum:
    MOST_MISSING = 64            # chosen: six frames of 3 Mbit/s; of a longer gap the newest are asked for
    NACK_NUMBERS = 64

ctypedef struct missing_t:
    uint64_t number              # extended RTP sequence number
    int64_t seen_us
    int64_t next_us
    int32_t requests

ctypedef struct encoder_loss_t:  # of one track
    missing_t missing[MOST_MISSING]
    int32_t count
    int64_t rtt_us               # from a request to what came of it; 0: not measured

cdef void encoder_loss_skip(encoder_loss_t* loss, uint64_t first, uint64_t end, int64_t now_us) noexcept nogil
cdef void encoder_loss_came(encoder_loss_t* loss, uint64_t number, int64_t now_us) noexcept nogil
cdef int32_t encoder_loss_due(
    encoder_loss_t* loss, int64_t deadline_us, int64_t now_us, uint16_t* numbers
) noexcept nogil
