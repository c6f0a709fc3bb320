"""When does a datagram arrive, if it does: the same stages, rules and draws as `lab.link.LinkModel`.

That module says what they mean; a test gives both the same numbers and compares every fate. Only
where the draws come from differs: a SplitMix64 of the path's own (`draws`).
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from lab.virtual.draws cimport draw_unit

cdef enum:
    IPV4_UDP_HEADER_BYTES = 28   # RFC 791 3.1 and RFC 768
    MICROBITS_PER_BYTE = 8000000


cdef void path_advance(path_t* path, int64_t now_us) noexcept nogil:
    """Move the clock, draining the bottleneck."""
    cdef int64_t elapsed_us = now_us - path.now_us
    if path.backlog > 0 and path.rate_bps > 0:
        if elapsed_us > path.backlog // path.rate_bps:
            path.backlog = 0
        else:
            path.backlog -= elapsed_us * path.rate_bps
            if path.backlog < 0:
                path.backlog = 0
    path.now_us = now_us


cdef int64_t path_admit(path_t* path, uint32_t size, int64_t now_us) noexcept nogil:
    """Time of arrival of a payload of this size sent now; -1 if it will not arrive."""
    cdef bint lost = draw_unit(&path.draws) < path.loss
    cdef bint held_back = draw_unit(&path.draws) < path.reorder
    cdef double jitter = draw_unit(&path.draws)
    cdef int64_t wire_bytes = <int64_t>size + IPV4_UDP_HEADER_BYTES
    cdef int64_t arrival_us = now_us
    cdef int64_t backlog
    if now_us != path.now_us:
        path_advance(path, now_us)
    path.sent += 1
    if wire_bytes > path.mtu_bytes:
        path.oversized += 1
        return -1
    if path.rate_bps > 0:
        backlog = path.backlog + wire_bytes * MICROBITS_PER_BYTE
        if path.backlog > 0 and backlog > path.queue_bytes * MICROBITS_PER_BYTE:
            path.queue_dropped += 1
            return -1
        path.backlog = backlog
        arrival_us += (backlog + path.rate_bps - 1) // path.rate_bps
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
    return arrival_us + path.reorder_extra_us if held_back else arrival_us


cdef int path_configure(path_t* path, object config, int64_t now_us) except -1:
    """config: a lab.link.LinkConfig. What is under way keeps its fate."""
    path_advance(path, now_us)
    path.delay_us = config.delay_us
    path.jitter_us = config.jitter_us
    path.loss = config.loss
    path.reorder = config.reorder
    path.reorder_extra_us = config.reorder_extra_us
    path.rate_bps = config.rate_bps or 0
    path.queue_bytes = config.queue_bytes
    path.mtu_bytes = config.mtu_bytes
    if path.rate_bps == 0:
        path.backlog = 0
    return 0


@cython.final
cdef class NativePath:
    """One path by itself, for the comparison with its model."""
    cdef path_t path

    def __cinit__(self, config, uint64_t seed):
        self.path.draws.state = seed
        path_configure(&self.path, config, 0)

    def set_config(self, config, int64_t now_us):
        path_configure(&self.path, config, now_us)

    def admit(self, uint32_t size_bytes, int64_t now_us):
        cdef int64_t arrival_us = path_admit(&self.path, size_bytes, now_us)
        return None if arrival_us < 0 else arrival_us
