# What a viewer whose link is too slow is not sent.
from libc.stdint cimport int32_t, int64_t
from fastpath.ring cimport slot_t
from fastpath.worker cimport worker_t

cdef slot_t* look(worker_t* worker, int32_t cursor, int64_t now_us) noexcept nogil
cdef void look_at_blocked(worker_t* worker, int32_t link, int64_t now_us) noexcept nogil
