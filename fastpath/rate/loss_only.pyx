"""Loss-only control, for receivers that send nothing but receiver reports (RFC 3550 6.4).

Less than 2 % lost: 8 % more each second (draft: 5 %). Up to 10 %: as it is. More: down by half of the
share that was lost, at most every 300 ms and a round trip. It grows up to its limit, where it begins,
whatever is sent: a viewer that is sent a lower bitrate would find no room for a better one otherwise.
Without a report for 15 s it falls by 20 % a second.

Source: libwebrtc send_side_bandwidth_estimation.cc; draft-ietf-rmcat-gcc-02 6.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset
from fastpath.rate.types cimport RATE_DRAFT, clamp, rate_config_t

cdef enum:
    MIN_PACKETS = 20             # kLimitNumPackets: what a share is computed from
    GROWTH_US = 1000000          # kBweIncreaseInterval
    REDUCTION_US = 300000        # kBweDecreaseInterval, and a round trip
    FRESH_US = 6000000           # a report counts so long: 1.2 * kMaxRtcpFeedbackInterval
    TIMEOUT_US = 15000000        # kFeedbackTimeoutIntervals * kMaxRtcpFeedbackInterval
    TIMEOUT_STEP_US = 1000000    # kTimeoutInterval
    SENT_US = 1000000            # silence counts while something is sent
    LONGEST_RTT_US = 10000000

cdef double LOW_LOSS = 0.02      # draft 6; kDefaultLowLossThreshold
cdef double HIGH_LOSS = 0.1      # draft 6; kDefaultHighLossThreshold
cdef double GROWTH = 1.08        # libwebrtc
cdef double DRAFT_GROWTH = 1.05
cdef double GROWTH_BPS = 1000    # and this
cdef double TIMEOUT_FACTOR = 0.8 # libwebrtc


cdef void loss_only_open(loss_only_t* loss, const rate_config_t* config, int64_t now_us) noexcept nogil:
    memset(loss, 0, sizeof(loss_only_t))
    loss.bps = <double>config.start_bps
    loss.sent_us = -1
    loss.told_us = -1
    loss.reported_us = -1
    loss.reduced_us = -1
    loss.grown_us = now_us
    loss.profile = config.profile
    loss_only_limit(loss, config)


cdef void loss_only_limit(loss_only_t* loss, const rate_config_t* config) noexcept nogil:
    loss.min_bps = <double>config.min_bps
    loss.max_bps = <double>config.max_bps
    loss.bps = clamp(loss.bps, loss.min_bps, loss.max_bps)


cdef void loss_only_on_sent(loss_only_t* loss, int64_t now_us) noexcept nogil:
    if loss.sent_us < 0 and loss.told_us < 0:
        loss.told_us = now_us            # from here on, silence is missing feedback
    loss.sent_us = now_us


cdef void grow(loss_only_t* loss, int64_t now_us) noexcept nogil:
    cdef double bps
    if now_us - loss.grown_us < GROWTH_US:
        return
    bps = loss.bps * (DRAFT_GROWTH if loss.profile == RATE_DRAFT else GROWTH) + GROWTH_BPS
    loss.grown_us = now_us
    loss.bps = clamp(bps, loss.min_bps, loss.max_bps)


cdef void reduce(loss_only_t* loss, double factor, int64_t now_us) noexcept nogil:
    loss.bps = clamp(loss.bps * factor, loss.min_bps, loss.max_bps)
    loss.reduced_us = now_us
    loss.grown_us = now_us


cdef void update(loss_only_t* loss, int64_t now_us) noexcept nogil:
    if loss.reported_us < 0 or now_us - loss.reported_us > FRESH_US:
        return
    if loss.loss <= LOW_LOSS:
        grow(loss, now_us)
    elif loss.loss > HIGH_LOSS and not loss.has_reduced and (
        loss.reduced_us < 0 or now_us - loss.reduced_us >= REDUCTION_US + loss.rtt_us
    ):
        loss.has_reduced = True
        reduce(loss, 1 - loss.loss / 2, now_us)


cdef void loss_only_report(loss_only_t* loss, double lost, double packets, int64_t rtt_us, int64_t now_us) noexcept nogil:
    """lost: of so many packets since the last report. Few packets wait for the next report."""
    if 0 < rtt_us <= LONGEST_RTT_US:
        loss.rtt_us = rtt_us
    loss.told_us = now_us
    if not (packets > 0):
        return
    loss.expected += packets
    loss.lost += clamp(lost, 0, packets)
    if loss.expected < MIN_PACKETS:
        return
    loss.loss = clamp(loss.lost / loss.expected, 0, 1)
    loss.expected = 0
    loss.lost = 0
    loss.reported_us = now_us
    loss.has_reduced = False
    update(loss, now_us)


cdef void loss_only_on_tick(loss_only_t* loss, int64_t now_us) noexcept nogil:
    cdef int64_t silent_us
    update(loss, now_us)
    if loss.told_us < 0:
        return
    silent_us = now_us - loss.told_us
    if silent_us > TIMEOUT_US and now_us - loss.sent_us < SENT_US and (
        loss.reduced_us < 0 or now_us - loss.reduced_us >= TIMEOUT_STEP_US
    ):
        reduce(loss, TIMEOUT_FACTOR, now_us)
