"""Receiving: checks in a fixed order, each failure a counter that changes nothing else.

Length and version; known peer; epoch; replay window; tag, in constant time; not a replay; then,
for an authentic packet only: route, hop limit, stream, size. Nothing is ever sent back for a
packet that fails.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from fastpath.address cimport address_equal, address_t, address_to_sockaddr, sockaddr_storage
from fastpath.arrivals_report cimport note_arrival
from fastpath.cursor cimport NOBODY
from fastpath.encoder_rtcp cimport receive_encoder_rtcp
from fastpath.feedback cimport receive_feedback
from fastpath.ingest cimport receive_rtp
from fastpath.insert cimport hold_early, insert_media, media_t
from fastpath.link cimport (
    link_accept, link_before_window, link_t, link_take_offered, link_unwrap, link_was_seen,
)
from fastpath.mailbox cimport (
    EVENT_CONTROL, EVENT_HELLO, EVENT_LINK_KEYED, EVENT_LINK_MOVED, EVENT_LINK_UP, EVENT_UPSTREAM_FLOWS, MESSAGE_BYTES, mailbox_post, message_t,
)
from fastpath.overload cimport STEP_UNCHECKED_VIDEO
from fastpath.pacing cimport pacer_on_route_change
from fastpath.repair cimport first_request_us, on_repair_received, receive_probe
from fastpath.shed cimport KEPT, forgive_unchecked, shed_unchecked
from fastpath.siphash cimport covered_t, media_tag, media_tags, siphash_key_t
from fastpath.verdict cimport (
    ACCEPTED, BAD_TAG, BEFORE_WINDOW, CONTROL_TAKEN, HELLO_RATE_LIMITED, HELLO_TAKEN, HOP_LIMIT_REACHED,
    INGEST_UNASSIGNED, MALFORMED, NO_KEYS, OVERSIZED, PADDING_TAKEN, PEER_MOVED, REPLAYED, SOURCE_ROUTE_REFUSED,
    STRANGER_RATE_LIMITED, TRUNCATED, UNKNOWN_PEER, UNKNOWN_TYPE, WRONG_EPOCH, WRONG_UPSTREAM,
)
from fastpath.viewer_rtcp cimport receive_viewer_rtcp
from fastpath.wire cimport (
    FIB_LEG_BYTES, FLAG_REPAIR, FLAG_SEALED, MAX_OVERLAY_BYTES, MAX_RTP_BYTES, TAGGED_PAYLOAD_BYTES, TAG_BYTES, TYPE_CONTROL, TYPE_FEEDBACK,
    TYPE_HELLO, TYPE_MEDIA, TYPE_PADDING, TYPE_PROBE, header_t, is_plain, packet_tag, parse_header,
)
from fastpath.worker cimport (
    PORT_INGEST, PORT_INGEST_RTCP, PORT_OVERLAY, comes_from, count, datagram_t, find_peer, find_stranger, find_stream,
    link_handle, mark_ready, new_event, post_event, rebuild_peers, stream_handle, stream_t, worker_t,
)
from rtp.big_endian cimport load_be32, load_be64

cdef enum:
    HELLO_COST_US = 50000        # 20 authentic HELLOs a second and link, in bursts of 10
    HELLO_BURST_US = 500000
    STRANGER_COST_US = 10000     # 100 a second in all: a look at every link each
    STRANGER_BURST_US = 200000
    CANDIDATE_US = 2000000       # a handshake over the longest path takes two HELLOs
    SMALLEST_RTP = 12
    TAGS_AHEAD = 8               # as many as one pass of the widest registers makes
    HOP_SEQ_AT = 16


ctypedef struct company_t:       # datagrams that came together, so from one source: what is found for all
    int32_t link                 # the sender's, or -1; as of peers_version
    uint32_t peers_version
    int32_t at                   # which of `covered` is being received
    int32_t count                # tags made ahead, of media if it is media, under this key
    siphash_key_t key
    covered_t covered[TAGS_AHEAD]
    uint64_t tags[TAGS_AHEAD]


cdef inline bint is_made_ahead(const company_t* company, uint32_t high, const siphash_key_t* key) noexcept nogil:
    """What was assumed then may have changed since: the key with a packet that took up another."""
    return (
        company.at < company.count and company.covered[company.at].high == high
        and company.key.k0 == key.k0 and company.key.k1 == key.k1
    )


cdef inline bint tag_fits(
    const uint8_t* data, const header_t* header, uint32_t high, size_t size, const siphash_key_t* key,
    const company_t* company,
) noexcept nogil:
    """64-bit compare of the whole tag at once: its time does not depend on where it differs."""
    cdef uint64_t expected
    cdef covered_t plain
    cdef bint is_usual = is_plain(header.type, header.flags, header.header_bytes, size)
    if is_usual and company != NULL and is_made_ahead(company, high, key):
        expected = company.tags[company.at]
    elif is_usual:
        plain.start = data
        plain.high = high
        plain.payload_bytes = <uint32_t>size - FIB_LEG_BYTES
        expected = media_tag(&plain, key)
    else:
        expected = packet_tag(
            data, header.header_bytes, header.type, header.flags & FLAG_SEALED, high,
            data + header.header_bytes + TAG_BYTES, size - header.header_bytes - TAG_BYTES, key,
        )
    return (expected ^ load_be64(data + header.header_bytes)) == 0


cdef int post_payload(
    worker_t* worker, uint32_t kind, int32_t link, const uint8_t* payload, size_t size, int verdict
) noexcept nogil:
    cdef message_t* event
    if size > MESSAGE_BYTES:
        return OVERSIZED
    event = new_event(worker, kind)
    if event != NULL:
        event.handle = link_handle(worker, link)
        event.payload_bytes = <uint32_t>size
        memcpy(event.payload, payload, size)
        mailbox_post(&worker.events)
    return verdict


cdef int receive_hello(
    worker_t* worker, int32_t link_index, const uint8_t* data, const header_t* header, size_t size, int64_t now_us
) noexcept nogil:
    """Under the adjacency's own key, outside numbers and windows: it may be a replay."""
    cdef link_t* link = &worker.links[link_index]
    if not tag_fits(data, header, 0, size, &link.hello_key, NULL):
        return BAD_TAG
    if link.hello_tokens_us < now_us - HELLO_BURST_US:
        link.hello_tokens_us = now_us - HELLO_BURST_US
    if link.hello_tokens_us + HELLO_COST_US > now_us:
        return HELLO_RATE_LIMITED
    link.hello_tokens_us += HELLO_COST_US
    return post_payload(
        worker, EVENT_HELLO, link_index, data + header.header_bytes + TAG_BYTES,
        size - header.header_bytes - TAG_BYTES, HELLO_TAKEN,
    )


