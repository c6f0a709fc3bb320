"""NADA, network-assisted dynamic adaptation (RFC 8698), sender side, from packet feedback.

Queueing delay, losses and marks are added up as milliseconds. While there are none the rate follows
what arrives, up to half more each round trip (accelerated ramp-up); else it moves so that the signal
comes to XREF times RMAX over the rate, so flows of one priority share a queue evenly and a flow's step
grows with its rate, on a node link too.

RMAX is what the application could send at most: `needed_bps`, or `max_bps` if that is not known. The
queue at rest is XREF * RMAX / rate, so a needlessly high limit makes it long.

Beyond the RFC: in the gradual mode the rate does not grow past 1.5 times what arrives, since a flow
without enough to send would drift up to its limit; and it is reduced when feedback stays away.
"""

from libc.math cimport exp
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset
from fastpath.rate.rtt_backoff cimport (
    BACKOFF_FACTOR, rtt_backoff_on_feedback, rtt_backoff_on_sent, rtt_backoff_open, rtt_backoff_reduces,
)
from fastpath.rate.throughput cimport throughput_add, throughput_bps, throughput_open
from fastpath.rate.types cimport clamp, is_usable, packet_result_t, rate_config_t

cdef enum:
    LOGWIN_US = 500000           # 5.1, figure 3: LOGWIN
    QEPS_US = 10000              # QEPS: what is no queue
    FILTER_PACKETS = 15          # 5.1.1: taps of the minimum filter
    PERIOD_US = 300000000        # chosen: the base is of the last 5 to 10 min, so that clocks may drift
    CLOCK_JUMP_US = 3000000      # chosen, as for GCC
    LONGEST_STEP_US = 500000     # TAU; of one update
    LONGEST_RTT_US = 60000000

cdef double PRIORITY = 1.0       # PRIO
cdef double REFERENCE_MS = 10.0  # XREF
cdef double KAPPA = 0.5          # KAPPA
cdef double ETA = 2.0            # ETA
cdef double TAU_MS = 500.0       # TAU
cdef double DELTA_MS = 100.0     # DELTA: feedback interval
cdef double FILTER_MS = 120.0    # DFILT
cdef double GAMMA = 0.5          # GAMMA_MAX
cdef double BOUND_MS = 50.0      # QBOUND
cdef double MULTI_LOSS = 7.0     # MULTILOSS: loss intervals for which a loss is expected to repeat
cdef double THRESHOLD_MS = 50.0  # QTH: where delay is bent once losses are expected
cdef double BEND = 0.5           # LAMBDA
cdef double REFERENCE_LOSS = 0.01    # PLRREF
cdef double REFERENCE_MARK = 0.01    # PMRREF
cdef double LOSS_MS = 10.0       # DLOSS
cdef double MARK_MS = 2.0        # DMARK
cdef double ALPHA = 0.1          # ALPHA: of a new loss or marking ratio
cdef double HIGHEST_MS = 500.0   # of the signal; XMAX of the authors' ns3-rmcat
cdef double CAP = 1.5            # of what arrives, as for GCC
cdef double CAP_BPS = 10000
cdef double INTERVAL_WEIGHT = 0.25   # chosen, of a new loss interval: about the 8 of RFC 5348 5.4
cdef double PACING = 1.1         # as for GCC


cdef void nada_open(nada_t* nada, const rate_config_t* config) noexcept nogil:
    memset(nada, 0, sizeof(nada_t))
    nada.bps = <double>config.start_bps
    nada.received_bps = -1
    nada.loss_interval = -1
    nada.disturbed_us = -1
    nada.updated_us = -1
    rtt_backoff_open(&nada.backoff)
    throughput_open(&nada.throughput, LOGWIN_US)
    nada_limit(nada, config)


cdef void nada_limit(nada_t* nada, const rate_config_t* config) noexcept nogil:
    nada.min_bps = <double>config.min_bps
    nada.max_bps = <double>config.max_bps
    nada.reference_bps = nada.max_bps
    if config.needed_bps > 0 and <double>config.needed_bps < nada.max_bps:
        nada.reference_bps = <double>config.needed_bps
    if config.remote_cap_bps > 0 and <double>config.remote_cap_bps < nada.max_bps:
        nada.max_bps = <double>config.remote_cap_bps
    if nada.max_bps < nada.min_bps:
        nada.max_bps = nada.min_bps
    nada.bps = clamp(nada.bps, nada.min_bps, nada.max_bps)


cdef void nada_on_sent(nada_t* nada, int64_t now_us) noexcept nogil:
    rtt_backoff_on_sent(&nada.backoff, now_us)


cdef void nada_on_rtt(nada_t* nada, int64_t rtt_us) noexcept nogil:
    if 0 < rtt_us <= LONGEST_RTT_US:
        nada.rtt_us = rtt_us


cdef void note_delay(nada_t* nada, int64_t least_us, int32_t arrived, int64_t now_us) noexcept nogil:
    """least_us: of this feedback's packets. Few packets are filtered together with those before."""
    cdef int64_t before_us = nada.forward_us
    if nada.has_base and not -CLOCK_JUMP_US < least_us - before_us < CLOCK_JUMP_US:
        nada.has_base = False
        nada.has_forward = False
    if not nada.has_base:
        nada.base_us[0] = least_us
        nada.base_us[1] = least_us
        nada.period_us = now_us
        nada.has_base = True
    elif now_us - nada.period_us > PERIOD_US:
        nada.base_us[1] = nada.base_us[0]
        nada.base_us[0] = least_us
        nada.period_us = now_us
    if least_us < nada.base_us[0]:
        nada.base_us[0] = least_us
    nada.forward_us = least_us
    if nada.has_forward and arrived < FILTER_PACKETS and before_us < least_us:
        least_us = before_us
    nada.has_forward = True
    nada.queue_us = least_us - (nada.base_us[0] if nada.base_us[0] < nada.base_us[1] else nada.base_us[1])
    if nada.queue_us < 0:
        nada.queue_us = 0


