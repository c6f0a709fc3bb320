# The rate by the state of the bottleneck: additive increase, multiplicative decrease.
from libc.stdint cimport int32_t, int64_t
from fastpath.rate.capacity cimport capacity_t
from fastpath.rate.types cimport rate_config_t

cdef enum AimdState:
    AIMD_HOLD
    AIMD_INCREASE

ctypedef struct aimd_t:
    double bps
    double throughput_bps        # the last that was known
    double min_bps
    double max_bps
    double streams               # how many times steeper the additive step is
    int64_t rtt_us
    int64_t changed_us           # negative: not yet
    int32_t state                # AimdState
    int32_t profile              # RateProfile
    bint is_node_link
    capacity_t capacity

cdef void aimd_open(aimd_t* aimd, const rate_config_t* config) noexcept nogil
cdef void aimd_limit(aimd_t* aimd, const rate_config_t* config) noexcept nogil
cdef void aimd_set(aimd_t* aimd, double bps, int64_t now_us) noexcept nogil
cdef void aimd_on_probe(aimd_t* aimd, double bps, int64_t now_us) noexcept nogil
cdef bint aimd_may_reduce(const aimd_t* aimd, double throughput_bps, int64_t now_us) noexcept nogil
cdef void aimd_update(aimd_t* aimd, int usage, double throughput_bps, int64_t now_us) noexcept nogil
cdef double aimd_additive_bps_per_s(const aimd_t* aimd) noexcept nogil
