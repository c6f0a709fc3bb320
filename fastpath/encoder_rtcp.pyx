"""The encoder's sender reports become the stream's clock; it gets receiver reports and PLI.

While a broadcast's tracks have not all been reported on, RTP time is tied to their arrival here.
Then all of them follow the encoder's NTP time, moved by one amount to this node's: reports to
viewers show no step, and the tracks stand to each other as the encoder says.

RTCP to the encoder goes where it was configured to, or back to where its RTCP came from, or its RTP
(RFC 4961); without any RTCP from it and without configuration only PLI is sent.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.address cimport address_same_host, address_t, address_to_sockaddr, sockaddr_storage, socklen_t
from fastpath.cursor cimport NOBODY
from fastpath.encoder_loss cimport NACK_NUMBERS, encoder_loss_due
from fastpath.media_clock cimport clock_expected_us, ntp_of_us, us_of_ntp
from fastpath.report cimport REPORT_INTERVAL_US
from fastpath.send cimport message_payload, send_alone
from fastpath.verdict cimport INGEST_ASKED_AGAIN, INGEST_RTCP, INGEST_RTCP_MALFORMED, INGEST_RTCP_UNKNOWN
from fastpath.worker cimport (
    PORT_INGEST, PORT_OPEN, TRACKS_OF_PORT, count_many, datagram_t, early_report_t, ingest_t, port_t, stream_t, worker_t,
)
from rtp.payload.rtp_header cimport is_rtcp
from rtp.rtcp.walk cimport (
    RTCP_SR, read_sender_report, report_block_t, rtcp_is_whole, rtcp_next, rtcp_packet_t, sender_info_t, write_cname,
    write_nack, write_pli, write_receiver_report,
)

cdef enum:
    SAME_CLOCK_US = 2000000      # chosen: tracks whose NTP times differ by more come from two clocks
    CNAME_BYTES = 8


cdef uint64_t arrival_ntp(const worker_t* worker, const ingest_t* ingest, uint32_t timestamp) noexcept nogil:
    """This node's NTP time when the packet with this timestamp was due, by the arrivals."""
    cdef uint32_t clock_rate = worker.streams[ingest.stream].clock_rate
    return worker.ntp_offset + ntp_of_us(clock_expected_us(&ingest.arrivals, clock_rate, timestamp))


cdef void follow_clock(worker_t* worker, ingest_t* ingest) noexcept nogil:
    """Set the stream's clock from the newest report or, without, from the arrivals."""
    cdef stream_t* stream = &worker.streams[ingest.stream]
    if ingest.uses_report:
        stream.clock.ntp = ingest.report_ntp + ingest.ntp_shift
        stream.clock.timestamp = ingest.report_timestamp
        stream.clock.at_us = us_of_ntp(stream.clock.ntp - worker.ntp_offset)
    else:
        stream.clock.timestamp = ingest.arrivals.timestamp
        stream.clock.at_us = ingest.arrivals.at_us
        stream.clock.ntp = worker.ntp_offset + ntp_of_us(ingest.arrivals.at_us)
    stream.clock.is_set = True


cdef bint is_member(const worker_t* worker, const ingest_t* ingest, const ingest_t* reported) noexcept nogil:
    """Is this a track of the reported one's broadcast that sends? Group 0 has one track."""
    cdef uint32_t group = worker.streams[reported.stream].group
    if ingest == reported:
        return True
    return (
        group != 0 and ingest.stream != NOBODY and ingest.is_locked and worker.streams[ingest.stream].group == group
    )


cdef bint agrees(const worker_t* worker, const ingest_t* ingest, uint64_t shift) noexcept nogil:
    """Would this shift put the track's report near where its packets arrived?"""
    cdef int64_t apart_us = us_of_ntp(
        arrival_ntp(worker, ingest, ingest.report_timestamp) - ingest.report_ntp - shift
    )
    return -SAME_CLOCK_US < apart_us < SAME_CLOCK_US


