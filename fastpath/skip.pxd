# Telling those downstream what was left out.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from fastpath.worker cimport worker_t

cdef enum:
    SKIP_BYTES = 13

cdef void say_skip(
    worker_t* worker, int32_t link, uint32_t stream_id, uint32_t first, uint32_t number, int64_t now_us
) noexcept nogil
cdef void skip_packets(worker_t* worker, int32_t stream, uint32_t first, uint32_t number, int64_t now_us) noexcept nogil
cdef void on_skip(worker_t* worker, int32_t link, const uint8_t* payload, int64_t now_us) noexcept nogil
