"""Trendline filter and over-use detector of GCC.

Each group of packets gives one sample: the delay variation, summed and smoothed. The slope of a line
through the last 20 is how much faster the bottleneck's queue grows than it drains. A slope above an
adaptive threshold for more than 10 ms is over-use, one below its negative is under-use.

Source: libwebrtc trendline_estimator.cc; the threshold is that of draft-ietf-rmcat-gcc-02 5.4 with other
gains. The draft's profile takes the draft's gains; its Kalman filter is not built, libwebrtc gave it up.
"""

from libc.math cimport fabs
from libc.stdint cimport int64_t
from libc.string cimport memset
from fastpath.rate.types cimport RATE_DRAFT, USAGE_NORMAL, USAGE_OVER, USAGE_UNDER, clamp

cdef enum:
    MAX_DELTAS = 1000            # kDeltaCounterMax
    FULL_DELTAS = 60             # kMinNumDeltas: until then the trend counts for less
    LONGEST_STEP_US = 100000     # kMaxTimeDeltaMs, of the threshold
    MIN_OVER_COUNT = 2           # samples above it

cdef double SMOOTHING = 0.9      # kDefaultTrendlineSmoothingCoeff
cdef double GAIN = 4.0           # kDefaultTrendlineThresholdGain
cdef double OVER_MS = 10.0       # kOverUsingTimeThreshold; draft 5.4 gamma_3
cdef double FIRST_THRESHOLD = 12.5   # draft 5.4 del_var_th(0)
cdef double LOWEST_THRESHOLD = 6.0   # draft 5.4
cdef double HIGHEST_THRESHOLD = 600.0
cdef double SPIKE = 15.0         # above the threshold, it does not adapt; draft 5.4, kMaxAdaptOffsetMs
cdef double RISE = 0.0087        # per ms; libwebrtc k_up
cdef double FALL = 0.039         # libwebrtc k_down
cdef double DRAFT_RISE = 0.01    # draft 5.4 K_u
cdef double DRAFT_FALL = 0.00018 # draft 5.4 K_d


cdef void trendline_open(trendline_t* line, int profile) noexcept nogil:
    memset(line, 0, sizeof(trendline_t))
    line.threshold = FIRST_THRESHOLD
    line.over_ms = -1
    line.adapted_us = -1
    line.usage = USAGE_NORMAL
    line.profile = profile


cdef double fitted_slope(const trendline_t* line) noexcept nogil:
    """Least squares; the last slope if all arrived at one time."""
    cdef double mean_x = 0
    cdef double mean_y = 0
    cdef double numerator = 0
    cdef double denominator = 0
    cdef double x
    cdef int i
    for i in range(TREND_SAMPLES):
        mean_x += line.arrival_ms[i]
        mean_y += line.delay_ms[i]
    mean_x /= TREND_SAMPLES
    mean_y /= TREND_SAMPLES
    for i in range(TREND_SAMPLES):
        x = line.arrival_ms[i] - mean_x
        numerator += x * (line.delay_ms[i] - mean_y)
        denominator += x * x
    return numerator / denominator if denominator > 0 else line.slope


cdef void adapt(trendline_t* line, int64_t arrival_us) noexcept nogil:
    """Towards the trend: flows that compete with losses would starve us under a fixed threshold."""
    cdef double magnitude = fabs(line.trend)
    cdef bint is_draft = line.profile == RATE_DRAFT
    cdef double gain
    cdef double step_ms
    if line.adapted_us >= 0 and magnitude <= line.threshold + SPIKE:
        step_ms = clamp(<double>(arrival_us - line.adapted_us), 0, LONGEST_STEP_US) / 1000
        if magnitude < line.threshold:
            gain = DRAFT_FALL if is_draft else FALL
        else:
            gain = DRAFT_RISE if is_draft else RISE
        # A step of 100 ms at libwebrtc's falling gain overshoots; the clamp holds what it does.
        line.threshold += gain * (magnitude - line.threshold) * step_ms
        line.threshold = clamp(line.threshold, LOWEST_THRESHOLD, HIGHEST_THRESHOLD)
    line.adapted_us = arrival_us


cdef void detect(trendline_t* line, double last_slope, double sent_delta_ms) noexcept nogil:
    if line.trend > line.threshold:
        # Of the time since the last sample half is taken to have been above.
        line.over_ms = sent_delta_ms / 2 if line.over_ms < 0 else line.over_ms + sent_delta_ms
        line.over_count += 1
        if line.over_ms > OVER_MS and line.over_count >= MIN_OVER_COUNT and line.slope >= last_slope:
            line.over_ms = 0
            line.over_count = 0
            line.usage = USAGE_OVER
        return
    line.over_ms = -1
    line.over_count = 0
    line.usage = USAGE_UNDER if line.trend < -line.threshold else USAGE_NORMAL


cdef void trendline_add(trendline_t* line, const group_delta_t* delta) noexcept nogil:
    """One more pair of groups. Sets usage, slope and threshold."""
    cdef double last_slope = line.slope
    if line.deltas == 0:
        line.first_arrival_us = delta.end_us
    if line.deltas < MAX_DELTAS:
        line.deltas += 1
    line.accumulated_ms += <double>(delta.arrival_us - delta.sent_us) / 1000
    line.smoothed_ms = SMOOTHING * line.smoothed_ms + (1 - SMOOTHING) * line.accumulated_ms
    line.arrival_ms[line.next] = <double>(delta.end_us - line.first_arrival_us) / 1000
    line.delay_ms[line.next] = line.smoothed_ms
    line.next = line.next + 1 if line.next + 1 < TREND_SAMPLES else 0
    if line.count < TREND_SAMPLES:
        line.count += 1
    if line.count == TREND_SAMPLES:
        line.slope = fitted_slope(line)
    if line.deltas < 2:
        return
    line.trend = (line.deltas if line.deltas < FULL_DELTAS else FULL_DELTAS) * line.slope * GAIN
    detect(line, last_slope, <double>delta.sent_us / 1000)
    adapt(line, delta.end_us)
