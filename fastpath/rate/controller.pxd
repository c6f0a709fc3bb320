# One rate controller of one link or viewer, of any kind: sans-IO, fixed size, no pointer to free.
# Time is an argument, in microseconds of a monotonic clock; one that goes back is taken as standing still.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from fastpath.rate.gcc cimport gcc_t
from fastpath.rate.loss_only cimport loss_only_t
from fastpath.rate.nada cimport nada_t
from fastpath.rate.types cimport (
    RATE_DRAFT, RATE_FIXED, RATE_GCC, RATE_KINDS, RATE_LIBWEBRTC, RATE_LOSS_ONLY, RATE_NADA, RateKind,
    RateProfile, packet_result_t, probe_t, rate_config_t,
)

ctypedef union rate_parts_t:
    gcc_t gcc
    loss_only_t loss_only
    nada_t nada

ctypedef struct rate_t:
    int64_t target_bps           # what media may take; within [min_bps, max_bps] at any time
    int64_t pacing_bps           # at what the pacer lets it go
    int64_t now_us
    uint64_t unusable            # results of no sense: sent in the future, or more than a minute ago
    rate_config_t config         # as it is used: limits in order
    rate_parts_t parts

# `config` is copied. min_bps is raised to 5 kbit/s, max_bps to min_bps; start_bps 0 is 300 kbit/s.
cdef void rate_open(rate_t* rate, const rate_config_t* config, int64_t now_us) noexcept nogil
# Limits, what is needed, streams. kind, profile and is_node_link stay as they were opened.
cdef void rate_set_config(rate_t* rate, const rate_config_t* config, int64_t now_us) noexcept nogil
# Every packet that is charged to the link, with padding.
# is_awaited: news of what has left will come soon, so its absence means something.
cdef void rate_on_sent(rate_t* rate, uint32_t bytes, bint is_awaited, int64_t now_us) noexcept nogil
# Each packet's fate once, in the order sent (a late arrival may follow a loss). rtt_us: 0 if unknown.
cdef void rate_on_feedback(
    rate_t* rate, const packet_result_t* results, int32_t count, int64_t rtt_us, int64_t now_us
) noexcept nogil
# fraction_lost: of RFC 3550 6.4.1, over `packets` that were sent since the last report.
cdef void rate_on_receiver_report(
    rate_t* rate, uint8_t fraction_lost, int32_t packets, int64_t rtt_us, uint32_t jitter_us, int64_t now_us
) noexcept nogil
# Another path: what was measured is of no use. start_bps: a rate known to be good there; 0: the present target.
cdef void rate_on_route_change(rate_t* rate, int64_t start_bps, int64_t now_us) noexcept nogil
# Each 25 ms, or as often as it suits: growth after a report, silence, when to probe.
cdef void rate_on_tick(rate_t* rate, int64_t now_us) noexcept nogil
# Whether `probe` was set: to be sent at once, what waits first and then padding. All that is sent until it is
# over belongs to it, and the results of these packets name its cluster. Nobody need take probes; then the
# rate grows by 8 % a second at most. Ask when feedback came and on each tick.
cdef bint rate_take_probe(rate_t* rate, probe_t* probe, int64_t now_us) noexcept nogil

cdef inline int64_t rate_target_bps(const rate_t* rate) noexcept nogil:
    return rate.target_bps

cdef inline int64_t rate_pacing_bps(const rate_t* rate) noexcept nogil:
    return rate.pacing_bps
