# When to send faster for a moment, and how fast.
from libc.stdint cimport int32_t, int64_t, uint32_t
from fastpath.rate.alr cimport alr_t
from fastpath.rate.probe_result cimport probe_outcome_t
from fastpath.rate.types cimport probe_t, rate_config_t

cdef enum:
    PENDING_PROBES = 2

cdef enum ProbingState:
    PROBING_NEW
    PROBING_WAITS                # for a result; a good one is probed further
    PROBING_DONE

cdef enum RateLimit:             # what holds the estimate down
    LIMIT_NONE                   # the delay part, with no queue that grows
    LIMIT_DELAY
    LIMIT_LOSS
    LIMIT_LOSS_GROWING
    LIMIT_RTT

ctypedef struct probing_t:
    double pending_bps[PENDING_PROBES]
    int32_t pending
    int32_t aim                  # ProbeAim of what is pending
    int64_t check_us             # the next one, so long after the last probe or limit
    int64_t wish_us              # a probe of what is wished for, so long after the last one of any kind
    int64_t wishes_us            # and not before: where wishes are to be rarer than checks
    double wished_bps            # what the newest of them was for
    int64_t pending_until_us
    int32_t state                # ProbingState
    int32_t limit                # RateLimit
    bint has_losses              # lately, so that a limit by losses is not of the past
    uint32_t next_cluster
    int64_t initiated_us         # negative: never
    double further_bps           # an estimate above it is probed further
    double estimate_bps
    double max_bps
    double needed_bps            # 0: unknown
    double before_drop_bps
    int64_t dropped_us           # negative: never
    int64_t drop_probed_us       # negative: never
    int64_t limited_us           # last time that delay or losses held it down; negative: never

cdef void probing_open(probing_t* probing, const rate_config_t* config) noexcept nogil
cdef void probing_limit(probing_t* probing, const rate_config_t* config, int64_t now_us) noexcept nogil
cdef void probing_start(probing_t* probing, double start_bps, int64_t now_us) noexcept nogil
cdef void probing_set_estimate(probing_t* probing, double bps, int limit, int64_t now_us) noexcept nogil
cdef void probing_on_recovery(probing_t* probing, const alr_t* alr, int64_t now_us) noexcept nogil
cdef void probing_on_tick(probing_t* probing, const alr_t* alr, int64_t now_us) noexcept nogil
cdef double probing_on_check(probing_t* probing, const probe_outcome_t* outcome) noexcept nogil
cdef double probing_on_wish(probing_t* probing, const probe_outcome_t* outcome) noexcept nogil
cdef bint probing_take(probing_t* probing, probe_t* probe, int64_t now_us) noexcept nogil
