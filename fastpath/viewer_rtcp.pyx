"""RTCP from viewers: reports noted and told to the link's controller, lost packets sent again, key
frames asked for.

A packet is about the viewer whose SSRC it names, and believed if it comes from that viewer's host
(its port may differ: RTP and RTCP have one each). A NACK is answered from the ring, as RTX where
the viewer has asked for that (fastpath/rtx), else under the packet's own number; at most once per
round trip (RFC 4585 6.2.1), and within a quarter of what the viewer is sent.
"""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from fastpath.address cimport address_equal, address_same_host, address_t
from fastpath.cursor cimport CURSOR_PAUSED, NOBODY, TOLD_REPORTS, cursor_t
from fastpath.late cimport late_t
from fastpath.link cimport LATE_AUDIO, LATE_VIDEO, link_may_repair, link_media_bps, link_t
from fastpath.pacing cimport pacer_on_receiver_report
from fastpath.pause cimport end_pause
from fastpath.ring cimport ring_held, slot_t
from fastpath.spans cimport span_t, spans_with_number
from fastpath.transport_feedback cimport on_transport_feedback
from fastpath.verdict cimport (
    VIEWER_MALFORMED, VIEWER_NACK_TOO_OLD, VIEWER_REPORT, VIEWER_RESEND_REFUSED, VIEWER_RESEND_SUPPRESSED,
    VIEWER_UNKNOWN,
)
from fastpath.worker cimport (
    MEDIA_AUDIO, RECENT_WAYS, count, datagram_t, first_viewer_at, first_viewer_of, mark_ready, push_late, resent_t,
    stream_t, want_key_frame, worker_t,
)
from rtp.big_endian cimport load_be16, load_be32
from rtp.payload.rtp_header cimport is_rtcp
from rtp.rtcp.transport_cc cimport RTPFB_TRANSPORT_CC
from rtp.rtcp.walk cimport (
    FIR_ITEM_BYTES, NACK_ITEM_BYTES, PSFB_FIR, PSFB_PLI, RTCP_PSFB, RTCP_RTPFB, RTPFB_NACK, feedback_t,
    read_feedback, read_report_block, report_block_t, report_blocks, rtcp_is_whole, rtcp_next, rtcp_packet_t,
)

cdef enum:
    SHORTEST_RTT_US = 20000      # chosen: before a report has told the round trip, and as its least
    LONGEST_RTT_US = 10000000    # beyond any path
    LONGEST_WAIT_US = 500000     # chosen, as [dropping]'s limit: what has waited longer may be asked for again
    MAX_RTCP_BYTES = 1472        # of an unfragmented datagram: bounds the work for one
    MOST_TRANSPORT_REPORTS = 8   # of one: each may be about 4,096 packets in a few bytes
    ROUNDING_US = 16             # a unit of 1/65,536 s


cdef int32_t find_viewer(worker_t* worker, uint32_t ssrc, const address_t* source) noexcept nogil:
    cdef int32_t at = first_viewer_of(worker, ssrc)
    cdef cursor_t* cursor
    while at >= 0:
        cursor = &worker.cursors[at]
        if cursor.ssrc == ssrc and address_same_host(&cursor.peer, source):
            return at
        at = cursor.next_in_ssrc_bucket
    return NOBODY


cdef int32_t find_by_rtx(worker_t* worker, uint32_t ssrc, const address_t* source) noexcept nogil:
    """The viewer that is sent RTX under this SSRC to where this comes from, or to the port before that."""
    cdef address_t address = source[0]
    cdef int32_t at
    cdef cursor_t* cursor
    cdef int step
    for step in range(2):
        at = first_viewer_at(worker, &address)
        while at >= 0:
            cursor = &worker.cursors[at]
            if cursor.rtx_payload_type != 0 and cursor.rtx_ssrc == ssrc and address_equal(&cursor.peer, &address):
                return at
            at = cursor.next_in_address_bucket
        address.port -= 1
    return NOBODY


cdef void on_round_trip(cursor_t* cursor, const report_block_t* block, int64_t now_us) noexcept nogil:
    """RFC 3550 6.4.1: now - last SR - delay since, by this clock; the stream's NTP time may be another
    node's. Only a report that was sent tells."""
    cdef int64_t rtt_us
    cdef int i
    for i in range(TOLD_REPORTS):
        if cursor.told[i].at_us != 0 and cursor.told[i].middle == block.last_sr:
            rtt_us = now_us - cursor.told[i].at_us - <int64_t>block.delay_since_last_sr * 1000000 // 65536
            if -ROUNDING_US <= rtt_us <= LONGEST_RTT_US:
                cursor.rtt_us = rtt_us if rtt_us > 0 else 1


