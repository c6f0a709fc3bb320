"""The producer: RTP of an encoder becomes a stream, numbered and marked once.

A port's tracks are told apart by payload type; each locks on to one SSRC. Padding-only packets
(probes) are taken out; a packet too large for a link becomes several (rtp/payload/fragment); a key
frame without parameter sets gets those of the configuration before it. Either way the numbers stay
without gaps (fastpath/numbering). What does not come is asked for again, where that is configured.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from fastpath.address cimport address_same_host
from fastpath.cursor cimport NOBODY
from fastpath.encoder_loss cimport encoder_loss_came, encoder_loss_skip
from fastpath.encoder_rtcp cimport claim_report, follow_clock, receive_encoder_rtcp, send_nack, send_reception_report
from fastpath.insert cimport insert_media, media_t
from fastpath.mailbox cimport EVENT_INGEST_SOURCE, mailbox_post, message_t
from fastpath.media_clock cimport clock_on_arrival
from fastpath.numbering cimport (
    numbering_added, numbering_extend, numbering_seq, numbering_shift, numbering_start,
)
from fastpath.report cimport report_soon
from fastpath.ring cimport ring_held, slot_t
from fastpath.slab cimport slab_payload
from fastpath.transport_report cimport forget_transport, note_transport, say_transport
from fastpath.verdict cimport (
    ACCEPTED, ACCEPTED_LATE, DUPLICATE_PACKET, INGESTED, INGEST_DUPLICATE, INGEST_LATE_SPLIT, INGEST_MALFORMED,
    INGEST_OTHER_SSRC, INGEST_OVERSIZED, INGEST_PADDING, INGEST_PARAMETER_SETS, INGEST_PAYLOAD_TYPE, INGEST_REPAIRED,
    INGEST_RTX_MALFORMED, INGEST_SPLIT, INGEST_UNASSIGNED, JUMP_UNCONFIRMED, TOO_OLD_FOR_RING,
)
from fastpath.wire cimport FIB_HOP_LIMIT, MAX_RTP_BYTES
from fastpath.worker cimport (
    count, datagram_t, ingest_t, new_event, port_t, stream_handle, worker_t,
)
from rtp.big_endian cimport load_be16, load_be32, store_be16, store_be32
from rtp.header_extension cimport read_extension
from rtp.payload.codec cimport codec_state_t
from rtp.payload.dependency cimport (
    DEPENDENCY_DISCARDABLE, DEPENDENCY_NEEDED, dependency_of, dependency_state_t,
)
from rtp.payload.fragment cimport fragments_begin, fragments_next, fragments_t
from rtp.payload.marks cimport MARK_DISCARDABLE, MARK_FRAME_START, MARK_GOP_START, MARK_KEY
from rtp.payload.rtp_header cimport is_rtcp, parse_rtp_header, rtp_header_t

cdef enum:
    SHORTEST_SILENCE_US = 250000 # and one that insists takes over when the old one has gone quiet
    SILENCE_US = 1000000         # a new SSRC takes over at once when the old one was silent this long
    RTP_FIXED_BYTES = 12
    OSN_BYTES = 2                # RFC 4588 4
    PADDING_BIT = 0x20           # RFC 3550 5.1
    MAX_INGEST_BYTES = 2048      # of what comes in RTX: larger than any path's packets


cdef void announce(worker_t* worker, const ingest_t* ingest, bint restarted) noexcept nogil:
    cdef message_t* event = new_event(worker, EVENT_INGEST_SOURCE)
    if event != NULL:
        event.handle = stream_handle(worker, ingest.stream)
        event.ssrc = ingest.ssrc
        event.flag = restarted
        mailbox_post(&worker.events)


cdef ingest_t* track_of(worker_t* worker, int32_t port_index, uint8_t payload_type) noexcept nogil:
    cdef port_t* port = &worker.ports[port_index]
    cdef int32_t i
    for i in range(port.track_count):
        if port.tracks[i].stream != NOBODY and port.tracks[i].payload_type == payload_type:
            return &port.tracks[i]
    return NULL


cdef ingest_t* rtx_track_of(worker_t* worker, int32_t port_index, uint8_t payload_type) noexcept nogil:
    """The track that is sent again in this payload type."""
    cdef port_t* port = &worker.ports[port_index]
    cdef int32_t i
    for i in range(port.track_count):
        if port.tracks[i].stream != NOBODY and port.tracks[i].rtx_payload_type == payload_type != 0:
            return &port.tracks[i]
    return NULL


cdef bint is_unassigned(const port_t* port) noexcept nogil:
    cdef int32_t i
    for i in range(port.track_count):
        if port.tracks[i].stream != NOBODY:
            return False
    return True


cdef void lock_on(
    worker_t* worker, ingest_t* ingest, const rtp_header_t* rtp, const datagram_t* datagram
) noexcept nogil:
    """This SSRC is the track's from now on; nothing of an earlier one's clock holds for it. The stream's
    RTP time goes on by what went by meanwhile: players that follow one SSRC take a jump badly."""
    cdef bint restarted = ingest.is_locked
    cdef int64_t elapsed_us = datagram.arrival_us - ingest.newest_us
    if restarted:
        forget_transport(&worker.ports[datagram.port])
        ingest.timestamp_shift = (
            ingest.newest_timestamp - rtp.timestamp
            + <uint32_t>(elapsed_us * <int64_t>worker.streams[ingest.stream].clock_rate // 1000000)
        )
    ingest.is_locked = True
    ingest.ssrc = rtp.ssrc
    ingest.other_ssrc = 0
    ingest.source = datagram.source
    ingest.rtcp_port = NOBODY
    ingest.arrivals.is_set = False
    ingest.has_report = False
    ingest.uses_report = False
    ingest.received = 0
    ingest.expected = 0
    ingest.received_before = 0
    ingest.expected_before = 0
    ingest.jitter_us = 0
    ingest.transit_us = 0
    ingest.has_key = False
    ingest.loss.count = 0
    ingest.last_timestamp = rtp.timestamp - 1
    forget_codec(ingest)
    numbering_start(&ingest.numbering, rtp.sequence_number, worker.streams[ingest.stream].ring.head)
    announce(worker, ingest, restarted)
    clock_on_arrival(
        &ingest.arrivals, worker.streams[ingest.stream].clock_rate, rtp.timestamp + ingest.timestamp_shift,
        datagram.arrival_us,
    )
    follow_clock(worker, ingest)
    claim_report(worker, datagram.port, ingest)
    report_soon(worker, &worker.streams[ingest.stream])


cdef int64_t quiet_us(const ingest_t* ingest) noexcept nogil:
    """How long a track is silent when its encoder has gone: well beyond its own gaps."""
    if 2 * ingest.longest_gap_us > SILENCE_US:
        return SILENCE_US
    return 2 * ingest.longest_gap_us if 2 * ingest.longest_gap_us > SHORTEST_SILENCE_US else SHORTEST_SILENCE_US


cdef bint belongs(
    worker_t* worker, ingest_t* ingest, const rtp_header_t* rtp, const datagram_t* datagram, int64_t now_us
) noexcept nogil:
    """Lock on to one SSRC; follow a change of it (an encoder that started again)."""
    if ingest.is_locked and rtp.ssrc == ingest.ssrc:
        return True
    if ingest.is_locked and now_us - ingest.last_us < SILENCE_US and rtp.ssrc != ingest.other_ssrc:
        ingest.other_ssrc = rtp.ssrc
        return False
    if ingest.is_locked and now_us - ingest.last_us < quiet_us(ingest):
        return False  # the old one still sends: two encoders on one port
    lock_on(worker, ingest, rtp, datagram)
    return True


cdef void observe(
    worker_t* worker, ingest_t* ingest, const rtp_header_t* rtp, uint64_t number, const datagram_t* datagram
) noexcept nogil:
    """Reception statistics (RFC 3550 A.3, A.8 in microseconds) and the clock by arrival."""
    cdef uint32_t clock_rate = worker.streams[ingest.stream].clock_rate
    cdef int64_t transit_us = datagram.arrival_us - <int64_t>rtp.timestamp * 1000000 // clock_rate
    cdef int64_t difference_us = transit_us - ingest.transit_us
    cdef uint32_t timestamp = rtp.timestamp + ingest.timestamp_shift
    cdef int64_t gap_us = datagram.arrival_us - ingest.newest_us
    if number > ingest.numbering.highest:
        ingest.expected += number - ingest.numbering.highest
        ingest.longest_gap_us -= ingest.longest_gap_us // 64
        if ingest.received > 0 and gap_us > ingest.longest_gap_us:
            ingest.longest_gap_us = gap_us
        ingest.source = datagram.source
        ingest.newest_timestamp = timestamp
        ingest.newest_us = datagram.arrival_us
    if ingest.received > 0:
        if difference_us < 0:
            difference_us = -difference_us
        if difference_us < 1000000:  # not across a wrap of the timestamp
            ingest.jitter_us += (difference_us - ingest.jitter_us) // 16
    ingest.transit_us = transit_us
    ingest.received += 1
    if clock_on_arrival(&ingest.arrivals, clock_rate, timestamp, datagram.arrival_us) and not ingest.uses_report:
        follow_clock(worker, ingest)


cdef void forget_codec(ingest_t* ingest) noexcept nogil:
    """Another encoder begins: of its stream only the configured parameter sets are known."""
    memset(&ingest.state, 0, sizeof(codec_state_t))
    memset(&ingest.dependencies, 0, sizeof(dependency_state_t))
    if ingest.parameter_set_bytes > 0:
        ingest.does.marks(&ingest.state, ingest.parameter_sets, ingest.parameter_set_bytes, -1, False)


cdef int with_dependencies(
    ingest_t* ingest, const uint8_t* data, const rtp_header_t* rtp, bint is_newest, int marks
) noexcept nogil:
    """What the encoder says of its frames' dependencies goes before what their headers show."""
    cdef dependency_state_t aside = ingest.dependencies
    cdef dependency_state_t* state = &ingest.dependencies if is_newest else &aside
    cdef int found = dependency_of(state, data, rtp, ingest.dependency_id)
    if found == DEPENDENCY_NEEDED or marks & MARK_KEY:
        return marks & ~MARK_DISCARDABLE
    return marks | MARK_DISCARDABLE if found == DEPENDENCY_DISCARDABLE else marks


