"""Sending: packets of one link in one batch, in the order of their classes, within its budget.

Order: control and feedback (sent at once), audio repairs and audio (charged, but not held back),
video repairs, video. Within a class the cursors take turns by deficit round robin. A node link's header is written into the
slot's headroom just before the batch leaves, so a slot stands in a batch once and one link is
sent at a time; a viewer's 12-byte RTP header stands in the batch, before the shared payload.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from fastpath.address cimport address_to_sockaddr, sockaddr_storage, socklen_t
from fastpath.cursor cimport EXTENDS_TRANSPORT_CC, NOBODY, TOLD_REPORTS, cursor_owes, cursor_peek, cursor_t
from fastpath.drop cimport look, look_at_blocked
from fastpath.histogram cimport histogram_note
from fastpath.late cimport late_pop, late_t
from fastpath.link cimport (
    LATE_AUDIO, LATE_CLASSES, LATE_VIDEO, SENT_AUDIO, SENT_MEDIA, SENT_OTHER, SENT_REPAIR,
    history_t, link_charge, link_charge_media, link_dead_at_us, link_limit_debt, link_may_send, link_next_hop_seq,
    link_remember, link_send_key, link_settle_us, link_t,
)
from fastpath.pacer cimport LEFT_FAST, TRANSPORT_HISTORY
from fastpath.pacing cimport pacer_after_drain, pacer_before_drain
from fastpath.report cimport next_report_us, write_clock, write_viewer_report
from fastpath.ring cimport SLOT_HELD, ring_held, ring_t, slot_t
from fastpath.rtp_extension cimport write_extended_header
from fastpath.rtx cimport RTX_OSN_BYTES, rtx_end_header
from fastpath.siphash cimport covered_t, media_tags, siphash_key_t
from fastpath.skip cimport say_skip
from fastpath.slab cimport HEADROOM_BYTES, slab_payload
from fastpath.spans cimport span_t, spans_with_packet
from fastpath.verdict cimport HOP_LIMIT_REACHED, SENT_BATCHES, SENT_PACKETS, VIEWER_NACK_TOO_OLD
from fastpath.wheel cimport wheel_cancel, wheel_set
from fastpath.wire cimport (
    CLASS_AUDIO, CLASS_CONTROL, CLASS_PROBE, CLASS_VIDEO, FIB_LEG_BYTES, FLAG_DUPLICATE, FLAG_REPAIR, FLAG_SEALED, HEADER_BYTES, REPAIR_BLOCK_BYTES, TAG_BYTES, TYPE_FEEDBACK,
    TYPE_HELLO, TYPE_MEDIA, TYPE_PROBE, header_t, is_plain, packet_tag, write_header, write_media_header,
)
from fastpath.worker cimport (
    BATCH_BYTES, BATCH_SEGMENTS, LONG_HEADER_BYTES, MEDIA_AUDIO, MEDIA_VIDEO, QUANTUM_BYTES,
    batch_t, count, count_many, stream_t, worker_t,
)
from fastpath.view_qoe cimport qoe_on_move, qoe_on_sent
from rtp.big_endian cimport load_be32, store_be16, store_be32, store_be64
from rtp.payload.marks cimport MARK_FRAME_END, MARK_KEY
from rtp.payload.rtp_header cimport RTP_HEADER_OK, parse_rtp_header, rtp_header_t

cdef enum:
    RTP_FIXED_BYTES = 12
    RTP_EXTENSION_BIT = 0x10
    ENCODER_RESTART_S = 10       # chosen: no packet that leaves late is so old
    SR_NTP_MIDDLE = 10           # where the middle 32 bits stand in a sender report


cdef extern from *:
    """
    /* Of 1, 2, 3-4, 5-8, ...: which one a number is in. */
    #define overlane_size_class(n) ((n) < 2 ? 0 : 32 - __builtin_clz((unsigned)(n) - 1))
    """
    int overlane_size_class(int32_t) nogil


cdef void write_tags(batch_t* batch) noexcept nogil:
    """The tags of the batch's plain packets, all at once."""
    cdef uint64_t tags[BATCH_SEGMENTS]
    cdef int32_t i
    media_tags(batch.covered, batch.untagged, batch.key, tags)
    for i in range(batch.untagged):
        store_be64(<uint8_t*>batch.covered[i].start + HEADER_BYTES, tags[i])
    batch.untagged = 0


