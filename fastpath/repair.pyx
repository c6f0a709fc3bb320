"""Each link repairs its own losses. A hole in `hop_seq` is a loss on this link and nobody else's.

Receiver: a hole is asked for when reordering no longer explains it (or at the next 50 ms scan of
LiveNet 5.1), once more soon after in case the request is lost, then twice again each time its
answer is overdue, until its playout has passed. Sender: `hop_seq` leads through the sent history
to the ring; the packet goes out again under a new `hop_seq` with a repair block, at most once per
round trip (for both requests, where the link loses much) and within a quarter of what the
subscriber is sent. What the ring no longer holds, or comes too late for its stream, is answered
GONE, what was no media VOID. Messages, in network order:

    REQUEST  1, then per item: base u32, bitmap u32 of base+1 .. base+32 (RFC 4585 6.2.1's idea)
    VOID     2, then items alike
    GONE     3, stream_id u32, first stream_seq u32, count u32, first hop_seq u32 (0: told downstream)
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from fastpath.arrivals_report cimport begin_arrivals, say_arrivals
from fastpath.cursor cimport NOBODY
from fastpath.feedback cimport MESSAGE_GONE, MESSAGE_REQUEST, MESSAGE_VOID
from fastpath.late cimport late_t
from fastpath.link cimport (
    LATE_AUDIO, LATE_VIDEO, MAX_HOLES, SENT_AUDIO, SENT_DOUBLED, SENT_MEDIA, SENT_REPAIR, history_t, hole_t,
    link_close_hole, link_dead_at_us, link_hole, link_is_lossy, link_may_repair, link_on_rtt, link_recall, link_send_key,
    link_settle_us, link_t, link_unwrap, loss_t,
)
from fastpath.mailbox cimport EVENT_LINK_DOWN
from fastpath.ring cimport ring_held, ring_mark_gone, ring_t, slot_t
from fastpath.send cimport message_payload, send_message
from fastpath.shed cimport shed_answer
from fastpath.verdict cimport MALFORMED, PROBE_TAKEN
from fastpath.wire cimport FIB_LEG_BYTES, REPAIR_BLOCK_BYTES, TYPE_FEEDBACK, TYPE_PROBE, header_t
from fastpath.worker cimport find_stream, link_handle, mark_ready, post_event, push_late, stream_t, worker_t
from rtp.big_endian cimport load_be32, load_be64, store_be32, store_be64

cdef enum:
    GONE_BYTES = 17
    PROBE_BYTES = 20             # and one of wishes, if there are any
    WISH_ARRIVALS = 1            # to be told when packets arrive (fastpath/arrivals_report)
    MAX_ITEMS = 128              # 1,025 bytes
    INSURED_RTT_US = 30000       # chosen: below it the retry is soon enough for a request that is lost
    RETRY_MARGIN_US = 5000       # beyond a round trip and an eighth: a tick at each end, and jitter
    APART_US = 1000              # requests that come together are one
    LOSS_WINDOW = 512            # numbers over which a link's loss is counted
    NEIGHBOURS = 16              # packets that are looked at to see how late one came
    MAX_RTT_US = 10000000        # chosen: beyond any path; a peer's nonsense must not stop retries


cdef uint32_t put_item(uint8_t* message, uint32_t items, uint32_t hop_seq) noexcept nogil:
    """Add a number to the items of a message; numbers come in rising order. Items now used."""
    cdef uint8_t* last = message + 1 + 8 * (items - 1)
    cdef uint32_t step
    if items > 0:
        step = hop_seq - load_be32(last)
        if step == 0:
            return items
        if step <= 32:
            store_be32(last + 4, load_be32(last + 4) | (<uint32_t>1 << (step - 1)))
            return items
    if items < MAX_ITEMS:
        store_be32(message + 1 + 8 * items, hop_seq)
        store_be32(message + 5 + 8 * items, 0)
        items += 1
    return items


cdef void ask_for_holes(worker_t* worker, int32_t link_index, int64_t now_us) noexcept nogil:
    """Give up what is too old, ask for what is due, note when the next one is."""
    cdef link_t* link = &worker.links[link_index]
    cdef uint8_t* message = message_payload(worker)
    cdef uint32_t items = 0
    cdef int32_t at = 0
    cdef int32_t kept = 0
    cdef hole_t* hole
    cdef int64_t next_us = -1
    cdef int64_t deadline_us = hole_deadline_us(worker, link)
    cdef int64_t insurance_us = link_settle_us(link) if link.rtt_us > INSURED_RTT_US else 0
    cdef int64_t overdue_us = link.rtt_us + link.rtt_us // 8 + RETRY_MARGIN_US - insurance_us
    message[0] = MESSAGE_REQUEST
    for at in range(link.hole_count):
        hole = &link.holes[at]
        if now_us - hole.seen_us >= deadline_us:
            link.given_up += 1
            link.lost += 1
            continue
        # What finds no room stays due: the next message takes it.
        if hole.next_request_us <= now_us and items < MAX_ITEMS - 1:
            items = put_item(message, items, <uint32_t>hole.hop_seq)
            hole.requests += 1
            if insurance_us > 0 and hole.requests & 1:
                hole.next_request_us = now_us + insurance_us
            else:
                hole.next_request_us = now_us + overdue_us
            if hole.next_request_us > hole.seen_us + deadline_us:
                hole.next_request_us = hole.seen_us + deadline_us
        if next_us < 0 or hole.next_request_us < next_us:
            next_us = hole.next_request_us
        link.holes[kept] = hole[0]
        kept += 1
    link.hole_count = kept
    link.next_repair_us = next_us
    if items > 0 and send_message(worker, link_index, TYPE_FEEDBACK, 1 + 8 * items, now_us):
        link.requests_sent += 1


ctypedef struct gone_t:          # a run of packets that the ring no longer holds
    uint32_t stream_id
    uint32_t first
    uint32_t number
    uint32_t hop_seq             # of the first; the others follow it one by one


cdef void say_gone(
    worker_t* worker, int32_t link_index, uint32_t stream_id, uint32_t first, uint32_t number,
    uint32_t hop_seq, int64_t now_us,
) noexcept nogil:
    cdef uint8_t* message = message_payload(worker)
    message[0] = MESSAGE_GONE
    store_be32(message + 1, stream_id)
    store_be32(message + 5, first)
    store_be32(message + 9, number)
    store_be32(message + 13, hop_seq)
    send_message(worker, link_index, TYPE_FEEDBACK, GONE_BYTES, now_us)


cdef void end_run(worker_t* worker, int32_t link_index, gone_t* run, int64_t now_us) noexcept nogil:
    if run.number > 0:
        say_gone(worker, link_index, run.stream_id, run.first, run.number, run.hop_seq, now_us)
    run.number = 0


cdef void add_to_run(
    worker_t* worker, int32_t link_index, gone_t* run, uint32_t stream_id, const history_t* entry, int64_t now_us
) noexcept nogil:
    cdef uint32_t hop_seq = <uint32_t>entry.hop_seq
    if run.number > 0 and (
        run.stream_id != stream_id
        or run.first + run.number != entry.stream_seq
        or run.hop_seq + run.number != hop_seq
    ):
        end_run(worker, link_index, run, now_us)
    if run.number == 0:
        run.stream_id = stream_id
        run.first = entry.stream_seq
        run.hop_seq = hop_seq
    run.number += 1


cdef int64_t behind_us(const ring_t* ring, uint32_t seq, int64_t arrival_us) noexcept nogil:
    """How much later than those that follow it a packet came here: what repairs have cost it so far. What
    many have waited for, as in a cache, does not count."""
    cdef int64_t first_us = arrival_us
    cdef const slot_t* slot
    cdef uint32_t i
    for i in range(NEIGHBOURS):
        seq += 1
        slot = ring_held(ring, seq)
        if slot != NULL and slot.arrival_us < first_us:
            first_us = slot.arrival_us
    return arrival_us - first_us


cdef void note_asked(link_t* link) noexcept nogil:
    """A number is asked for, for the first time: what share of them is lost on this link?"""
    cdef loss_t* loss = link.loss
    cdef uint64_t numbers = link.hop_seq - loss.asked_from
    loss.asked += 1
    if numbers >= LOSS_WINDOW:
        loss.asked_share = <uint32_t>(<uint64_t>loss.asked * 65536 // numbers)
        loss.asked_from = link.hop_seq
        loss.asked = 0


cdef bint is_too_soon(const link_t* link, const history_t* entry, int64_t now_us) noexcept nogil:
    """It was sent again within a round trip (less an eighth). Where the link loses much the second request
    is answered as well: such a packet seldom has time for many rounds."""
    cdef int64_t passed_us = now_us - entry.resent_us
    if entry.resent_us < 0 or passed_us >= link.rtt_us - link.rtt_us // 8:
        return False
    return entry.traits & SENT_DOUBLED or passed_us < APART_US or not link_is_lossy(link)


cdef void send_again(
    worker_t* worker, int32_t link_index, history_t* entry, gone_t* run, int64_t now_us
) noexcept nogil:
    """Answer for a number that carried media: the packet, or GONE, or nothing now."""
    cdef link_t* link = &worker.links[link_index]
    cdef stream_t* stream = &worker.streams[entry.stream]
    cdef bint is_known = stream.is_used and stream.generation == entry.stream_generation
    cdef slot_t* slot = ring_held(&stream.ring, entry.stream_seq) if is_known else NULL
    cdef bint is_second = entry.resent_us >= 0 and now_us - entry.resent_us < link.rtt_us - link.rtt_us // 8
    cdef late_t late
    if entry.resent_us < 0:
        note_asked(link)
    if is_too_soon(link, entry, now_us):
        link.resend_suppressed += 1
        return
    if slot != NULL and (
        behind_us(&stream.ring, entry.stream_seq, slot.arrival_us) + now_us - entry.sent_us >= stream.deadline_us
    ):
        link.loss.resend_expired += 1
        slot = NULL
    if slot == NULL or shed_answer(worker, stream):
        entry.resent_us = now_us
        add_to_run(worker, link_index, run, stream.stream_id if is_known else 0, entry, now_us)
        return
    if not link_may_repair(link, slot.size + FIB_LEG_BYTES + REPAIR_BLOCK_BYTES):
        return  # it is asked for again
    late.cursor = NOBODY
    late.cursor_generation = 0
    late.stream = entry.stream
    late.stream_generation = entry.stream_generation
    late.stream_seq = entry.stream_seq
    late.answers = entry.hop_seq
    if push_late(worker, link_index, LATE_AUDIO if entry.traits & SENT_AUDIO else LATE_VIDEO, &late):
        link.loss.resent_twice += is_second
        entry.traits &= SENT_AUDIO
        if is_second:
            entry.traits |= SENT_DOUBLED
        entry.resent_us = now_us
    else:
        link.repair_credit += slot.size + FIB_LEG_BYTES + REPAIR_BLOCK_BYTES


cdef bint answer_one(
    worker_t* worker, int32_t link_index, uint32_t number, gone_t* run, int64_t now_us
) noexcept nogil:
    """Answer a request for one hop_seq; True if VOID is the answer."""
    cdef link_t* link = &worker.links[link_index]
    cdef int64_t behind = <int32_t>(<uint32_t>link.hop_seq - number)
    cdef history_t* entry
    cdef history_t* original
    if behind < 0 or <uint64_t>behind >= link.hop_seq:
        return False  # never sent: nothing to say
    entry = link_recall(link, link.hop_seq - <uint64_t>behind)
    if entry == NULL:
        return True
    if entry.kind == SENT_MEDIA:
        send_again(worker, link_index, entry, run, now_us)
        return False
    if entry.kind == SENT_REPAIR:
        # A copy was lost: its own number is void, what it repaired is sent again.
        original = link_recall(link, entry.repairs)
        if original != NULL and original.kind == SENT_MEDIA:
            send_again(worker, link_index, original, run, now_us)
    return True


cdef void on_request(
    worker_t* worker, int32_t link_index, const uint8_t* payload, size_t size, int64_t now_us
) noexcept nogil:
    cdef uint8_t voids[1 + 8 * MAX_ITEMS]
    cdef uint32_t void_items = 0
    cdef uint32_t base, bitmap, bit
    cdef size_t at = 1
    cdef gone_t run
    run.number = 0
    while at + 8 <= size:
        base = load_be32(payload + at)
        bitmap = load_be32(payload + at + 4)
        if answer_one(worker, link_index, base, &run, now_us):
            void_items = put_item(voids, void_items, base)
        for bit in range(32):
            if (bitmap >> bit) & 1 and answer_one(worker, link_index, base + 1 + bit, &run, now_us):
                void_items = put_item(voids, void_items, base + 1 + bit)
        at += 8
    end_run(worker, link_index, &run, now_us)
    if void_items > 0:
        voids[0] = MESSAGE_VOID
        memcpy(message_payload(worker), voids, 1 + 8 * void_items)
        send_message(worker, link_index, TYPE_FEEDBACK, 1 + 8 * void_items, now_us)


cdef void close_void(worker_t* worker, int32_t link_index, uint32_t number) noexcept nogil:
    cdef link_t* link = &worker.links[link_index]
    cdef hole_t* hole = link_hole(link, link_unwrap(link, number))
    if hole != NULL:
        link.voided += 1
        link.lost += 1
        link_close_hole(link, hole)


cdef void on_void(worker_t* worker, int32_t link_index, const uint8_t* payload, size_t size) noexcept nogil:
    cdef uint32_t base, bitmap, bit
    cdef size_t at = 1
    while at + 8 <= size:
        base = load_be32(payload + at)
        bitmap = load_be32(payload + at + 4)
        close_void(worker, link_index, base)
        for bit in range(32):
            if (bitmap >> bit) & 1:
                close_void(worker, link_index, base + 1 + bit)
        at += 8


cdef void on_gone(worker_t* worker, int32_t link_index, const uint8_t* payload, int64_t now_us) noexcept nogil:
    """Upstream no longer has these packets: mark them, and tell the nodes that follow this stream."""
    cdef link_t* link = &worker.links[link_index]
    cdef stream_t* stream = find_stream(worker, load_be32(payload + 1))
    cdef uint32_t first = load_be32(payload + 5)
    cdef uint32_t number = load_be32(payload + 9)
    cdef uint32_t hop_seq = load_be32(payload + 13)
    cdef hole_t* hole
    cdef int32_t cursor
    cdef uint32_t i, marked
    if hop_seq != 0:
        for i in range(number if number <= MAX_HOLES else MAX_HOLES):
            hole = link_hole(link, link_unwrap(link, hop_seq + i))
            if hole != NULL:
                link.gone += 1
                link.lost += 1
                link_close_hole(link, hole)
    if stream == NULL or stream.upstream != link_index:
        return
    marked = ring_mark_gone(&stream.ring, first, number)
    stream.gone += marked
    if marked == 0:
        return
    cursor = stream.first_cursor
    while cursor >= 0:
        if not worker.cursors[cursor].is_viewer:
            say_gone(worker, worker.cursors[cursor].link, stream.stream_id, first, number, 0, now_us)
        cursor = worker.cursors[cursor].next_of_stream


cdef bint is_past_playout(worker_t* worker, const header_t* header, int64_t now_us) noexcept nogil:
    """Of a packet that is not here yet."""
    cdef const stream_t* stream = find_stream(worker, header.stream_id)
    if stream == NULL or ring_held(&stream.ring, header.stream_seq) != NULL:
        return False
    return behind_us(&stream.ring, header.stream_seq, now_us) >= stream.deadline_us


cdef void on_repair_received(
    worker_t* worker, int32_t link_index, const header_t* header, int64_t now_us
) noexcept nogil:
    """A repair block names the number it answers."""
    cdef link_t* link = &worker.links[link_index]
    cdef hole_t* hole = link_hole(link, link_unwrap(link, header.repairs_hop_seq))
    cdef bint is_late = is_past_playout(worker, header, now_us)
    link.loss.repaired_late += is_late
    if hole != NULL:
        if is_late:
            link.given_up += 1
        else:
            link.repaired += 1
        link.lost += 1
        link_close_hole(link, hole)


cdef void send_probe(worker_t* worker, int32_t link_index, int64_t now_us) noexcept nogil:
    """Own time, the peer's newest time and how long it lay here: each side measures its round trip."""
    cdef link_t* link = &worker.links[link_index]
    cdef uint8_t* message = message_payload(worker)
    store_be64(message, <uint64_t>now_us)
    store_be64(message + 8, link.peer_probe_us)
    store_be32(message + 16, <uint32_t>(now_us - link.peer_probe_at_us) if link.peer_probe_us else 0)
    message[PROBE_BYTES] = WISH_ARRIVALS
    send_message(worker, link_index, TYPE_PROBE, PROBE_BYTES + link.is_controlled, now_us)
    link.loss.probed_us = now_us
    link.next_probe_us = now_us + worker.probe_interval_us