cdef int marks_of(
    ingest_t* ingest, const uint8_t* data, const rtp_header_t* rtp, uint64_t number, bint follows
) noexcept nogil:
    """The codec's marks; frame starts by timestamp where the packet follows a known one.

    An access unit may begin with a delimiter or SEI of its own packet: its GoP then starts at the
    first packet with key content, which is enough for a decoder. Where what came before is not
    known, the codec alone tells: the rest of a key frame whose first packet is lost is no start.
    What a late packet says of its frame does not hold for those that follow the newest one.
    """
    cdef bint is_newest = number > ingest.numbering.highest
    cdef bint is_same
    cdef int marks
    cdef int begins = rtp.timestamp != ingest.last_timestamp if follows else -1
    cdef codec_state_t aside = ingest.state
    cdef codec_state_t* state = &ingest.state if is_newest else &aside
    marks = ingest.does.marks(state, data + rtp.header_bytes, rtp.payload_bytes, begins, rtp.marker)
    if marks >= 0 and ingest.dependency_id != 0:
        marks = with_dependencies(ingest, data, rtp, is_newest, marks)
    if marks < 0 or not marks & MARK_KEY or not ingest.does.has_key_frames:
        return marks
    is_same = ingest.has_key and ingest.key_timestamp == rtp.timestamp
    if is_same and number > ingest.key_number:
        marks &= ~(MARK_GOP_START | MARK_FRAME_START)  # each parameter set alone looks like a start
    elif not is_same and follows:
        marks |= MARK_GOP_START
    if is_newest and not is_same:
        ingest.has_key = True
        ingest.key_timestamp = rtp.timestamp
        ingest.key_number = number
    return marks


