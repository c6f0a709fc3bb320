# What travels beside a stream's packets about its clocks.
from libc.stdint cimport int64_t, uint8_t, uint32_t
from fastpath.cursor cimport cursor_t
from fastpath.link cimport link_t
from fastpath.worker cimport stream_t, worker_t

cdef enum:
    VIEWER_REPORT_BYTES = 72     # SR, and SDES with a CNAME of 32
    REPORT_INTERVAL_US = 1000000 # DESIGN section 2: the map travels each second

cdef uint32_t write_viewer_report(
    uint8_t* out, const cursor_t* cursor, const stream_t* stream, const link_t* link, int64_t now_us
) noexcept nogil
cdef uint32_t write_clock(uint8_t* out, const stream_t* stream, int64_t now_us) noexcept nogil
cdef int64_t next_report_us(const cursor_t* cursor, int64_t now_us) noexcept nogil
cdef void report_soon(worker_t* worker, const stream_t* stream) noexcept nogil
