"""The budget of a link whose rate is controlled.

The controller (fastpath/rate) says a target and a pace; the configured rate stays the ceiling of
both. Packets of a video key frame go half as fast again as the target (LiveNet 5.2), audio and
messages do not wait at all; all are charged. While a probe is under way the link goes at its
rate, and everything that leaves belongs to it; on a link to a node, padding fills what media does
not. What a viewer with RTX gets instead is what it was sent last, once more (RFC 4588), as WebRTC's
senders do: it has numbers of its own, and may repair something. Under the media's SSRC padding would need
numbers between those of media, which belong to packets that may still be asked for or come late. So
viewers without RTX are only probed with what they lag behind, as at their start and after a key frame.

When news of what has left is overdue by more than a short queue explains, video goes on at the lowest
rate until news comes: so what stands in the path's queue is bounded, whatever the controller still
believes (libwebrtc's congestion window does the same by bytes).

Nothing here has a timer of its own but a probe's end: a link that sends is drained often enough.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from fastpath.cursor cimport CURSOR_ACTIVE, CURSOR_BEHIND, CURSOR_PAUSED, EXTENDS_TRANSPORT_CC, NOBODY, cursor_span, cursor_t
from fastpath.link cimport link_charge, link_may_send, link_t
from fastpath.pacer cimport CLUSTERS, TRANSPORT_HISTORY, cluster_t, pacer_t, transport_t
from fastpath.rate.controller cimport (
    rate_on_feedback, rate_on_receiver_report, rate_on_route_change, rate_on_sent, rate_on_tick, rate_open, rate_pacing_bps, rate_set_config,
    rate_take_probe, rate_target_bps,
)
from fastpath.rate.types cimport RATE_GCC, RATE_LOSS_ONLY, packet_result_t, probe_t, rate_config_t
from fastpath.ring cimport SLOT_HELD, ring_bps, ring_held, ring_t, slot_t
from fastpath.send cimport is_backlogged, message_payload, send_message, send_rtx_from_span
from fastpath.spans cimport span_t
from fastpath.verdict cimport VIEWER_PADDING
from fastpath.wire cimport FIB_LEG_BYTES, TYPE_PADDING
from fastpath.worker cimport MEDIA_VIDEO, count, worker_t

cdef enum:
    PADDING_BYTES = 1200         # largest packet of a probe, with its header
    LEAST_PADDING_BYTES = 64
    LARGE_BYTES = 600            # chosen: packets of a size tell a rate best; smaller ones if there are no others
    MOST_PADDED = 64             # chosen: packets that padding is taken from, the newest; more than a probe has
    HELD_US = 2500000            # chosen: a GoP of 2 s and what comes late of it
    PROBE_PATIENCE_US = 100000   # chosen: beyond what a probe takes, until it is given up
    FIGURES_US = 1000000
    MORE_THAN_MEAN = 8           # chosen: an eighth more than what came lately, as rates are never even
    NODE_LATE_US = 150000        # chosen: beyond a round trip, ARRIVALS' 50 ms and a queue of 100 ms
    VIEWER_LATE_US = 350000      # libwebrtc kDefaultAcceptedQueueMs; its reports come each 50 to 250 ms
    BASE_PERIOD_US = 10000000    # chosen: a path that has become longer is known after 10 to 20 s


cdef int pacer_open(link_t* link, const rate_config_t* config, int64_t now_us) noexcept nogil:
    """-1 if there is no memory: link_close then frees what there is."""
    cdef pacer_t* pacer = <pacer_t*>calloc(1, sizeof(pacer_t))
    if pacer == NULL:
        return -1
    link.pacer = pacer
    link.is_controlled = True
    if link.is_viewer and config.kind != RATE_LOSS_ONLY:
        pacer.transport = <transport_t*>calloc(TRANSPORT_HISTORY, sizeof(transport_t))
        if pacer.transport == NULL:
            return -1
    pacer.config = config[0]
    pacer.config.max_bps = link.rate_bps
    pacer.needed_bps = config.needed_bps
    if pacer.config.min_bps < 1:
        pacer.config.min_bps = 1  # packets are priced by it
    pacer.next_tick_us = now_us
    pacer.figures_us = now_us
    pacer.untold_since_us = -1
    forget_probes(pacer)
    rate_open(&pacer.rate, &pacer.config, now_us)
    pacer_refresh(link)
    return 0


cdef void forget_probes(pacer_t* pacer) noexcept nogil:
    cdef int i
    pacer.is_probing = False
    pacer.held_until_us = 0
    for i in range(CLUSTERS):
        pacer.clusters[i].first = 1
        pacer.clusters[i].last = 0


cdef inline int64_t at_most(int64_t bps, int64_t limit_bps) noexcept nogil:
    return bps if bps < limit_bps else limit_bps


cdef void pacer_refresh(link_t* link) noexcept nogil:
    """Take over what the controller says. Called after everything that it hears."""
    cdef pacer_t* pacer = link.pacer
    cdef int64_t target_bps = at_most(rate_target_bps(&pacer.rate), link.rate_bps)
    cdef int64_t pacing_bps = rate_pacing_bps(&pacer.rate)
    cdef int64_t key_bps
    if pacer.is_probing and pacer.probe.bps > pacing_bps:
        pacing_bps = pacer.probe.bps
    if target_bps < 1:
        target_bps = 1
    if pacing_bps < target_bps:
        pacing_bps = target_bps
    key_bps = target_bps + target_bps // 2
    if key_bps < pacing_bps:
        key_bps = pacing_bps
    if pacer.is_late and pacer.config.min_bps < pacing_bps:
        pacing_bps = pacer.config.min_bps
        key_bps = pacer.config.min_bps
    link.target_bps = target_bps
    link.pacing_bps = at_most(pacing_bps, link.rate_bps)
    link.key_pacing_bps = at_most(key_bps, link.rate_bps)
    link.charged_as = 0


cdef void pacer_set_rate(link_t* link, int64_t rate_bps, int64_t start_bps, int64_t now_us) noexcept nogil:
    """Another ceiling. start_bps: on another path it begins there; 0: where it did."""
    link.rate_bps = rate_bps
    link.pacer.config.max_bps = rate_bps
    if start_bps > 0:
        link.pacer.config.start_bps = start_bps
    rate_set_config(&link.pacer.rate, &link.pacer.config, now_us)
    pacer_refresh(link)


cdef void pacer_set_needed(link_t* link, int64_t bps, int64_t now_us) noexcept nogil:
    """What there would be to send, were there room."""
    link.pacer.needed_bps = bps
    take_need(link, bps, now_us)
    pacer_refresh(link)


cdef void take_need(link_t* link, int64_t bps, int64_t now_us) noexcept nogil:
    cdef pacer_t* pacer = link.pacer
    if bps != pacer.config.needed_bps:
        pacer.config.needed_bps = bps
        rate_set_config(&pacer.rate, &pacer.config, now_us)


cdef void note_left_out(const worker_t* worker, link_t* link, int64_t now_us) noexcept nogil:
    """Who was not sent all of its video lately needs what there is of it: without, nothing would find out
    that its path has recovered, as the little that is sent neither fills the estimate nor lets it grow."""
    cdef pacer_t* pacer = link.pacer
    cdef int64_t bps = 0
    cdef int32_t at = link.first_cursor
    if now_us - pacer.left_out_us >= HELD_US:
        pacer.left_out_us = 0
        take_need(link, pacer.needed_bps, now_us)
        return
    while at >= 0:
        bps += ring_bps(&worker.streams[worker.cursors[at].stream].ring)
        at = worker.cursors[at].next_of_link
    bps += bps // MORE_THAN_MEAN
    take_need(link, bps if bps > pacer.needed_bps else pacer.needed_bps, now_us)


cdef void pacer_on_route_change(link_t* link, int64_t now_us) noexcept nogil:
    """The peer is elsewhere, or was away: what was learnt of the path may not hold."""
    forget_probes(link.pacer)
    link.pacer.untold_since_us = -1
    link.pacer.is_late = False
    link.pacer.is_heard = False
    link.pacer.base_rtt_us[0] = 0
    link.pacer.base_rtt_us[1] = 0
    link.pacer.news_us = 0
    rate_on_route_change(&link.pacer.rate, link.pacer.config.start_bps, now_us)
    pacer_refresh(link)


cdef void roll_figures(pacer_t* pacer, int64_t now_us) noexcept nogil:
    cdef int64_t passed_us = now_us - pacer.figures_us
    if passed_us < FIGURES_US:
        return
    pacer.acked_bps = <int64_t>pacer.acked_bytes * 8000000 // passed_us
    pacer.loss_millionths = 0
    if pacer.told_packets > 0:
        pacer.loss_millionths = <uint32_t>(<uint64_t>pacer.told_lost * 1000000 // pacer.told_packets)
    pacer.acked_bytes = 0
    pacer.told_packets = 0
    pacer.told_lost = 0
    pacer.figures_us = now_us


cdef inline int64_t least_known(int64_t a, int64_t b) noexcept nogil:
    return b if a == 0 or 0 < b < a else a


cdef void note_rtt(pacer_t* pacer, int64_t rtt_us, int64_t now_us) noexcept nogil:
    """The least round trip lately: what the path takes without a queue."""
    if now_us >= pacer.base_until_us:
        pacer.base_until_us = now_us + BASE_PERIOD_US
        pacer.base_rtt_us[1] = pacer.base_rtt_us[0]
        pacer.base_rtt_us[0] = 0
    pacer.base_rtt_us[0] = least_known(pacer.base_rtt_us[0], rtt_us)


cdef bint is_overdue(link_t* link, int64_t now_us) noexcept nogil:
    """Has nothing been heard of what left so long ago? Not before there was a first report, nor if all of
    it is so long ago: then it stands in no queue, and what was lost before a pause is told behind it. What
    waits for news makes no pause: else a path that has stood still would be sent all after all."""
    cdef pacer_t* pacer = link.pacer
    cdef int64_t newest_us = pacer.newest_sent_us
    cdef int64_t late_us = VIEWER_LATE_US if link.is_viewer else NODE_LATE_US
    if pacer.untold_since_us < 0 or pacer.feedbacks == 0 or not pacer.is_heard:
        return False
    late_us += least_known(pacer.base_rtt_us[0], pacer.base_rtt_us[1])
    if newest_us < pacer.withheld_us:
        newest_us = pacer.withheld_us
    if now_us - newest_us > late_us:
        pacer.untold_since_us = -1
        return False
    return now_us - pacer.untold_since_us > late_us


cdef void pacer_on_results(
    link_t* link, const packet_result_t* results, int32_t count, int64_t rtt_us, int64_t now_us
) noexcept nogil:
    """What became of packets, in the order in which they were sent."""
    cdef pacer_t* pacer = link.pacer
    cdef int64_t told_us = -1
    cdef int32_t i
    pacer.feedbacks += 1
    pacer.is_heard = True
    for i in range(count):
        pacer.told_packets += 1
        if results[i].arrival_us < 0:
            pacer.told_lost += 1
        else:
            pacer.acked_bytes += results[i].bytes
            told_us = results[count - 1].sent_us  # a loss is news as well, if anything comes through
            pacer.news_us = now_us - results[i].sent_us
    if pacer.untold_since_us >= 0 and told_us >= pacer.untold_since_us:
        pacer.untold_since_us = told_us if told_us < pacer.newest_sent_us else -1
    pacer.is_late = is_overdue(link, now_us)
    note_rtt(pacer, rtt_us, now_us)
    roll_figures(pacer, now_us)
    rate_on_feedback(&pacer.rate, results, count, rtt_us, now_us)
    pacer_refresh(link)


cdef void pacer_on_receiver_report(
    link_t* link, uint8_t fraction_lost, int32_t packets, int64_t rtt_us, uint32_t jitter_us, int64_t now_us
) noexcept nogil:
    """What a viewer's RTCP says of `packets` (RFC 3550 6.4.1)."""
    link.pacer.is_heard = True
    rate_on_receiver_report(&link.pacer.rate, fraction_lost, packets, rtt_us, jitter_us, now_us)
    pacer_refresh(link)


