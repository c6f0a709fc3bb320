# Transport-wide feedback to encoders.
from libc.stdint cimport int32_t, int64_t, uint16_t
from fastpath.worker cimport ingest_t, port_t, worker_t

cdef void note_transport(port_t* port, uint16_t number, int64_t arrival_us) noexcept nogil
cdef void forget_transport(port_t* port) noexcept nogil
cdef void say_transport(worker_t* worker, int32_t port, ingest_t* ingest, int64_t now_us) noexcept nogil