cdef void note_losses(nada_t* nada, double expected, double lost, double marked, double passed_us) noexcept nogil:
    cdef double kept = exp(-passed_us / LOGWIN_US)
    nada.expected = nada.expected * kept + expected
    nada.lost = nada.lost * kept + lost
    nada.marked = nada.marked * kept + marked
    if nada.expected > 0:
        nada.loss += ALPHA * (nada.lost / nada.expected - nada.loss)
        nada.mark += ALPHA * (nada.marked / nada.expected - nada.mark)


cdef void note_loss(nada_t* nada) noexcept nogil:
    """A packet was lost after so many others."""
    if nada.loss_interval < 0:
        nada.loss_interval = nada.since_loss
    else:
        nada.loss_interval += INTERVAL_WEIGHT * (nada.since_loss - nada.loss_interval)
    nada.since_loss = 0


cdef double congestion_ms(const nada_t* nada) noexcept nogil:
    """x_curr, equation 2. Delay above QTH is bent down once losses are expected, equation 1: other
    flows fill the queue then, and who yields to its length gets nothing."""
    cdef double delay_ms = <double>nada.queue_us / 1000
    cdef double loss = nada.loss / REFERENCE_LOSS
    cdef double mark = nada.mark / REFERENCE_MARK
    if delay_ms > THRESHOLD_MS and nada.loss_interval >= 0 and nada.since_loss < MULTI_LOSS * nada.loss_interval:
        delay_ms = THRESHOLD_MS * exp(-BEND * (delay_ms - THRESHOLD_MS) / THRESHOLD_MS)
    return clamp(delay_ms + MARK_MS * mark * mark + LOSS_MS * loss * loss, 0, HIGHEST_MS)


cdef void ramp_up(nada_t* nada) noexcept nogil:
    """4.3, equation 3: what the queue of this step may be limits the step."""
    cdef double gamma = BOUND_MS / (<double>nada.rtt_us / 1000 + DELTA_MS + FILTER_MS)
    cdef double bps
    if gamma > GAMMA:
        gamma = GAMMA
    bps = (1 + gamma) * nada.received_bps
    if bps > nada.bps:
        nada.bps = bps


cdef void adjust(nada_t* nada, double signal_ms, double passed_ms) noexcept nogil:
    """4.3, equations 5 to 7."""
    cdef double before_bps = nada.bps
    cdef double offset_ms = signal_ms - PRIORITY * REFERENCE_MS * nada.reference_bps / nada.bps
    cdef double change_ms = signal_ms - nada.signal_ms
    cdef double limit_bps
    nada.bps -= KAPPA * (passed_ms / TAU_MS) * (offset_ms / TAU_MS) * before_bps
    nada.bps -= KAPPA * ETA * (change_ms / TAU_MS) * before_bps
    limit_bps = CAP * nada.received_bps + CAP_BPS
    if nada.received_bps >= 0 and nada.bps > before_bps and nada.bps > limit_bps:
        nada.bps = limit_bps if limit_bps > before_bps else before_bps


cdef void nada_on_feedback(
    nada_t* nada, const packet_result_t* results, int32_t count, int64_t rtt_us, int64_t now_us
) noexcept nogil:
    cdef int64_t delay_us
    cdef int64_t least_us = 0
    cdef int32_t arrived = 0
    cdef int32_t lost = 0
    cdef int32_t marked = 0
    cdef double passed_us
    cdef double signal_ms
    cdef int32_t i
    for i in range(count):
        if not is_usable(&results[i], now_us):
            continue
        if results[i].arrival_us < 0:
            lost += 1
            note_loss(nada)
            continue
        delay_us = results[i].arrival_us - results[i].sent_us
        if arrived == 0 or delay_us < least_us:
            least_us = delay_us
        arrived += 1
        nada.since_loss += 1
        if results[i].is_ce:
            marked += 1
        throughput_add(&nada.throughput, results[i].sent_us, results[i].arrival_us, results[i].bytes)
    if arrived + lost == 0:
        return
    nada_on_rtt(nada, rtt_us)
    passed_us = clamp(<double>(now_us - nada.updated_us), 0, LONGEST_STEP_US) if nada.updated_us >= 0 else 0
    nada.updated_us = now_us
    if arrived > 0:
        note_delay(nada, least_us, arrived, now_us)
        rtt_backoff_on_feedback(&nada.backoff, nada.rtt_us, now_us)
    note_losses(nada, arrived + lost, lost, marked, passed_us)
    nada.received_bps = throughput_bps(&nada.throughput)
    if nada.disturbed_us < 0 or lost > 0 or marked > 0 or nada.queue_us >= QEPS_US:
        nada.disturbed_us = now_us
    signal_ms = congestion_ms(nada)
    nada.is_ramping = nada.queue_us < QEPS_US and lost == 0 and now_us - nada.disturbed_us >= LOGWIN_US
    if nada.is_ramping and nada.received_bps >= 0:
        ramp_up(nada)
    else:
        adjust(nada, signal_ms, passed_us / 1000)
    nada.signal_ms = signal_ms
    nada.bps = clamp(nada.bps, nada.min_bps, nada.max_bps)


cdef void nada_on_tick(nada_t* nada, int64_t now_us) noexcept nogil:
    if rtt_backoff_reduces(&nada.backoff, now_us):
        nada.bps = clamp(nada.bps * BACKOFF_FACTOR, nada.min_bps, nada.max_bps)


cdef double nada_pacing_bps(const nada_t* nada) noexcept nogil:
    return PACING * nada.bps
