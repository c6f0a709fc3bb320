"""Google congestion control, sender side, from packet feedback: how its parts make one rate.

    results --> throughput ----------------------+-> aimd --> delay part --+
            --> grouping --> trendline (usage) --+                         +--> min --> limits --> target
            --> probe_result --------------------+                         |
            --> loss_based (or thresholds) ----------------> loss part ----+

The target is what losses allow, never above what the delay allows; a path that no longer answers is
backed off from; the limits hold last, so that it never leaves [min, max]. alr and probing watch whether
the estimate is used, and ask for probes that verify it.

Two things are ours. A decrease is from what arrived in the last 300 ms, since a second's mean is far too
high after a fall of the capacity, and leaves the queue full. And what is sent in or shortly after a probe
or a key frame, faster than the target both, says nothing of the trend: else a probe that came through is
taken for an over-use, of a rate at which nothing was acknowledged yet, and so is each key frame of a stream
that has its own rate; 85 % of what arrives is less than that. Nor does what has changed over a key
frame or a probe of what is wished for, which both may leave a queue that takes its time. Of key frames
that follow each other soon only some count: at least half of the time is looked at.

Source: libwebrtc goog_cc_network_control.cc, delay_based_bwe.cc, send_side_bandwidth_estimation.cc.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset
from fastpath.rate.aimd cimport aimd_limit, aimd_may_reduce, aimd_on_probe, aimd_open, aimd_set, aimd_update
from fastpath.rate.alr cimport alr_is_limited, alr_on_sent, alr_open, alr_set_estimate
from fastpath.rate.grouping cimport group_delta_t, grouping_add, grouping_reset
from fastpath.rate.loss_based cimport (
    LOSS_DECREASING, LOSS_INCREASING, loss_based_is_ready, loss_based_limit, loss_based_open, loss_based_update,
    loss_based_verified,
)
from fastpath.rate.loss_only cimport loss_only_limit, loss_only_on_tick, loss_only_open, loss_only_report
from fastpath.rate.probe_result cimport (
    PROBE_CHECKS, PROBE_WISHES, probe_estimate_bps, probe_outcome_t, probe_result_add, probe_result_expect, probe_result_reset,
)
from fastpath.rate.probing cimport (
    LIMIT_DELAY, LIMIT_LOSS, LIMIT_LOSS_GROWING, LIMIT_NONE, LIMIT_RTT, PROBING_NEW, probing_limit,
    probing_on_check, probing_on_recovery, probing_on_tick, probing_on_wish, probing_open, probing_set_estimate,
    probing_start, probing_take,
)
from fastpath.rate.rtt_backoff cimport (
    BACKOFF_FACTOR, BACKOFF_FLOOR, rtt_backoff_is_above, rtt_backoff_on_feedback, rtt_backoff_on_sent,
    rtt_backoff_open, rtt_backoff_reduces,
)
from fastpath.rate.throughput cimport (
    THROUGHPUT_WINDOW_US, throughput_add, throughput_bps, throughput_open, throughput_recent_bps,
)
from fastpath.rate.trendline cimport trendline_add, trendline_open
from fastpath.rate.types cimport (
    RATE_DRAFT, USAGE_NORMAL, USAGE_OVER, USAGE_UNDER, clamp, is_usable, packet_result_t, probe_t, rate_config_t,
)

cdef enum:
    TIMEOUT_US = 2000000         # without feedback the path may be another: kStreamTimeOut
    START_US = 2000000           # losses do not count yet, if there are none: kStartPhase
    COUNT_US = 1000000           # thresholds hear of losses so often: kLossUpdateInterval
    LONGEST_RTT_US = 60000000
    SHADOW_US = 100000           # chosen: a probe of 15 ms at twice the rate is over and its queue gone
    STALE_US = 1000000           # chosen: a trend without samples for so long says nothing, as when only key frames leave
    LATELY_US = 1000000          # chosen: a loss as long ago is no sign that what a probe showed does not hold
    LONGEST_BURST_US = 200000    # chosen: of a key frame, what says nothing
    BURST_INTERVAL_US = 600000   # chosen: twice that and its shadow

cdef double FIRST_PACING = 2.5   # before feedback: kDefaultPaceMultiplier
cdef double PACING = 1.1         # and after: PacingController's kDefaultPaceMultiplier of video calls
cdef double DRAFT_LOW_LOSS = 0.02       # draft 6
cdef double PROBE_FLOOR = 0.85   # of what is acknowledged: kProbeDropThroughputFraction


cdef void gcc_open(gcc_t* gcc, const rate_config_t* config, int64_t now_us) noexcept nogil:
    memset(gcc, 0, sizeof(gcc_t))
    gcc.target_bps = <double>config.start_bps
    gcc.delay_bps = -1
    gcc.throughput_bps = -1
    gcc.began_us = -1
    gcc.fed_us = -1
    gcc.lost_us = -1
    gcc.apart_us = -1
    gcc.burst_us = -BURST_INTERVAL_US
    gcc.profile = config.profile
    alr_open(&gcc.alr)
    rtt_backoff_open(&gcc.backoff)
    grouping_reset(&gcc.grouping)
    trendline_open(&gcc.trendline, config.profile)
    aimd_open(&gcc.aimd, config)
    loss_based_open(&gcc.loss, <double>config.min_bps, <double>config.max_bps)
    loss_only_open(&gcc.thresholds, config, now_us)
    probing_open(&gcc.probing, config)
    probe_result_reset(&gcc.probes)
    throughput_open(&gcc.throughput, THROUGHPUT_WINDOW_US)
    gcc_limit(gcc, config, now_us)


cdef void gcc_limit(gcc_t* gcc, const rate_config_t* config, int64_t now_us) noexcept nogil:
    gcc.min_bps = <double>config.min_bps
    gcc.max_bps = <double>config.max_bps
    aimd_limit(&gcc.aimd, config)
    loss_based_limit(&gcc.loss, gcc.min_bps, gcc.max_bps)
    loss_only_limit(&gcc.thresholds, config)
    probing_limit(&gcc.probing, config, now_us)
    if config.remote_cap_bps > 0 and <double>config.remote_cap_bps < gcc.max_bps:
        gcc.max_bps = <double>config.remote_cap_bps
    set_target(gcc, gcc.target_bps)


cdef void set_target(gcc_t* gcc, double bps) noexcept nogil:
    """The limits hold last: all that may be wrong above ends here."""
    if gcc.delay_bps >= 0 and bps > gcc.delay_bps:
        bps = gcc.delay_bps
    if bps > gcc.max_bps:
        bps = gcc.max_bps
    gcc.target_bps = bps if bps > gcc.min_bps else gcc.min_bps
    alr_set_estimate(&gcc.alr, gcc.target_bps)


cdef void gcc_on_sent(gcc_t* gcc, double bytes, bint is_awaited, int64_t now_us) noexcept nogil:
    if gcc.probing.state == PROBING_NEW and gcc.alr.sent_us < 0:
        probing_start(&gcc.probing, gcc.target_bps, now_us)
    alr_on_sent(&gcc.alr, bytes, now_us)
    if is_awaited:
        rtt_backoff_on_sent(&gcc.backoff, now_us)


cdef void gcc_on_rtt(gcc_t* gcc, int64_t rtt_us) noexcept nogil:
    if 0 < rtt_us <= LONGEST_RTT_US:
        gcc.rtt_us = rtt_us
        gcc.aimd.rtt_us = rtt_us


cdef void note_path(gcc_t* gcc, const packet_result_t* results, int32_t count, int64_t now_us) noexcept nogil:
    """Losses, and the round trip without what the receiver waited before it reported."""
    cdef int64_t newest_us = -1
    cdef int64_t rtt_us = LONGEST_RTT_US
    cdef int64_t taken_us
    cdef int32_t i
    for i in range(count):
        if not is_usable(&results[i], now_us):
            continue
        gcc.packets += 1
        if results[i].arrival_us < 0:
            gcc.lost += 1
            gcc.lost_us = now_us
        elif results[i].arrival_us > newest_us:
            newest_us = results[i].arrival_us
    if newest_us < 0:
        return
    for i in range(count):
        if is_usable(&results[i], now_us) and results[i].arrival_us >= 0:
            taken_us = now_us - results[i].sent_us - (newest_us - results[i].arrival_us)
            if taken_us < rtt_us:
                rtt_us = taken_us
    rtt_backoff_on_feedback(&gcc.backoff, rtt_us if rtt_us > 0 else 0, now_us)
    if gcc.rtt_us == 0 and rtt_us > 0:
        gcc.aimd.rtt_us = rtt_us         # nobody has told a better one


cdef inline bint is_burst(gcc_t* gcc, int64_t sent_us) noexcept nogil:
    """Is this packet of a key frame the first after a pause, or not long after such a one?"""
    if sent_us - gcc.burst_us >= BURST_INTERVAL_US:
        gcc.burst_us = sent_us
    return sent_us - gcc.burst_us < LONGEST_BURST_US


cdef double take_arrivals(
    gcc_t* gcc, const packet_result_t* results, int32_t count, bint* recovered, int64_t now_us
) noexcept nogil:
    """Packets that arrived, in the order sent. The last probe's result, or negative."""
    cdef group_delta_t delta
    cdef probe_outcome_t outcome
    cdef bint has_outcome = False
    cdef double probed_bps
    cdef int32_t before
    cdef int32_t i
    for i in range(count):
        if not is_usable(&results[i], now_us) or results[i].arrival_us < 0:
            continue
        throughput_add(&gcc.throughput, results[i].sent_us, results[i].arrival_us, results[i].bytes)
        if results[i].probe != 0:
            if probe_result_add(
                &gcc.probes, results[i].probe, results[i].sent_us, results[i].arrival_us, results[i].bytes, &outcome
            ):
                has_outcome = True
            gcc.apart_us = results[i].sent_us
            gcc.begins_anew = gcc.begins_anew or gcc.probing.needed_bps > 0
        elif results[i].is_fast and is_burst(gcc, results[i].sent_us):
            gcc.apart_us = results[i].sent_us
            gcc.begins_anew = True
        if gcc.apart_us >= 0 and results[i].sent_us - gcc.apart_us < SHADOW_US:
            continue             # behind a queue which is not the flow's
        if gcc.begins_anew:
            gcc.begins_anew = False
            grouping_reset(&gcc.grouping)
        if grouping_add(&gcc.grouping, results[i].sent_us, results[i].arrival_us, now_us, &delta):
            before = gcc.trendline.usage
            trendline_add(&gcc.trendline, &delta)
            gcc.trend_us = now_us
            if before == USAGE_UNDER and gcc.trendline.usage == USAGE_NORMAL:
                recovered[0] = True
    if now_us - gcc.trend_us > STALE_US:
        gcc.trendline.usage = USAGE_NORMAL
    if has_outcome and outcome.aim == PROBE_CHECKS:
        return probing_on_check(&gcc.probing, &outcome)
    if has_outcome and outcome.aim == PROBE_WISHES:
        probed_bps = probing_on_wish(&gcc.probing, &outcome)
        if probed_bps > 0 and not gcc.probing.has_losses:
            loss_based_verified(&gcc.loss, probed_bps)
        return probed_bps
    return probe_estimate_bps(&outcome) if has_outcome else -1


