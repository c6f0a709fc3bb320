# Batches of datagrams from and to the kernel; no decisions.
from libc.stdint cimport int32_t, int64_t
from fastpath.worker cimport batch_t, worker_t

cdef enum:
    FALLBACK_GRO = 1
    FALLBACK_GSO = 2
    FALLBACK_TIMESTAMPS = 4
    TURN_US = 4000               # chosen: 4,000 to 6,000 packets sent, so that batches to 100 links are long


cdef int64_t monotonic_us() noexcept nogil
cdef int64_t realtime_us() noexcept nogil
cdef int socket_io_open(worker_t* worker) noexcept nogil
cdef void socket_io_close(worker_t* worker) noexcept nogil
cdef void socket_io_add_port(worker_t* worker, int32_t port) noexcept nogil
cdef void socket_io_remove_port(worker_t* worker, int32_t port) noexcept nogil
cdef bint socket_io_wait(worker_t* worker, int64_t due_us, int64_t now_us) noexcept nogil
cdef void socket_io_receive(worker_t* worker, int64_t began_us) noexcept nogil
cdef void socket_io_adapt(worker_t* worker, int64_t spent_us) noexcept nogil
cdef void socket_io_transmit(worker_t* worker, const batch_t* batch) noexcept nogil
