# RTP headers of viewers that want header extensions.
from libc.stdint cimport int64_t, uint8_t, uint32_t
from fastpath.cursor cimport cursor_t
from fastpath.link cimport link_t
from fastpath.ring cimport slot_t

cdef uint32_t write_extended_header(
    uint8_t* header, link_t* link, const cursor_t* cursor, const slot_t* slot, const uint8_t* payload,
    uint32_t* skipped, int64_t now_us,
) noexcept nogil
