# The rate above which losses come from us: LossBasedBweV2's model of a lossy link.
from libc.stdint cimport int32_t, int64_t
from fastpath.rate.types cimport packet_result_t

cdef enum:
    LOSS_OBSERVATIONS = 15       # libwebrtc observation_window_size

cdef enum LossState:
    LOSS_DELAY_BASED             # no limit of its own
    LOSS_INCREASING
    LOSS_DECREASING

ctypedef struct observation_t:   # 250 ms or more of sending
    double sending_bps
    double kilobytes
    double lost_kilobytes

ctypedef struct loss_based_t:
    observation_t observations[LOSS_OBSERVATIONS]        # a ring
    int32_t next
    int32_t count
    int64_t total                # observations ever, bounded
    # the observation that is being made
    double partial_kilobytes
    double partial_lost_kilobytes
    int64_t observed_us          # send time of the last packet of the last observation; negative: none
    # the model: a link with random loss and a rate above which all else is lost
    double bandwidth_bps         # 0: not known
    double inherent_loss
    double average_loss
    double window_lost           # kilobytes, in all observations
    double throughput_bps        # negative: not known
    double delay_based_bps       # negative: not known
    double min_bps
    double max_bps
    # what comes of it
    int32_t state                # LossState
    double result_bps
    # growth after a loss: not beyond this until then
    double window_limit_bps
    int64_t window_began_us      # negative: no window
    # a rate that is held for a while after losses, longer each time
    double hold_bps              # 0: none
    int64_t hold_until_us
    int64_t hold_us
    # growth is verified by padding for a while
    double padding_bps
    int64_t padding_us           # negative: none

cdef void loss_based_open(loss_based_t* loss, double min_bps, double max_bps) noexcept nogil
cdef void loss_based_limit(loss_based_t* loss, double min_bps, double max_bps) noexcept nogil
cdef void loss_based_verified(loss_based_t* loss, double bps) noexcept nogil
cdef void loss_based_update(
    loss_based_t* loss, const packet_result_t* results, int32_t count, double throughput_bps,
    double delay_based_bps, bint is_limited, int64_t now_us
) noexcept nogil

cdef inline bint loss_based_is_ready(const loss_based_t* loss) noexcept nogil:
    """3 observations: min_num_observations."""
    return loss.bandwidth_bps > 0 and loss.total >= 3
