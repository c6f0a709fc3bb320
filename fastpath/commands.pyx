"""Commands from the mailbox, in order, between two batches: a forwarding change is atomic.

Python chooses the index of what it adds (`handle` = generation << 20 | index), so no answer is
needed; a command about something already removed carries an older generation and is counted.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from fastpath.address cimport address_to_sockaddr, sockaddr_storage
from fastpath.cursor cimport (
    CURSOR_FREE, EXTENDS_DELAY, EXTENDS_TRANSPORT_CC, NOBODY, cursor_begin_at, cursor_t,
)
from fastpath.histogram cimport histogram_t
from fastpath.insert cimport claim_early, forget_early
from fastpath.link cimport CNAME_BYTES, link_close, link_number_anew, link_open, link_set_rate, link_t
from fastpath.mailbox cimport (
    ADD_CURSOR, ADD_LINK, ADD_STREAM, CLOSE_PORT, EVENT_CURSOR_STARTED, MARK_COPY, MOVE_CURSOR, OFFER_KEYS, OPEN_PORT, REMOVE_CURSOR,
    REMOVE_LINK, REMOVE_STREAM, SEND_CONTROL, SEND_HELLO, SET_INGEST, SET_LINK_RATE, SET_NEEDED, SET_UPSTREAM,
    SWITCH_CURSOR,
    mailbox_done, mailbox_first, mailbox_post, message_t,
)
from fastpath.pacing cimport pacer_bytes, pacer_open, pacer_set_needed, pacer_set_rate
from fastpath.rate.types cimport rate_config_t
from fastpath.repair cimport note_deadline
from fastpath.ring cimport ring_close, ring_open
from fastpath.send cimport message_payload, queue_cursor, send_message, unqueue_cursor
from fastpath.socket_io cimport socket_io_add_port, socket_io_remove_port
from fastpath.spans cimport spans_clear
from fastpath.switch cimport begin_cursor, forget_switch, join_stream, move_at_once, part_stream, settle_switches, want_switch
from fastpath.verdict cimport COMMAND_STALE, CONTROL_UNSENT, START_NOT_HELD
from fastpath.wheel cimport wheel_cancel
from fastpath.wire cimport TYPE_CONTROL, TYPE_HELLO
from fastpath.worker cimport (
    MEDIA_AUDIO, PORT_CLOSED, PORT_OPEN, TRACKS_OF_PORT, comes_from, count, count_many, index_stream, index_viewer,
    ingest_t, mark_ready, new_event, note_age, port_t, rebuild_peers, stream_t, unindex_stream, unindex_viewer,
    worker_t,
)
from rtp.payload.codec cimport codec_of

cdef enum:
    INDEX_MASK = 0xFFFFF
    AUDIO_RING_CLASS = 2         # 256 packets: 5 s of Opus at 20 ms
    VIDEO_RING_CLASS = 4         # 1,024 packets: 2 s at 5 Mbit/s; it grows when that is too little


cdef inline int32_t index_of(int64_t handle) noexcept nogil:
    return <int32_t>(handle & INDEX_MASK)


cdef inline uint32_t generation_of(int64_t handle) noexcept nogil:
    return <uint32_t>(handle >> 20)


cdef link_t* known_link(worker_t* worker, int64_t handle) noexcept nogil:
    cdef link_t* link
    if handle < 0:
        return NULL
    link = &worker.links[index_of(handle)]
    return link if link.is_used and link.generation == generation_of(handle) else NULL


cdef stream_t* known_stream(worker_t* worker, int64_t handle) noexcept nogil:
    cdef stream_t* stream
    if handle < 0:
        return NULL
    stream = &worker.streams[index_of(handle)]
    return stream if stream.is_used and stream.generation == generation_of(handle) else NULL


cdef void open_port(worker_t* worker, const message_t* command) noexcept nogil:
    cdef port_t* port = &worker.ports[index_of(command.handle)]
    memset(port, 0, sizeof(port_t))
    port.generation = generation_of(command.handle)
    port.state = PORT_OPEN
    port.kind = command.kind_of
    port.fd = <int32_t>command.number
    port.partner = NOBODY if command.port < 0 else index_of(command.port)
    if port.fd >= 0:
        socket_io_add_port(worker, index_of(command.handle))


cdef void forget_port(worker_t* worker, int32_t index) noexcept nogil:
    """Whoever gets this index next is another: no stream comes in here, no RTCP belongs here."""
    cdef int32_t i, track
    for track in range(worker.ports[index].track_count):
        if worker.ports[index].tracks[track].stream != NOBODY:
            worker.streams[worker.ports[index].tracks[track].stream].ingest_port = NOBODY
    worker.ports[index].track_count = 0
    for i in range(worker.port_count):
        if worker.ports[i].partner == index:
            worker.ports[i].partner = NOBODY
        for track in range(worker.ports[i].track_count):
            if worker.ports[i].tracks[track].rtcp_port == index:
                worker.ports[i].tracks[track].rtcp_port = NOBODY


cdef void close_port(worker_t* worker, const message_t* command) noexcept nogil:
    cdef port_t* port = &worker.ports[index_of(command.handle)]
    if port.state != PORT_OPEN or port.generation != generation_of(command.handle):
        count(worker, COMMAND_STALE)
        return
    socket_io_remove_port(worker, index_of(command.handle))
    port.state = PORT_CLOSED
    forget_port(worker, index_of(command.handle))


cdef int open_pacer(worker_t* worker, link_t* link, const message_t* command, int64_t now_us) noexcept nogil:
    """Of a command that holds the configuration of a controller; -1: no memory."""
    cdef rate_config_t config
    if command.payload_bytes != sizeof(rate_config_t):
        return 0
    memcpy(&config, command.payload, sizeof(rate_config_t))
    if pacer_open(link, &config, now_us) < 0:
        return -1
    worker.pacer_bytes += pacer_bytes(link)
    return 0


cdef void add_link(worker_t* worker, const message_t* command, int64_t now_us) noexcept nogil:
    cdef int32_t index = index_of(command.handle)
    cdef link_t* link = &worker.links[index]
    cdef int opened
    link.generation = generation_of(command.handle)
    opened = link_open(link, command.flag)
    link_set_rate(link, command.number)
    if opened < 0 or open_pacer(worker, link, command, now_us) < 0:
        link_close(link, &worker.late)
        count(worker, COMMAND_STALE)
        return
    if command.flag:
        memcpy(link.cname, command.key_a, CNAME_BYTES)
        return
    link.port = index_of(command.port)
    link.peer_node = <int32_t>command.tag
    link.peer = command.address
    link.address_bytes = address_to_sockaddr(&link.peer, <sockaddr_storage*>&link.address)
    memcpy(&link.hello_key, command.key_a, 16)
    link.unchecked_seen = worker.overload.unchecked  # none of what was shed unseen so far came on it
    memset(&worker.delays[index], 0, sizeof(histogram_t))
    rebuild_peers(worker)


cdef void set_upstream(worker_t* worker, const message_t* command, int64_t now_us) noexcept nogil:
    """One link, or two while the second takes over from the first; the newcomer's first packet is told."""
    cdef stream_t* stream = known_stream(worker, command.stream)
    cdef int32_t upstream = NOBODY if command.link < 0 else index_of(command.link)
    cdef int32_t second = NOBODY if command.port < 0 else index_of(command.port)
    cdef int32_t newest = upstream if second == NOBODY else second
    if stream == NULL:
        return
    if newest != NOBODY and not comes_from(stream, newest):
        stream.awaited = newest
    elif stream.awaited != newest:
        stream.awaited = NOBODY
    stream.upstream = upstream
    stream.second_upstream = second
    note_deadline(worker, stream, upstream)
    note_deadline(worker, stream, second)
    claim_early(worker, index_of(command.stream), now_us)