cdef int pacer_usage(const link_t* link) noexcept nogil:
    """RateUsage, of a controller that knows it."""
    if link.pacer == NULL or link.pacer.config.kind != RATE_GCC:
        return 0
    return link.pacer.rate.parts.gcc.trendline.usage


cdef inline uint64_t last_number(const link_t* link) noexcept nogil:
    return link.pacer.transport_number if link.is_viewer else link.hop_seq


cdef inline uint64_t told_of(const link_t* link) noexcept nogil:
    """How much has left of which news will come soon. A viewer tells of what has a number, and some, as
    GStreamer does, only when a video frame has come to its end."""
    return link.pacer.frames_numbered if link.is_viewer else link.sent_packets


cdef inline int64_t longest_us(const probe_t* probe) noexcept nogil:
    """What it takes at its rate if its packets are as large as they may be."""
    cdef int64_t bytes = probe.packets * PADDING_BYTES
    if bytes < probe.bytes:
        bytes = probe.bytes
    return bytes * 8000000 // probe.bps if probe.bps > 0 else 0


cdef void begin_probe(link_t* link, int64_t now_us) noexcept nogil:
    cdef pacer_t* pacer = link.pacer
    cdef cluster_t* cluster = &pacer.clusters[pacer.cluster_count % CLUSTERS]
    pacer.cluster_count += 1
    cluster.id = pacer.probe.cluster
    cluster.first = last_number(link) + 1
    cluster.last = <uint64_t>-1
    pacer.padded = 0
    pacer.is_probing = True
    pacer.probe_until_us = now_us + PROBE_PATIENCE_US + longest_us(&pacer.probe)
    pacer.probe_from_bytes = link.sent_bytes
    pacer.probe_from_number = last_number(link)
    # Neither credit nor debt: its first packets too leave at its rate.
    link.free_at_ns = now_us * 1000


