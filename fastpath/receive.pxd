# One datagram in, one verdict out; or several that came together.
from libc.stdint cimport int64_t, uint8_t, uint32_t
from fastpath.worker cimport datagram_t, worker_t

cdef void receive_datagram(worker_t* worker, const datagram_t* datagram, int64_t now_us) noexcept nogil
cdef void receive_buffer(
    worker_t* worker, const uint8_t* data, uint32_t total, uint32_t segment_bytes, datagram_t* datagram, int64_t now_us
) noexcept nogil
