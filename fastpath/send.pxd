# What leaves: batches, the send order of a link, packets that belong to no stream.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from fastpath.address cimport sockaddr_storage, socklen_t
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