cdef void update_delay_part(gcc_t* gcc, double probed_bps, int64_t now_us) noexcept nogil:
    cdef double floor_bps
    cdef double link_bps
    if gcc.trendline.usage == USAGE_OVER:
        if gcc.throughput_bps >= 0:
            link_bps = throughput_recent_bps(&gcc.throughput)
            if not aimd_may_reduce(&gcc.aimd, link_bps, now_us):
                return
            aimd_update(&gcc.aimd, USAGE_OVER, link_bps, now_us)
        elif aimd_may_reduce(&gcc.aimd, gcc.aimd.bps, now_us):
            aimd_set(&gcc.aimd, gcc.aimd.bps / 2, now_us)    # nothing is known but that it is too much
    elif probed_bps > 0:
        # A result far below what gets through is wrong: few packets, and others came between them.
        floor_bps = PROBE_FLOOR * gcc.throughput_bps
        if floor_bps > gcc.aimd.bps:
            floor_bps = gcc.aimd.bps
        aimd_on_probe(&gcc.aimd, probed_bps if probed_bps > floor_bps else floor_bps, now_us)
        gcc.target_bps = gcc.aimd.bps    # and no longer what was before it
    else:
        aimd_update(&gcc.aimd, gcc.trendline.usage, gcc.throughput_bps, now_us)
    gcc.delay_bps = gcc.aimd.bps