cdef int receive_strange_hello(
    worker_t* worker, const datagram_t* datagram, const header_t* header, int64_t now_us
) noexcept nogil:
    """A neighbour may have come back with another address. It is answered there, and its link moves
    once a packet from there verifies; till then a replayed HELLO has changed nothing."""
    cdef int32_t link_index
    cdef link_t* link
    cdef int verdict
    if worker.stranger_tokens_us < now_us - STRANGER_BURST_US:
        worker.stranger_tokens_us = now_us - STRANGER_BURST_US
    if worker.stranger_tokens_us + STRANGER_COST_US > now_us:
        return STRANGER_RATE_LIMITED
    worker.stranger_tokens_us += STRANGER_COST_US
    link_index = find_stranger(worker, header.stream_id, datagram.port)
    if link_index < 0:
        return UNKNOWN_PEER
    verdict = receive_hello(worker, link_index, datagram.data, header, datagram.size, now_us)
    if verdict == HELLO_TAKEN:
        link = &worker.links[link_index]
        link.candidate = datagram.source
        link.candidate_until_us = now_us + CANDIDATE_US
        rebuild_peers(worker)
    return verdict


cdef void settle_candidate(
    worker_t* worker, int32_t link_index, const address_t* source, int64_t now_us
) noexcept nogil:
    """An authentic packet, no replay: where it came from is where the neighbour is."""
    cdef link_t* link = &worker.links[link_index]
    cdef message_t* event
    if not address_equal(source, &link.candidate):
        return
    link.peer = link.candidate
    link.address_bytes = address_to_sockaddr(&link.peer, <sockaddr_storage*>&link.address)
    count(worker, PEER_MOVED)
    event = new_event(worker, EVENT_LINK_MOVED)
    if event != NULL:
        event.handle = link_handle(worker, link_index)
        event.address = link.peer
        mailbox_post(&worker.events)
    link.candidate_until_us = 0
    rebuild_peers(worker)
    if link.is_controlled:
        pacer_on_route_change(link, now_us)