cdef void end_probe(link_t* link) noexcept nogil:
    cdef pacer_t* pacer = link.pacer
    pacer.clusters[(pacer.cluster_count - 1) % CLUSTERS].last = last_number(link)
    pacer.is_probing = False
    pacer_refresh(link)


cdef inline bint is_whole(const link_t* link) noexcept nogil:
    cdef const pacer_t* pacer = link.pacer
    return (
        link.sent_bytes - pacer.probe_from_bytes >= pacer.probe.bytes
        and last_number(link) - pacer.probe_from_number >= pacer.probe.packets
    )


cdef bint lags_by(const worker_t* worker, const link_t* link, uint32_t bytes, uint32_t packets) noexcept nogil:
    """Is so much waiting for its turn on this link?"""
    cdef int32_t at = link.first_cursor
    cdef int64_t bytes_left = bytes
    cdef int64_t packets_left = packets
    cdef const cursor_t* cursor
    cdef const ring_t* ring
    cdef const slot_t* slot
    cdef uint32_t seq
    while at >= 0:
        cursor = &worker.cursors[at]
        ring = &worker.streams[cursor.stream].ring
        seq = cursor.next
        if <int32_t>(ring.tail - seq) > 0:
            seq = ring.tail  # it was lapped, perhaps by far
        while CURSOR_ACTIVE <= cursor.state <= CURSOR_BEHIND and <int32_t>(ring.head - seq) > 0:
            slot = &ring.slots[seq & ring.mask]
            if slot.state == SLOT_HELD and slot.stream_seq == seq:
                bytes_left -= slot.size
                packets_left -= 1
                if bytes_left <= 0 and packets_left <= 0:
                    return True
            seq += 1
        at = cursor.next_of_link
    return False


