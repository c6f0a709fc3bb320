# At what rate the receiver gets what we send.
from libc.stdint cimport int32_t, int64_t

cdef enum:
    THROUGHPUT_SPANS = 48

ctypedef struct span_t:          # packets that arrived within 25 ms
    int64_t first_arrival_us
    int64_t last_arrival_us
    int64_t first_sent_us
    int64_t last_sent_us
    int64_t bytes
    int64_t packets

ctypedef struct throughput_t:
    span_t spans[THROUGHPUT_SPANS]       # a ring
    int32_t oldest
    int32_t count
    int64_t packets              # in all of them
    int64_t window_us            # how much is looked at, if there are enough packets

cdef enum:
    THROUGHPUT_WINDOW_US = 1000000       # libwebrtc RobustThroughputEstimatorSettings window_duration

cdef void throughput_open(throughput_t* throughput, int64_t window_us) noexcept nogil
cdef void throughput_add(throughput_t* throughput, int64_t sent_us, int64_t arrival_us, int64_t bytes) noexcept nogil
cdef double throughput_bps(const throughput_t* throughput) noexcept nogil
cdef double throughput_recent_bps(const throughput_t* throughput) noexcept nogil
