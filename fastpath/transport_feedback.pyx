"""Transport-wide feedback of a viewer: its numbers become what its link's controller hears.

A packet that a report says has not arrived counts as lost at once, and so does one that two reports
in a row leave out between them: GStreamer begins and ends each report with what has arrived. If a later
report says that it has, its arrival counts as well. What the history of 1,024 numbers no longer holds says
nothing.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.cursor cimport cursor_t
from fastpath.link cimport link_t
from fastpath.pacer cimport LEFT_FAST, SIZE_MASK, TOLD_LOST, TRANSPORT_HISTORY, pacer_t, transport_t
from fastpath.pacing cimport pacer_cluster_of, pacer_on_results
from fastpath.rate.types cimport packet_result_t
from fastpath.worker cimport mark_ready, worker_t
from rtp.rtcp.transport_cc cimport TRANSPORT_CC_UNIT_US, transport_cc_next, transport_cc_open, transport_cc_t
from rtp.rtcp.walk cimport feedback_t

cdef enum:
    MAX_PACKETS = 4096           # chosen: of one report; 250 ms of 16,000 packets/s
    REFERENCE_US = 64000
    EPOCH = 0x2000000            # references may be negative, arrivals not: any epoch will do


cdef inline int64_t unwrapped(int64_t before, int32_t reference) noexcept nogil:
    """24 bits, 12 days of 64 ms: the one nearest to the report before."""
    return before + (<int32_t>(<uint32_t>(reference - <int32_t>before) << 8) >> 8)


cdef uint32_t left_out(pacer_t* pacer, const transport_cc_t* report) noexcept nogil:
    """How many numbers before this report's nobody told of, though no report is missing."""
    cdef uint16_t between = <uint16_t>(report.base - pacer.report_end)
    cdef bint follows = pacer.has_report and report.report == <uint8_t>(pacer.report + 1)
    if pacer.has_report and not follows and <uint8_t>(pacer.report - report.report) < 128:
        return 0  # one that comes late, or again
    pacer.has_report = True
    pacer.report = report.report
    pacer.report_end = <uint16_t>(report.base + report.count)
    return between if follows and between < TRANSPORT_HISTORY else 0


cdef bint note_result(
    link_t* link, uint16_t number, int64_t arrival_us, packet_result_t* result, int64_t now_us
) noexcept nogil:
    """What became of a packet; arrival_us: negative if it has not arrived. False: that is no news."""
    cdef pacer_t* pacer = link.pacer
    cdef uint16_t behind = <uint16_t>(<uint16_t>pacer.transport_number - number)
    cdef transport_t* entry = &pacer.transport[number & (TRANSPORT_HISTORY - 1)]
    if behind >= TRANSPORT_HISTORY or entry.number != number or entry.bytes == 0:
        return False
    if arrival_us < 0 and entry.bytes & TOLD_LOST:
        return False
    result.sent_us = now_us - <int64_t><uint32_t>(<uint32_t>now_us - entry.sent_us)
    result.arrival_us = arrival_us
    result.bytes = entry.bytes & SIZE_MASK
    result.probe = pacer_cluster_of(link, pacer.transport_number - behind)
    result.is_ce = False
    result.is_fast = (entry.bytes & LEFT_FAST) != 0
    entry.bytes = 0 if arrival_us >= 0 else entry.bytes | TOLD_LOST
    return True


cdef void on_transport_feedback(
    worker_t* worker, int32_t index, const feedback_t* feedback, uint8_t format, int64_t now_us
) noexcept nogil:
    cdef const cursor_t* cursor = &worker.cursors[index]
    cdef link_t* link = &worker.links[cursor.link]
    cdef pacer_t* pacer = link.pacer
    cdef transport_cc_t report
    cdef packet_result_t results[TRANSPORT_HISTORY]
    cdef int32_t count = 0
    cdef uint32_t before
    cdef uint16_t number = 0
    cdef int64_t arrival_us
    cdef bint has_arrived = False
    cdef int32_t units = 0
    if (
        pacer == NULL or pacer.transport == NULL or not transport_cc_open(&report, feedback, format)
        or report.count > MAX_PACKETS
    ):
        return
    pacer.reference = unwrapped(pacer.reference, report.reference)
    for before in range(left_out(pacer, &report), 0, -1):
        count += note_result(link, <uint16_t>(report.base - before), -1, &results[count], now_us)
    while count < TRANSPORT_HISTORY and transport_cc_next(&report, &number, &has_arrived, &units):
        arrival_us = -1
        if has_arrived:
            arrival_us = (pacer.reference + EPOCH) * REFERENCE_US + <int64_t>units * TRANSPORT_CC_UNIT_US
        count += note_result(link, number, arrival_us, &results[count], now_us)
    if count > 0:
        pacer_on_results(link, results, count, cursor.rtt_us, now_us)
        mark_ready(worker, cursor.link)