cdef void tell_controller(
    worker_t* worker, cursor_t* cursor, const report_block_t* block, int64_t now_us
) noexcept nogil:
    """Loss since the report before; a first one does not say since when."""
    cdef link_t* link = &worker.links[cursor.link]
    cdef uint32_t clock_rate = worker.streams[cursor.stream].clock_rate
    cdef int32_t packets = <int32_t>(block.extended_highest - cursor.extended_highest)
    if link.is_controlled and cursor.has_reported and packets > 0:
        pacer_on_receiver_report(
            link, block.fraction_lost, packets, cursor.rtt_us,
            <uint32_t>(<uint64_t>block.jitter * 1000000 // clock_rate) if clock_rate > 0 else 0, now_us,
        )
        mark_ready(worker, cursor.link)
    cursor.has_reported = True
    cursor.extended_highest = block.extended_highest


cdef void on_report_block(worker_t* worker, int32_t index, const report_block_t* block, int64_t now_us) noexcept nogil:
    cdef cursor_t* cursor = &worker.cursors[index]
    cursor.reports_received += 1
    cursor.fraction_lost = block.fraction_lost
    cursor.cumulative_lost = block.cumulative_lost
    cursor.jitter = block.jitter
    if block.last_sr != 0:
        on_round_trip(cursor, block, now_us)
    tell_controller(worker, cursor, block, now_us)
    if cursor.state == CURSOR_PAUSED:
        end_pause(worker, index, now_us)  # somebody is there


cdef resent_t* place_of(worker_t* worker, int32_t index, uint16_t number, int64_t now_us) noexcept nogil:
    """Where it is noted that a packet is sent again; NULL: it waits for that still, or left within a round trip,
    as long as one takes now. One table for all viewers, of small sets. Of five packets in one set the oldest is
    forgotten: sent twice at worst."""
    cdef const link_t* link = &worker.links[worker.cursors[index].link]
    cdef uint32_t cursor = (worker.cursors[index].generation << 20) | <uint32_t>index
    cdef int64_t rtt_us = worker.cursors[index].rtt_us
    cdef uint64_t mixed = ((<uint64_t>cursor << 32) | number) * 0x9E3779B97F4A7C15u  # Fibonacci hashing
    cdef resent_t* places = &worker.recently[((mixed >> 40) & worker.recently_mask) * RECENT_WAYS]
    cdef resent_t* entry = places
    cdef int i
    if link.pacer != NULL and rtt_us < link.pacer.news_us:
        rtt_us = link.pacer.news_us  # a queue has built up since a report told the round trip
    if rtt_us < SHORTEST_RTT_US:
        rtt_us = SHORTEST_RTT_US
    for i in range(RECENT_WAYS):
        if places[i].at_us != 0 and places[i].cursor == cursor and places[i].number == number:
            return NULL if now_us - places[i].at_us < rtt_us else &places[i]
        if places[i].at_us < entry.at_us:
            entry = &places[i]
    return entry


cdef stream_t* find_sent(worker_t* worker, const cursor_t* cursor, uint16_t number, uint32_t* seq) noexcept nogil:
    """Which packet a viewer was sent under this number, or was to be: the stream, or NULL."""
    cdef uint16_t behind = <uint16_t>(<uint16_t>cursor.next + cursor.sequence_offset - 1 - number)
    cdef const span_t* span
    if behind >= 32768:
        return NULL  # not used yet
    if behind < cursor.next - cursor.start:
        seq[0] = cursor.next - 1 - behind
        return &worker.streams[cursor.stream]
    span = spans_with_number(&worker.spans, &cursor.spans, number)
    if span == NULL or worker.streams[span.stream].generation != span.stream_generation:
        return NULL
    seq[0] = span.end - 1 - <uint16_t>(<uint16_t>span.end + span.sequence_offset - 1 - number)
    return &worker.streams[span.stream]


cdef inline int64_t leaves_us(const link_t* link, int which, uint32_t size, int64_t now_us) noexcept nogil:
    """About when what was put last into a queue of late packets has its turn, were all of its size. The rate
    may rise meanwhile."""
    cdef int64_t wait_us = <int64_t>(link.late_count[which] - 1) * size * 8000000 // link_media_bps(link)
    if which == LATE_AUDIO:
        return now_us
    return now_us + (wait_us if wait_us < LONGEST_WAIT_US else LONGEST_WAIT_US)


cdef void send_number_again(worker_t* worker, int32_t index, uint16_t number, int64_t now_us) noexcept nogil:
    cdef cursor_t* cursor = &worker.cursors[index]
    cdef uint32_t seq = 0
    cdef stream_t* stream = find_sent(worker, cursor, number, &seq)
    cdef const slot_t* slot = NULL
    cdef resent_t* place
    cdef late_t late
    cdef int which
    cursor.nacked += 1
    if stream != NULL and stream.is_used and cursor.state != CURSOR_PAUSED:
        slot = ring_held(&stream.ring, seq)
    if slot == NULL:
        count(worker, VIEWER_NACK_TOO_OLD)
        return
    place = place_of(worker, index, number, now_us)  # by number: of several streams packets may have one seq
    if place == NULL:
        count(worker, VIEWER_RESEND_SUPPRESSED)
        return
    if not link_may_repair(&worker.links[cursor.link], slot.size):
        count(worker, VIEWER_RESEND_REFUSED)
        return
    which = LATE_AUDIO if stream.media == MEDIA_AUDIO else LATE_VIDEO
    late.cursor = index
    late.cursor_generation = cursor.generation
    late.stream = <int32_t>(stream - worker.streams)
    late.stream_generation = stream.generation
    late.stream_seq = seq
    late.answers = <uint64_t>now_us
    if not push_late(worker, cursor.link, which, &late):
        worker.links[cursor.link].repair_credit += slot.size
        return
    place.cursor = (cursor.generation << 20) | <uint32_t>index
    place.number = number
    place.at_us = leaves_us(&worker.links[cursor.link], which, slot.size, now_us)


cdef void on_nack(worker_t* worker, int32_t index, const feedback_t* feedback, int64_t now_us) noexcept nogil:
    cdef size_t at = 0
    cdef uint16_t pid, blp
    cdef int bit
    while at + NACK_ITEM_BYTES <= feedback.fci_bytes:
        pid = load_be16(feedback.fci + at)
        blp = load_be16(feedback.fci + at + 2)
        send_number_again(worker, index, pid, now_us)
        for bit in range(16):
            if (blp >> bit) & 1:
                send_number_again(worker, index, <uint16_t>(pid + 1 + bit), now_us)
        at += NACK_ITEM_BYTES


cdef void want_key_for(worker_t* worker, int32_t index) noexcept nogil:
    worker.cursors[index].keys_wanted += 1
    want_key_frame(worker, worker.cursors[index].stream)


cdef bint on_feedback(
    worker_t* worker, const rtcp_packet_t* packet, const address_t* source, int64_t now_us
) noexcept nogil:
    """True if it was about a viewer served here."""
    cdef feedback_t feedback
    cdef int32_t index
    cdef size_t at = 0
    cdef bint is_known = False
    if not read_feedback(packet, &feedback):
        return False
    if packet.packet_type == RTCP_PSFB and packet.count == PSFB_FIR:
        while at + FIR_ITEM_BYTES <= feedback.fci_bytes:  # RFC 5104 4.3.1.2: each item names its SSRC
            index = find_viewer(worker, load_be32(feedback.fci + at), source)
            if index >= 0:
                want_key_for(worker, index)
                is_known = True
            at += FIR_ITEM_BYTES
        return is_known
    index = find_viewer(worker, feedback.media_ssrc, source)
    if index < 0 and packet.packet_type == RTCP_RTPFB and packet.count == RTPFB_TRANSPORT_CC:
        index = find_by_rtx(worker, feedback.media_ssrc, source)  # it is about all that left to there
    if index < 0:
        return False
    if packet.packet_type == RTCP_RTPFB and packet.count == RTPFB_NACK:
        on_nack(worker, index, &feedback, now_us)
    elif packet.packet_type == RTCP_RTPFB and packet.count == RTPFB_TRANSPORT_CC:
        on_transport_feedback(worker, index, &feedback, packet.count, now_us)
    elif packet.packet_type == RTCP_PSFB and packet.count == PSFB_PLI:
        want_key_for(worker, index)
    return True


cdef int receive_viewer_rtcp(worker_t* worker, const datagram_t* datagram, int64_t now_us) noexcept nogil:
    cdef rtcp_packet_t packet
    cdef report_block_t block
    cdef size_t at = 0
    cdef int i
    cdef int32_t index
    cdef int transport_reports = 0
    cdef int verdict = VIEWER_UNKNOWN
    if (
        datagram.size > MAX_RTCP_BYTES or not is_rtcp(datagram.data, datagram.size)
        or not rtcp_is_whole(datagram.data, datagram.size)
    ):
        return VIEWER_MALFORMED
    while rtcp_next(datagram.data, datagram.size, &at, &packet) == 1:
        for i in range(report_blocks(&packet)):
            if read_report_block(&packet, i, &block):
                index = find_viewer(worker, block.ssrc, &datagram.source)
                if index >= 0:
                    on_report_block(worker, index, &block, now_us)
                    verdict = VIEWER_REPORT
        if packet.packet_type == RTCP_RTPFB and packet.count == RTPFB_TRANSPORT_CC:
            transport_reports += 1
            if transport_reports > MOST_TRANSPORT_REPORTS:
                continue
        if packet.packet_type == RTCP_RTPFB or packet.packet_type == RTCP_PSFB:
            if on_feedback(worker, &packet, &datagram.source, now_us):
                verdict = VIEWER_REPORT
    return verdict