cdef bint take_probe(const worker_t* worker, link_t* link, int64_t now_us) noexcept nogil:
    """The next probe, if there is what it takes. One without RTX waits for a key frame's."""
    cdef pacer_t* pacer = link.pacer
    cdef span_t span
    if not link.is_viewer:
        return rate_take_probe(&pacer.rate, &pacer.probe, now_us)
    if now_us >= pacer.held_until_us:
        if not rate_take_probe(&pacer.rate, &pacer.probe, now_us):
            return False
        pacer.held_until_us = now_us + HELD_US
    if (
        padding_cursor(worker, link, &span) == NOBODY
        and not lags_by(worker, link, pacer.probe.bytes, pacer.probe.packets)
    ):
        return False
    pacer.held_until_us = 0
    return True


cdef void pacer_before_drain(worker_t* worker, link_t* link, int64_t now_us) noexcept nogil:
    """The controller's tick, if it is due; and the probe that it may want."""
    cdef pacer_t* pacer = link.pacer
    pacer.numbers_before = told_of(link)
    if is_overdue(link, now_us) != pacer.is_late:
        pacer.is_late = not pacer.is_late
        pacer_refresh(link)
    if now_us < pacer.next_tick_us:
        return
    pacer.next_tick_us = now_us + TICK_US
    roll_figures(pacer, now_us)
    if link.cursor_count != pacer.config.streams:
        pacer.config.streams = link.cursor_count
        rate_set_config(&pacer.rate, &pacer.config, now_us)
    if pacer.left_out_us > 0 and pacer.config.kind == RATE_GCC:
        note_left_out(worker, link, now_us)
    rate_on_tick(&pacer.rate, now_us)
    # An idle link is not probed, nor one that is down: nobody would use, or tell, what it finds.
    if (
        not pacer.is_probing and link.first_cursor >= 0 and (link.is_up or link.is_viewer)
        and take_probe(worker, link, now_us)
    ):
        begin_probe(link, now_us)
    pacer_refresh(link)


cdef void send_padding(worker_t* worker, int32_t link_index, int64_t now_us) noexcept nogil:
    cdef pacer_t* pacer = worker.links[link_index].pacer
    cdef uint32_t size = pacer.probe.bytes // pacer.probe.packets + 1 if pacer.probe.packets > 0 else PADDING_BYTES
    if size > PADDING_BYTES:
        size = PADDING_BYTES
    if size < LEAST_PADDING_BYTES:
        size = LEAST_PADDING_BYTES
    memset(message_payload(worker), 0, size - FIB_LEG_BYTES)
    send_message(worker, link_index, TYPE_PADDING, size - FIB_LEG_BYTES, now_us)