cdef int put(
    worker_t* worker, ingest_t* ingest, const uint8_t* data, size_t size, int marks, uint32_t seq,
    const datagram_t* datagram, int64_t now_us,
) noexcept nogil:
    cdef media_t media
    cdef slot_t* slot
    cdef int verdict
    media.data = data
    media.size = <uint16_t>size
    media.delay = 0
    media.marks = <uint8_t>marks
    media.flags = 0
    media.hop_limit = FIB_HOP_LIMIT + 1
    media.stream_seq = seq
    media.link = NOBODY
    media.arrival_us = datagram.arrival_us
    verdict = insert_media(worker, ingest.stream, &media, now_us)
    if ingest.timestamp_shift != 0 and (verdict == ACCEPTED or verdict == ACCEPTED_LATE):
        slot = ring_held(&worker.streams[ingest.stream].ring, seq)
        if slot != NULL:
            store_be32(slab_payload(&worker.slab, slot.block) + 4, load_be32(data + 4) + ingest.timestamp_shift)
    return verdict


cdef int put_parameter_sets(
    worker_t* worker, ingest_t* ingest, const datagram_t* datagram, uint32_t seq, int64_t now_us
) noexcept nogil:
    """The configured parameter sets as the first packet of the key frame."""
    memcpy(worker.fragment, datagram.data, RTP_FIXED_BYTES)
    worker.fragment[0] = 0x80  # version 2, no padding, extension or CSRC
    worker.fragment[1] &= 0x7F
    memcpy(worker.fragment + RTP_FIXED_BYTES, ingest.parameter_sets, ingest.parameter_set_bytes)
    count(worker, INGEST_PARAMETER_SETS)
    return put(
        worker, ingest, worker.fragment, RTP_FIXED_BYTES + ingest.parameter_set_bytes,
        MARK_KEY | MARK_GOP_START | MARK_FRAME_START, seq, datagram, now_us,
    )


