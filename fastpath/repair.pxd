# Loss on one link: requests, answers, GONE, VOID; probes and liveness.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from fastpath.worker cimport worker_t

cdef void on_request(
    worker_t* worker, int32_t link, const uint8_t* payload, size_t size, int64_t now_us
) noexcept nogil
cdef void on_void(worker_t* worker, int32_t link, const uint8_t* payload, size_t size) noexcept nogil
cdef void on_gone(worker_t* worker, int32_t link, const uint8_t* payload, int64_t now_us) noexcept nogil
cdef int receive_probe(
    worker_t* worker, int32_t link, const uint8_t* payload, size_t size, int64_t arrival_us, int64_t now_us
) noexcept nogil
cdef void on_repair_received(worker_t* worker, int32_t link, uint32_t hop_seq) noexcept nogil
cdef void on_link_timer(worker_t* worker, int32_t link, int64_t now_us) noexcept nogil


cdef inline int64_t first_request_us(const worker_t* worker, int64_t now_us) noexcept nogil:
    """When a hole seen now is first asked for (never, if repair is off: it is then given up)."""
    if not worker.repair:
        return now_us + worker.repair_give_up_us
    if worker.repair_early:
        return now_us + worker.reorder_us
    return (now_us // worker.repair_scan_us + 1) * worker.repair_scan_us
