"""The result of a probe: a few packets sent at a known rate, and the rate at which they arrived.

It is valid once 80 % of the cluster's packets and bytes have arrived, unless they took longer than 1 s
or arrived at more than twice the rate they were sent at. If they arrived at less than 90 % of it, the
link was full: 95 % of the arrival rate is the result, so that its queue stays short.

Source: libwebrtc probe_bitrate_estimator.cc.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memset

cdef enum:
    RECEIVED_PERCENT = 80        # kMinReceivedProbesRatio, kMinReceivedBytesRatio
    LONGEST_US = 1000000         # kMaxProbeInterval

cdef double HIGHEST_RATIO = 2.0  # kMaxValidRatio
cdef double THROUGH = 0.95       # ours, of checks and wishes
cdef double FREE_RATIO = 0.9     # kMinRatioForUnsaturatedLink
cdef double UTILISATION = 0.95   # kTargetUtilizationFraction


cdef void probe_result_reset(probe_result_t* probes) noexcept nogil:
    memset(probes, 0, sizeof(probe_result_t))


cdef void probe_result_expect(
    probe_result_t* probes, uint32_t id, int64_t packets, int64_t bytes, int aim
) noexcept nogil:
    """A cluster that is about to be sent."""
    cdef cluster_t* cluster = &probes.clusters[probes.next]
    memset(cluster, 0, sizeof(cluster_t))
    cluster.id = id
    cluster.aim = <uint8_t>aim
    cluster.wanted_packets = packets
    cluster.wanted_bytes = bytes
    probes.next = probes.next + 1 if probes.next + 1 < PROBE_CLUSTERS else 0


cdef void note(cluster_t* cluster, int64_t sent_us, int64_t arrival_us, int64_t bytes) noexcept nogil:
    if cluster.packets == 0 or sent_us < cluster.first_sent_us:
        cluster.first_sent_us = sent_us
    if cluster.packets == 0 or sent_us > cluster.last_sent_us:
        cluster.last_sent_us = sent_us
        cluster.last_sent_bytes = 0
    if cluster.packets == 0 or arrival_us < cluster.first_arrival_us:
        cluster.first_arrival_us = arrival_us
        cluster.first_arrival_bytes = 0
    if cluster.packets == 0 or arrival_us > cluster.last_arrival_us:
        cluster.last_arrival_us = arrival_us
    # What a tick of a timer lets out together is one: else a small last packet stands for all of it.
    if sent_us == cluster.last_sent_us:
        cluster.last_sent_bytes += bytes
    if arrival_us == cluster.first_arrival_us:
        cluster.first_arrival_bytes += bytes
    cluster.packets += 1
    cluster.bytes += bytes


cdef bint evaluate(const cluster_t* cluster, probe_outcome_t* outcome) noexcept nogil:
    cdef int64_t sent_in_us = cluster.last_sent_us - cluster.first_sent_us
    cdef int64_t arrived_in_us = cluster.last_arrival_us - cluster.first_arrival_us
    if (
        100 * <int64_t>cluster.packets < RECEIVED_PERCENT * cluster.wanted_packets
        or 100 * cluster.bytes < RECEIVED_PERCENT * cluster.wanted_bytes
        or not 0 < sent_in_us <= LONGEST_US or not 0 < arrived_in_us <= LONGEST_US
    ):
        return False
    # What left last, and what arrived first, did so outside of these times.
    outcome.sent_bps = <double>(cluster.bytes - cluster.last_sent_bytes) * 8e6 / <double>sent_in_us
    outcome.received_bps = <double>(cluster.bytes - cluster.first_arrival_bytes) * 8e6 / <double>arrived_in_us
    # Of packets of several sizes either comparison may be wrong, by when the first and the last had arrived.
    outcome.is_through = (
        outcome.received_bps >= THROUGH * outcome.sent_bps or <double>sent_in_us >= THROUGH * <double>arrived_in_us
    )
    outcome.aim = cluster.aim
    return (
        outcome.sent_bps > 0 and outcome.received_bps > 0
        and outcome.received_bps <= HIGHEST_RATIO * outcome.sent_bps
    )


cdef bint probe_result_add(
    probe_result_t* probes, uint32_t id, int64_t sent_us, int64_t arrival_us, int64_t bytes, probe_outcome_t* outcome
) noexcept nogil:
    """A probe's packet that arrived. Whether its cluster has an outcome, so far."""
    cdef cluster_t* cluster
    cdef int i
    if id == 0:
        return False
    for i in range(PROBE_CLUSTERS):
        cluster = &probes.clusters[i]
        if cluster.id == id:
            note(cluster, sent_us, arrival_us, bytes)
            return evaluate(cluster, outcome)
    return False


cdef double probe_estimate_bps(const probe_outcome_t* outcome) noexcept nogil:
    """What the link carries, or at least that."""
    if outcome.received_bps < FREE_RATIO * outcome.sent_bps:
        return UTILISATION * outcome.received_bps
    return outcome.sent_bps if outcome.sent_bps < outcome.received_bps else outcome.received_bps
