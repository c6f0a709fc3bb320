# Python's commands, applied between two batches.
from libc.stdint cimport int64_t
from fastpath.worker cimport worker_t

cdef void apply_commands(worker_t* worker, int64_t now_us) noexcept nogil
