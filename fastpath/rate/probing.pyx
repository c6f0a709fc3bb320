"""Probe controller: bursts of padding that find out whether the link carries more.

At the start 3 and 6 times the start rate, then twice the estimate as long as more than 70 % of a probe
came through; twice the estimate every 5 s while the application sends less than it may; the former rate
after a large drop in such a time; the new limit when it was raised. No probes while the delay grows or
losses take the rate down, small ones while it recovers from them. Never more than twice what there is to
send, if that is known.

Source: libwebrtc probe_controller.cc, whose configuration's names stand behind the numbers. One thing is
ours: a flow that fills its rate is *checked*, at 1.7 times its estimate, 3 s after the last probe or
over-use. A check never lowers the estimate. If it comes through there is room, 1.3 times the estimate is
taken, and the next check follows soon; so a capacity that has grown is found in a second or two instead
of at 8 % a second. If it does not, and the flow got a larger share of the full link by it, there are
other flows, and checks are rare: many flows would disturb each other.

Another is ours too: who could send more than the estimate, as a viewer of a lower bitrate than there is,
*wishes* for that (`needed_bps`) and is probed at that rate each 2 s while nothing limits it, more rarely
where probes would take more than a twenty-fifth of what the path carries. Nothing else finds a path that
has recovered: what is sent now neither fills the estimate nor leaves so much of it that the flow is
limited by the application. A wish that comes through raises the estimate to what is
needed, one that does not changes nothing.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset
from fastpath.rate.alr cimport alr_is_limited, alr_t
from fastpath.rate.probe_result cimport PROBE_CHECKS, PROBE_ESTIMATES, PROBE_WISHES, probe_outcome_t
from fastpath.rate.types cimport probe_t, rate_config_t

cdef enum:
    RESULT_US = 1000000          # kMaxWaitingTimeForProbingResult; later, a probe is of no use either
    ALR_INTERVAL_US = 5000000    # alr_probing_interval, kMinTimeBetweenAlrProbes
    ALR_ENDED_US = 3000000       # kAlrEndedTimeout
    DROP_US = 5000000            # kBitrateDropTimeout
    CHECK_INTERVAL_US = 3000000  # between checks
    NEXT_CHECK_US = 500000       # after one that came through
    SHARED_INTERVAL_US = 20000000        # after one that shows other flows, which use up room by themselves
    WISH_INTERVAL_US = 2000000   # with a GoP of 2 s, what is wished for is there within 5 s
    DURATION_US = 15000          # min_probe_duration
    PACKETS = 5                  # min_probe_packets_sent
    PROBE_PACKET_BYTES = 1200    # most that one of them takes

cdef double FIRST = 3.0          # first_exponential_probe_scale
cdef double SECOND = 6.0         # second_exponential_probe_scale
cdef double FURTHER = 2.0        # further_exponential_probe_scale
cdef double FURTHER_ABOVE = 0.7  # further_probe_threshold
cdef double ALR_SCALE = 2.0      # alr_probe_scale
cdef double LOSS_SCALE = 1.5     # loss_limited_probe_scale
cdef double DROP = 0.66          # kBitrateDropThreshold
cdef double AFTER_DROP = 0.85    # kProbeFractionAfterDrop
cdef double UNCERTAINTY = 0.05   # kProbeUncertainty
cdef double NEEDED = 2.0         # of what there is to send; OnMaxTotalAllocatedBitrate
cdef double NEVER = 1e300
# Checks are ours; chosen on the cases 5.1 to 5.8 of RFC 8867, by bench/rate_control.py.
cdef double CHECK_SCALE = 1.7    # of the estimate
cdef double CHECK_TAKEN = 0.75   # of what came through is taken: 1.3 times the estimate
cdef double WISH_SHARE = 0.04    # chosen: of what the path carries, at most so much for wishes
cdef double CHECK_SHARED = 1.25  # more than this of the estimate came through a full link: others gave way


cdef void probing_open(probing_t* probing, const rate_config_t* config) noexcept nogil:
    memset(probing, 0, sizeof(probing_t))
    probing.next_cluster = 1
    probing.initiated_us = -1
    probing.dropped_us = -1
    probing.drop_probed_us = -1
    probing.limited_us = -1
    probing.check_us = CHECK_INTERVAL_US
    probing.wish_us = WISH_INTERVAL_US
    probing.further_bps = NEVER
    probing.max_bps = <double>config.max_bps
    probing.needed_bps = <double>config.needed_bps


cdef void finish(probing_t* probing) noexcept nogil:
    probing.state = PROBING_DONE
    probing.further_bps = NEVER


cdef bint initiate(probing_t* probing, double first_bps, double second_bps, bint further, int64_t now_us) noexcept nogil:
    """One or two clusters; second_bps: 0 for one. Whether probes make sense now."""
    cdef double most_bps = probing.max_bps
    cdef double bps
    cdef int i
    if probing.needed_bps > 0 and most_bps > NEEDED * probing.needed_bps:
        most_bps = NEEDED * probing.needed_bps
    if probing.limit == LIMIT_DELAY or probing.limit == LIMIT_LOSS or probing.limit == LIMIT_RTT:
        return False
    if probing.limit == LIMIT_LOSS_GROWING and most_bps > LOSS_SCALE * probing.estimate_bps:
        most_bps = LOSS_SCALE * probing.estimate_bps
    if most_bps <= probing.estimate_bps:
        finish(probing)          # it could tell nothing new
        return False
    probing.pending = 0
    probing.aim = PROBE_ESTIMATES
    for i in range(2):
        bps = first_bps if i == 0 else second_bps
        if bps <= 0 or (i == 1 and probing.pending_bps[0] >= most_bps):
            continue
        if bps >= most_bps:
            bps = most_bps
            further = False
        probing.pending_bps[probing.pending] = bps
        probing.pending += 1
    if probing.pending == 0:
        return False
    probing.pending_until_us = now_us + RESULT_US
    probing.initiated_us = now_us
    if further:
        probing.state = PROBING_WAITS
        probing.further_bps = FURTHER_ABOVE * probing.pending_bps[probing.pending - 1]
    else:
        finish(probing)
    return True


cdef void probing_limit(probing_t* probing, const rate_config_t* config, int64_t now_us) noexcept nogil:
    """Other limits: a higher one is probed."""
    cdef double before_bps = probing.max_bps
    probing.max_bps = <double>config.max_bps
    probing.needed_bps = <double>config.needed_bps
    if probing.state == PROBING_DONE and before_bps < probing.max_bps and probing.estimate_bps < probing.max_bps:
        initiate(probing, probing.max_bps, 0, False, now_us)


cdef void probing_start(probing_t* probing, double start_bps, int64_t now_us) noexcept nogil:
    probing.estimate_bps = start_bps
    if probing.state == PROBING_NEW:
        initiate(probing, FIRST * start_bps, SECOND * start_bps, True, now_us)


cdef void probing_set_estimate(probing_t* probing, double bps, int limit, int64_t now_us) noexcept nogil:
    probing.limit = limit
    if limit != LIMIT_NONE:
        probing.limited_us = now_us
    if bps < DROP * probing.estimate_bps:
        probing.dropped_us = now_us
        probing.before_drop_bps = probing.estimate_bps
    probing.estimate_bps = bps
    if probing.state == PROBING_WAITS and bps > probing.further_bps:
        initiate(probing, FURTHER * bps, 0, True, now_us)


cdef void probing_on_recovery(probing_t* probing, const alr_t* alr, int64_t now_us) noexcept nogil:
    """The delay no longer falls after an over-use. Was the drop real?"""
    cdef double bps = AFTER_DROP * probing.before_drop_bps
    cdef bint was_limited = alr_is_limited(alr) or (alr.ended_us >= 0 and now_us - alr.ended_us < ALR_ENDED_US)
    if not was_limited or probing.state != PROBING_DONE or probing.dropped_us < 0:
        return
    if now_us - probing.dropped_us >= DROP_US or (1 - UNCERTAINTY) * bps <= probing.estimate_bps:
        return
    if probing.drop_probed_us >= 0 and now_us - probing.drop_probed_us <= ALR_INTERVAL_US:
        return
    probing.drop_probed_us = now_us
    initiate(probing, bps, 0, False, now_us)


cdef inline bint wishes_for_more(const probing_t* probing) noexcept nogil:
    """Losses of long ago limit for as long as the flow does not fill its rate, so they are not waited for."""
    if not probing.estimate_bps < probing.needed_bps <= probing.max_bps:
        return False
    return probing.limit == LIMIT_NONE or (
        not probing.has_losses and (probing.limit == LIMIT_LOSS or probing.limit == LIMIT_LOSS_GROWING)
    )


cdef void wish(probing_t* probing, int64_t now_us) noexcept nogil:
    """A probe at a little more than what is needed, as its result is uncertain."""
    cdef double bytes = (1 + UNCERTAINTY) * probing.needed_bps * DURATION_US / 8e6
    if bytes < PACKETS * PROBE_PACKET_BYTES:
        bytes = PACKETS * PROBE_PACKET_BYTES
    probing.pending = 1
    probing.pending_bps[0] = (1 + UNCERTAINTY) * probing.needed_bps
    probing.wished_bps = probing.needed_bps
    probing.pending_until_us = now_us + RESULT_US
    probing.aim = PROBE_WISHES
    probing.initiated_us = now_us
    probing.wish_us = WISH_INTERVAL_US
    probing.wishes_us = now_us + <int64_t>(bytes * 8e6 / (WISH_SHARE * probing.estimate_bps))


cdef void probing_on_tick(probing_t* probing, const alr_t* alr, int64_t now_us) noexcept nogil:
    cdef bint is_limited = alr_is_limited(alr)
    cdef int64_t since_us = probing.initiated_us
    cdef int64_t calm_us = alr.began_us if is_limited else probing.limited_us
    if probing.state == PROBING_WAITS and now_us - probing.initiated_us > RESULT_US:
        finish(probing)
    if probing.state != PROBING_DONE:
        return
    if wishes_for_more(probing) and now_us >= probing.wishes_us and now_us - since_us >= probing.wish_us:
        wish(probing, now_us)
        return
    if calm_us > since_us:
        since_us = calm_us
    if now_us - since_us < (ALR_INTERVAL_US if is_limited else probing.check_us):
        return
    probing.initiated_us = now_us        # tried, whether or not a probe makes sense now
    if is_limited:
        initiate(probing, ALR_SCALE * probing.estimate_bps, 0, True, now_us)
    elif initiate(probing, CHECK_SCALE * probing.estimate_bps, 0, False, now_us):
        probing.aim = PROBE_CHECKS
        probing.check_us = CHECK_INTERVAL_US


cdef inline double least_bps(const probe_outcome_t* outcome) noexcept nogil:
    return outcome.received_bps if outcome.received_bps < outcome.sent_bps else outcome.sent_bps


cdef double probing_on_check(probing_t* probing, const probe_outcome_t* outcome) noexcept nogil:
    """The estimate by a check's outcome; negative: as it is. A limit may have kept the check small, and
    then it cannot raise it."""
    cdef double taken_bps = CHECK_TAKEN * least_bps(outcome)
    if outcome.is_through:
        probing.check_us = NEXT_CHECK_US
        return taken_bps if taken_bps > probing.estimate_bps else -1
    if outcome.received_bps > CHECK_SHARED * probing.estimate_bps:
        probing.check_us = SHARED_INTERVAL_US
    return -1


cdef double probing_on_wish(probing_t* probing, const probe_outcome_t* outcome) noexcept nogil:
    """The estimate by its outcome, what is needed at most; negative: as it is."""
    cdef double taken_bps = least_bps(outcome)
    if taken_bps >= (1 - UNCERTAINTY) * probing.wished_bps:
        taken_bps = probing.wished_bps
    elif outcome.is_through:
        probing.wish_us = NEXT_CHECK_US          # it came through, but left too slowly to tell: once more
        probing.wishes_us = 0
    else:
        return -1
    return taken_bps if taken_bps > probing.estimate_bps else -1


cdef bint probing_take(probing_t* probing, probe_t* probe, int64_t now_us) noexcept nogil:
    """The next probe to send, if there is one."""
    if probing.pending == 0:
        return False
    if now_us > probing.pending_until_us:
        probing.pending = 0
        return False
    probe.cluster = probing.next_cluster
    probe.bps = <int64_t>probing.pending_bps[0]
    probe.bytes = <uint32_t>(probing.pending_bps[0] * DURATION_US / 8e6) + 1
    probe.packets = PACKETS
    probing.next_cluster += 1
    if probing.next_cluster == 0:
        probing.next_cluster = 1         # 0 is no cluster
    probing.pending -= 1
    probing.pending_bps[0] = probing.pending_bps[1]
    return True
