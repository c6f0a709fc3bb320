"""Transport-wide feedback of a viewer, as browsers send it: each 50 ms, from the first number that was
not told yet to the highest, with those that have not come. One that comes after it was told as missing
is told again (draft-holmer-rmcat-transport-wide-cc-extensions-01).
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from rtp.big_endian cimport load_be16, store_be16, store_be32
from rtp.rtcp.transport_cc cimport RTPFB_TRANSPORT_CC, TRANSPORT_CC_UNIT_US
from rtp.rtcp.walk cimport RTCP_RTPFB

cdef enum:
    REPORT_US = 50000            # libwebrtc's shortest interval (remote_estimator_proxy)
    MAX_TOLD = 384               # of one report: 1,000 bytes at most
    REFERENCE_US = 64000
    HEAD_BYTES = 20
    SYMBOLS_OF_CHUNK = 7
    ONE_BYTE_FORM = 0xBEDE       # RFC 8285 4.2


cdef void arrivals_begin(viewer_arrivals_t* arrivals) noexcept nogil:
    """Nothing has come yet."""
    cdef int i
    arrivals.has_begun = False
    arrivals.due_us = -1
    for i in range(KEPT_ARRIVALS):
        arrivals.at_us[i] = -1


cdef int32_t transport_number_of(const uint8_t* packet, uint32_t size, uint8_t extension_id) noexcept nogil:
    """-1: it has none under this id."""
    cdef uint32_t at = 12 + 4 * (packet[0] & 0x0F)
    cdef uint32_t end
    if not packet[0] & 0x10 or size < at + 4 or load_be16(packet + at) != ONE_BYTE_FORM:
        return -1
    end = at + 4 + 4 * load_be16(packet + at + 2)
    at += 4
    if end > size:
        return -1
    while at < end:
        if packet[at] == 0:  # padding
            at += 1
        elif packet[at] >> 4 == extension_id and packet[at] & 0x0F == 1 and at + 3 <= end:
            return load_be16(packet + at + 1)
        else:
            at += 2 + (packet[at] & 0x0F)
    return -1


cdef void arrivals_note(viewer_arrivals_t* arrivals, uint16_t number, int64_t now_us) noexcept nogil:
    cdef int32_t ahead
    cdef uint64_t extended
    if not arrivals.has_begun:
        arrivals.has_begun = True
        arrivals.next = <uint64_t>number + 65536
        arrivals.highest = arrivals.next - 1
    ahead = <int32_t>((number - <uint32_t>(arrivals.highest & 0xFFFF)) & 0xFFFF)
    if ahead >= 32768:
        ahead -= 65536
    if ahead <= -KEPT_ARRIVALS // 2:
        return  # nobody remembers it
    extended = arrivals.highest + ahead
    if ahead > KEPT_ARRIVALS:
        arrivals.highest = extended - KEPT_ARRIVALS
    while arrivals.highest < extended:
        arrivals.highest += 1
        arrivals.at_us[arrivals.highest % KEPT_ARRIVALS] = -1
    if arrivals.highest - arrivals.next >= KEPT_ARRIVALS and arrivals.next <= arrivals.highest:
        arrivals.next = arrivals.highest - KEPT_ARRIVALS + 1
    if arrivals.at_us[extended % KEPT_ARRIVALS] >= 0:
        return  # a second copy
    arrivals.at_us[extended % KEPT_ARRIVALS] = now_us
    if extended < arrivals.next:
        arrivals.next = extended
    if arrivals.due_us < 0:
        arrivals.due_us = now_us + REPORT_US


cdef uint32_t arrivals_write(
    viewer_arrivals_t* arrivals, uint32_t sender_ssrc, uint32_t media_ssrc, int64_t now_us, uint8_t* target
) noexcept nogil:
    """The report that is due, within 1,000 bytes; what has no room is told in the next one, at once."""
    cdef uint64_t count = arrivals.highest + 1 - arrivals.next
    cdef uint32_t chunks, at, i
    cdef int64_t reference = -1
    cdef int64_t before = 0
    cdef int64_t delta, at_us
    cdef uint16_t symbol
    cdef uint16_t word = 0
    if count > MAX_TOLD:
        count = MAX_TOLD
    chunks = <uint32_t>((count + SYMBOLS_OF_CHUNK - 1) // SYMBOLS_OF_CHUNK)
    at = HEAD_BYTES + 2 * chunks
    for i in range(<uint32_t>(chunks * SYMBOLS_OF_CHUNK)):
        symbol = 0
        at_us = arrivals.at_us[(arrivals.next + i) % KEPT_ARRIVALS] if i < count else -1
        if at_us >= 0:
            if reference < 0:
                reference = at_us // REFERENCE_US
                before = reference * REFERENCE_US // TRANSPORT_CC_UNIT_US
            delta = at_us // TRANSPORT_CC_UNIT_US - before
            before += delta
            if 0 <= delta <= 0xFF:
                symbol = 1
                target[at] = <uint8_t>delta
                at += 1
            else:
                symbol = 2
                store_be16(target + at, <uint16_t>delta)
                at += 2
        word = <uint16_t>((word << 2) | symbol)
        if i % SYMBOLS_OF_CHUNK == SYMBOLS_OF_CHUNK - 1:
            store_be16(target + HEAD_BYTES + 2 * (i // SYMBOLS_OF_CHUNK), 0xC000 | word)
            word = 0
    while at % 4 != 0:
        target[at] = 0
        at += 1
    target[0] = 0x80 | RTPFB_TRANSPORT_CC
    target[1] = RTCP_RTPFB
    store_be16(target + 2, <uint16_t>(at // 4 - 1))
    store_be32(target + 4, sender_ssrc)
    store_be32(target + 8, media_ssrc)
    store_be16(target + 12, <uint16_t>arrivals.next)
    store_be16(target + 14, <uint16_t>count)
    store_be32(target + 16, (<uint32_t>(reference if reference >= 0 else 0) << 8) | arrivals.report)
    arrivals.report += 1
    arrivals.next += count
    arrivals.due_us = now_us if arrivals.next <= arrivals.highest else -1
    return at
