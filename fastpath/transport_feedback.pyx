"""Transport-wide feedback of a viewer: its numbers become what its link's controller hears.

A packet that a report says has not arrived counts as lost at once; if a later report says that it
has, its arrival counts as well. What the history of 1,024 numbers no longer holds says nothing.
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


cdef void on_transport_feedback(
    worker_t* worker, int32_t index, const feedback_t* feedback, uint8_t format, int64_t now_us
) noexcept nogil:
    cdef const cursor_t* cursor = &worker.cursors[index]
    cdef link_t* link = &worker.links[cursor.link]
    cdef pacer_t* pacer = link.pacer
    cdef transport_cc_t report
    cdef packet_result_t results[TRANSPORT_HISTORY]
    cdef transport_t* entry
    cdef int32_t count = 0
    cdef uint16_t number = 0
    cdef uint16_t behind
    cdef bint has_arrived = False
    cdef int32_t units = 0
    if (
        pacer == NULL or pacer.transport == NULL or not transport_cc_open(&report, feedback, format)
        or report.count > MAX_PACKETS
    ):
        return
    pacer.reference = unwrapped(pacer.reference, report.reference)
    while transport_cc_next(&report, &number, &has_arrived, &units) and count < TRANSPORT_HISTORY:
        behind = <uint16_t>(<uint16_t>pacer.transport_number - number)
        entry = &pacer.transport[number & (TRANSPORT_HISTORY - 1)]
        if behind >= TRANSPORT_HISTORY or entry.number != number or entry.bytes == 0:
            continue
        if not has_arrived and entry.bytes & TOLD_LOST:
            continue
        results[count].sent_us = now_us - <int64_t><uint32_t>(<uint32_t>now_us - entry.sent_us)
        results[count].arrival_us = -1
        results[count].bytes = entry.bytes & SIZE_MASK
        results[count].probe = pacer_cluster_of(link, pacer.transport_number - behind)
        results[count].is_ce = False
        results[count].is_fast = (entry.bytes & LEFT_FAST) != 0
        entry.bytes |= TOLD_LOST
        if has_arrived:
            results[count].arrival_us = (pacer.reference + EPOCH) * REFERENCE_US + <int64_t>units * TRANSPORT_CC_UNIT_US
            entry.bytes = 0
        count += 1
    if count > 0:
        pacer_on_results(link, results, count, cursor.rtt_us, now_us)
        mark_ready(worker, cursor.link)