cdef void flush_batch(worker_t* worker) noexcept nogil:
    cdef batch_t* batch = &worker.batch
    if batch.packets == 0:
        return
    if batch.untagged > 0:
        write_tags(batch)
    worker.transmit(worker, batch)
    count_many(worker, SENT_PACKETS, <uint64_t>batch.packets)
    count_many(worker, SENT_BATCHES, 1)
    worker.batch_sizes[overlane_size_class(batch.packets)] += 1
    batch.packets = 0
    batch.pieces = 0
    batch.total_bytes = 0
    batch.is_closed = False
    batch.serial += 1


cdef inline void open_place(
    worker_t* worker, int32_t port, const sockaddr_storage* address, socklen_t address_bytes, uint32_t packet_bytes
) noexcept nogil:
    """Make the batch ready to take one more packet of this size to this destination."""
    cdef batch_t* batch = &worker.batch
    if batch.packets > 0 and (
        batch.is_closed
        or batch.address != address
        or batch.port != port
        or packet_bytes > batch.segment_bytes
        or batch.packets == BATCH_SEGMENTS
        or batch.total_bytes + packet_bytes > BATCH_BYTES
        or not worker.use_gso
    ):
        flush_batch(worker)
    if batch.packets == 0:
        batch.port = port
        batch.address = address
        batch.address_bytes = address_bytes
        batch.segment_bytes = packet_bytes
    elif packet_bytes < batch.segment_bytes:
        batch.is_closed = True


cdef inline void add_part(batch_t* batch, void* base, size_t size) noexcept nogil:
    batch.parts[batch.pieces].iov_base = base
    batch.parts[batch.pieces].iov_len = size
    batch.pieces += 1
    batch.total_bytes += <uint32_t>size


cdef void write_tag(
    uint8_t* payload, size_t header_bytes, uint8_t packet_type, uint8_t flags, uint64_t hop_seq,
    uint32_t payload_bytes, const siphash_key_t* key,
) noexcept nogil:
    """Put the tag before the payload; the header ends where the tag begins."""
    cdef uint8_t* start = payload - TAG_BYTES - header_bytes
    store_be64(
        payload - TAG_BYTES,
        packet_tag(
            start, header_bytes, packet_type, flags & FLAG_SEALED,
            <uint32_t>(hop_seq >> 32), payload, payload_bytes, key,
        ),
    )


cdef inline void tag_with_batch(
    batch_t* batch, const uint8_t* start, uint64_t hop_seq, uint32_t payload_bytes, const siphash_key_t* key
) noexcept nogil:
    """Have a plain packet's tag made together with the others' of the batch."""
    cdef covered_t* covered = &batch.covered[batch.untagged]
    covered.start = start
    covered.high = <uint32_t>(hop_seq >> 32)
    covered.payload_bytes = payload_bytes
    batch.key = key
    batch.untagged += 1


ctypedef struct run_t:           # packets of one stream that leave on one link, one after the other
    link_t* link
    const siphash_key_t* key
    int32_t stream
    uint32_t stream_generation
    uint32_t stream_id
    uint8_t class_bits
    uint8_t key_mark             # of what has a price of its own: video key frames
    bint is_audio
    uint8_t copy_flag            # that its subscriber has another path
    int64_t leaves_us            # now, and half the next hop's round trip
    int64_t probe_us             # when a pause after it is to be looked at


cdef inline void begin_run(
    worker_t* worker, run_t* run, int32_t link_index, int32_t stream_index, int64_t now_us
) noexcept nogil:
    cdef const stream_t* stream = &worker.streams[stream_index]
    run.link = &worker.links[link_index]
    run.key = link_send_key(run.link)
    run.stream = stream_index
    run.stream_generation = stream.generation
    run.stream_id = stream.stream_id
    run.is_audio = stream.media == MEDIA_AUDIO
    run.class_bits = (CLASS_AUDIO if run.is_audio else CLASS_VIDEO) << 5
    run.key_mark = 0 if run.is_audio else MARK_KEY
    run.copy_flag = 0
    run.leaves_us = now_us + run.link.rtt_us // 2
    run.probe_us = now_us + link_settle_us(run.link)


