"""Feedback packets by their first byte. Repair's three are in fastpath/repair, ARRIVALS in
fastpath/arrivals_report, SKIP in fastpath/skip; the others, in network order:

    CLOCK       4, stream_id u32, timestamp u32, ntp u64: how the media's clocks stand as this leaves
    KEY_WANTED  5, stream_id u32: somebody downstream cannot go on without a key frame

All are idempotent; what is lost is said again.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from fastpath.arrivals_report cimport ARRIVALS_BYTES, on_arrivals
from fastpath.cursor cimport NOBODY
from fastpath.media_clock cimport clock_read
from fastpath.repair cimport on_gone, on_request, on_void
from fastpath.report cimport report_soon
from fastpath.skip cimport SKIP_BYTES, on_skip
from fastpath.verdict cimport FEEDBACK_TAKEN, MALFORMED
from fastpath.worker cimport find_stream, stream_t, want_key_frame, worker_t
from rtp.big_endian cimport load_be32, load_be64

cdef enum:
    ITEMS_BYTES = 9              # a REQUEST or VOID with one item
    GONE_BYTES = 17
    JUMP_US = 500000             # chosen: no path's delay changes so much; the encoder began anew


cdef void on_clock(worker_t* worker, int32_t link_index, const uint8_t* payload, int64_t now_us) noexcept nogil:
    cdef stream_t* stream = find_stream(worker, load_be32(payload + 1))
    cdef uint32_t timestamp
    cdef uint64_t ntp
    cdef int64_t apart
    if stream == NULL or stream.upstream != link_index:
        return
    clock_read(&stream.clock, stream.clock_rate, now_us, &ntp, &timestamp)
    apart = <int32_t>(load_be32(payload + 5) - timestamp)
    if not stream.clock.is_set or not -JUMP_US < apart * 1000000 // stream.clock_rate < JUMP_US:
        report_soon(worker, stream)
    stream.clock.is_set = True
    stream.clock.timestamp = load_be32(payload + 5)
    stream.clock.ntp = load_be64(payload + 9)
    stream.clock.at_us = now_us


cdef void on_key_wanted(worker_t* worker, int32_t link_index, const uint8_t* payload) noexcept nogil:
    """From a node that follows this stream here; anybody else has no say."""
    cdef stream_t* stream = find_stream(worker, load_be32(payload + 1))
    cdef int32_t cursor = NOBODY if stream == NULL else stream.first_cursor
    while cursor >= 0:
        if not worker.cursors[cursor].is_viewer and worker.cursors[cursor].link == link_index:
            want_key_frame(worker, <int32_t>(stream - worker.streams))
            return
        cursor = worker.cursors[cursor].next_of_stream


cdef int receive_feedback(
    worker_t* worker, int32_t link_index, const uint8_t* payload, size_t size, int64_t now_us
) noexcept nogil:
    if size < 1:
        return MALFORMED
    if payload[0] == MESSAGE_REQUEST and size >= ITEMS_BYTES:
        on_request(worker, link_index, payload, size, now_us)
    elif payload[0] == MESSAGE_VOID and size >= ITEMS_BYTES:
        on_void(worker, link_index, payload, size)
    elif payload[0] == MESSAGE_GONE and size >= GONE_BYTES:
        on_gone(worker, link_index, payload, now_us)
    elif payload[0] == MESSAGE_CLOCK and size >= CLOCK_BYTES:
        on_clock(worker, link_index, payload, now_us)
    elif payload[0] == MESSAGE_KEY_WANTED and size >= KEY_WANTED_BYTES:
        on_key_wanted(worker, link_index, payload)
    elif payload[0] == MESSAGE_ARRIVALS and size >= ARRIVALS_BYTES:
        on_arrivals(worker, link_index, payload, size, now_us)
    elif payload[0] == MESSAGE_SKIP and size >= SKIP_BYTES:
        on_skip(worker, link_index, payload, now_us)
    else:
        return MALFORMED
    return FEEDBACK_TAKEN