cdef int64_t probe_due_us(const worker_t* worker, const link_t* link) noexcept nogil:
    """At its interval; before that when media has paused, whose last packets nothing else would show to be
    lost."""
    cdef int64_t latest_us = link.loss.probed_us + worker.probe_interval_us
    cdef int64_t paused_us = link.last_sent_us + link_settle_us(link)
    return paused_us if paused_us < latest_us else latest_us


cdef int receive_probe(
    worker_t* worker, int32_t link_index, const uint8_t* payload, size_t size, int64_t arrival_us, int64_t now_us
) noexcept nogil:
    cdef link_t* link = &worker.links[link_index]
    cdef uint64_t echoed
    cdef int64_t sample_us
    if size < PROBE_BYTES:
        return MALFORMED
    echoed = load_be64(payload + 8)
    if echoed != 0 and echoed <= <uint64_t>arrival_us:
        sample_us = arrival_us - <int64_t>echoed - load_be32(payload + 16)
        if 0 <= sample_us <= MAX_RTT_US:
            link_on_rtt(link, sample_us)
    link.peer_probe_us = load_be64(payload)
    link.peer_probe_at_us = arrival_us
    if size == PROBE_BYTES or not payload[PROBE_BYTES] & WISH_ARRIVALS:
        link.tells_arrivals = False
        link.next_arrivals_us = -1
    elif not link.tells_arrivals:
        begin_arrivals(link)
    return PROBE_TAKEN


cdef void on_link_timer(worker_t* worker, int32_t link_index, int64_t now_us) noexcept nogil:
    """A link's deadline has come: requests, probe, liveness; its backlog is drained afterwards."""
    cdef link_t* link = &worker.links[link_index]
    if not link.is_used:
        return
    if link_send_key(link) != NULL:
        if link.next_repair_us >= 0 and link.next_repair_us <= now_us:
            ask_for_holes(worker, link_index, now_us)
        if link.next_arrivals_us >= 0 and link.next_arrivals_us <= now_us:
            say_arrivals(worker, link_index, now_us)
        if link.next_probe_us <= now_us:
            link.next_probe_us = probe_due_us(worker, link)
            if link.next_probe_us <= now_us:
                send_probe(worker, link_index, now_us)
        # Within a round nothing was taken in: its packets may wait in the socket.
        if link.is_up and worker.round_left == 0 and now_us >= link_dead_at_us(link, worker.probe_interval_us):
            link.is_up = False
            post_event(worker, EVENT_LINK_DOWN, link_handle(worker, link_index))
    mark_ready(worker, link_index)