cdef int32_t find_sender(worker_t* worker, const datagram_t* datagram, int64_t now_us) noexcept nogil:
    """The link that the datagram comes on, by its peer's address or an unexpired candidate; or -1."""
    cdef int32_t link_index = find_peer(worker, &datagram.source, datagram.port)
    cdef link_t* link
    if link_index >= 0:
        link = &worker.links[link_index]
        if link.candidate_until_us != 0 and now_us >= link.candidate_until_us:
            link.candidate_until_us = 0
            rebuild_peers(worker)
            return find_peer(worker, &datagram.source, datagram.port)
    return link_index


cdef int authenticate(
    worker_t* worker, int32_t link_index, const uint8_t* data, const header_t* header, size_t size,
    const company_t* company, uint64_t* hop_seq, int64_t now_us,
) noexcept nogil:
    """ACCEPTED and the extended hop_seq, or the verdict that refuses the packet."""
    cdef link_t* link = &worker.links[link_index]
    cdef int verdict = NO_KEYS
    cdef uint64_t number
    if header.epoch != 0:
        return WRONG_EPOCH
    if link.keys.is_set:
        hop_seq[0] = link_unwrap(link, header.hop_seq)
        if link_before_window(link, hop_seq[0]):
            verdict = BEFORE_WINDOW
        elif tag_fits(data, header, <uint32_t>(hop_seq[0] >> 32), size, &link.keys.receive, company):
            return REPLAYED if link_was_seen(link, hop_seq[0]) else ACCEPTED
        else:
            verdict = BAD_TAG
    if link.offered.is_set:
        # The first packets to arrive under new keys are near the number these begin at.
        number = link.peer_first_hop_seq + <uint32_t>(header.hop_seq - <uint32_t>link.peer_first_hop_seq)
        if tag_fits(data, header, <uint32_t>(number >> 32), size, &link.offered.receive, company):
            link_take_offered(link, &worker.late)
            if link.is_controlled:
                pacer_on_route_change(link, now_us)
            post_event(worker, EVENT_LINK_KEYED, link_handle(worker, link_index))
            hop_seq[0] = number
            return ACCEPTED
        if verdict == NO_KEYS:
            verdict = BAD_TAG
    return verdict


cdef void tell_that_it_flows(worker_t* worker, stream_t* stream, int64_t arrival_us) noexcept nogil:
    """The awaited upstream delivers; how long the stream has been silent till now is told with it."""
    cdef message_t* event = new_event(worker, EVENT_UPSTREAM_FLOWS)
    stream.awaited = NOBODY
    if event != NULL:
        event.handle = stream_handle(worker, <int32_t>(stream - worker.streams))
        event.number = arrival_us - stream.last_packet_us if stream.last_packet_us >= 0 else 0
        mailbox_post(&worker.events)