cdef bint sent_last(const worker_t* worker, const cursor_t* cursor, span_t* span) noexcept nogil:
    """What a viewer was sent last of the cursor's stream, without a jump within it. Who leaves frames out has just
    jumped, and then, of all times, it is to be found out whether the path carries more."""
    if cursor.next != cursor.start:
        cursor_span(cursor, span)
        return True
    if cursor.spans.count == 0:
        return False
    span[0] = worker.spans.entries[cursor.spans.newest]
    return span.stream == cursor.stream and span.stream_generation == cursor.stream_generation


cdef int32_t padding_cursor(const worker_t* worker, const link_t* link, span_t* span) noexcept nogil:
    """Of a viewer, that what fills a probe can be taken from, and where of: video, with RTX and numbers that are
    told of, and something sent that is still held. NOBODY: there is none."""
    cdef int32_t at = link.first_cursor
    cdef const cursor_t* cursor
    while at >= 0:
        cursor = &worker.cursors[at]
        if (
            cursor.rtx_payload_type != 0 and cursor.rtx_payload_type != cursor.payload_type
            and cursor.extensions & EXTENDS_TRANSPORT_CC and worker.streams[cursor.stream].media == MEDIA_VIDEO
            and CURSOR_ACTIVE <= cursor.state < CURSOR_PAUSED and sent_last(worker, cursor, span)
            and ring_held(&worker.streams[cursor.stream].ring, span.end - 1) != NULL
        ):
            return at
        at = cursor.next_of_link
    return NOBODY


cdef bint send_again_as_padding(worker_t* worker, int32_t link_index, int64_t now_us) noexcept nogil:
    """The next large packet back from the newest that the viewer was sent, and then from there again. False:
    there is none."""
    cdef link_t* link = &worker.links[link_index]
    cdef span_t span
    cdef int32_t index = padding_cursor(worker, link, &span)
    cdef cursor_t* cursor
    cdef slot_t* slot = NULL
    cdef slot_t* found
    cdef int i
    if index == NOBODY:
        return False
    cursor = &worker.cursors[index]
    for i in range(MOST_PADDED):
        if link.pacer.padded >= MOST_PADDED or link.pacer.padded >= span.end - span.first:
            link.pacer.padded = 0
        link.pacer.padded += 1
        found = ring_held(&worker.streams[cursor.stream].ring, span.end - link.pacer.padded)
        if found != NULL and (slot == NULL or found.size > slot.size):
            slot = found
            if slot.size >= LARGE_BYTES:
                break
    if slot == NULL or not send_rtx_from_span(worker, cursor, &span, slot, now_us):
        return False
    count(worker, VIEWER_PADDING)
    return True


cdef bint pad(worker_t* worker, int32_t link_index, int64_t now_us) noexcept nogil:
    """One more packet for the probe; False: it is to be ended, for want of any."""
    if worker.links[link_index].is_viewer:
        return send_again_as_padding(worker, link_index, now_us)
    send_padding(worker, link_index, now_us)
    return True


cdef void pacer_after_drain(worker_t* worker, int32_t link_index, int64_t now_us) noexcept nogil:
    """Go on with a probe, and tell the controller what has been sent."""
    cdef link_t* link = &worker.links[link_index]
    cdef pacer_t* pacer = link.pacer
    cdef bint has_padding
    cdef span_t span
    cdef bint is_awaited = pacer.transport == NULL  # reports tell of all; but numbers, of what has one
    if pacer.is_probing:
        has_padding = not link.is_viewer or padding_cursor(worker, link, &span) != NOBODY
        while has_padding and not is_whole(link) and not is_backlogged(link) and link_may_send(link, now_us):
            has_padding = pad(worker, link_index, now_us)
        if is_whole(link) or now_us >= pacer.probe_until_us or (not has_padding and not is_backlogged(link)):
            end_probe(link)
    if told_of(link) != pacer.numbers_before:
        pacer.newest_sent_us = now_us
        is_awaited = True
        if pacer.untold_since_us < 0:
            pacer.untold_since_us = now_us
    if pacer.is_late and is_backlogged(link):
        pacer.withheld_us = now_us
    if link.sent_bytes != pacer.noted_bytes:
        # Who never reports, as many players and nodes of before do, is no path on which reports get
        # lost. A viewer that asked for transport numbers has promised to.
        if pacer.is_heard or pacer.transport != NULL:
            rate_on_sent(&pacer.rate, <uint32_t>(link.sent_bytes - pacer.noted_bytes), is_awaited, now_us)
        pacer.noted_bytes = link.sent_bytes