cdef void remove_cursor(worker_t* worker, int32_t index) noexcept nogil:
    cdef cursor_t* cursor = &worker.cursors[index]
    cdef link_t* link = &worker.links[cursor.link]
    forget_switch(worker, index)
    unqueue_cursor(worker, index)
    part_stream(worker, index)
    spans_clear(&worker.spans, &cursor.spans)
    if cursor.is_viewer:
        unindex_viewer(worker, index)
    if cursor.previous_of_link >= 0:
        worker.cursors[cursor.previous_of_link].next_of_link = cursor.next_of_link
    else:
        link.first_cursor = cursor.next_of_link
    if cursor.next_of_link >= 0:
        worker.cursors[cursor.next_of_link].previous_of_link = cursor.previous_of_link
    link.cursor_count -= 1
    cursor.state = CURSOR_FREE
    cursor.generation += 1


cdef void forget_upstream(stream_t* stream, int32_t link) noexcept nogil:
    """Whoever gets this link's index next is not it."""
    if stream.upstream == link:
        stream.upstream = NOBODY
    if stream.second_upstream == link:
        stream.second_upstream = NOBODY
    if stream.awaited == link:
        stream.awaited = NOBODY


cdef void remove_link(worker_t* worker, int64_t handle) noexcept nogil:
    cdef link_t* link = known_link(worker, handle)
    cdef bint was_viewer
    cdef int32_t at
    if link == NULL:
        count(worker, COMMAND_STALE)
        return
    while link.first_cursor >= 0:
        remove_cursor(worker, link.first_cursor)
    was_viewer = link.is_viewer
    wheel_cancel(&worker.wheel, index_of(handle))
    worker.pacer_bytes -= pacer_bytes(link)
    link_close(link, &worker.late)
    if was_viewer:  # nothing comes in on it
        return
    for at in range(worker.stream_count):
        forget_upstream(&worker.streams[at], index_of(handle))
    forget_early(worker, index_of(handle))
    rebuild_peers(worker)