cdef void use_reports(worker_t* worker, ingest_t* reported) noexcept nogil:
    """Let the tracks of this one's broadcast follow the encoder's clock, once all have reports."""
    cdef uint64_t shift = arrival_ntp(worker, reported, reported.report_timestamp) - reported.report_ntp
    cdef bint are_all = True
    cdef int32_t port, track
    cdef ingest_t* ingest
    for port in range(worker.port_count):
        if worker.ports[port].state != PORT_OPEN or worker.ports[port].kind != PORT_INGEST:
            continue
        for track in range(worker.ports[port].track_count):
            ingest = &worker.ports[port].tracks[track]
            if not is_member(worker, ingest, reported):
                continue
            if ingest.uses_report and agrees(worker, reported, ingest.ntp_shift):
                reported.ntp_shift = ingest.ntp_shift
                reported.uses_report = True
                follow_clock(worker, reported)
                return
            if not ingest.has_report:
                are_all = False
    if not are_all:
        return
    for port in range(worker.port_count):
        if worker.ports[port].state != PORT_OPEN or worker.ports[port].kind != PORT_INGEST:
            continue
        for track in range(worker.ports[port].track_count):
            ingest = &worker.ports[port].tracks[track]
            if is_member(worker, ingest, reported) and agrees(worker, ingest, shift):
                ingest.ntp_shift = shift
                ingest.uses_report = True
                follow_clock(worker, ingest)


cdef void take_report(worker_t* worker, ingest_t* ingest, const early_report_t* report) noexcept nogil:
    ingest.rtcp_source = report.source
    ingest.rtcp_port = report.port
    if report.ntp == 0:
        return  # RFC 3550 6.4.1: it has no notion of wall-clock time
    ingest.has_report = True
    ingest.report_ntp = report.ntp
    ingest.report_timestamp = report.timestamp + ingest.timestamp_shift
    ingest.report_at_us = report.arrival_us
    if ingest.uses_report and not agrees(worker, ingest, ingest.ntp_shift):
        ingest.uses_report = False  # somebody set the encoder's clock
    follow_clock(worker, ingest)
    if not ingest.uses_report:
        use_reports(worker, ingest)


cdef bint on_sender_report(
    worker_t* worker, int32_t rtp_port, const sender_info_t* info, const datagram_t* datagram
) noexcept nogil:
    """True if its SSRC sends one of the port's tracks; else it is kept, as one may begin to."""
    cdef port_t* port = &worker.ports[rtp_port]
    cdef early_report_t report
    cdef ingest_t* ingest
    cdef int32_t track
    report.ssrc = info.ssrc
    report.timestamp = info.timestamp
    report.ntp = info.ntp
    report.arrival_us = datagram.arrival_us
    report.port = datagram.port
    report.source = datagram.source
    for track in range(port.track_count):
        ingest = &port.tracks[track]
        if ingest.stream != NOBODY and ingest.is_locked and ingest.ssrc == info.ssrc:
            # RTCP is believed, and answered, where the RTP comes from.
            if not address_same_host(&datagram.source, &ingest.source):
                return False
            take_report(worker, ingest, &report)
            return True
    port.early_reports[port.early_report_count & (TRACKS_OF_PORT - 1)] = report
    port.early_report_count += 1
    return False


cdef void claim_report(worker_t* worker, int32_t rtp_port, ingest_t* ingest) noexcept nogil:
    """A track has just locked on to its SSRC: ffmpeg's first report comes before its first packet."""
    cdef port_t* port = &worker.ports[rtp_port]
    cdef early_report_t* report
    cdef int i
    for i in range(TRACKS_OF_PORT):  # oldest first
        report = &port.early_reports[(port.early_report_count + <uint32_t>i) & (TRACKS_OF_PORT - 1)]
        if (
            report.ssrc == ingest.ssrc and report.source.port != 0
            and address_same_host(&report.source, &ingest.source)
        ):
            take_report(worker, ingest, report)
            report.source.port = 0


cdef int receive_encoder_rtcp(
    worker_t* worker, const datagram_t* datagram, int32_t rtp_port, int64_t now_us
) noexcept nogil:
    cdef rtcp_packet_t packet
    cdef sender_info_t info
    cdef size_t at = 0
    cdef int verdict = INGEST_RTCP_UNKNOWN
    if not is_rtcp(datagram.data, datagram.size) or not rtcp_is_whole(datagram.data, datagram.size):
        return INGEST_RTCP_MALFORMED
    while rtcp_next(datagram.data, datagram.size, &at, &packet) == 1:
        if packet.packet_type == RTCP_SR and read_sender_report(&packet, &info):
            if on_sender_report(worker, rtp_port, &info, datagram):
                verdict = INGEST_RTCP
    return verdict


