# A path that answers after 3 s, or not at all, gets less and less.
# Source: libwebrtc RttBasedBackoff in send_side_bandwidth_estimation.cc.
from libc.stdint cimport int64_t

cdef enum:
    BACKOFF_RTT_US = 3000000             # "limit"
    BACKOFF_INTERVAL_US = 1000000        # "interval"

cdef extern from *:
    """
    #define OVERLANE_BACKOFF_FACTOR 0.8     /* "fraction" */
    #define OVERLANE_BACKOFF_FLOOR 5000.0   /* "floor", bit/s */
    """
    const double BACKOFF_FACTOR "OVERLANE_BACKOFF_FACTOR"
    const double BACKOFF_FLOOR "OVERLANE_BACKOFF_FLOOR"

ctypedef struct rtt_backoff_t:
    int64_t rtt_us               # without what waited for the report
    int64_t told_us              # when; of the first packet behind that, if there is one; negative: neither
    int64_t sent_us              # the last packet; nothing is missing while nothing is sent
    int64_t reduced_us           # negative: never

cdef inline void rtt_backoff_open(rtt_backoff_t* backoff) noexcept nogil:
    backoff.rtt_us = 0
    backoff.told_us = -1
    backoff.sent_us = -1
    backoff.reduced_us = -1

cdef inline void rtt_backoff_on_sent(rtt_backoff_t* backoff, int64_t now_us) noexcept nogil:
    if backoff.told_us < 0 or backoff.sent_us < backoff.told_us:
        backoff.told_us = now_us         # behind a pause too: nothing of before is missing
    backoff.sent_us = now_us

cdef inline void rtt_backoff_on_feedback(rtt_backoff_t* backoff, int64_t rtt_us, int64_t now_us) noexcept nogil:
    backoff.rtt_us = rtt_us
    backoff.told_us = now_us

cdef inline bint rtt_backoff_is_above(const rtt_backoff_t* backoff) noexcept nogil:
    cdef int64_t missing_us
    if backoff.told_us < 0:
        return False
    missing_us = backoff.sent_us - backoff.told_us
    return backoff.rtt_us + (missing_us if missing_us > 0 else 0) > BACKOFF_RTT_US

cdef inline bint rtt_backoff_reduces(rtt_backoff_t* backoff, int64_t now_us) noexcept nogil:
    """Whether a reduction is due now."""
    if not rtt_backoff_is_above(backoff):
        return False
    if backoff.reduced_us >= 0 and now_us - backoff.reduced_us < BACKOFF_INTERVAL_US:
        return False
    backoff.reduced_us = now_us
    return True