cdef void offer_keys(worker_t* worker, const message_t* command) noexcept nogil:
    cdef link_t* link = known_link(worker, command.handle)
    if link == NULL:
        count(worker, COMMAND_STALE)
        return
    if (
        link.keys.is_set and memcmp(&link.keys.receive, command.key_a, 16) == 0
        and memcmp(&link.keys.send, command.key_b, 16) == 0
    ):
        return  # in use; as an offer they would let an old packet open a new window
    memcpy(&link.offered.receive, command.key_a, 16)
    link.first_hop_seq = <uint64_t>command.number
    link.peer_first_hop_seq = <uint64_t>command.stream
    if memcmp(&link.offered.send, command.key_b, 16) != 0:
        memcpy(&link.offered.send, command.key_b, 16)
        if not link.keys.is_set:
            link_number_anew(link)
            link.sends_offered = False
    link.offered.is_set = True
    if command.flag and not link.keys.is_set:
        link.sends_offered = True
        link.next_probe_us = 0
    mark_ready(worker, index_of(command.handle))


cdef void send_command(worker_t* worker, const message_t* command, int64_t now_us) noexcept nogil:
    cdef link_t* link = known_link(worker, command.handle)
    if link == NULL:
        count(worker, COMMAND_STALE)
        return
    memcpy(message_payload(worker), command.payload, command.payload_bytes)
    if not send_message(
        worker, index_of(command.handle), TYPE_HELLO if command.kind == SEND_HELLO else TYPE_CONTROL,
        command.payload_bytes, now_us,
    ):
        count(worker, CONTROL_UNSENT)
    mark_ready(worker, index_of(command.handle))


cdef void add_stream(worker_t* worker, const message_t* command, int64_t now_us) noexcept nogil:
    cdef int32_t index = index_of(command.handle)
    cdef stream_t* stream = &worker.streams[index]
    cdef uint8_t is_dirty = stream.is_dirty
    cdef uint8_t is_aged[2]
    is_aged[0] = stream.is_aged[0]
    is_aged[1] = stream.is_aged[1]
    memset(stream, 0, sizeof(stream_t))
    stream.is_dirty = is_dirty  # may stand in the worker's lists since before it was removed
    stream.is_aged[0] = is_aged[0]
    stream.is_aged[1] = is_aged[1]
    stream.generation = generation_of(command.handle)
    stream.media = command.kind_of
    stream.stream_id = <uint32_t>command.number
    stream.group = command.group
    stream.clock_rate = command.clock_rate
    stream.ingest_port = NOBODY
    stream.upstream = NOBODY if command.link < 0 else index_of(command.link)
    stream.second_upstream = NOBODY
    stream.awaited = NOBODY
    stream.first_cursor = NOBODY
    stream.last_packet_us = -1
    stream.deadline_us = command.deadline_us if command.deadline_us > 0 else <uint32_t>worker.repair_deadline_us
    note_deadline(worker, stream, stream.upstream)
    if ring_open(
        &stream.ring, &worker.rings, AUDIO_RING_CLASS if stream.media == MEDIA_AUDIO else VIDEO_RING_CLASS,
        command.stream_seq,
    ) < 0:
        count(worker, COMMAND_STALE)
        return
    stream.is_used = True
    index_stream(worker, index)
    note_age(worker, index)
    claim_early(worker, index, now_us)


cdef void remove_stream(worker_t* worker, int64_t handle) noexcept nogil:
    cdef stream_t* stream = known_stream(worker, handle)
    cdef int32_t index = index_of(handle)
    cdef int32_t at = 0
    if stream == NULL:
        count(worker, COMMAND_STALE)
        return
    settle_switches(worker, index)
    while stream.first_cursor >= 0:
        remove_cursor(worker, stream.first_cursor)
    while stream.awaited_by > 0 and at < worker.cursor_count:  # Python counts them among the stream's already
        if worker.cursors[at].state != CURSOR_FREE and worker.cursors[at].switch_to == index:
            remove_cursor(worker, at)
        at += 1
    leave_ingest(worker, stream)
    unindex_stream(worker, index)
    ring_close(&stream.ring, &worker.rings, &worker.slab)
    stream.is_used = False
    stream.generation += 1