cdef void send_rtcp(worker_t* worker, int32_t port, const ingest_t* ingest, uint32_t size) noexcept nogil:
    cdef sockaddr_storage address
    cdef const address_t* target = &ingest.source
    cdef int32_t sender = port
    if ingest.rtcp_port != NOBODY:
        sender = ingest.rtcp_port
        target = &ingest.rtcp_source
    if ingest.has_rtcp_to:
        target = &ingest.rtcp_to
    send_alone(worker, sender, &address, address_to_sockaddr(target, &address), message_payload(worker), size)


cdef uint32_t our_ssrc(const worker_t* worker, const ingest_t* ingest) noexcept nogil:
    """Ours as a receiver: random as the stream's id is, and never the encoder's."""
    cdef uint32_t ssrc = ~worker.streams[ingest.stream].stream_id
    return ssrc if ssrc != ingest.ssrc else ssrc + 1


cdef size_t begin_compound(
    worker_t* worker, const ingest_t* ingest, const report_block_t* block
) noexcept nogil:
    """RR and SDES, which every compound packet begins with (RFC 3550 6.1)."""
    cdef uint8_t* out = message_payload(worker)
    cdef uint32_t ssrc = our_ssrc(worker, ingest)
    cdef uint8_t cname[CNAME_BYTES]
    cdef int i
    cdef size_t size = write_receiver_report(out, ssrc, block)
    for i in range(CNAME_BYTES):
        cname[i] = <uint8_t>(97 + ((ssrc >> (4 * i)) & 15))  # "a" to "p"
    return size + write_cname(out + size, ssrc, cname, CNAME_BYTES)


cdef void send_picture_loss(worker_t* worker, int32_t port, int32_t track) noexcept nogil:
    cdef ingest_t* ingest = &worker.ports[port].tracks[track]
    cdef size_t size
    if not ingest.is_locked:
        return
    size = begin_compound(worker, ingest, NULL)
    size += write_pli(message_payload(worker) + size, our_ssrc(worker, ingest), ingest.ssrc)
    send_rtcp(worker, port, ingest, <uint32_t>size)


cdef void send_nack(worker_t* worker, int32_t port, ingest_t* ingest, int64_t now_us) noexcept nogil:
    """Ask the encoder for what is due to be asked for. Behind each other in one compound packet, so that
    nobody needs RFC 5506."""
    cdef uint16_t numbers[NACK_NUMBERS]
    cdef const stream_t* stream = &worker.streams[ingest.stream]
    cdef int32_t found = encoder_loss_due(&ingest.loss, stream.deadline_us, now_us, numbers)
    cdef size_t size
    if found == 0:
        return
    size = begin_compound(worker, ingest, NULL)
    size += write_nack(message_payload(worker) + size, our_ssrc(worker, ingest), ingest.ssrc, numbers, found)
    send_rtcp(worker, port, ingest, <uint32_t>size)
    count_many(worker, INGEST_ASKED_AGAIN, <uint64_t>found)


cdef void send_reception_report(worker_t* worker, int32_t port, ingest_t* ingest, int64_t now_us) noexcept nogil:
    """RFC 3550 6.4.2 and A.3; once a second, to encoders that speak RTCP."""
    cdef report_block_t block
    cdef int64_t expected_now = <int64_t>(ingest.expected - ingest.expected_before)
    cdef int64_t lost_now = expected_now - <int64_t>(ingest.received - ingest.received_before)
    ingest.next_report_us = now_us + REPORT_INTERVAL_US
    if ingest.rtcp_port == NOBODY and not ingest.has_rtcp_to:
        return
    ingest.expected_before = ingest.expected
    ingest.received_before = ingest.received
    block.ssrc = ingest.ssrc
    block.fraction_lost = 0
    if lost_now > 0 and expected_now > 0:
        block.fraction_lost = <uint8_t>(lost_now * 256 // expected_now) if lost_now < expected_now else 255
    block.cumulative_lost = <int32_t>(ingest.expected - ingest.received)
    block.extended_highest = <uint32_t>(ingest.numbering.highest - 65536)
    block.jitter = <uint32_t>(ingest.jitter_us * worker.streams[ingest.stream].clock_rate // 1000000)
    block.last_sr = 0
    block.delay_since_last_sr = 0
    if ingest.has_report:
        block.last_sr = <uint32_t>(ingest.report_ntp >> 16)
        block.delay_since_last_sr = <uint32_t>((now_us - ingest.report_at_us) * 65536 // 1000000)
    send_rtcp(worker, port, ingest, <uint32_t>begin_compound(worker, ingest, &block))
