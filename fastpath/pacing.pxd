# A link whose rate is controlled: what it is charged at, its probes, what its controller hears.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from fastpath.link cimport link_t
from fastpath.pacer cimport CLUSTERS, TRANSPORT_HISTORY, pacer_t, transport_t
from fastpath.rate.types cimport packet_result_t, rate_config_t
from fastpath.worker cimport worker_t

cdef enum:
    TICK_US = 25000              # of controllers

cdef int pacer_open(link_t* link, const rate_config_t* config, int64_t now_us) noexcept nogil
cdef void pacer_set_rate(link_t* link, int64_t rate_bps, int64_t start_bps, int64_t now_us) noexcept nogil
cdef void pacer_set_needed(link_t* link, int64_t bps, int64_t now_us) noexcept nogil
cdef void pacer_on_route_change(link_t* link, int64_t now_us) noexcept nogil
cdef void pacer_on_results(
    link_t* link, const packet_result_t* results, int32_t count, int64_t rtt_us, int64_t now_us
) noexcept nogil
cdef void pacer_on_receiver_report(
    link_t* link, uint8_t fraction_lost, int32_t packets, int64_t rtt_us, uint32_t jitter_us, int64_t now_us
) noexcept nogil
cdef int pacer_usage(const link_t* link) noexcept nogil
cdef void pacer_refresh(link_t* link) noexcept nogil
cdef void pacer_before_drain(worker_t* worker, link_t* link, int64_t now_us) noexcept nogil
cdef void pacer_after_drain(worker_t* worker, int32_t link, int64_t now_us) noexcept nogil


cdef inline size_t pacer_bytes(const link_t* link) noexcept nogil:
    """What a link's takes."""
    if link.pacer == NULL:
        return 0
    return sizeof(pacer_t) + (TRANSPORT_HISTORY * sizeof(transport_t) if link.pacer.transport != NULL else 0)


cdef inline uint32_t pacer_cluster_of(const link_t* link, uint64_t number) noexcept nogil:
    """The probe that a number left for, or 0: all that left while it was under way, media too."""
    cdef int i
    for i in range(CLUSTERS):
        if link.pacer.clusters[i].first <= number <= link.pacer.clusters[i].last:
            return link.pacer.clusters[i].id
    return 0