cdef inline void begin_cursor_run(
    worker_t* worker, run_t* run, const cursor_t* cursor, int64_t now_us
) noexcept nogil:
    begin_run(worker, run, cursor.link, cursor.stream, now_us)
    if run.link.has_copies and cursor.is_copy:
        run.copy_flag = FLAG_DUPLICATE


cdef inline void send_to_node(
    worker_t* worker, const run_t* run, slot_t* slot, uint64_t answers, int64_t now_us
) noexcept nogil:
    """A packet of a ring under a fresh number. answers: the number it repairs, or 0."""
    cdef link_t* link = run.link
    cdef batch_t* batch = &worker.batch
    cdef uint32_t overhead = FIB_LEG_BYTES if answers == 0 else FIB_LEG_BYTES + REPAIR_BLOCK_BYTES
    cdef uint32_t size = slot.size
    cdef uint8_t flags = slot.flags & FLAG_SEALED | run.copy_flag
    cdef uint8_t* payload
    cdef uint64_t hop_seq
    cdef history_t* entry
    if slot.hop_limit <= 1:
        count(worker, HOP_LIMIT_REACHED)  # the receiver would refuse it
        return
    if batch.packets > 0 and slot.batch == batch.serial:
        flush_batch(worker)  # its headroom is in use
    open_place(worker, link.port, <const sockaddr_storage*>&link.address, link.address_bytes, size + overhead)
    payload = slab_payload(&worker.slab, slot.block)
    hop_seq = link_next_hop_seq(link)
    if answers != 0:
        flags |= FLAG_REPAIR
        store_be32(payload - TAG_BYTES - REPAIR_BLOCK_BYTES, <uint32_t>answers)
    write_media_header(
        payload - overhead, flags, slot.hop_limit - 1, run.class_bits | slot.marks,
        delay_at_egress(slot, run.leaves_us), run.stream_id, slot.stream_seq, <uint32_t>hop_seq, <uint32_t>now_us,
    )
    if is_plain(TYPE_MEDIA, flags, overhead - TAG_BYTES, size + overhead):
        tag_with_batch(batch, payload - overhead, hop_seq, size, run.key)
    else:
        write_tag(payload, overhead - TAG_BYTES, TYPE_MEDIA, flags, hop_seq, size, run.key)
    add_part(batch, payload - overhead, size + overhead)
    batch.packets += 1
    slot.batch = batch.serial
    entry = link_remember(link, hop_seq, SENT_REPAIR if answers != 0 else SENT_MEDIA, now_us)
    entry.repairs = answers
    entry.stream = run.stream
    entry.stream_generation = run.stream_generation
    entry.stream_seq = slot.stream_seq
    entry.bytes = <uint16_t>(size + overhead)
    entry.traits = SENT_AUDIO if run.is_audio else 0
    link_charge_media(link, size + overhead, slot.marks & run.key_mark)
    link.last_sent_us = now_us
    if link.next_probe_us > run.probe_us:
        link.next_probe_us = run.probe_us


cdef void send_alone(
    worker_t* worker, int32_t port, const sockaddr_storage* address, socklen_t address_bytes,
    uint8_t* data, uint32_t size,
) noexcept nogil:
    """One datagram, now: what waits in the batch goes first."""
    flush_batch(worker)
    open_place(worker, port, address, address_bytes, size)
    add_part(&worker.batch, data, size)
    worker.batch.packets = 1
    flush_batch(worker)


cdef void send_report(worker_t* worker, cursor_t* cursor, int64_t now_us) noexcept nogil:
    """The stream's clock, in the form its subscriber understands."""
    cdef stream_t* stream = &worker.streams[cursor.stream]
    cdef link_t* link = &worker.links[cursor.link]
    cdef uint8_t* out = message_payload(worker)
    cdef uint32_t size
    if not cursor.is_viewer:
        send_message(worker, cursor.link, TYPE_FEEDBACK, write_clock(out, stream, now_us), now_us)
    else:
        size = write_viewer_report(out, cursor, stream, link, now_us)
        send_alone(
            worker, cursor.port, <const sockaddr_storage*>&cursor.rtcp_address, cursor.rtcp_address_bytes, out, size
        )
        link_charge(link, size)
        cursor.told[cursor.reports & (TOLD_REPORTS - 1)].middle = load_be32(out + SR_NTP_MIDDLE)
        cursor.told[cursor.reports & (TOLD_REPORTS - 1)].at_us = now_us
    cursor.next_report_us = next_report_us(cursor, now_us)
    cursor.reports += 1


