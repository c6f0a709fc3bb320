"""Transport-wide feedback, as browsers send it (draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1).

In: RTCP feedback of format 15. Out: for each packet that it is about, by the number of its header
extension, whether it has arrived and when, in 250 us since the report's reference time:

    base u16, count u16, reference i24 (64 ms), report u8, then chunks of two bytes that say of
    each packet whether it has arrived and how long its delta is, then the deltas

A report is checked whole before any of it is believed: all chunks and all deltas are there.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from rtp.big_endian cimport load_be16, load_be32
from rtp.rtcp.walk cimport RTCP_RTPFB, feedback_t, read_feedback, rtcp_next, rtcp_packet_t

cdef enum:
    HEAD_BYTES = 8
    # Of a chunk, 3.1.3 and 3.1.4.
    IS_VECTOR = 0x8000
    HAS_TWO_BITS = 0x4000
    ONE_BIT_SYMBOLS = 14
    TWO_BIT_SYMBOLS = 7
    # Symbols, 3.1.1. In a vector of single bits 1 is SMALL_DELTA.
    SMALL_DELTA = 1
    LARGE_DELTA = 2


cdef int take_symbol(transport_cc_t* report) noexcept nogil:
    """Of the next packet; -1 if the chunks have come to their end."""
    if report.left == 0:
        if report.chunk + 2 > report.end:
            return -1
        report.word = load_be16(report.chunk)
        report.chunk += 2
        if not report.word & IS_VECTOR:
            report.left = report.word & 0x1FFF
            if report.left == 0:
                return -1  # it would say nothing, and might go on for ever
        else:
            report.left = TWO_BIT_SYMBOLS if report.word & HAS_TWO_BITS else ONE_BIT_SYMBOLS
    report.left -= 1
    if not report.word & IS_VECTOR:
        return (report.word >> 13) & 3
    if report.word & HAS_TWO_BITS:
        return (report.word >> (2 * report.left)) & 3
    return (report.word >> report.left) & 1


cdef void rewind(transport_cc_t* report, const uint8_t* chunks) noexcept nogil:
    report.done = 0
    report.chunk = chunks
    report.left = 0
    report.time_units = 0


cdef bint transport_cc_open(transport_cc_t* report, const feedback_t* feedback, uint8_t format) noexcept nogil:
    cdef const uint8_t* fci = feedback.fci
    cdef size_t delta_bytes = 0
    cdef int symbol
    if format != RTPFB_TRANSPORT_CC or feedback.fci_bytes < HEAD_BYTES:
        return False
    report.base = load_be16(fci)
    report.count = load_be16(fci + 2)
    report.reference = <int32_t>load_be32(fci + 4) >> 8
    report.report = fci[7]
    report.end = fci + feedback.fci_bytes
    rewind(report, fci + HEAD_BYTES)
    while report.done < report.count:
        symbol = take_symbol(report)
        if symbol < 0 or symbol > LARGE_DELTA:
            return False
        delta_bytes += symbol  # a small delta has one byte, a large one two
        report.done += 1
    report.delta = report.chunk
    if delta_bytes > <size_t>(report.end - report.delta):
        return False
    rewind(report, fci + HEAD_BYTES)
    return report.count > 0


cdef bint transport_cc_next(transport_cc_t* report, uint16_t* number, bint* arrived, int32_t* units) noexcept nogil:
    cdef int symbol
    if report.done == report.count:
        return False
    symbol = take_symbol(report)
    number[0] = <uint16_t>(report.base + report.done)
    report.done += 1
    arrived[0] = symbol == SMALL_DELTA or symbol == LARGE_DELTA
    if symbol == SMALL_DELTA:
        report.time_units += report.delta[0]
        report.delta += 1
    elif symbol == LARGE_DELTA:
        report.time_units += <int16_t>load_be16(report.delta)
        report.delta += 2
    units[0] = report.time_units
    return True


def read(const uint8_t[::1] data not None):
    cdef size_t size = data.shape[0]
    cdef size_t at = 0
    cdef rtcp_packet_t packet
    cdef feedback_t feedback
    cdef transport_cc_t report
    cdef uint16_t number = 0
    cdef bint arrived = False
    cdef int32_t units = 0
    if rtcp_next(&data[0] if size else NULL, size, &at, &packet) != 1 or packet.packet_type != RTCP_RTPFB:
        return None
    if not read_feedback(&packet, &feedback) or not transport_cc_open(&report, &feedback, packet.count):
        return None
    found = []
    while transport_cc_next(&report, &number, &arrived, &units):
        found.append((number, <int64_t>report.reference * 64_000 + units * TRANSPORT_CC_UNIT_US if arrived else None))
    return feedback.sender_ssrc, feedback.media_ssrc, report.report, found
