# The rate by the share of packets that are lost, as reports tell it.
from libc.stdint cimport int32_t, int64_t
from fastpath.rate.types cimport rate_config_t

ctypedef struct loss_only_t:
    double bps
    double min_bps
    double max_bps
    double loss                  # share, of the last report of enough packets
    double lost                  # packets, not reported yet because too few were sent
    double expected
    int64_t sent_us              # last; negative: nothing was sent
    int64_t told_us              # last report of any size; negative: none
    int64_t reported_us          # last report of enough packets; negative: none
    int64_t grown_us
    int64_t reduced_us           # negative: never
    int64_t rtt_us
    bint has_reduced             # for this report
    int32_t profile              # RateProfile

cdef void loss_only_open(loss_only_t* loss, const rate_config_t* config, int64_t now_us) noexcept nogil
cdef void loss_only_limit(loss_only_t* loss, const rate_config_t* config) noexcept nogil
cdef void loss_only_on_sent(loss_only_t* loss, int64_t now_us) noexcept nogil
cdef void loss_only_report(loss_only_t* loss, double lost, double packets, int64_t rtt_us, int64_t now_us) noexcept nogil
cdef void loss_only_on_tick(loss_only_t* loss, int64_t now_us) noexcept nogil
