"""A stream's map from NTP to RTP time: what sender reports say, and what keeps lips in step.

The producer makes it from the encoder's sender reports or, while there are none, from the packets
that came soonest; it travels with the stream (fastpath/report), and each consumer extrapolates it
by its own clock. All NTP times of a broadcast are the producer's, so its tracks agree.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef enum:
    DRIFT_US_PER_S = 100         # chosen: 100 ppm, what a bad crystal is off; lets the map follow a slow clock
    STOPPED_US = 2000000         # chosen: no queue between an encoder and its node holds as much


cdef uint64_t ntp_of_us(int64_t us) noexcept nogil:
    """A duration, which may be negative, in 32.32 s; adding it wraps as it should."""
    cdef int64_t seconds = us // 1000000
    cdef int64_t rest = us % 1000000
    if rest < 0:
        seconds -= 1
        rest += 1000000
    return (<uint64_t>seconds << 32) + (<uint64_t>rest << 32) // 1000000


cdef int64_t us_of_ntp(uint64_t ntp) noexcept nogil:
    """The inverse; `ntp` as a signed duration, rounded to the nearest microsecond."""
    cdef uint64_t rest = <uint64_t><uint32_t>ntp * 1000000 + (<uint64_t>1 << 31)
    return <int64_t><int32_t>(ntp >> 32) * 1000000 + <int64_t>(rest >> 32)


cdef void clock_read(
    const media_clock_t* clock, uint32_t clock_rate, int64_t now_us, uint64_t* ntp, uint32_t* timestamp
) noexcept nogil:
    """RTP time now, in whole ticks, and the NTP time of just that tick: a pair as exact as the map,
    however often it is handed on."""
    cdef int64_t ticks = (now_us - clock.at_us) * <int64_t>clock_rate // 1000000
    cdef int64_t seconds = ticks // clock_rate
    cdef int64_t rest = ticks % clock_rate
    if rest < 0:
        seconds -= 1
        rest += clock_rate
    timestamp[0] = clock.timestamp + <uint32_t>ticks
    ntp[0] = clock.ntp + (<uint64_t>seconds << 32) + (<uint64_t>rest << 32) // clock_rate


cdef int64_t clock_expected_us(const media_clock_t* clock, uint32_t clock_rate, uint32_t timestamp) noexcept nogil:
    """When the packet with this timestamp is due by the map; within half the clock's period of it."""
    return clock.at_us + <int64_t><int32_t>(timestamp - clock.timestamp) * 1000000 // clock_rate


cdef bint clock_on_arrival(
    media_clock_t* clock, uint32_t clock_rate, uint32_t timestamp, int64_t arrival_us
) noexcept nogil:
    """Follow the packets with the least delay; True if the map changed. `ntp` is not touched.

    One later than any queue explains comes from an encoder whose time stood still."""
    cdef int64_t expected_us
    cdef int64_t age_us
    if clock.is_set:
        age_us = arrival_us - clock.at_us
        expected_us = clock_expected_us(clock, clock_rate, timestamp)
        if age_us > 0:
            expected_us += age_us * DRIFT_US_PER_S // 1000000
        if expected_us <= arrival_us < expected_us + STOPPED_US:
            return False
    clock.is_set = True
    clock.timestamp = timestamp
    clock.at_us = arrival_us
    return True