cdef void update_loss_part(
    gcc_t* gcc, const packet_result_t* results, int32_t count, int64_t now_us
) noexcept nogil:
    loss_based_update(
        &gcc.loss, results, count, gcc.throughput_bps, gcc.delay_bps, alr_is_limited(&gcc.alr), now_us
    )
    if now_us - gcc.counted_us >= COUNT_US:
        gcc.thresholds.bps = gcc.target_bps
        loss_only_report(&gcc.thresholds, gcc.lost, gcc.packets, gcc.rtt_us, now_us)
        gcc.counted_us = now_us
        gcc.packets = 0
        gcc.lost = 0


cdef void combine(gcc_t* gcc, int64_t now_us) noexcept nogil:
    cdef double bps = gcc.target_bps
    if rtt_backoff_is_above(&gcc.backoff):
        if rtt_backoff_reduces(&gcc.backoff, now_us) and bps > BACKOFF_FLOOR:
            bps = clamp(bps * BACKOFF_FACTOR, BACKOFF_FLOOR, gcc.max_bps)
    elif gcc.profile != RATE_DRAFT and loss_based_is_ready(&gcc.loss):
        bps = gcc.loss.result_bps
    elif gcc.thresholds.loss == 0 and gcc.began_us >= 0 and now_us - gcc.began_us < START_US:
        if gcc.delay_bps > bps:
            bps = gcc.delay_bps
    elif gcc.profile == RATE_DRAFT and gcc.thresholds.loss <= DRAFT_LOW_LOSS and gcc.delay_bps >= 0:
        bps = gcc.delay_bps              # its loss part grows by 5 % a feedback: it limits nothing
    else:
        bps = gcc.thresholds.bps
    set_target(gcc, bps)
    gcc.thresholds.bps = gcc.target_bps


