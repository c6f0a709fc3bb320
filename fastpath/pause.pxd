# Viewers whose host refuses their packets.
from libc.stdint cimport int32_t, int64_t
from fastpath.address cimport address_t
from fastpath.worker cimport worker_t

cdef void on_refused(worker_t* worker, int32_t port, const address_t* destination, int64_t now_us) noexcept nogil
cdef void on_viewer_timer(worker_t* worker, int32_t link, int64_t now_us) noexcept nogil
cdef void end_pause(worker_t* worker, int32_t cursor, int64_t now_us) noexcept nogil
