# One turn of a worker.
from libc.stdint cimport int64_t
from fastpath.worker cimport worker_t

cdef void begin_turn(worker_t* worker, int64_t now_us) noexcept nogil
cdef void end_turn(worker_t* worker, int64_t now_us) noexcept nogil
cdef int64_t next_turn_us(const worker_t* worker) noexcept nogil
cdef void run_on_sockets(worker_t* worker) noexcept nogil