cdef bint hears_reports(const cursor_t* cursor) noexcept nogil:
    return not cursor.is_viewer or cursor.rtcp_address_bytes > 0


cdef void join_timestamps(cursor_t* cursor, uint32_t timestamp, uint32_t clock_rate, int64_t now_us) noexcept nogil:
    """A viewer that has moved sees its RTP time go on by what went by here meanwhile."""
    qoe_on_move(&cursor.qoe, now_us)
    if cursor.last_sent_us > 0:
        cursor.timestamp_offset = (
            cursor.last_timestamp + <uint32_t>((now_us - cursor.last_sent_us) * <int64_t>clock_rate // 1000000)
            - timestamp
        )
    cursor.has_moved = False


cdef bint is_newest(const cursor_t* cursor, uint32_t timestamp, uint32_t clock_rate) noexcept nogil:
    """A frame's other packets, B frames, and what is sent again or late are not. None is as late as
    this: the encoder has begun anew."""
    cdef int64_t behind = -<int64_t><int32_t>(timestamp - cursor.last_timestamp)
    return cursor.last_sent_us == 0 or behind < 0 or behind > ENCODER_RESTART_S * <int64_t>clock_rate


cdef uint32_t viewer_timestamp(cursor_t* cursor, uint32_t timestamp, uint32_t clock_rate, int64_t now_us) noexcept nogil:
    timestamp += cursor.timestamp_offset
    if is_newest(cursor, timestamp, clock_rate):
        cursor.last_timestamp = timestamp
        cursor.last_sent_us = now_us
    return timestamp


cdef inline void set_rtp_fields(
    worker_t* worker, cursor_t* cursor, uint8_t* header, uint8_t payload_type, uint16_t number, uint32_t ssrc,
    int64_t now_us,
) noexcept nogil:
    """Of a copy of the encoder's header, what is the viewer's own; the marker stays."""
    header[1] = (header[1] & 0x80) | payload_type
    store_be16(header + 2, number)
    store_be32(
        header + 4,
        viewer_timestamp(cursor, load_be32(header + 4), worker.streams[cursor.stream].clock_rate, now_us),
    )
    store_be32(header + 8, ssrc)


cdef bint send_rtx(worker_t* worker, cursor_t* cursor, slot_t* slot, int64_t now_us) noexcept nogil:
    """The packet once more, in the viewer's retransmission stream, with the extensions that it would have
    had under its own number. False if the viewer wants none, or the header is too long for one."""
    cdef batch_t* batch = &worker.batch
    cdef link_t* link = &worker.links[cursor.link]
    cdef uint8_t* payload = slab_payload(&worker.slab, slot.block)
    cdef uint8_t made[LONG_HEADER_BYTES]
    cdef uint8_t* header
    cdef rtp_header_t rtp
    cdef uint32_t skipped = 0
    cdef uint32_t header_bytes
    if cursor.rtx_payload_type == 0 or cursor.rtx_payload_type == cursor.payload_type:
        return False
    if parse_rtp_header(payload, slot.size, &rtp) != RTP_HEADER_OK:
        return False
    if cursor.extensions != 0:
        header_bytes = write_extended_header(made, link, cursor, slot, payload, &skipped, now_us)
        memcpy(made, payload, RTP_FIXED_BYTES)
        made[0] |= RTP_EXTENSION_BIT
    elif rtp.header_bytes + RTX_OSN_BYTES <= LONG_HEADER_BYTES:
        header_bytes = rtp.header_bytes
        memcpy(made, payload, header_bytes)
    else:
        return False
    header_bytes = rtx_end_header(made, header_bytes, <uint16_t>(slot.stream_seq + cursor.sequence_offset))
    open_place(
        worker, cursor.port, <const sockaddr_storage*>&cursor.address, cursor.address_bytes,
        header_bytes + rtp.payload_bytes,
    )
    header = &batch.long_headers[batch.packets][0]
    memcpy(header, made, header_bytes)
    set_rtp_fields(worker, cursor, header, cursor.rtx_payload_type, cursor.rtx_number, cursor.rtx_ssrc, now_us)
    cursor.rtx_number += 1
    add_part(batch, header, header_bytes)
    if rtp.payload_bytes > 0:
        add_part(batch, payload + rtp.header_bytes, rtp.payload_bytes)
    batch.packets += 1
    link_charge(link, header_bytes + rtp.payload_bytes)
    return True


cdef void write_viewer_header(
    worker_t* worker, cursor_t* cursor, const slot_t* slot, const uint8_t* payload, uint8_t* header, int64_t now_us
) noexcept nogil:
    """RTP's fixed header, as this viewer sees it."""
    memcpy(header, payload, RTP_FIXED_BYTES)
    set_rtp_fields(
        worker, cursor, header, cursor.payload_type, <uint16_t>(slot.stream_seq + cursor.sequence_offset), cursor.ssrc,
        now_us,
    )


cdef void send_to_viewer(worker_t* worker, cursor_t* cursor, slot_t* slot, int64_t now_us) noexcept nogil:
    """The header stands in the batch, what follows is the ring's: payload, and CSRCs or extension, which
    the viewer's own extensions replace."""
    cdef batch_t* batch = &worker.batch
    cdef link_t* link = &worker.links[cursor.link]
    cdef uint8_t* payload = slab_payload(&worker.slab, slot.block)
    cdef uint8_t* header
    cdef uint8_t extended[LONG_HEADER_BYTES]
    cdef uint8_t key_mark = MARK_KEY if worker.streams[cursor.stream].media == MEDIA_VIDEO else 0
    cdef uint32_t skipped = RTP_FIXED_BYTES
    cdef uint32_t header_bytes = 0
    cdef uint32_t size
    if cursor.extensions != 0:
        header_bytes = write_extended_header(extended, link, cursor, slot, payload, &skipped, now_us)
    size = slot.size + header_bytes - skipped if header_bytes > 0 else slot.size
    open_place(worker, cursor.port, <const sockaddr_storage*>&cursor.address, cursor.address_bytes, size)
    if header_bytes == 0:
        header_bytes = RTP_FIXED_BYTES
        header = &batch.rtp_headers[batch.packets][0]
        write_viewer_header(worker, cursor, slot, payload, header, now_us)
    else:
        header = &batch.long_headers[batch.packets][0]
        memcpy(header + RTP_FIXED_BYTES, extended + RTP_FIXED_BYTES, header_bytes - RTP_FIXED_BYTES)
        write_viewer_header(worker, cursor, slot, payload, header, now_us)
        header[0] |= RTP_EXTENSION_BIT
        if slot.marks & key_mark and cursor.extensions & EXTENDS_TRANSPORT_CC:
            link.pacer.transport[link.pacer.transport_number & (TRANSPORT_HISTORY - 1)].bytes |= LEFT_FAST
    add_part(batch, header, header_bytes)
    if slot.size > skipped:
        add_part(batch, payload + skipped, slot.size - skipped)
    batch.packets += 1
    link_charge_media(link, size, slot.marks & key_mark)
    qoe_on_sent(
        &cursor.qoe, cursor.last_timestamp, worker.streams[cursor.stream].clock_rate,
        key_mark == 0 or slot.marks & MARK_FRAME_END, now_us,
    )


cdef inline void send_due_report(worker_t* worker, cursor_t* cursor, int64_t now_us) noexcept nogil:
    if now_us >= cursor.next_report_us and worker.streams[cursor.stream].clock.is_set and hears_reports(cursor):
        send_report(worker, cursor, now_us)


cdef inline void count_sent(
    worker_t* worker, cursor_t* cursor, const slot_t* slot, bint is_again, int64_t now_us
) noexcept nogil:
    if slot.arrival_us >= cursor.began_us and not is_again:
        histogram_note(
            &worker.delays[worker.node_link_count if cursor.is_viewer else cursor.link], now_us - slot.arrival_us
        )
    cursor.packets += 1
    cursor.bytes += slot.size


cdef void send_for_cursor(
    worker_t* worker, cursor_t* cursor, slot_t* slot, bint is_again, int64_t now_us
) noexcept nogil:
    """One packet, wherever it stands in the ring."""
    cdef run_t run
    if cursor.has_moved:  # before a report tells of it
        join_timestamps(
            cursor, load_be32(slab_payload(&worker.slab, slot.block) + 4), worker.streams[cursor.stream].clock_rate,
            now_us,
        )
    send_due_report(worker, cursor, now_us)
    if cursor.is_viewer:
        send_to_viewer(worker, cursor, slot, now_us)
    else:
        begin_cursor_run(worker, &run, cursor, now_us)
        send_to_node(worker, &run, slot, 0, now_us)
    count_sent(worker, cursor, slot, is_again, now_us)


cdef void send_run(
    worker_t* worker, cursor_t* cursor, const ring_t* ring, slot_t* slot, int64_t now_us
) noexcept nogil:
    """A node's next packet, and those after it as long as there is nothing else to decide."""
    cdef run_t run
    send_due_report(worker, cursor, now_us)
    begin_cursor_run(worker, &run, cursor, now_us)
    while True:
        cursor.deficit_bytes -= slot.size
        cursor.next += 1
        send_to_node(worker, &run, slot, 0, now_us)
        count_sent(worker, cursor, slot, False, now_us)
        slot = &ring.slots[cursor.next & ring.mask]
        if (
            cursor.next == ring.head or slot.state != SLOT_HELD or slot.stream_seq != cursor.next
            or cursor.deficit_bytes < slot.size or (run.link.free_at_ns > now_us * 1000 and not run.is_audio)
        ):
            return


cdef void exchange(cursor_t* cursor, span_t* span) noexcept nogil:
    """The cursor's numbers for a span's, and back."""
    cdef span_t own = span[0]
    own.stream = cursor.stream
    own.timestamp_offset = cursor.timestamp_offset
    own.sequence_offset = cursor.sequence_offset
    own.payload_type = cursor.payload_type
    cursor.stream = span.stream
    cursor.timestamp_offset = span.timestamp_offset
    cursor.sequence_offset = span.sequence_offset
    cursor.payload_type = span.payload_type
    span[0] = own


cdef void send_from_span(
    worker_t* worker, cursor_t* cursor, const span_t* span, slot_t* slot, bint is_again, int64_t now_us
) noexcept nogil:
    """A packet of before the cursor's last jump, as it was, or was to be, sent then."""
    cdef span_t other = span[0]
    exchange(cursor, &other)
    if not is_again or not send_rtx(worker, cursor, slot, now_us):
        send_to_viewer(worker, cursor, slot, now_us)
        count_sent(worker, cursor, slot, is_again, now_us)
    exchange(cursor, &other)


cdef bint send_rtx_from_span(
    worker_t* worker, cursor_t* cursor, const span_t* span, slot_t* slot, int64_t now_us
) noexcept nogil:
    """send_rtx, of a packet of before the cursor's last jump."""
    cdef span_t other = span[0]
    cdef bint is_sent
    exchange(cursor, &other)
    is_sent = send_rtx(worker, cursor, slot, now_us)
    exchange(cursor, &other)
    return is_sent


cdef void send_late(worker_t* worker, int32_t link_index, const late_t* late, int64_t now_us) noexcept nogil:
    """A packet out of order: an answer to a request, or one recovered behind a cursor."""
    cdef stream_t* stream = &worker.streams[late.stream]
    cdef cursor_t* cursor
    cdef slot_t* slot
    cdef const span_t* span = NULL
    cdef run_t run
    if not stream.is_used or stream.generation != late.stream_generation:
        return
    slot = ring_held(&stream.ring, late.stream_seq)
    if slot == NULL:
        return
    if late.cursor == NOBODY:
        worker.links[link_index].resent += 1
        begin_run(worker, &run, link_index, late.stream, now_us)
        send_to_node(worker, &run, slot, late.answers, now_us)
        return
    cursor = &worker.cursors[late.cursor]
    if cursor.generation != late.cursor_generation:
        return
    # It may have moved or jumped since: then the number is another's now, or was never used.
    if cursor.stream != late.stream or not cursor_owes(cursor, late.stream_seq):
        span = spans_with_packet(
            &worker.spans, &cursor.spans, late.stream, late.stream_generation, late.stream_seq
        )
        if span == NULL:
            return
    if late.answers == 0:
        cursor.late_packets += 1
    elif 0 < worker.max_lag_us < now_us - <int64_t>late.answers:
        count(worker, VIEWER_NACK_TOO_OLD)  # nothing waits longer than a frame may
        return
    else:
        cursor.resent += 1
    if span != NULL:
        send_from_span(worker, cursor, span, slot, late.answers != 0, now_us)
    elif late.answers == 0 or not send_rtx(worker, cursor, slot, now_us):
        send_for_cursor(worker, cursor, slot, late.answers != 0, now_us)


cdef void queue_cursor(worker_t* worker, int32_t index) noexcept nogil:
    """Put the cursor at the end of its class's turn on its link."""
    cdef cursor_t* cursor = &worker.cursors[index]
    cdef link_t* link = &worker.links[cursor.link]
    cdef int which = LATE_AUDIO if worker.streams[cursor.stream].media == MEDIA_AUDIO else LATE_VIDEO
    if cursor.is_queued:
        return
    cursor.is_queued = True
    cursor.next_queued = NOBODY
    cursor.previous_queued = link.queues[which].last
    if cursor.previous_queued >= 0:
        worker.cursors[cursor.previous_queued].next_queued = index
    else:
        link.queues[which].first = index
    link.queues[which].last = index


cdef void unqueue_cursor(worker_t* worker, int32_t index) noexcept nogil:
    cdef cursor_t* cursor = &worker.cursors[index]
    cdef link_t* link = &worker.links[cursor.link]
    cdef int which = LATE_AUDIO if worker.streams[cursor.stream].media == MEDIA_AUDIO else LATE_VIDEO
    if not cursor.is_queued:
        return
    cursor.is_queued = False
    if cursor.previous_queued >= 0:
        worker.cursors[cursor.previous_queued].next_queued = cursor.next_queued
    else:
        link.queues[which].first = cursor.next_queued
    if cursor.next_queued >= 0:
        worker.cursors[cursor.next_queued].previous_queued = cursor.previous_queued
    else:
        link.queues[which].last = cursor.previous_queued


cdef slot_t* next_unusual(worker_t* worker, int32_t index, int64_t now_us) noexcept nogil:
    """A cursor's next packet where it is not simply the next one. A node that was lapped is told what it
    will not get."""
    cdef cursor_t* cursor = &worker.cursors[index]
    cdef uint64_t lapped = cursor.lapped
    cdef uint32_t before = cursor.next
    cdef slot_t* slot = look(worker, index, now_us)
    if cursor.lapped != lapped and not cursor.is_viewer and cursor.start != before:
        say_skip(
            worker, cursor.link, worker.streams[cursor.stream].stream_id, before, cursor.start - before, now_us
        )
    return slot


cdef bint drain_cursor(worker_t* worker, int32_t index, int64_t now_us) noexcept nogil:
    """One turn of a cursor; False if the link's budget ended it."""
    cdef cursor_t* cursor = &worker.cursors[index]
    cdef stream_t* stream = &worker.streams[cursor.stream]
    cdef link_t* link = &worker.links[cursor.link]
    cdef slot_t* slot
    while True:
        if not cursor_peek(cursor, &stream.ring, &slot):
            slot = next_unusual(worker, index, now_us)
            stream = &worker.streams[cursor.stream]
        if slot == NULL:
            unqueue_cursor(worker, index)
            cursor.deficit_bytes = 0
            return True
        if cursor.deficit_bytes < slot.size:
            cursor.deficit_bytes += QUANTUM_BYTES
            if cursor.next_queued < 0:  # alone: it is its turn again
                continue
            unqueue_cursor(worker, index)
            queue_cursor(worker, index)
            return True
        if not link_may_send(link, now_us) and stream.media == MEDIA_VIDEO:
            return False
        if cursor.is_viewer:
            cursor.deficit_bytes -= slot.size
            cursor.next += 1
            send_for_cursor(worker, cursor, slot, False, now_us)
        else:
            send_run(worker, cursor, &stream.ring, slot, now_us)


cdef bint drain_class(worker_t* worker, int32_t link_index, int which, int64_t now_us) noexcept nogil:
    cdef link_t* link = &worker.links[link_index]
    cdef late_t late
    while link.late[which].first >= 0:
        if not link_may_send(link, now_us) and which != LATE_AUDIO:
            return False
        late_pop(&worker.late, &link.late[which], &late)
        link.late_count[which] -= 1
        send_late(worker, link_index, &late, now_us)
    while link.queues[which].first >= 0:
        if not drain_cursor(worker, link.queues[which].first, now_us):
            return False
    return True


cdef void drain_link(worker_t* worker, int32_t link_index, int64_t now_us) noexcept nogil:
    """Send what the budget allows, highest class first, and set the link's timer."""
    cdef link_t* link = &worker.links[link_index]
    link.is_ready = False
    if not link.is_used:
        return
    if link.is_viewer or link_send_key(link) != NULL:
        if link.is_controlled:
            pacer_before_drain(worker, link, now_us)
        drain_class(worker, link_index, LATE_AUDIO, now_us)
        link_limit_debt(link, now_us)
        if not drain_class(worker, link_index, LATE_VIDEO, now_us) and link.is_viewer:
            look_at_blocked(worker, link_index, now_us)
        if link.is_controlled:
            pacer_after_drain(worker, link_index, now_us)
        flush_batch(worker)
    arm_link(worker, link_index, now_us)


cdef bint is_backlogged(const link_t* link) noexcept nogil:
    cdef int which
    for which in range(LATE_CLASSES):
        if link.queues[which].first >= 0 or link.late[which].first >= 0:
            return True
    return False


cdef void arm_link(worker_t* worker, int32_t link_index, int64_t now_us) noexcept nogil:
    """The earliest of: budget for the backlog, next probe, next repair request, the link's end if nothing
    comes, a paused viewer's next try. Idle viewers: none."""
    cdef link_t* link = &worker.links[link_index]
    cdef int64_t due_us = -1
    if link.is_viewer:
        due_us = link.resume_us
    elif link_send_key(link) != NULL:
        due_us = link.next_probe_us
        if link.next_repair_us >= 0 and link.next_repair_us < due_us:
            due_us = link.next_repair_us
        if link.tells_arrivals and 0 <= link.next_arrivals_us < due_us:
            due_us = link.next_arrivals_us
        if link.is_up and link_dead_at_us(link, worker.probe_interval_us) < due_us:
            due_us = link_dead_at_us(link, worker.probe_interval_us)
    if (link.is_viewer or due_us >= 0) and (is_backlogged(link) or (link.is_controlled and link.pacer.is_probing)):
        if due_us < 0 or link.free_at_ns // 1000 < due_us:
            due_us = link.free_at_ns // 1000
            if due_us <= now_us:
                due_us = now_us + 1
    if due_us >= 0:
        wheel_set(&worker.wheel, link_index, due_us)
    else:
        wheel_cancel(&worker.wheel, link_index)


cdef uint8_t* message_payload(worker_t* worker) noexcept nogil:
    """Where the payload of the next send_message is written: up to 1,400 bytes."""
    return worker.scratch + HEADROOM_BYTES


cdef bint send_message(
    worker_t* worker, int32_t link_index, uint8_t packet_type, uint32_t payload_bytes, int64_t now_us
) noexcept nogil:
    """Send a packet that belongs to no stream, at once and ahead of media. False without keys."""
    cdef link_t* link = &worker.links[link_index]
    cdef uint8_t* payload = message_payload(worker)
    cdef const siphash_key_t* key = link_send_key(link)
    cdef header_t header
    cdef uint64_t hop_seq = 0
    cdef history_t* entry
    cdef sockaddr_storage address
    cdef socklen_t address_bytes
    if packet_type == TYPE_HELLO:
        key = &link.hello_key
    elif key == NULL:
        return False
    else:
        hop_seq = link_next_hop_seq(link)
        entry = link_remember(link, hop_seq, SENT_OTHER, now_us)
        entry.bytes = <uint16_t>(payload_bytes + 32)
    header.type = packet_type
    header.flags = 0
    header.hop_limit = 1
    header.traffic_class = CLASS_PROBE if packet_type == TYPE_PROBE else CLASS_CONTROL
    header.marks = 0
    header.epoch = 0
    header.delay = 0
    header.stream_id = worker.node_id if packet_type == TYPE_HELLO else 0
    header.stream_seq = 0
    header.hop_seq = <uint32_t>hop_seq
    header.send_ts = <uint32_t>now_us
    header.repairs_hop_seq = 0
    write_header(payload, &header)
    write_tag(payload, HEADER_BYTES, packet_type, 0, hop_seq, payload_bytes, key)
    send_alone(
        worker, link.port, <const sockaddr_storage*>&link.address, link.address_bytes, payload - 32, payload_bytes + 32
    )
    if packet_type == TYPE_HELLO and link.candidate_until_us > now_us:
        address_bytes = address_to_sockaddr(&link.candidate, &address)
        send_alone(worker, link.port, &address, address_bytes, payload - 32, payload_bytes + 32)
    link_charge(link, payload_bytes + 32)
    return True
