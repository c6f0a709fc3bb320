"""Acknowledged rate: libwebrtc's robust throughput estimator, at a fixed size.

Over at least 1 s and 20 packets, at most 5 s: bytes by the time in which they arrived, without the
longest gap (an encoder's pause says nothing of the link), and not more than they were sent at.

libwebrtc keeps packets, 500 at most: 12 ms of a node link at 400 Mbit/s. Here packets that arrived
within 25 ms are one span, so the window is a second at any rate and takes 2.3 KB a flow. What a span
hides are gaps within its 25 ms, which are never the longest of a window whose estimate they could move.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset

cdef enum:
    SPAN_US = 25000              # chosen: 40 to a window, and sparse packets each have their own
    LONGEST_US = 5000000         # RobustThroughputEstimatorSettings max_window_duration
    MIN_PACKETS = 20             # window_packets
    REQUIRED_PACKETS = 10        # required_packets
    SHORTEST_US = 1000           # of a duration
    RECENT_US = 300000           # chosen: half the time in which a full second still tells the rate of before


cdef void throughput_open(throughput_t* throughput, int64_t window_us) noexcept nogil:
    memset(throughput, 0, sizeof(throughput_t))
    throughput.window_us = window_us


cdef inline int span_index(const throughput_t* throughput, int place) noexcept nogil:
    """place: 0 is the oldest."""
    cdef int index = throughput.oldest + place
    return index if index < THROUGHPUT_SPANS else index - THROUGHPUT_SPANS


cdef void drop_oldest(throughput_t* throughput) noexcept nogil:
    throughput.packets -= throughput.spans[throughput.oldest].packets
    throughput.oldest = span_index(throughput, 1)
    throughput.count -= 1


cdef void trim(throughput_t* throughput, int64_t arrival_us) noexcept nogil:
    """Away with what is too old, as long as enough packets stay."""
    cdef const span_t* oldest
    cdef int64_t age_us
    while throughput.count > 1:
        oldest = &throughput.spans[throughput.oldest]
        age_us = arrival_us - oldest.last_arrival_us
        if age_us <= throughput.window_us or (age_us <= LONGEST_US and throughput.packets - oldest.packets < MIN_PACKETS):
            return
        drop_oldest(throughput)


cdef void join(span_t* span, int64_t sent_us, int64_t arrival_us, int64_t bytes) noexcept nogil:
    if arrival_us > span.last_arrival_us:
        span.last_arrival_us = arrival_us
    if sent_us < span.first_sent_us:
        span.first_sent_us = sent_us
    if sent_us > span.last_sent_us:
        span.last_sent_us = sent_us
    span.bytes += bytes
    span.packets += 1


cdef void throughput_add(throughput_t* throughput, int64_t sent_us, int64_t arrival_us, int64_t bytes) noexcept nogil:
    """One packet that arrived. One that was overtaken counts with the newest."""
    cdef span_t* span
    cdef int64_t after_us
    if throughput.count > 0:
        span = &throughput.spans[span_index(throughput, throughput.count - 1)]
        after_us = arrival_us - span.first_arrival_us
        if after_us < -LONGEST_US:
            throughput_open(throughput, throughput.window_us)    # the receiver's clock went back
        elif after_us < SPAN_US:
            join(span, sent_us, arrival_us, bytes)
            throughput.packets += 1
            return
    if throughput.count == THROUGHPUT_SPANS:
        drop_oldest(throughput)
    span = &throughput.spans[span_index(throughput, throughput.count)]
    throughput.count += 1
    throughput.packets += 1
    span.first_arrival_us = arrival_us
    span.last_arrival_us = arrival_us
    span.first_sent_us = sent_us
    span.last_sent_us = sent_us
    span.bytes = bytes
    span.packets = 1
    trim(throughput, arrival_us)


cdef inline double duration_us(double us) noexcept nogil:
    return us if us > SHORTEST_US else SHORTEST_US


cdef double throughput_bps(const throughput_t* throughput) noexcept nogil:
    """Negative: not known yet."""
    cdef const span_t* first
    cdef const span_t* span
    cdef int64_t gap_us
    cdef int64_t longest_us = 0
    cdef int64_t second_us = 0
    cdef int64_t last_arrival_us
    cdef int64_t first_sent_us
    cdef int64_t last_sent_us
    cdef double bytes = 0
    cdef double received_bps
    cdef double sent_bps
    cdef int place
    if throughput.packets < REQUIRED_PACKETS:
        return -1
    first = &throughput.spans[throughput.oldest]
    last_arrival_us = first.last_arrival_us
    first_sent_us = first.first_sent_us
    last_sent_us = first.last_sent_us
    bytes = <double>first.bytes
    for place in range(1, throughput.count):
        span = &throughput.spans[span_index(throughput, place)]
        gap_us = span.first_arrival_us - last_arrival_us
        if gap_us > longest_us:
            second_us = longest_us
            longest_us = gap_us
        elif gap_us > second_us:
            second_us = gap_us
        last_arrival_us = span.last_arrival_us
        if span.first_sent_us < first_sent_us:
            first_sent_us = span.first_sent_us
        if span.last_sent_us > last_sent_us:
            last_sent_us = span.last_sent_us
        bytes += <double>span.bytes
    # n packets are n - 1 distances: the first did not arrive, the last was not sent, in this time.
    span = &throughput.spans[span_index(throughput, throughput.count - 1)]
    received_bps = (bytes - <double>first.bytes / <double>first.packets) * 8e6 / duration_us(
        <double>(last_arrival_us - first.first_arrival_us - longest_us + second_us)
    )
    sent_bps = (bytes - <double>span.bytes / <double>span.packets) * 8e6 / duration_us(
        <double>(last_sent_us - first_sent_us)
    )
    return received_bps if received_bps < sent_bps else sent_bps


cdef double throughput_recent_bps(const throughput_t* throughput) noexcept nogil:
    """Of the last 300 ms, not more than throughput_bps; negative: not known yet. While the bottleneck is
    over-used this is its rate now, when the second's rate is still a mix with that of before."""
    cdef double bps = throughput_bps(throughput)
    cdef const span_t* span
    cdef int64_t last_arrival_us
    cdef int64_t first_arrival_us
    cdef int64_t packets = 0
    cdef double bytes = 0
    cdef double recent_bps
    cdef int place = throughput.count - 1
    if bps < 0:
        return bps
    last_arrival_us = throughput.spans[span_index(throughput, place)].last_arrival_us
    first_arrival_us = last_arrival_us
    while place >= 0:
        span = &throughput.spans[span_index(throughput, place)]
        if last_arrival_us - span.first_arrival_us > RECENT_US:
            break
        bytes += <double>span.bytes
        packets += span.packets
        first_arrival_us = span.first_arrival_us
        place -= 1
    if packets < REQUIRED_PACKETS:
        return bps
    recent_bps = bytes * (packets - 1) / packets * 8e6 / duration_us(<double>(last_arrival_us - first_arrival_us))
    return recent_bps if recent_bps < bps else bps
