# What goes into a rate controller and comes out of it. Rates are bit/s of UDP payload, sizes its bytes.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

cdef enum RateKind:
    RATE_FIXED                   # the configured start rate
    RATE_GCC                     # delay and loss from packet feedback, as libwebrtc does it
    RATE_LOSS_ONLY               # loss from receiver reports
    RATE_NADA                    # RFC 8698, from packet feedback
    RATE_KINDS

cdef enum RateProfile:           # whose constants GCC takes where they differ
    RATE_LIBWEBRTC               # modules/congestion_controller/goog_cc as of January 2026
    RATE_DRAFT                   # draft-ietf-rmcat-gcc-02

ctypedef struct rate_config_t:
    int64_t min_bps
    int64_t start_bps            # 0: 300 kbit/s
    int64_t max_bps
    int64_t remote_cap_bps       # what the receiver allows (REMB); 0: no limit
    int64_t needed_bps           # what there would be to send, were there room; probes go to twice that. 0: unknown
    int32_t streams              # that share a node link: so many times steeper is its additive step
    uint8_t kind
    uint8_t profile
    bint is_node_link

ctypedef struct packet_result_t:
    int64_t sent_us              # the clock that is given as now_us
    int64_t arrival_us           # the receiver's clock, of any epoch; negative: lost
    uint32_t bytes
    uint32_t probe               # 0: none, else the cluster it was sent for
    bint is_ce                   # a router marked it (RFC 3168)
    bint is_fast                 # left faster than the pace, as key frames do

ctypedef struct probe_t:
    uint32_t cluster             # never 0
    int64_t bps                  # to be paced at
    uint32_t bytes               # at least so many, and
    uint32_t packets             # at least so many packets

cdef enum RateUsage:             # of the bottleneck, by the delay's trend
    USAGE_NORMAL
    USAGE_OVER
    USAGE_UNDER

cdef inline double clamp(double value, double low, double high) noexcept nogil:
    """`low` if both limits contradict, or for what is no number."""
    if not (value > low):
        return low
    return high if value > high else value

cdef inline bint is_usable(const packet_result_t* result, int64_t now_us) noexcept nogil:
    """Sent within the last minute, by a receiver's clock with room to count: all else is no measurement."""
    return now_us - 60000000 <= result.sent_us <= now_us and result.arrival_us < (<int64_t>1 << 61)