cdef int32_t free_track(const port_t* port, uint8_t payload_type) noexcept nogil:
    """The track of this payload type, or one that nobody uses; -1: there is none."""
    cdef int32_t i
    cdef int32_t found = NOBODY
    for i in range(port.track_count):
        if port.tracks[i].stream == NOBODY:
            found = i
        elif port.tracks[i].payload_type == payload_type:
            return i
    if found < 0 and port.track_count < TRACKS_OF_PORT:
        found = port.track_count
    return found


cdef void set_ingest(worker_t* worker, const message_t* command) noexcept nogil:
    cdef port_t* port = &worker.ports[index_of(command.port)]
    cdef stream_t* stream = known_stream(worker, command.stream)
    cdef ingest_t* ingest
    cdef int32_t track = NOBODY
    if stream != NULL and port.state == PORT_OPEN and codec_of(command.kind_of) != NULL:
        track = free_track(port, command.payload_type)
    if track < 0:
        count(worker, COMMAND_STALE)
        return
    leave_ingest(worker, stream)
    ingest = &port.tracks[track]
    if track < port.track_count and ingest.stream != NOBODY:
        worker.streams[ingest.stream].ingest_port = NOBODY
    memset(ingest, 0, sizeof(ingest_t))
    if track == port.track_count:
        port.track_count += 1
    ingest.stream = index_of(command.stream)
    ingest.codec = command.kind_of
    ingest.does = codec_of(command.kind_of)
    ingest.dependency_id = command.flag
    ingest.payload_type = command.payload_type
    ingest.asks_again = command.asks_again
    ingest.rtx_payload_type = command.rtx_payload_type
    ingest.transport_cc_id = command.key_a[0]
    ingest.rtcp_port = NOBODY
    ingest.rtcp_to = command.rtcp_address
    ingest.has_rtcp_to = command.rtcp_address.port != 0
    ingest.parameter_set_bytes = <uint16_t>command.payload_bytes
    memcpy(ingest.parameter_sets, command.payload, command.payload_bytes)
    stream.ingest_port = index_of(command.port)
    stream.ingest_track = track


cdef void leave_ingest(worker_t* worker, stream_t* stream) noexcept nogil:
    if stream.ingest_port != NOBODY:
        worker.ports[stream.ingest_port].tracks[stream.ingest_track].stream = NOBODY
    stream.ingest_port = NOBODY


cdef void extend_headers(cursor_t* cursor, const link_t* link, const message_t* command) noexcept nogil:
    """key_a: the ids that the viewer has chosen, 0 for what it does not want. Transport numbers are of use
    only to a controller that hears of packets."""
    if command.key_a[0] != 0 and link.pacer != NULL and link.pacer.transport != NULL:
        cursor.transport_cc_id = command.key_a[0]
        cursor.extensions |= EXTENDS_TRANSPORT_CC
    if command.key_a[1] != 0:
        cursor.delay_id = command.key_a[1]
        cursor.extensions |= EXTENDS_DELAY


cdef void add_cursor(worker_t* worker, const message_t* command) noexcept nogil:
    cdef int32_t index = index_of(command.handle)
    cdef cursor_t* cursor = &worker.cursors[index]
    cdef link_t* link = known_link(worker, command.link)
    cdef message_t* event
    if known_stream(worker, command.stream) == NULL or link == NULL:
        count(worker, COMMAND_STALE)
        return
    memset(cursor, 0, sizeof(cursor_t))
    cursor.generation = generation_of(command.handle)
    cursor.is_viewer = command.flag
    cursor.switch_to = NOBODY
    cursor.spans.newest = -1
    cursor.link = index_of(command.link)
    join_stream(worker, index, index_of(command.stream))
    cursor.previous_of_link = NOBODY
    cursor.next_of_link = link.first_cursor
    if link.first_cursor >= 0:
        worker.cursors[link.first_cursor].previous_of_link = index
    link.first_cursor = index
    link.cursor_count += 1
    if cursor.is_viewer:
        cursor.port = index_of(command.port)
        cursor.peer = command.address
        cursor.address_bytes = address_to_sockaddr(&command.address, <sockaddr_storage*>&cursor.address)
        if command.rtcp_address.port != 0:
            cursor.rtcp_address_bytes = address_to_sockaddr(
                &command.rtcp_address, <sockaddr_storage*>&cursor.rtcp_address
            )
        cursor.ssrc = command.ssrc
        cursor.payload_type = command.payload_type
        cursor.sequence_offset = command.sequence_number
        cursor.rtx_payload_type = command.rtx_payload_type
        cursor.rtx_ssrc = command.rtx_ssrc
        cursor.rtx_number = command.rtx_number
        extend_headers(cursor, link, command)
        index_viewer(worker, index)
    if command.tag and cursor_begin_at(cursor, &worker.streams[cursor.stream].ring, command.stream_seq):
        queue_cursor(worker, index)
        mark_ready(worker, cursor.link)
    else:
        count_many(worker, START_NOT_HELD, command.tag)
        begin_cursor(worker, index)
    if not cursor.is_viewer:
        event = new_event(worker, EVENT_CURSOR_STARTED)
        if event != NULL:
            event.handle = command.handle
            event.stream_seq = cursor.start
            mailbox_post(&worker.events)