cdef int put_pieces(
    worker_t* worker, ingest_t* ingest, fragments_t* pieces, int marks, bint is_newest, uint32_t seq,
    const datagram_t* datagram, int64_t now_us,
) noexcept nogil:
    """Each piece with its own marks, but where the packet's position told them they stay with the first.

    What is known of the frame after the whole packet holds for its pieces; of a late one's nothing is."""
    cdef rtp_header_t rtp
    cdef codec_state_t aside
    cdef size_t size = fragments_next(pieces, worker.fragment)
    cdef int verdict = DUPLICATE_PACKET
    cdef int placed, own
    cdef int first = marks & (MARK_GOP_START | MARK_FRAME_START)
    while size > 0:
        if parse_rtp_header(worker.fragment, size, &rtp) < 0:
            return INGEST_MALFORMED
        if is_newest:
            aside = ingest.state
        else:
            memset(&aside, 0, sizeof(codec_state_t))
        own = ingest.does.marks(&aside, worker.fragment + rtp.header_bytes, rtp.payload_bytes, 0, rtp.marker)
        if own < 0:
            return INGEST_MALFORMED
        if ingest.dependency_id != 0:
            own = own & ~MARK_DISCARDABLE | marks & MARK_DISCARDABLE
        placed = put(worker, ingest, worker.fragment, size, own | first, seq, datagram, now_us)
        if verdict == DUPLICATE_PACKET or placed == ACCEPTED:
            verdict = placed
        first = 0
        seq += 1
        size = fragments_next(pieces, worker.fragment)
    return verdict


