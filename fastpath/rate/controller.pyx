"""A rate controller behind one set of functions, for the engine; and as a class, for tests and models.

Inputs are checked here once: limits in order and of a size that arithmetic stands, a clock that does not
go back. So the parts divide by what cannot be zero, and the target cannot leave its limits.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memset
from fastpath.rate.aimd cimport aimd_additive_bps_per_s
from fastpath.rate.alr cimport alr_is_limited
from fastpath.rate.gcc cimport (
    gcc_limit, gcc_on_feedback, gcc_on_rtt, gcc_on_sent, gcc_on_tick, gcc_open, gcc_pacing_bps, gcc_take_probe,
)
from fastpath.rate.loss_based cimport LOSS_DECREASING, LOSS_INCREASING
from fastpath.rate.loss_only cimport (
    loss_only_limit, loss_only_on_sent, loss_only_on_tick, loss_only_open, loss_only_report,
)
from fastpath.rate.nada cimport (
    nada_limit, nada_on_feedback, nada_on_rtt, nada_on_sent, nada_on_tick, nada_open, nada_pacing_bps,
)
from fastpath.rate.types cimport USAGE_OVER, USAGE_UNDER, is_usable

from fastpath.rate.config import Probe, RateState

cdef enum:
    LOWEST_BPS = 5000            # libwebrtc kCongestionControllerMinBitrate
    DEFAULT_START_BPS = 300000   # libwebrtc kDefaultStartBitrate
    MAX_STREAMS = 1000000

cdef int64_t HIGHEST_BPS = 100000000000          # 100 Gbit/s: nothing overflows below it
cdef int64_t LAST_US = <int64_t>1 << 61          # of a clock


cdef inline int64_t between(int64_t value, int64_t low, int64_t high) noexcept nogil:
    return low if value < low else high if value > high else value


cdef void take_limits(rate_config_t* ours, const rate_config_t* config) noexcept nogil:
    ours.min_bps = between(config.min_bps, LOWEST_BPS, HIGHEST_BPS)
    ours.max_bps = between(config.max_bps, ours.min_bps, HIGHEST_BPS)
    ours.start_bps = config.start_bps if config.start_bps > 0 else DEFAULT_START_BPS
    ours.start_bps = between(ours.start_bps, ours.min_bps, ours.max_bps)
    ours.remote_cap_bps = between(config.remote_cap_bps, 0, HIGHEST_BPS)
    ours.needed_bps = between(config.needed_bps, 0, HIGHEST_BPS)
    ours.streams = <int32_t>between(config.streams, 1, MAX_STREAMS)


cdef int64_t advance(rate_t* rate, int64_t now_us) noexcept nogil:
    """The time to go by: never before the last."""
    if now_us > rate.now_us:
        rate.now_us = now_us if now_us < LAST_US else LAST_US
    return rate.now_us


cdef int64_t limited(const rate_t* rate, double bps) noexcept nogil:
    """As an integer within the limits; the receiver's cap gives way to the minimum."""
    cdef int64_t high = rate.config.max_bps
    if 0 < rate.config.remote_cap_bps < high:
        high = rate.config.remote_cap_bps if rate.config.remote_cap_bps > rate.config.min_bps else rate.config.min_bps
    if not bps > <double>rate.config.min_bps:
        return rate.config.min_bps
    return high if bps >= <double>high else <int64_t>bps


cdef void publish(rate_t* rate) noexcept nogil:
    if rate.config.kind == RATE_GCC:
        rate.target_bps = limited(rate, rate.parts.gcc.target_bps)
        rate.pacing_bps = <int64_t>gcc_pacing_bps(&rate.parts.gcc)
    elif rate.config.kind == RATE_NADA:
        rate.target_bps = limited(rate, rate.parts.nada.bps)
        rate.pacing_bps = <int64_t>nada_pacing_bps(&rate.parts.nada)
    elif rate.config.kind == RATE_LOSS_ONLY:
        rate.target_bps = limited(rate, rate.parts.loss_only.bps)
        rate.pacing_bps = rate.target_bps + rate.target_bps // 10        # as GCC's 1.1
    else:
        rate.target_bps = limited(rate, <double>rate.config.start_bps)
        rate.pacing_bps = rate.target_bps
    if rate.pacing_bps < rate.target_bps:
        rate.pacing_bps = rate.target_bps


cdef void open_parts(rate_t* rate) noexcept nogil:
    memset(&rate.parts, 0, sizeof(rate_parts_t))
    if rate.config.kind == RATE_GCC:
        gcc_open(&rate.parts.gcc, &rate.config, rate.now_us)
    elif rate.config.kind == RATE_NADA:
        nada_open(&rate.parts.nada, &rate.config)
    elif rate.config.kind == RATE_LOSS_ONLY:
        loss_only_open(&rate.parts.loss_only, &rate.config, rate.now_us)
    publish(rate)