cdef void move_cursor(worker_t* worker, const message_t* command) noexcept nogil:
    """A viewer goes on with another stream, at once or unseen (fastpath/switch)."""
    cdef int32_t index = index_of(command.handle)
    cdef cursor_t* cursor = &worker.cursors[index]
    if (
        cursor.state == CURSOR_FREE or cursor.generation != generation_of(command.handle)
        or known_stream(worker, command.stream) == NULL
    ):
        count(worker, COMMAND_STALE)
    elif command.kind == MOVE_CURSOR:
        move_at_once(worker, index, index_of(command.stream), command.payload_type)
    else:
        want_switch(worker, index, index_of(command.stream), command.payload_type)


cdef void mark_copy(worker_t* worker, const message_t* command) noexcept nogil:
    """Whether what a node is sent here comes to it by another path as well."""
    cdef cursor_t* cursor = &worker.cursors[index_of(command.handle)]
    if cursor.state == CURSOR_FREE or cursor.generation != generation_of(command.handle):
        count(worker, COMMAND_STALE)
        return
    cursor.is_copy = command.flag
    if command.flag:
        worker.links[cursor.link].has_copies = True


cdef void apply_one(worker_t* worker, const message_t* command, int64_t now_us) noexcept nogil:
    cdef link_t* link
    cdef cursor_t* cursor
    if command.kind == OPEN_PORT:
        open_port(worker, command)
    elif command.kind == CLOSE_PORT:
        close_port(worker, command)
    elif command.kind == ADD_LINK:
        add_link(worker, command, now_us)
    elif command.kind == REMOVE_LINK:
        remove_link(worker, command.handle)
    elif command.kind == OFFER_KEYS:
        offer_keys(worker, command)
    elif command.kind == SEND_HELLO or command.kind == SEND_CONTROL:
        send_command(worker, command, now_us)
    elif command.kind == SET_LINK_RATE:
        link = known_link(worker, command.handle)
        if link != NULL and link.is_controlled:
            pacer_set_rate(link, command.number, command.stream, now_us)
        elif link != NULL:
            link_set_rate(link, command.number)
    elif command.kind == SET_NEEDED:
        link = known_link(worker, command.handle)
        if link != NULL and link.is_controlled:
            pacer_set_needed(link, command.number, now_us)
    elif command.kind == ADD_STREAM:
        add_stream(worker, command, now_us)
    elif command.kind == REMOVE_STREAM:
        remove_stream(worker, command.handle)
    elif command.kind == SET_INGEST:
        set_ingest(worker, command)
    elif command.kind == SET_UPSTREAM:
        set_upstream(worker, command, now_us)
    elif command.kind == ADD_CURSOR:
        add_cursor(worker, command)
        worker.cursors[index_of(command.handle)].began_us = now_us
    elif command.kind == MOVE_CURSOR or command.kind == SWITCH_CURSOR:
        move_cursor(worker, command)
    elif command.kind == MARK_COPY:
        mark_copy(worker, command)
    elif command.kind == REMOVE_CURSOR:
        cursor = &worker.cursors[index_of(command.handle)]
        if cursor.state != CURSOR_FREE and cursor.generation == generation_of(command.handle):
            remove_cursor(worker, index_of(command.handle))


cdef void apply_commands(worker_t* worker, int64_t now_us) noexcept nogil:
    cdef message_t* command = mailbox_first(&worker.commands)
    worker.turn_us = now_us
    while command != NULL:
        apply_one(worker, command, now_us)
        mailbox_done(&worker.commands)
        command = mailbox_first(&worker.commands)
