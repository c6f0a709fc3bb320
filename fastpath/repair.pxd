# Loss on one link: requests, answers, GONE, VOID; probes and liveness.
from libc.stdint cimport int32_t, int64_t, uint8_t
from fastpath.link cimport link_settle_us, link_t
from fastpath.wire cimport header_t
from fastpath.worker cimport stream_t, worker_t

cdef void on_request(
    worker_t* worker, int32_t link, const uint8_t* payload, size_t size, int64_t now_us
) noexcept nogil
cdef void on_void(worker_t* worker, int32_t link, const uint8_t* payload, size_t size) noexcept nogil
cdef void on_gone(worker_t* worker, int32_t link, const uint8_t* payload, int64_t now_us) noexcept nogil
cdef int receive_probe(
    worker_t* worker, int32_t link, const uint8_t* payload, size_t size, int64_t arrival_us, int64_t now_us
) noexcept nogil
cdef void on_repair_received(worker_t* worker, int32_t link, const header_t* header, int64_t now_us) noexcept nogil
cdef void on_link_timer(worker_t* worker, int32_t link, int64_t now_us) noexcept nogil


cdef inline void note_deadline(worker_t* worker, const stream_t* stream, int32_t link) noexcept nogil:
    """The stream may come on this link, and what it lacks is worth asking for so long."""
    if link >= 0 and worker.links[link].loss.deadline_us < stream.deadline_us:
        worker.links[link].loss.deadline_us = stream.deadline_us


cdef inline int64_t hole_deadline_us(const worker_t* worker, const link_t* link) noexcept nogil:
    """How long a hole is worth asking for: nobody knows whose it is."""
    if link.loss.deadline_us > worker.repair_deadline_us:
        return link.loss.deadline_us
    return worker.repair_deadline_us


cdef inline int64_t reorder_wait_us(const worker_t* worker, const link_t* link) noexcept nogil:
    """How long a packet is only late. As RACK has it (RFC 8985 6.2): little, as long as this link keeps
    its packets in order; beyond the latest of those that it did not, otherwise."""
    cdef int64_t wait_us = link_settle_us(link)
    cdef int64_t late_us = link.loss.lateness_us + link.loss.lateness_us // 4
    if late_us > wait_us:
        wait_us = late_us
    return wait_us if wait_us < worker.reorder_us else worker.reorder_us


cdef inline int64_t first_request_us(const worker_t* worker, const link_t* link, int64_t now_us) noexcept nogil:
    """When a hole seen now is first asked for (never, if repair is off: it is then given up)."""
    if not worker.repair:
        return now_us + hole_deadline_us(worker, link)
    if worker.repair_early:
        return now_us + reorder_wait_us(worker, link)
    return (now_us // worker.repair_scan_us + 1) * worker.repair_scan_us