cdef void rate_open(rate_t* rate, const rate_config_t* config, int64_t now_us) noexcept nogil:
    memset(rate, 0, sizeof(rate_t))
    rate.config.kind = config.kind if config.kind < RATE_KINDS else RATE_FIXED
    rate.config.profile = RATE_DRAFT if config.profile == RATE_DRAFT else RATE_LIBWEBRTC
    rate.config.is_node_link = config.is_node_link
    take_limits(&rate.config, config)
    advance(rate, now_us)
    open_parts(rate)


cdef void rate_set_config(rate_t* rate, const rate_config_t* config, int64_t now_us) noexcept nogil:
    advance(rate, now_us)
    take_limits(&rate.config, config)
    if rate.config.kind == RATE_GCC:
        gcc_limit(&rate.parts.gcc, &rate.config, rate.now_us)
    elif rate.config.kind == RATE_NADA:
        nada_limit(&rate.parts.nada, &rate.config)
    elif rate.config.kind == RATE_LOSS_ONLY:
        loss_only_limit(&rate.parts.loss_only, &rate.config)
    publish(rate)


cdef void rate_on_sent(rate_t* rate, uint32_t bytes, bint is_awaited, int64_t now_us) noexcept nogil:
    advance(rate, now_us)
    if rate.config.kind == RATE_GCC:
        gcc_on_sent(&rate.parts.gcc, <double>bytes, is_awaited, rate.now_us)
    elif rate.config.kind == RATE_NADA and is_awaited:
        nada_on_sent(&rate.parts.nada, rate.now_us)
    elif rate.config.kind == RATE_LOSS_ONLY:
        loss_only_on_sent(&rate.parts.loss_only, rate.now_us)


cdef void rate_on_feedback(
    rate_t* rate, const packet_result_t* results, int32_t count, int64_t rtt_us, int64_t now_us
) noexcept nogil:
    cdef int32_t i
    cdef int32_t lost = 0
    cdef int32_t usable = 0
    advance(rate, now_us)
    for i in range(count):
        if not is_usable(&results[i], rate.now_us):
            rate.unusable += 1
            continue
        usable += 1
        if results[i].arrival_us < 0:
            lost += 1
    if usable == 0:
        return
    if rate.config.kind == RATE_GCC:
        gcc_on_feedback(&rate.parts.gcc, results, count, rtt_us, rate.now_us)
    elif rate.config.kind == RATE_NADA:
        nada_on_feedback(&rate.parts.nada, results, count, rtt_us, rate.now_us)
    elif rate.config.kind == RATE_LOSS_ONLY:
        loss_only_report(&rate.parts.loss_only, lost, usable, rtt_us, rate.now_us)
    publish(rate)


cdef void rate_on_receiver_report(
    rate_t* rate, uint8_t fraction_lost, int32_t packets, int64_t rtt_us, uint32_t jitter_us, int64_t now_us
) noexcept nogil:
    """GCC and NADA know losses better than a report and take only its round trip. Jitter decides nothing:
    it does not tell a queue from a frame's burst."""
    advance(rate, now_us)
    if rate.config.kind == RATE_GCC:
        gcc_on_rtt(&rate.parts.gcc, rtt_us)
    elif rate.config.kind == RATE_NADA:
        nada_on_rtt(&rate.parts.nada, rtt_us)
    elif rate.config.kind == RATE_LOSS_ONLY:
        loss_only_report(
            &rate.parts.loss_only, <double>packets * fraction_lost / 256, packets, rtt_us, rate.now_us
        )
    publish(rate)


cdef void rate_on_route_change(rate_t* rate, int64_t start_bps, int64_t now_us) noexcept nogil:
    advance(rate, now_us)
    if rate.config.kind == RATE_FIXED:
        return
    rate.config.start_bps = between(
        start_bps if start_bps > 0 else rate.target_bps, rate.config.min_bps, rate.config.max_bps
    )
    open_parts(rate)


cdef void rate_on_tick(rate_t* rate, int64_t now_us) noexcept nogil:
    advance(rate, now_us)
    if rate.config.kind == RATE_GCC:
        gcc_on_tick(&rate.parts.gcc, rate.now_us)
    elif rate.config.kind == RATE_NADA:
        nada_on_tick(&rate.parts.nada, rate.now_us)
    elif rate.config.kind == RATE_LOSS_ONLY:
        loss_only_on_tick(&rate.parts.loss_only, rate.now_us)
    else:
        return
    publish(rate)


cdef bint rate_take_probe(rate_t* rate, probe_t* probe, int64_t now_us) noexcept nogil:
    advance(rate, now_us)
    return rate.config.kind == RATE_GCC and gcc_take_probe(&rate.parts.gcc, probe, rate.now_us)


