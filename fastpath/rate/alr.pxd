# Is the application sending less than it may? Then what arrives says nothing of the link.
# Source: libwebrtc alr_detector.cc, interval_budget.cc. A budget fills at 65 % of the estimate and is
# spent by what is sent; the region begins when it is more than 80 % full, and ends below 50 %.
from libc.stdint cimport int64_t
from fastpath.rate.types cimport clamp

cdef extern from *:
    """
    #define OVERLANE_ALR_USED 0.65          /* bandwidth_usage_ratio */
    #define OVERLANE_ALR_BEGINS 0.8         /* start_budget_level_ratio */
    #define OVERLANE_ALR_ENDS 0.5           /* stop_budget_level_ratio */
    #define OVERLANE_ALR_WINDOW_US 500000.0 /* kWindowMs of the budget */
    """
    const double ALR_USED "OVERLANE_ALR_USED"
    const double ALR_BEGINS "OVERLANE_ALR_BEGINS"
    const double ALR_ENDS "OVERLANE_ALR_ENDS"
    const double ALR_WINDOW_US "OVERLANE_ALR_WINDOW_US"

ctypedef struct alr_t:
    double budget_bytes          # negative: more was sent than it had
    double bps                   # at which it fills
    int64_t sent_us              # negative: nothing yet
    int64_t began_us             # negative: not limited
    int64_t ended_us             # negative: never was

cdef inline void alr_open(alr_t* alr) noexcept nogil:
    alr.budget_bytes = 0
    alr.bps = 0
    alr.sent_us = -1
    alr.began_us = -1
    alr.ended_us = -1

cdef inline void alr_set_estimate(alr_t* alr, double bps) noexcept nogil:
    cdef double most = ALR_USED * bps * ALR_WINDOW_US / 8e6
    alr.bps = ALR_USED * bps
    alr.budget_bytes = clamp(alr.budget_bytes, -most, most)

cdef inline void alr_on_sent(alr_t* alr, double bytes, int64_t now_us) noexcept nogil:
    cdef double most = alr.bps * ALR_WINDOW_US / 8e6
    if alr.sent_us >= 0:
        alr.budget_bytes = clamp(
            alr.budget_bytes - bytes + alr.bps * <double>(now_us - alr.sent_us) / 8e6, -most, most
        )
        if alr.began_us < 0 and alr.budget_bytes > ALR_BEGINS * most:
            alr.began_us = now_us
        elif alr.began_us >= 0 and alr.budget_bytes < ALR_ENDS * most:
            alr.began_us = -1
            alr.ended_us = now_us
    alr.sent_us = now_us

cdef inline bint alr_is_limited(const alr_t* alr) noexcept nogil:
    return alr.began_us >= 0
