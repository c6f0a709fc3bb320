# What a probe's packets tell of the link: at what rate they left and arrived.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

cdef enum:
    PROBE_CLUSTERS = 4           # that may be under way

cdef enum ProbeAim:              # of a cluster; see probing
    PROBE_ESTIMATES              # its result is the estimate
    PROBE_CHECKS                 # whether there is more than the flow has
    PROBE_WISHES                 # whether there is room for what is wished for

ctypedef struct cluster_t:
    uint32_t id                  # 0: none
    uint32_t packets
    uint8_t aim                  # ProbeAim
    int64_t bytes
    int64_t wanted_packets
    int64_t wanted_bytes
    int64_t first_sent_us
    int64_t last_sent_us
    int64_t first_arrival_us
    int64_t last_arrival_us
    int64_t last_sent_bytes
    int64_t first_arrival_bytes

ctypedef struct probe_result_t:
    cluster_t clusters[PROBE_CLUSTERS]   # a ring
    int32_t next

ctypedef struct probe_outcome_t: # of a cluster of which enough has arrived
    double sent_bps
    double received_bps
    bint is_through              # it arrived as it left: there was room
    uint8_t aim

cdef void probe_result_reset(probe_result_t* probes) noexcept nogil
cdef void probe_result_expect(
    probe_result_t* probes, uint32_t id, int64_t packets, int64_t bytes, int aim
) noexcept nogil
cdef bint probe_result_add(
    probe_result_t* probes, uint32_t id, int64_t sent_us, int64_t arrival_us, int64_t bytes, probe_outcome_t* outcome
) noexcept nogil
cdef double probe_estimate_bps(const probe_outcome_t* outcome) noexcept nogil