cdef int receive_media(
    worker_t* worker, int32_t link_index, const uint8_t* data, const header_t* header, size_t size,
    int64_t arrival_us, int64_t now_us,
) noexcept nogil:
    cdef stream_t* stream
    cdef media_t media
    cdef size_t payload_bytes = size - header.header_bytes - TAG_BYTES
    if header.flags & FLAG_REPAIR:
        on_repair_received(worker, link_index, header.repairs_hop_seq)
    if header.count != 0:
        return SOURCE_ROUTE_REFUSED
    if header.hop_limit == 0:
        return HOP_LIMIT_REACHED
    if payload_bytes > MAX_RTP_BYTES:
        return OVERSIZED
    if payload_bytes < SMALLEST_RTP:
        return MALFORMED
    media.data = data + header.header_bytes + TAG_BYTES
    media.size = <uint16_t>payload_bytes
    media.delay = header.delay
    media.marks = header.marks
    media.flags = header.flags
    media.hop_limit = header.hop_limit
    media.stream_seq = header.stream_seq
    media.link = link_index
    media.arrival_us = arrival_us
    stream = find_stream(worker, header.stream_id)
    if stream == NULL:
        return hold_early(worker, header.stream_id, &media, now_us)
    if not comes_from(stream, link_index):
        return WRONG_UPSTREAM
    if stream.awaited == link_index:
        tell_that_it_flows(worker, stream, arrival_us)
    return insert_media(worker, <int32_t>(stream - worker.streams), &media, now_us)


cdef inline int32_t sender_of(
    worker_t* worker, company_t* company, const datagram_t* datagram, int64_t now_us
) noexcept nogil:
    """find_sender, once for all that came together unless a link moves meanwhile."""
    if company.peers_version != worker.peers_version:
        company.link = find_sender(worker, datagram, now_us)
        company.peers_version = worker.peers_version
    return company.link


cdef inline int receive_overlay(
    worker_t* worker, const datagram_t* datagram, company_t* company, int64_t now_us
) noexcept nogil:
    cdef header_t header
    cdef const uint8_t* data = datagram.data
    cdef size_t size = datagram.size
    cdef int verdict
    cdef int32_t link_index
    cdef link_t* link
    cdef uint64_t hop_seq = 0
    if size > MAX_OVERLAY_BYTES:
        return OVERSIZED
    verdict = parse_header(data, size, &header)
    if verdict != ACCEPTED:
        return verdict
    if worker.overload.step >= STEP_UNCHECKED_VIDEO and header.type == TYPE_MEDIA:
        verdict = shed_unchecked(worker, header.traffic_class)
        if verdict != KEPT:
            return verdict
    link_index = sender_of(worker, company, datagram, now_us)
    if link_index < 0 and header.type == TYPE_HELLO:
        return receive_strange_hello(worker, datagram, &header, now_us)
    if link_index < 0:
        return UNKNOWN_PEER
    if header.type == TYPE_HELLO:
        return receive_hello(worker, link_index, data, &header, size, now_us)
    verdict = authenticate(worker, link_index, data, &header, size, company, &hop_seq, now_us)
    if verdict != ACCEPTED:
        return verdict
    link = &worker.links[link_index]
    if link.unchecked_seen != worker.overload.unchecked:
        forgive_unchecked(worker, link, hop_seq)
    link_accept(link, hop_seq, now_us, first_request_us(worker, now_us))
    if link.tells_arrivals:
        note_arrival(link, hop_seq, header.type, datagram.arrival_us, now_us)
    link.received_packets += 1
    link.received_bytes += size
    link.last_received_us = now_us
    if link.candidate_until_us != 0:
        settle_candidate(worker, link_index, &datagram.source, now_us)
    if not link.is_up:
        link.is_up = True
        if link.is_controlled:
            pacer_on_route_change(link, now_us)
        post_event(worker, EVENT_LINK_UP, link_handle(worker, link_index))
    data += header.header_bytes + TAG_BYTES
    size -= header.header_bytes + TAG_BYTES
    if header.type == TYPE_MEDIA:
        verdict = receive_media(
            worker, link_index, datagram.data, &header, datagram.size, datagram.arrival_us, now_us
        )
    elif header.type == TYPE_FEEDBACK:
        verdict = receive_feedback(worker, link_index, data, size, now_us)
    elif header.type == TYPE_PROBE:
        verdict = receive_probe(worker, link_index, data, size, datagram.arrival_us, now_us)
    elif header.type == TYPE_CONTROL:
        verdict = post_payload(worker, EVENT_CONTROL, link_index, data, size, CONTROL_TAKEN)
    elif header.type == TYPE_PADDING:
        verdict = PADDING_TAKEN
    else:
        verdict = UNKNOWN_TYPE
    # Its arrival may have opened a hole, whose first request is a deadline.
    mark_ready(worker, link_index)
    return verdict


