"""What a viewer says back to its node, as RTCP: a receiver report about each second, with SDES (RFC 3550
6.1), NACK (RFC 4585 6.2.1) of the packets that it misses, and when each packet came (`viewer_arrivals`).

A packet is asked for when newer ones have come and it has not within 10 ms, again each 100 ms, ten
times at most. A player does not know the round trip before it is told, and a viewer here never is.
Who has given up on a packet of video asks for a key frame instead (PLI), each 500 ms at most.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc
from libc.string cimport memset
from lab.virtual.draws cimport draw_bits, draw_unit
from lab.virtual.viewer_arrivals cimport arrivals_begin, arrivals_note, arrivals_write, transport_number_of
from rtp.big_endian cimport store_be16, store_be32
from rtp.rtcp.walk cimport (
    NACK_ITEM_BYTES, RTCP_RTPFB, RTCP_SR, RTPFB_NACK, WRITTEN_PLI_BYTES, read_sender_report, report_block_t,
    rtcp_is_whole, rtcp_next, rtcp_packet_t, sender_info_t, write_cname, write_pli, write_receiver_report,
)

cdef enum:
    REPORT_US = 1000000          # chosen, as browsers for video; drawn from 0.5 to 1.5 of it (RFC 3550 6.2)
    FIRST_REQUEST_US = 10000     # chosen: reordering may still explain it
    RETRY_US = 100000            # libwebrtc's round trip before it knows one (nack_requester.cc)
    MAX_TRIES = 10               # likewise
    JUMP = 1000                  # numbers: further ahead is another sequence, nothing is missing
    KEY_US = 500000              # chosen
    NACK_HEAD_BYTES = 12
    CNAME_BYTES = 8


cdef viewer_feedback_t* feedback_open(uint8_t wanted, uint64_t seed) noexcept nogil:
    """NULL: no memory. To be freed by the caller."""
    cdef viewer_feedback_t* feedback = <viewer_feedback_t*>calloc(1, sizeof(viewer_feedback_t))
    if feedback != NULL:
        feedback.wanted = wanted
        feedback.draws.state = seed
        feedback.ssrc = <uint32_t>draw_bits(&feedback.draws) | 1
        feedback.timer_us = -1
        feedback_join(feedback)
    return feedback


cdef void feedback_join(viewer_feedback_t* feedback) noexcept nogil:
    """It has heard of nobody yet."""
    feedback.report_us = -1
    arrivals_begin(&feedback.arrivals)
    memset(&feedback.heard[0], 0, 2 * sizeof(heard_t))


cdef void forget(heard_t* heard, uint16_t number) noexcept nogil:
    """It is not missing (any more)."""
    cdef uint32_t i
    for i in range(heard.missing_count):
        if heard.missing[i].number == number:
            heard.missing_count -= 1
            heard.missing[i] = heard.missing[heard.missing_count]
            return


cdef void note_missing(heard_t* heard, uint16_t number, int64_t now_us) noexcept nogil:
    cdef missing_t* missing
    if heard.missing_count == MAX_MISSING:
        heard.has_given_up = True
        return
    missing = &heard.missing[heard.missing_count]
    heard.missing_count += 1
    missing.number = number
    missing.tries = 0
    missing.next_us = now_us + FIRST_REQUEST_US


cdef void begin(heard_t* heard, const rtp_header_t* rtp) noexcept nogil:
    memset(heard, 0, sizeof(heard_t))
    heard.ssrc = rtp.ssrc
    heard.first = <uint64_t>rtp.sequence_number + 65536
    heard.highest = heard.first - 1


cdef void feedback_on_rtp(
    viewer_feedback_t* feedback, bint is_video, bint is_again, const rtp_header_t* rtp, int64_t now_us
) noexcept nogil:
    """A packet that did not come before. is_again: it came as RTX, under the number of what was lost: no longer
    missing, but reports go on telling that it was."""
    cdef heard_t* heard = &feedback.heard[0 if is_video else 1]
    cdef int64_t clock_rate = 90000 if is_video else 48000
    cdef int64_t transit = now_us * clock_rate // 1000000 - rtp.timestamp
    cdef int64_t difference
    cdef int32_t ahead
    if feedback.report_us < 0:
        feedback.report_us = now_us + <int64_t>(REPORT_US * (0.5 + draw_unit(&feedback.draws)))
    if heard.ssrc != rtp.ssrc:
        begin(heard, rtp)
        heard.transit = transit
    ahead = <int32_t>((rtp.sequence_number - <uint32_t>(heard.highest & 0xFFFF)) & 0xFFFF)
    if ahead >= 32768:
        ahead -= 65536
    if ahead > JUMP or ahead < -JUMP:
        begin(heard, rtp)
        heard.transit = transit
        ahead = 1
    if not is_again:
        heard.received += 1
        # Modulo 2^32, as RTP time is; what wraps is one odd sample.
        difference = <int32_t><uint32_t>(transit - heard.transit)
        heard.transit = transit
        if difference < 0:
            difference = -difference
        heard.jitter += difference - ((heard.jitter + 8) >> 4)
    if ahead <= 0:
        forget(heard, rtp.sequence_number)
        return
    while ahead > 1:
        heard.highest += 1
        note_missing(heard, <uint16_t>heard.highest, now_us)
        ahead -= 1
    heard.highest += 1


cdef void feedback_on_packet(
    viewer_feedback_t* feedback, const uint8_t* data, uint32_t size, int64_t now_us
) noexcept nogil:
    """Any RTP packet, also one that is sent again: it has a transport number of its own."""
    cdef int32_t number
    if feedback.wanted & FEEDBACK_TRANSPORT_CC:
        number = transport_number_of(data, size, TRANSPORT_CC_ID)
        if number >= 0:
            arrivals_note(&feedback.arrivals, <uint16_t>number, now_us)


cdef uint32_t feedback_write_arrivals(viewer_feedback_t* feedback, int64_t now_us, uint8_t* target) noexcept nogil:
    """0: there is nothing to tell now. Names one of the sources heard, whichever it is."""
    cdef uint32_t media_ssrc = feedback.heard[0].ssrc if feedback.heard[0].ssrc != 0 else feedback.heard[1].ssrc
    if feedback.arrivals.due_us < 0 or feedback.arrivals.due_us > now_us or media_ssrc == 0:
        return 0
    return arrivals_write(&feedback.arrivals, feedback.ssrc, media_ssrc, now_us, target)


cdef void feedback_on_rtcp(
    viewer_feedback_t* feedback, bint is_video, const uint8_t* data, uint32_t size, int64_t now_us
) noexcept nogil:
    """What the node says of a track: its sender reports are answered in receiver reports."""
    cdef heard_t* heard = &feedback.heard[0 if is_video else 1]
    cdef rtcp_packet_t packet
    cdef sender_info_t info
    cdef size_t at = 0
    if not rtcp_is_whole(data, size):
        return
    while rtcp_next(data, size, &at, &packet) == 1:
        if packet.packet_type == RTCP_SR and read_sender_report(&packet, &info) and info.ssrc == heard.ssrc:
            heard.last_sr = <uint32_t>(info.ntp >> 16)
            heard.last_sr_us = now_us


cdef int64_t feedback_next_us(const viewer_feedback_t* feedback) noexcept nogil:
    """When there is something to write; -1: never."""
    cdef int64_t due_us = feedback.report_us if feedback.wanted & FEEDBACK_REPORTS else -1
    cdef const heard_t* heard
    cdef uint32_t i, medium
    if feedback.arrivals.due_us >= 0 and (due_us < 0 or feedback.arrivals.due_us < due_us):
        due_us = feedback.arrivals.due_us
    if not feedback.wanted & FEEDBACK_NACK:
        return due_us
    for medium in range(2):
        heard = &feedback.heard[medium]
        for i in range(heard.missing_count):
            if due_us < 0 or heard.missing[i].next_us < due_us:
                due_us = heard.missing[i].next_us
    return due_us


cdef bint feedback_is_report_due(const viewer_feedback_t* feedback, int64_t now_us) noexcept nogil:
    return feedback.wanted & FEEDBACK_REPORTS and feedback.report_us >= 0 and feedback.report_us <= now_us


cdef void feedback_reported(viewer_feedback_t* feedback, int64_t now_us) noexcept nogil:
    """The due report has been written for both media."""
    feedback.reports += 1
    feedback.report_us = now_us + <int64_t>(REPORT_US * (0.5 + draw_unit(&feedback.draws)))


cdef uint32_t put_report(viewer_feedback_t* feedback, heard_t* heard, int64_t now_us, uint8_t* target) noexcept nogil:
    """RFC 3550 A.3: a packet that was sent again under its own number counts as received."""
    cdef report_block_t block
    cdef uint64_t expected = heard.highest - heard.first + 1
    cdef int64_t expected_now = <int64_t>(expected - heard.expected_before)
    cdef int64_t lost_now = expected_now - <int64_t>(heard.received - heard.received_before)
    cdef uint32_t size
    cdef uint8_t cname[CNAME_BYTES]
    cdef int i
    heard.expected_before = expected
    heard.received_before = heard.received
    block.ssrc = heard.ssrc
    block.fraction_lost = 0
    if expected_now > 0 and lost_now > 0:
        block.fraction_lost = <uint8_t>(255 if lost_now >= expected_now else lost_now * 256 // expected_now)
    block.cumulative_lost = <int32_t>(<int64_t>expected - <int64_t>heard.received)
    block.extended_highest = <uint32_t>(heard.highest - 65536)
    block.jitter = <uint32_t>(heard.jitter >> 4)
    block.last_sr = heard.last_sr
    block.delay_since_last_sr = <uint32_t>((now_us - heard.last_sr_us) * 65536 // 1000000) if heard.last_sr else 0
    size = <uint32_t>write_receiver_report(target, feedback.ssrc, &block)
    for i in range(CNAME_BYTES):
        cname[i] = <uint8_t>(97 + ((feedback.ssrc >> (4 * i)) & 15))
    return size + <uint32_t>write_cname(target + size, feedback.ssrc, cname, CNAME_BYTES)


cdef uint16_t lowest_due(heard_t* heard, int64_t now_us, bint* found) noexcept nogil:
    """Takes the due number that comes first in the sequence, and notes that it is asked for."""
    cdef uint32_t i
    cdef uint32_t best = MAX_MISSING
    cdef uint16_t number
    for i in range(heard.missing_count):
        if heard.missing[i].next_us > now_us:
            continue
        if best == MAX_MISSING or <uint16_t>(heard.missing[i].number - heard.missing[best].number) >= 32768:
            best = i
    found[0] = best != MAX_MISSING
    if best == MAX_MISSING:
        return 0
    number = heard.missing[best].number
    heard.missing[best].tries += 1
    heard.missing[best].next_us = now_us + RETRY_US
    if heard.missing[best].tries >= MAX_TRIES:
        forget(heard, number)
        heard.has_given_up = True
    return number


cdef uint32_t put_nack(viewer_feedback_t* feedback, heard_t* heard, int64_t now_us, uint8_t* target, uint32_t room) noexcept nogil:
    """Of all that is due and has room; 0 bytes if nothing is."""
    cdef uint32_t at = NACK_HEAD_BYTES - NACK_ITEM_BYTES
    cdef bint is_found = False
    cdef uint16_t pid = 0
    cdef uint16_t blp = 0
    cdef uint16_t number
    while at + 2 * NACK_ITEM_BYTES <= room:
        number = lowest_due(heard, now_us, &is_found)
        if not is_found:
            break
        feedback.asked += 1
        if at >= NACK_HEAD_BYTES and 1 <= <uint16_t>(number - pid) <= 16:
            blp |= <uint16_t>(1 << (<uint16_t>(number - pid) - 1))
        else:
            at += NACK_ITEM_BYTES
            pid = number
            blp = 0
        store_be16(target + at, pid)
        store_be16(target + at + 2, blp)
    if at < NACK_HEAD_BYTES:
        return 0
    at += NACK_ITEM_BYTES
    target[0] = 0x80 | RTPFB_NACK
    target[1] = RTCP_RTPFB
    store_be16(target + 2, <uint16_t>(at // 4 - 1))
    store_be32(target + 4, feedback.ssrc)
    store_be32(target + 8, heard.ssrc)
    return at


cdef uint32_t feedback_write(
    viewer_feedback_t* feedback, bint is_video, bint with_report, int64_t now_us, uint8_t* target
) noexcept nogil:
    """One datagram about a medium, of FEEDBACK_BYTES_MAX at most; 0: there is nothing to say."""
    cdef heard_t* heard = &feedback.heard[0 if is_video else 1]
    cdef uint32_t size = 0
    if heard.ssrc == 0:
        return 0
    if with_report:
        size = put_report(feedback, heard, now_us, target)
    if feedback.wanted & FEEDBACK_NACK:
        size += put_nack(feedback, heard, now_us, target + size, FEEDBACK_BYTES_MAX - WRITTEN_PLI_BYTES - size)
    if feedback.wanted & FEEDBACK_PLI and is_video and heard.has_given_up and now_us - heard.key_asked_us >= KEY_US:
        heard.has_given_up = False
        heard.key_asked_us = now_us
        size += <uint32_t>write_pli(target + size, feedback.ssrc, heard.ssrc)
    return size
