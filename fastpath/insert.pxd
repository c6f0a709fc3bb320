# Putting one packet into its stream's ring, and waking whoever follows it.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from fastpath.worker cimport worker_t

ctypedef struct media_t:         # one packet of a stream, borrowed for the call
    const uint8_t* data          # RTP packet
    uint16_t size
    uint16_t delay
    uint8_t marks
    uint8_t flags
    uint8_t hop_limit
    uint32_t stream_seq
    int32_t link
    int64_t arrival_us

cdef int insert_media(worker_t* worker, int32_t stream, const media_t* media, int64_t now_us) noexcept nogil
cdef int hold_early(worker_t* worker, uint32_t stream_id, const media_t* media, int64_t now_us) noexcept nogil
cdef void expire_early(worker_t* worker, int64_t now_us) noexcept nogil
cdef void forget_early(worker_t* worker, int32_t link) noexcept nogil
cdef void claim_early(worker_t* worker, int32_t stream, int64_t now_us) noexcept nogil
cdef void wake_cursors(worker_t* worker) noexcept nogil
