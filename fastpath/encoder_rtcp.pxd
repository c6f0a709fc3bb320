# RTCP from and to encoders.
from libc.stdint cimport int32_t, int64_t, uint32_t
from fastpath.worker cimport datagram_t, ingest_t, worker_t
from rtp.rtcp.walk cimport report_block_t

cdef int receive_encoder_rtcp(
    worker_t* worker, const datagram_t* datagram, int32_t rtp_port, int64_t now_us
) noexcept nogil
cdef void send_picture_loss(worker_t* worker, int32_t port, int32_t track) noexcept nogil
cdef void send_reception_report(worker_t* worker, int32_t port, ingest_t* ingest, int64_t now_us) noexcept nogil
cdef void send_nack(worker_t* worker, int32_t port, ingest_t* ingest, int64_t now_us) noexcept nogil
cdef void claim_report(worker_t* worker, int32_t port, ingest_t* ingest) noexcept nogil
cdef size_t begin_compound(worker_t* worker, const ingest_t* ingest, const report_block_t* block) noexcept nogil
cdef uint32_t our_ssrc(const worker_t* worker, const ingest_t* ingest) noexcept nogil
cdef void send_rtcp(worker_t* worker, int32_t port, const ingest_t* ingest, uint32_t size) noexcept nogil
cdef void follow_clock(worker_t* worker, ingest_t* ingest) noexcept nogil
