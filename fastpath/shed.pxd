# What an overloaded worker sheds, by class; called for a packet of a ring that is to be copied.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.link cimport link_t
from fastpath.worker cimport stream_t, worker_t

cdef enum:
    KEPT = -1

cdef inline bint may_be_shed(const worker_t* worker, const stream_t* stream) noexcept nogil:
    """All that a packet costs in peace."""
    return worker.overload.step != 0 or stream.shed_state != 0

cdef int shed_media(
    worker_t* worker, int32_t stream, uint32_t stream_seq, uint8_t marks, int64_t arrival_us
) noexcept nogil
cdef int shed_unchecked(worker_t* worker, uint8_t traffic_class) noexcept nogil
cdef void forgive_unchecked(worker_t* worker, link_t* link, uint64_t hop_seq) noexcept nogil
cdef bint shed_answer(worker_t* worker, const stream_t* stream) noexcept nogil
cdef void shed_turn(worker_t* worker, int64_t now_us) noexcept nogil