cdef int ingest_packet(
    worker_t* worker, ingest_t* ingest, const datagram_t* datagram, const rtp_header_t* rtp, uint64_t number,
    int marks, int64_t now_us,
) noexcept nogil:
    cdef fragments_t pieces
    cdef bint is_newest = number > ingest.numbering.highest
    cdef bint has_sets = False
    cdef int32_t piece_count = 1
    cdef int32_t added
    cdef uint32_t seq
    if datagram.size > MAX_RTP_BYTES:
        piece_count = fragments_begin(&pieces, datagram.data, rtp, ingest.codec, MAX_RTP_BYTES)
        if piece_count < 0:
            return INGEST_OVERSIZED
    if ingest.parameter_set_bytes > 0 and marks & MARK_GOP_START and ingest.does.has_parameter_sets != NULL:
        has_sets = not ingest.does.has_parameter_sets(datagram.data + rtp.header_bytes, rtp.payload_bytes)
    added = piece_count - 1 + has_sets
    if not is_newest and added != numbering_added(&ingest.numbering, number):
        # Its successors have their numbers: there is room for what is known of it, or for one packet.
        if piece_count > 1:
            return INGEST_LATE_SPLIT
        has_sets = False
    seq = numbering_seq(&ingest.numbering, number)
    if is_newest and added != 0:
        numbering_shift(&ingest.numbering, number, added)
    if has_sets:
        put_parameter_sets(worker, ingest, datagram, seq, now_us)
        marks &= ~(MARK_GOP_START | MARK_FRAME_START)
        seq += 1
    if datagram.size <= MAX_RTP_BYTES:
        return put(worker, ingest, datagram.data, datagram.size, marks, seq, datagram, now_us)
    if piece_count > 1:  # else it fits without its padding, or without the frame of an aggregate
        count(worker, INGEST_SPLIT)
    return put_pieces(worker, ingest, &pieces, marks, is_newest, seq, datagram, now_us)


cdef void note_transport_number(
    worker_t* worker, const ingest_t* ingest, const datagram_t* datagram, const rtp_header_t* rtp
) noexcept nogil:
    """Of an ingest that has them (fastpath/transport_report)."""
    cdef uint16_t number = 0
    if read_extension(datagram.data, rtp.header_bytes, ingest.transport_cc_id, &number):
        note_transport(&worker.ports[datagram.port], number, datagram.arrival_us)


cdef int receive_rtx(
    worker_t* worker, ingest_t* ingest, const datagram_t* datagram, const rtp_header_t* rtp, int64_t now_us
) noexcept nogil:
    """What the encoder was asked for again, in a stream of its own (RFC 4588 4). It is no news of the
    path: neither its time nor its number counts in statistics."""
    cdef uint8_t made[MAX_INGEST_BYTES]
    cdef datagram_t original = datagram[0]
    cdef rtp_header_t header
    cdef uint16_t osn, behind
    cdef uint64_t number
    cdef int marks, verdict
    cdef bint is_its_own = ingest.is_locked and address_same_host(&datagram.source, &ingest.source)
    if ingest.transport_cc_id != 0 and is_its_own:
        note_transport_number(worker, ingest, datagram, rtp)
    if rtp.payload_bytes == 0:
        return INGEST_PADDING  # a probe
    if rtp.payload_bytes <= OSN_BYTES or datagram.size > MAX_INGEST_BYTES or not is_its_own:
        return INGEST_RTX_MALFORMED
    osn = load_be16(datagram.data + rtp.header_bytes)
    behind = <uint16_t>(<uint16_t>ingest.numbering.highest - osn)
    number = ingest.numbering.highest - behind
    if behind >= 32768 or number < ingest.numbering.first:
        return TOO_OLD_FOR_RING
    memcpy(made, datagram.data, rtp.header_bytes)
    made[0] &= <uint8_t>~PADDING_BIT
    made[1] = (made[1] & 0x80) | ingest.payload_type
    store_be16(made + 2, osn)
    store_be32(made + 8, ingest.ssrc)
    memcpy(made + rtp.header_bytes, datagram.data + rtp.header_bytes + OSN_BYTES, rtp.payload_bytes - OSN_BYTES)
    original.data = made
    original.size = rtp.header_bytes + rtp.payload_bytes - OSN_BYTES
    if parse_rtp_header(original.data, original.size, &header) < 0:
        return INGEST_RTX_MALFORMED
    marks = marks_of(ingest, original.data, &header, number, False)
    if marks < 0:
        return INGEST_MALFORMED
    encoder_loss_came(&ingest.loss, number, now_us)
    verdict = ingest_packet(worker, ingest, &original, &header, number, marks, now_us)
    if verdict == ACCEPTED or verdict == ACCEPTED_LATE:
        count(worker, INGEST_REPAIRED)
        return INGESTED
    return INGEST_DUPLICATE if verdict == DUPLICATE_PACKET else verdict