cdef rate_config_t native_config(object kind, object config) except *:
    cdef rate_config_t native
    native.kind = int(kind)
    native.profile = int(config.profile)
    native.is_node_link = config.is_node_link
    native.streams = config.streams
    native.min_bps = config.min_bps
    native.start_bps = config.start_bps
    native.max_bps = config.max_bps
    native.remote_cap_bps = config.remote_cap_bps
    native.needed_bps = config.needed_bps
    return native


cdef class Controller:
    """One controller, with memory of its own. Times and units as in controller.pxd."""

    cdef rate_t rate
    cdef packet_result_t* results        # room for a feedback
    cdef Py_ssize_t room
    cdef object kind

    def __cinit__(self, kind, config, int64_t now_us):
        cdef rate_config_t native = native_config(kind, config)
        self.kind = kind
        rate_open(&self.rate, &native, now_us)

    def __dealloc__(self):
        PyMem_Free(self.results)

    @property
    def target_bps(self):
        return rate_target_bps(&self.rate)

    @property
    def pacing_bps(self):
        return rate_pacing_bps(&self.rate)

    @property
    def unusable(self):
        return self.rate.unusable

    def set_config(self, config, int64_t now_us):
        cdef rate_config_t native = native_config(self.kind, config)
        rate_set_config(&self.rate, &native, now_us)

    def on_sent(self, uint32_t size, int64_t now_us, bint is_awaited=True):
        rate_on_sent(&self.rate, size, is_awaited, now_us)

    def on_feedback(self, list results, int64_t rtt_us, int64_t now_us):
        cdef Py_ssize_t count = len(results)
        cdef packet_result_t* native
        cdef Py_ssize_t i
        if count > INT32_MAX:
            raise ValueError("more results than one feedback can have")
        if count > self.room:
            PyMem_Free(self.results)
            self.room = 0
            self.results = <packet_result_t*>PyMem_Malloc(2 * count * sizeof(packet_result_t))
            if self.results == NULL:
                raise MemoryError()
            self.room = 2 * count
        for i in range(count):
            native = &self.results[i]
            native.sent_us, native.arrival_us, native.bytes, native.probe, native.is_ce, native.is_fast = results[i]
        rate_on_feedback(&self.rate, self.results, <int32_t>count, rtt_us, now_us)

    def on_receiver_report(self, uint8_t fraction_lost, int32_t packets, int64_t rtt_us, uint32_t jitter_us, int64_t now_us):
        rate_on_receiver_report(&self.rate, fraction_lost, packets, rtt_us, jitter_us, now_us)

    def on_route_change(self, int64_t start_bps, int64_t now_us):
        rate_on_route_change(&self.rate, start_bps, now_us)

    def on_tick(self, int64_t now_us):
        rate_on_tick(&self.rate, now_us)

    def take_probe(self, int64_t now_us):
        cdef probe_t probe
        if not rate_take_probe(&self.rate, &probe, now_us):
            return None
        return Probe(probe.cluster, probe.bps, probe.bytes, probe.packets)

    def state(self):
        cdef gcc_t* gcc = &self.rate.parts.gcc
        cdef nada_t* nada = &self.rate.parts.nada
        if self.rate.config.kind == RATE_GCC:
            return RateState(
                target_bps=self.rate.target_bps,
                acknowledged_bps=gcc.throughput_bps if gcc.throughput_bps >= 0 else None,
                delay_based_bps=gcc.delay_bps if gcc.delay_bps >= 0 else None,
                loss_based_bps=gcc.loss.bandwidth_bps if gcc.loss.bandwidth_bps > 0 else None,
                trend=gcc.trendline.trend,
                threshold=gcc.trendline.threshold,
                usage="over" if gcc.trendline.usage == USAGE_OVER
                else "under" if gcc.trendline.usage == USAGE_UNDER else "normal",
                loss=gcc.loss.average_loss,
                limited_by_loss=gcc.loss.state == LOSS_DECREASING or gcc.loss.state == LOSS_INCREASING,
                application_limited=alr_is_limited(&gcc.alr),
                additive_bps_per_s=aimd_additive_bps_per_s(&gcc.aimd),
            )
        if self.rate.config.kind == RATE_NADA:
            return RateState(
                target_bps=self.rate.target_bps,
                acknowledged_bps=nada.received_bps if nada.received_bps >= 0 else None,
                trend=nada.signal_ms,
                queue_us=nada.queue_us,
                loss=nada.loss,
            )
        if self.rate.config.kind == RATE_LOSS_ONLY:
            return RateState(target_bps=self.rate.target_bps, loss=self.rate.parts.loss_only.loss)
        return RateState(target_bps=self.rate.target_bps)


def state_bytes():
    """Of one controller."""
    return sizeof(rate_t)
