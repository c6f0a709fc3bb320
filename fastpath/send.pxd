# What leaves: batches, the send order of a link, packets that belong to no stream.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.address cimport sockaddr_storage, socklen_t
from fastpath.cursor cimport cursor_t
from fastpath.link cimport link_t
from fastpath.ring cimport slot_t
from fastpath.spans cimport span_t
from fastpath.worker cimport worker_t

cdef void flush_batch(worker_t* worker) noexcept nogil
cdef void drain_link(worker_t* worker, int32_t link, int64_t now_us) noexcept nogil
cdef void arm_link(worker_t* worker, int32_t link, int64_t now_us) noexcept nogil
cdef uint8_t* message_payload(worker_t* worker) noexcept nogil
cdef bint send_message(
    worker_t* worker, int32_t link, uint8_t packet_type, uint32_t payload_bytes, int64_t now_us
) noexcept nogil
cdef void send_alone(
    worker_t* worker, int32_t port, const sockaddr_storage* address, socklen_t address_bytes,
    uint8_t* data, uint32_t size,
) noexcept nogil
cdef void queue_cursor(worker_t* worker, int32_t cursor) noexcept nogil
cdef void unqueue_cursor(worker_t* worker, int32_t cursor) noexcept nogil
cdef bint send_rtx_from_span(
    worker_t* worker, cursor_t* cursor, const span_t* span, slot_t* slot, int64_t now_us
) noexcept nogil
cdef bint is_backlogged(const link_t* link) noexcept nogil


cdef inline uint16_t delay_at_egress(const slot_t* slot, int64_t leaves_us) noexcept nogil:
    """LiveNet 6.1: what it had, plus our processing, plus half the next hop's round trip (leaves_us: now
    and that half)."""
    cdef int64_t delay = slot.delay + (leaves_us - slot.arrival_us) // 250
    return 0xFFFF if delay > 0xFFFF else <uint16_t>delay