cdef void look_for_loss(
    worker_t* worker, int32_t port, ingest_t* ingest, uint64_t highest, uint64_t number, int64_t now_us
) noexcept nogil:
    """highest: before this number came."""
    if number > highest + 1 and ingest.received > 1:
        encoder_loss_skip(&ingest.loss, highest + 1, number, now_us)
    elif number < highest:
        encoder_loss_came(&ingest.loss, number, now_us)
    if ingest.loss.count > 0:
        send_nack(worker, port, ingest, now_us)


cdef int receive_rtp(worker_t* worker, const datagram_t* datagram, int64_t now_us) noexcept nogil:
    cdef ingest_t* ingest
    cdef rtp_header_t rtp
    cdef int64_t number
    cdef uint64_t highest
    cdef bint follows
    cdef int marks = 0
    cdef int verdict = INGEST_PADDING
    if is_unassigned(&worker.ports[datagram.port]):
        return INGEST_UNASSIGNED
    if is_rtcp(datagram.data, datagram.size):
        return receive_encoder_rtcp(worker, datagram, datagram.port, now_us)
    if parse_rtp_header(datagram.data, datagram.size, &rtp) < 0:
        return INGEST_MALFORMED
    ingest = track_of(worker, datagram.port, rtp.payload_type)
    if ingest == NULL:
        ingest = rtx_track_of(worker, datagram.port, rtp.payload_type)
        if ingest == NULL:
            return INGEST_PAYLOAD_TYPE
        return receive_rtx(worker, ingest, datagram, &rtp, now_us)
    if not belongs(worker, ingest, &rtp, datagram, now_us):
        return INGEST_OTHER_SSRC
    if ingest.transport_cc_id != 0:
        note_transport_number(worker, ingest, datagram, &rtp)
        say_transport(worker, datagram.port, ingest, now_us)
    highest = ingest.numbering.highest
    number = numbering_extend(
        &ingest.numbering, rtp.sequence_number, worker.streams[ingest.stream].ring.head
    )
    if number < 0:
        return JUMP_UNCONFIRMED
    if <uint64_t>number < ingest.numbering.first:
        return TOO_OLD_FOR_RING  # its place is another packet's, from before the restart
    if rtp.payload_bytes > 0:
        # Not the first one, nor the first after a jump.
        follows = ingest.received > 0 and ingest.numbering.highest == highest and <uint64_t>number == highest + 1
        marks = marks_of(ingest, datagram.data, &rtp, <uint64_t>number, follows)
        if marks < 0:
            return INGEST_MALFORMED
    ingest.last_us = now_us
    observe(worker, ingest, &rtp, <uint64_t>number, datagram)
    if rtp.payload_bytes > 0:
        verdict = ingest_packet(worker, ingest, datagram, &rtp, <uint64_t>number, marks, now_us)
    elif <uint64_t>number > ingest.numbering.highest:
        numbering_shift(&ingest.numbering, <uint64_t>number, -1)
    highest = ingest.numbering.highest
    if <uint64_t>number > ingest.numbering.highest:
        ingest.numbering.highest = <uint64_t>number
        if rtp.payload_bytes > 0:
            ingest.last_timestamp = rtp.timestamp
    if ingest.asks_again:
        look_for_loss(worker, datagram.port, ingest, highest, <uint64_t>number, now_us)
    if now_us >= ingest.next_report_us:
        send_reception_report(worker, datagram.port, ingest, now_us)
    if verdict == ACCEPTED or verdict == ACCEPTED_LATE:
        return INGESTED
    return INGEST_DUPLICATE if verdict == DUPLICATE_PACKET else verdict
