"""Which packets of an encoder are missing, and which of them it is asked for now (RFC 4585 6.2.1).

A number is asked for as soon as one after it has come (the next packet may be a frame away), again
each time its answer is overdue, until its playout has passed. Looked at with each packet that comes:
an encoder that sends none has lost more than packets.
"""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t
from libc.string cimport memmove

cdef enum:
    FIRST_RTT_US = 100000        # chosen: a mobile encoder's, until one is measured
    SHORTEST_RETRY_US = 20000


cdef void remove_oldest(encoder_loss_t* loss, int32_t count) noexcept nogil:
    loss.count -= count
    memmove(&loss.missing[0], &loss.missing[count], loss.count * sizeof(missing_t))


cdef void encoder_loss_skip(encoder_loss_t* loss, uint64_t first, uint64_t end, int64_t now_us) noexcept nogil:
    """The numbers from `first` up to `end` did not come in their turn."""
    cdef missing_t* missing
    if end - first > MOST_MISSING:
        first = end - MOST_MISSING
    while first < end:
        if loss.count == MOST_MISSING:
            remove_oldest(loss, 1)
        missing = &loss.missing[loss.count]
        missing.number = first
        missing.seen_us = now_us
        missing.next_us = now_us
        missing.requests = 0
        loss.count += 1
        first += 1


cdef void encoder_loss_came(encoder_loss_t* loss, uint64_t number, int64_t now_us) noexcept nogil:
    """One that was missing, perhaps."""
    cdef int32_t i
    cdef missing_t* missing
    cdef int64_t took_us
    for i in range(loss.count):
        missing = &loss.missing[i]
        if missing.number == number:
            took_us = now_us - missing.seen_us
            if missing.requests == 1:  # else nobody knows which was answered (Karn)
                loss.rtt_us = took_us if loss.rtt_us == 0 else (7 * loss.rtt_us + took_us) // 8
            loss.count -= 1
            memmove(missing, missing + 1, (loss.count - i) * sizeof(missing_t))
            return


cdef int32_t encoder_loss_due(
    encoder_loss_t* loss, int64_t deadline_us, int64_t now_us, uint16_t* numbers
) noexcept nogil:
    """Those to be asked for now, in rising order: how many. `numbers` has room for NACK_NUMBERS."""
    cdef int64_t overdue_us = (loss.rtt_us if loss.rtt_us > 0 else FIRST_RTT_US) * 3 // 2
    cdef int32_t found = 0
    cdef int32_t i
    cdef missing_t* missing
    while loss.count > 0 and now_us - loss.missing[0].seen_us >= deadline_us:
        remove_oldest(loss, 1)
    for i in range(loss.count):
        missing = &loss.missing[i]
        if missing.next_us <= now_us:
            numbers[found] = <uint16_t>missing.number
            found += 1
            missing.requests += 1
            missing.next_us = now_us + (overdue_us if overdue_us > SHORTEST_RETRY_US else SHORTEST_RETRY_US)
    return found
