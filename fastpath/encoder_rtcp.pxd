# RTCP from and to encoders.
from libc.stdint cimport int32_t, int64_t
from fastpath.worker cimport datagram_t, ingest_t, worker_t

cdef int receive_encoder_rtcp(
    worker_t* worker, const datagram_t* datagram, int32_t rtp_port, int64_t now_us
) noexcept nogil
cdef void send_picture_loss(worker_t* worker, int32_t port, int32_t track) noexcept nogil
cdef void send_reception_report(worker_t* worker, int32_t port, ingest_t* ingest, int64_t now_us) noexcept nogil
cdef void send_nack(worker_t* worker, int32_t port, ingest_t* ingest, int64_t now_us) noexcept nogil
cdef void claim_report(worker_t* worker, int32_t port, ingest_t* ingest) noexcept nogil
cdef void follow_clock(worker_t* worker, ingest_t* ingest) noexcept nogil
