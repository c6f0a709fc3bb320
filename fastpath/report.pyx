"""Sender reports to viewers, the clock message to nodes: both leave just before a media packet of
their cursor, so that an idle stream needs no timer, and an SR is there before the first frame.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from fastpath.feedback cimport CLOCK_BYTES, MESSAGE_CLOCK
from fastpath.link cimport CNAME_BYTES
from fastpath.media_clock cimport clock_ntp, clock_timestamp
from fastpath.wire cimport store_be32, store_be64
from rtp.rtcp.walk cimport write_cname, write_sender_report

cdef enum:
    FIRST_CLOCKS = 10            # the stream may not be known yet when the first ones arrive
    FIRST_INTERVAL_US = 100000
    RTP_FIXED_BYTES = 12


cdef uint32_t write_viewer_report(
    uint8_t* out, const cursor_t* cursor, const stream_t* stream, const link_t* link, int64_t now_us
) noexcept nogil:
    """SR and SDES (RFC 3550 6.1). The octet count leaves RTP's fixed headers out (6.4.1)."""
    cdef size_t size = write_sender_report(
        out, cursor.ssrc, clock_ntp(&stream.clock, now_us),
        clock_timestamp(&stream.clock, stream.clock_rate, now_us) + cursor.timestamp_offset,
        <uint32_t>cursor.packets, <uint32_t>(cursor.bytes - RTP_FIXED_BYTES * cursor.packets),
    )
    size += write_cname(out + size, cursor.ssrc, link.cname, CNAME_BYTES)
    return <uint32_t>size


cdef uint32_t write_clock(uint8_t* out, const stream_t* stream, int64_t now_us) noexcept nogil:
    out[0] = MESSAGE_CLOCK
    store_be32(out + 1, stream.stream_id)
    store_be32(out + 5, clock_timestamp(&stream.clock, stream.clock_rate, now_us))
    store_be64(out + 9, clock_ntp(&stream.clock, now_us))
    return CLOCK_BYTES


cdef int64_t next_report_us(const cursor_t* cursor, int64_t now_us) noexcept nogil:
    if not cursor.is_viewer and cursor.reports < FIRST_CLOCKS:
        return now_us + FIRST_INTERVAL_US
    return now_us + REPORT_INTERVAL_US