cdef int limited_by(const gcc_t* gcc) noexcept nogil:
    if gcc.trendline.usage != USAGE_NORMAL:
        return LIMIT_DELAY
    if rtt_backoff_is_above(&gcc.backoff):
        return LIMIT_RTT
    if gcc.loss.state == LOSS_DECREASING:
        return LIMIT_LOSS
    return LIMIT_LOSS_GROWING if gcc.loss.state == LOSS_INCREASING else LIMIT_NONE


cdef void gcc_on_feedback(
    gcc_t* gcc, const packet_result_t* results, int32_t count, int64_t rtt_us, int64_t now_us
) noexcept nogil:
    cdef bint recovered = False
    cdef double probed_bps
    if count <= 0:
        return
    if gcc.began_us < 0:
        gcc.began_us = now_us
        gcc.counted_us = now_us
    if gcc.fed_us >= 0 and now_us - gcc.fed_us > TIMEOUT_US:
        grouping_reset(&gcc.grouping)
        trendline_open(&gcc.trendline, gcc.profile)
    gcc.fed_us = now_us
    gcc_on_rtt(gcc, rtt_us)
    note_path(gcc, results, count, now_us)
    probed_bps = take_arrivals(gcc, results, count, &recovered, now_us)
    gcc.throughput_bps = throughput_bps(&gcc.throughput)
    update_delay_part(gcc, probed_bps, now_us)
    update_loss_part(gcc, results, count, now_us)
    combine(gcc, now_us)
    gcc.probing.has_losses = gcc.lost_us >= 0 and now_us - gcc.lost_us < LATELY_US
    probing_set_estimate(&gcc.probing, gcc.target_bps, limited_by(gcc), now_us)
    if recovered:
        probing_on_recovery(&gcc.probing, &gcc.alr, now_us)


cdef void gcc_on_tick(gcc_t* gcc, int64_t now_us) noexcept nogil:
    if rtt_backoff_is_above(&gcc.backoff):
        combine(gcc, now_us)
        probing_set_estimate(&gcc.probing, gcc.target_bps, LIMIT_RTT, now_us)
    probing_on_tick(&gcc.probing, &gcc.alr, now_us)


cdef bint gcc_take_probe(gcc_t* gcc, probe_t* probe, int64_t now_us) noexcept nogil:
    if not probing_take(&gcc.probing, probe, now_us):
        return False
    probe_result_expect(&gcc.probes, probe.cluster, probe.packets, probe.bytes, gcc.probing.aim)
    return True


cdef double gcc_pacing_bps(const gcc_t* gcc) noexcept nogil:
    return gcc.target_bps * (FIRST_PACING if gcc.began_us < 0 else PACING)
