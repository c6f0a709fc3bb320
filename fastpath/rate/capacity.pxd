# The rate at which the link was full when it last was: mean and deviation, by over-uses.
# Source: libwebrtc link_capacity_estimator.cc. kbit/s, since the deviation's scale depends on it.
from libc.math cimport sqrt

cdef extern from *:
    """
    #define OVERLANE_NEAR_DEVIATIONS 3.0    /* what counts as near the mean */
    #define OVERLANE_CAPACITY_WEIGHT 0.05   /* of a new over-use */
    #define OVERLANE_PROBE_WEIGHT 0.5       /* of a probe's result */
    #define OVERLANE_LOWEST_VARIANCE 0.4    /* by the mean: 14 kbit/s at 500 kbit/s */
    #define OVERLANE_HIGHEST_VARIANCE 2.5   /* 35 kbit/s at 500 kbit/s */
    """
    const double NEAR_DEVIATIONS "OVERLANE_NEAR_DEVIATIONS"
    const double CAPACITY_WEIGHT "OVERLANE_CAPACITY_WEIGHT"
    const double PROBE_WEIGHT "OVERLANE_PROBE_WEIGHT"
    const double LOWEST_VARIANCE "OVERLANE_LOWEST_VARIANCE"
    const double HIGHEST_VARIANCE "OVERLANE_HIGHEST_VARIANCE"

ctypedef struct capacity_t:
    double kbps                  # 0: not known
    double variance              # over the mean

cdef inline void capacity_reset(capacity_t* capacity) noexcept nogil:
    capacity.kbps = 0

cdef inline void capacity_open(capacity_t* capacity) noexcept nogil:
    capacity.kbps = 0
    capacity.variance = LOWEST_VARIANCE

cdef inline double capacity_margin_kbps(const capacity_t* capacity) noexcept nogil:
    return NEAR_DEVIATIONS * sqrt(capacity.variance * capacity.kbps)

cdef inline bint capacity_is_above(const capacity_t* capacity, double kbps) noexcept nogil:
    """This rate is more than the link could carry when it was full."""
    return capacity.kbps > 0 and kbps > capacity.kbps + capacity_margin_kbps(capacity)

cdef inline bint capacity_is_below(const capacity_t* capacity, double kbps) noexcept nogil:
    return capacity.kbps > 0 and kbps < capacity.kbps - capacity_margin_kbps(capacity)

cdef inline void capacity_note(capacity_t* capacity, double kbps, double weight) noexcept nogil:
    """The link was full at this rate."""
    cdef double error
    if not (kbps > 0):
        return
    capacity.kbps = kbps if capacity.kbps <= 0 else (1 - weight) * capacity.kbps + weight * kbps
    error = capacity.kbps - kbps
    capacity.variance = (1 - weight) * capacity.variance + weight * error * error / (
        capacity.kbps if capacity.kbps > 1 else 1.0
    )
    if not (capacity.variance > LOWEST_VARIANCE):
        capacity.variance = LOWEST_VARIANCE
    elif capacity.variance > HIGHEST_VARIANCE:
        capacity.variance = HIGHEST_VARIANCE
