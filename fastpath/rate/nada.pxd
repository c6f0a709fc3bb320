# NADA (RFC 8698): one congestion signal of delay, loss and marks, in units of delay.
from libc.stdint cimport int32_t, int64_t
from fastpath.rate.rtt_backoff cimport rtt_backoff_t
from fastpath.rate.throughput cimport throughput_t
from fastpath.rate.types cimport packet_result_t, rate_config_t

ctypedef struct nada_t:
    double bps                   # r_ref
    double min_bps
    double max_bps               # with the receiver's cap
    double reference_bps         # RMAX: the most that there is to send
    double received_bps          # r_recv; negative: not known
    double signal_ms             # x_prev
    # delay
    int64_t base_us[2]           # lowest one-way delay of this and of the last period; the clocks' offset is in it
    int64_t period_us            # when this period began
    int64_t forward_us           # filtered one-way delay
    int64_t queue_us             # above the base
    bint has_base
    bint has_forward
    # losses and marks
    double expected              # packets, decayed over LOGWIN
    double lost
    double marked
    double loss                  # p_loss
    double mark                  # p_mark
    double loss_interval         # packets between losses; negative: never lost
    double since_loss            # packets
    int64_t disturbed_us         # last loss, mark or queue; negative: none
    int64_t updated_us           # negative: no feedback yet
    int64_t rtt_us
    bint is_ramping              # accelerated ramp-up, else gradual
    rtt_backoff_t backoff
    throughput_t throughput

cdef void nada_open(nada_t* nada, const rate_config_t* config) noexcept nogil
cdef void nada_limit(nada_t* nada, const rate_config_t* config) noexcept nogil
cdef void nada_on_sent(nada_t* nada, int64_t now_us) noexcept nogil
cdef void nada_on_feedback(
    nada_t* nada, const packet_result_t* results, int32_t count, int64_t rtt_us, int64_t now_us
) noexcept nogil
cdef void nada_on_rtt(nada_t* nada, int64_t rtt_us) noexcept nogil
cdef void nada_on_tick(nada_t* nada, int64_t now_us) noexcept nogil
cdef double nada_pacing_bps(const nada_t* nada) noexcept nogil
