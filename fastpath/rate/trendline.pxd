# Does the path's delay grow? A line through recent samples, and a threshold that adapts.
from libc.stdint cimport int32_t, int64_t
from fastpath.rate.grouping cimport group_delta_t

cdef enum:
    TREND_SAMPLES = 20           # libwebrtc kDefaultTrendlineWindowSize

ctypedef struct trendline_t:
    double arrival_ms[TREND_SAMPLES]     # since the first sample; a ring
    double delay_ms[TREND_SAMPLES]       # smoothed
    int32_t next
    int32_t count                        # in the ring
    int32_t deltas                       # in all, at most MAX_DELTAS
    int64_t first_arrival_us
    double accumulated_ms
    double smoothed_ms
    double slope                         # ms of delay per ms; (send rate - capacity) / capacity
    double trend                         # the slope scaled, as it is compared
    double threshold
    int64_t adapted_us                   # the threshold, on the receiver's clock
    double over_ms                       # how long the trend has been above; negative: it is not
    int32_t over_count
    int32_t usage                        # RateUsage
    int32_t profile                      # RateProfile

cdef void trendline_open(trendline_t* line, int profile) noexcept nogil
cdef void trendline_add(trendline_t* line, const group_delta_t* delta) noexcept nogil
