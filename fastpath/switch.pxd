# Which stream a cursor follows, and going on with another one.
from libc.stdint cimport int32_t, int64_t, uint8_t
from fastpath.worker cimport worker_t

cdef void join_stream(worker_t* worker, int32_t cursor, int32_t stream) noexcept nogil
cdef void part_stream(worker_t* worker, int32_t cursor) noexcept nogil
cdef void begin_cursor(worker_t* worker, int32_t cursor) noexcept nogil
cdef void move_at_once(worker_t* worker, int32_t cursor, int32_t stream, uint8_t payload_type) noexcept nogil
cdef void want_switch(worker_t* worker, int32_t cursor, int32_t stream, uint8_t payload_type) noexcept nogil
cdef void forget_switch(worker_t* worker, int32_t cursor) noexcept nogil
cdef void settle_switches(worker_t* worker, int32_t stream) noexcept nogil
cdef bint try_switch(worker_t* worker, int32_t cursor, int64_t now_us) noexcept nogil
