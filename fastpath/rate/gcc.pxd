# Google congestion control: the smaller of what delay and losses allow.
from libc.stdint cimport int32_t, int64_t, uint32_t
from fastpath.rate.aimd cimport aimd_t
from fastpath.rate.alr cimport alr_t
from fastpath.rate.grouping cimport grouping_t
from fastpath.rate.loss_based cimport loss_based_t
from fastpath.rate.loss_only cimport loss_only_t
from fastpath.rate.probe_result cimport probe_result_t
from fastpath.rate.probing cimport probing_t
from fastpath.rate.rtt_backoff cimport rtt_backoff_t
from fastpath.rate.throughput cimport throughput_t
from fastpath.rate.trendline cimport trendline_t
from fastpath.rate.types cimport packet_result_t, probe_t, rate_config_t

ctypedef struct gcc_t:
    double target_bps
    double delay_bps             # negative: the delay part allows anything
    double min_bps
    double max_bps               # with the receiver's cap
    double throughput_bps        # negative: not known
    int64_t began_us             # first feedback; negative: none yet
    int64_t fed_us               # last feedback
    int64_t trend_us             # last sample of the trend
    int64_t lost_us              # last one that told of a loss; negative: none yet
    int64_t counted_us           # last time that losses were told to the thresholds
    int64_t apart_us             # sent then, of a probe or a key frame, the last that says nothing of the trend; negative: none
    int64_t burst_us             # when the last key frame that counts as one began
    bint begins_anew             # what comes next that does is not compared with what came before
    int64_t rtt_us
    uint32_t packets             # since then
    uint32_t lost
    int32_t profile              # RateProfile
    alr_t alr
    rtt_backoff_t backoff
    grouping_t grouping
    trendline_t trendline
    aimd_t aimd
    loss_based_t loss
    loss_only_t thresholds       # of losses, until the model is ready; in the draft's profile always
    probing_t probing
    probe_result_t probes
    throughput_t throughput

cdef void gcc_open(gcc_t* gcc, const rate_config_t* config, int64_t now_us) noexcept nogil
cdef void gcc_limit(gcc_t* gcc, const rate_config_t* config, int64_t now_us) noexcept nogil
cdef void gcc_on_sent(gcc_t* gcc, double bytes, bint is_awaited, int64_t now_us) noexcept nogil
cdef void gcc_on_feedback(
    gcc_t* gcc, const packet_result_t* results, int32_t count, int64_t rtt_us, int64_t now_us
) noexcept nogil
cdef void gcc_on_rtt(gcc_t* gcc, int64_t rtt_us) noexcept nogil
cdef void gcc_on_tick(gcc_t* gcc, int64_t now_us) noexcept nogil
cdef bint gcc_take_probe(gcc_t* gcc, probe_t* probe, int64_t now_us) noexcept nogil
cdef double gcc_pacing_bps(const gcc_t* gcc) noexcept nogil
