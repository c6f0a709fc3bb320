# A viewer's transport-wide feedback, joined with what it was sent.
from libc.stdint cimport int32_t, int64_t, uint8_t
from fastpath.worker cimport worker_t
from rtp.rtcp.walk cimport feedback_t

cdef void on_transport_feedback(
    worker_t* worker, int32_t cursor, const feedback_t* feedback, uint8_t format, int64_t now_us
) noexcept nogil
