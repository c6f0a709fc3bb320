"""When does a datagram arrive, if it does: the same stages, rules and draws as `lab.link.LinkModel`.

That module and `lab.bottleneck` say what they mean; a test gives both the same numbers and compares
every fate. Only where the draws come from differs: two SplitMix64 of the path's own (`draws`).
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from lab.virtual.draws cimport draw_unit

cdef enum:
    IPV4_UDP_HEADER_BYTES = 28   # RFC 791 3.1 and RFC 768

cdef uint64_t SECOND_SOURCE = 0x6D6F72655F6C7563  # chosen: any number but 0
MORE = SECOND_SOURCE


cdef void path_open(path_t* path, uint64_t seed) noexcept nogil:
    """All else is zero. To be closed."""
    path.draws.state = seed
    path.more.state = seed ^ SECOND_SOURCE


cdef void path_close(path_t* path) noexcept nogil:
    free(path.rates)
    free(path.waits)
    path.rates = NULL
    path.waits = NULL


cdef void drain(path_t* path, int64_t until_us) noexcept nogil:
    """At the rate in force."""
    cdef int64_t elapsed_us = until_us - path.now_us
    if elapsed_us <= 0:
        return
    path.now_us = until_us
    path.could_bits += <double>elapsed_us * <double>path.rates[path.rate_at].rate_bps / 1e6
    if elapsed_us > path.backlog // path.rates[path.rate_at].rate_bps:
        path.backlog = 0
    else:
        path.backlog -= elapsed_us * path.rates[path.rate_at].rate_bps


cdef void path_advance(path_t* path, int64_t now_us) noexcept nogil:
    """Move the clock, draining the bottleneck."""
    if path.rates != NULL:
        while path.rate_at + 1 < path.rate_count and path.rates[path.rate_at + 1].since_us <= now_us:
            drain(path, path.rates[path.rate_at + 1].since_us)
            path.rate_at += 1
        drain(path, now_us)
    path.now_us = now_us


cdef int64_t departure_us(const path_t* path) noexcept nogil:
    """When all that waits has left, rounded up."""
    cdef int64_t at = path.rate_at
    cdef int64_t left = path.backlog
    cdef int64_t here_us = path.now_us
    cdef int64_t rate_bps = path.rates[at].rate_bps
    while at + 1 < path.rate_count and path.rates[at + 1].since_us - here_us < left // rate_bps + (left % rate_bps != 0):
        left -= (path.rates[at + 1].since_us - here_us) * rate_bps
        here_us = path.rates[at + 1].since_us
        at += 1
        rate_bps = path.rates[at].rate_bps
    return here_us + left // rate_bps + (left % rate_bps != 0)


cdef int64_t path_wait_us(path_t* path, int64_t now_us) noexcept nogil:
    """How long a datagram would wait now before it begins to leave."""
    path_advance(path, now_us)
    return departure_us(path) - now_us if path.backlog > 0 else 0


cdef int64_t path_admit(path_t* path, uint32_t size, int64_t now_us, int64_t* copy_us) noexcept nogil:
    """Time of arrival of a payload of this size sent now; -1 if it will not arrive. copy_us: of its
    second copy; -1: there is none."""
    cdef bint lost = draw_unit(&path.draws) < path.loss
    cdef bint held_back = draw_unit(&path.draws) < path.reorder
    cdef double jitter = draw_unit(&path.draws)
    cdef double turn = draw_unit(&path.more)
    cdef double burst_luck = draw_unit(&path.more)
    cdef bint is_twice = draw_unit(&path.more) < path.duplicate
    cdef int64_t wire_bytes = <int64_t>size + IPV4_UDP_HEADER_BYTES
    cdef int64_t arrival_us = now_us
    cdef int64_t backlog, limit, bucket
    copy_us[0] = -1
    path.is_bad = turn >= path.p_good if path.is_bad else turn < path.p_bad
    lost |= burst_luck < (path.loss_bad if path.is_bad else path.loss_good)
    if now_us != path.now_us:
        path_advance(path, now_us)
    path.sent += 1
    if wire_bytes > path.mtu_bytes:
        path.oversized += 1
        return -1
    if path.rates != NULL:
        backlog = path.backlog + wire_bytes * MICROBITS_PER_BYTE
        if path.queue_us < 0:
            limit = path.queue_bytes * MICROBITS_PER_BYTE
        else:
            limit = path.queue_us * path.rates[path.rate_at].rate_bps
        if path.backlog > 0 and backlog > limit:
            path.queue_dropped += 1
            return -1
        path.backlog = backlog
        path.served_bytes += <uint64_t>wire_bytes
        arrival_us = departure_us(path)
        bucket = (arrival_us - now_us) // 1000
        path.waits[bucket if bucket < WAIT_BUCKETS else WAIT_BUCKETS - 1] += 1
    if lost:
        path.lost += 1
        return -1
    arrival_us += path.delay_us
    if path.jitter_us > 0:
        arrival_us += <int64_t>(jitter * <double>(path.jitter_us + 1))
    if arrival_us > path.in_order_us:
        path.in_order_us = arrival_us
    else:
        arrival_us = path.in_order_us
    if held_back:
        arrival_us += path.reorder_extra_us
    if is_twice:
        path.duplicated += 1
        copy_us[0] = arrival_us + path.duplicate_extra_us
    return arrival_us


cdef int set_rates(path_t* path, object config) except -1:
    cdef list steps = [(config.trace_origin_us + time_us, rate_bps) for time_us, rate_bps in config.rate_trace]
    cdef rate_step_t* rates = NULL
    cdef Py_ssize_t i
    if config.rate_bps is not None:
        steps = [(0, config.rate_bps)]
    if steps:
        if path.waits == NULL:
            path.waits = <uint32_t*>calloc(WAIT_BUCKETS, sizeof(uint32_t))
            if path.waits == NULL:
                raise MemoryError
        rates = <rate_step_t*>malloc(len(steps) * sizeof(rate_step_t))
        if rates == NULL:
            raise MemoryError
        for i in range(len(steps)):
            rates[i].since_us, rates[i].rate_bps = steps[i]
    free(path.rates)
    path.rates = rates
    path.rate_count = len(steps)
    path.rate_at = 0
    while path.rate_at + 1 < path.rate_count and path.rates[path.rate_at + 1].since_us <= path.now_us:
        path.rate_at += 1
    if rates == NULL:
        path.backlog = 0
    return 0


cdef int path_configure(path_t* path, object config, int64_t now_us) except -1:
    """config: a lab.link.LinkConfig. What is under way keeps its fate."""
    cdef object burst = config.burst_loss
    path_advance(path, now_us)
    set_rates(path, config)
    path.delay_us = config.delay_us
    path.jitter_us = config.jitter_us
    path.loss = config.loss
    path.reorder = config.reorder
    path.reorder_extra_us = config.reorder_extra_us
    path.duplicate = config.duplicate
    path.duplicate_extra_us = config.duplicate_extra_us
    path.queue_bytes = config.queue_bytes
    path.queue_us = -1 if config.queue_us is None else config.queue_us
    path.mtu_bytes = config.mtu_bytes
    if burst is None:
        path.is_bad = False
        path.p_bad = path.p_good = path.loss_bad = path.loss_good = 0.0
    else:
        path.p_bad, path.p_good = burst.p_bad, burst.p_good
        path.loss_bad, path.loss_good = burst.loss_bad, burst.loss_good
    return 0


@cython.final
cdef class NativePath:
    """One path by itself, for the comparison with its model."""
    cdef path_t path

    def __cinit__(self, config, uint64_t seed):
        path_open(&self.path, seed)
        path_configure(&self.path, config, 0)

    def __dealloc__(self):
        path_close(&self.path)

    def set_config(self, config, int64_t now_us):
        path_configure(&self.path, config, now_us)

    def admit(self, uint32_t size_bytes, int64_t now_us):
        cdef int64_t copy_us
        cdef int64_t arrival_us = path_admit(&self.path, size_bytes, now_us, &copy_us)
        if arrival_us < 0:
            return ()
        if copy_us < 0:
            return (arrival_us,)
        return (arrival_us, copy_us)

    def queue_us(self, int64_t now_us):
        return path_wait_us(&self.path, now_us)
