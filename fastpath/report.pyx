"""Sender reports to viewers, the clock message to nodes: both leave just before a media packet of
their cursor, so that an idle stream needs no timer, and an SR is there before the first frame.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from fastpath.feedback cimport CLOCK_BYTES, MESSAGE_CLOCK
from fastpath.link cimport CNAME_BYTES
from fastpath.media_clock cimport clock_read
from rtp.big_endian cimport store_be32, store_be64
from rtp.rtcp.walk cimport write_cname, write_sender_report

cdef enum:
    FIRST_CLOCKS = 10            # the stream may not be known yet when the first ones arrive
    FIRST_INTERVAL_US = 100000
    RTP_FIXED_BYTES = 12


cdef uint32_t write_viewer_report(
    uint8_t* out, const cursor_t* cursor, const stream_t* stream, const link_t* link, int64_t now_us
) noexcept nogil:
    """SR and SDES (RFC 3550 6.1). The octet count leaves RTP's fixed headers out (6.4.1)."""
    cdef uint64_t ntp
    cdef uint32_t timestamp
    cdef size_t size
    clock_read(&stream.clock, stream.clock_rate, now_us, &ntp, &timestamp)
    size = write_sender_report(
        out, cursor.ssrc, ntp, timestamp + cursor.timestamp_offset,
        <uint32_t>cursor.packets, <uint32_t>(cursor.bytes - RTP_FIXED_BYTES * cursor.packets),
    )
    size += write_cname(out + size, cursor.ssrc, link.cname, CNAME_BYTES)
    return <uint32_t>size


cdef uint32_t write_clock(uint8_t* out, const stream_t* stream, int64_t now_us) noexcept nogil:
    cdef uint64_t ntp
    cdef uint32_t timestamp
    clock_read(&stream.clock, stream.clock_rate, now_us, &ntp, &timestamp)
    out[0] = MESSAGE_CLOCK
    store_be32(out + 1, stream.stream_id)
    store_be32(out + 5, timestamp)
    store_be64(out + 9, ntp)
    return CLOCK_BYTES


cdef void report_soon(worker_t* worker, const stream_t* stream) noexcept nogil:
    """The clock is known now, or is another: all who follow hear of it before the next packet."""
    cdef int32_t cursor = stream.first_cursor
    while cursor >= 0:
        worker.cursors[cursor].next_report_us = 0
        cursor = worker.cursors[cursor].next_of_stream


cdef int64_t next_report_us(const cursor_t* cursor, int64_t now_us) noexcept nogil:
    if not cursor.is_viewer and cursor.reports < FIRST_CLOCKS:
        return now_us + FIRST_INTERVAL_US
    return now_us + REPORT_INTERVAL_US
