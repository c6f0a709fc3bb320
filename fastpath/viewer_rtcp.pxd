# RTCP that viewers send.
from libc.stdint cimport int64_t
from fastpath.worker cimport datagram_t, worker_t

cdef int receive_viewer_rtcp(worker_t* worker, const datagram_t* datagram, int64_t now_us) noexcept nogil