cdef void make_tags_ahead(
    const worker_t* worker, company_t* company, const uint8_t* data, uint32_t bytes_left, uint32_t segment_bytes
) noexcept nogil:
    """Of the next few packets, as if each were media: it is seen later what it is."""
    cdef const link_t* link
    cdef covered_t* covered
    company.at = 0
    company.count = 0
    if company.link < 0 or not worker.links[company.link].keys.is_set:
        return
    link = &worker.links[company.link]
    while company.count < TAGS_AHEAD and bytes_left >= FIB_LEG_BYTES + TAGGED_PAYLOAD_BYTES:
        covered = &company.covered[company.count]
        covered.start = data
        covered.high = <uint32_t>(link_unwrap(link, load_be32(data + HOP_SEQ_AT)) >> 32)
        covered.payload_bytes = (segment_bytes if segment_bytes < bytes_left else bytes_left) - FIB_LEG_BYTES
        company.count += 1
        if bytes_left <= segment_bytes:
            break
        data += segment_bytes
        bytes_left -= segment_bytes
    company.key = link.keys.receive
    media_tags(company.covered, company.count, &company.key, company.tags)


cdef void receive_together(
    worker_t* worker, const uint8_t* data, uint32_t total, uint32_t segment_bytes, datagram_t* datagram, int64_t now_us
) noexcept nogil:
    """Datagrams from one source to an overlay port."""
    cdef company_t company
    cdef uint32_t at = 0
    cdef bint has_tags = (
        total > segment_bytes and segment_bytes >= FIB_LEG_BYTES + TAGGED_PAYLOAD_BYTES
        and worker.overload.step < STEP_UNCHECKED_VIDEO  # or most would be made for nothing
    )
    company.peers_version = worker.peers_version - 1
    company.at = 0
    company.count = 0
    while at < total:
        if has_tags and company.at == company.count:
            sender_of(worker, &company, datagram, now_us)
            make_tags_ahead(worker, &company, data + at, total - at, segment_bytes)
        datagram.data = data + at
        datagram.size = segment_bytes if total - at > segment_bytes else total - at
        count(worker, receive_overlay(worker, datagram, &company, now_us))
        company.at += 1
        at += segment_bytes


cdef void receive_buffer(
    worker_t* worker, const uint8_t* data, uint32_t total, uint32_t segment_bytes, datagram_t* datagram, int64_t now_us
) noexcept nogil:
    """What the kernel joined: datagrams of segment_bytes, the last one perhaps shorter (0: it is one).
    Port, source and arrival are set in `datagram`."""
    cdef uint32_t at = 0
    if total == 0:
        count(worker, TRUNCATED)
    if segment_bytes == 0 or segment_bytes > total:
        segment_bytes = total
    if worker.ports[datagram.port].kind == PORT_OVERLAY:
        receive_together(worker, data, total, segment_bytes, datagram, now_us)
        return
    while at < total:
        datagram.data = data + at
        datagram.size = segment_bytes if total - at > segment_bytes else total - at
        receive_datagram(worker, datagram, now_us)
        at += segment_bytes


cdef void receive_datagram(worker_t* worker, const datagram_t* datagram, int64_t now_us) noexcept nogil:
    cdef uint8_t kind = worker.ports[datagram.port].kind
    cdef datagram_t alone
    if datagram.size == 0:
        count(worker, TRUNCATED)
    elif kind == PORT_OVERLAY:
        alone = datagram[0]
        receive_together(worker, alone.data, alone.size, alone.size, &alone, now_us)
    elif kind == PORT_INGEST:
        count(worker, receive_rtp(worker, datagram, now_us))
    elif kind == PORT_INGEST_RTCP:
        if worker.ports[datagram.port].partner == NOBODY:  # closed before this one
            count(worker, INGEST_UNASSIGNED)
        else:
            count(worker, receive_encoder_rtcp(worker, datagram, worker.ports[datagram.port].partner, now_us))
    else:
        count(worker, receive_viewer_rtcp(worker, datagram, now_us))
