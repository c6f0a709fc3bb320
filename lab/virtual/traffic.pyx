"""What moves a virtual overlay on, packet by packet: turns of engines, paths, encoders and viewers, all under
one queue.

At each moment the hosts concerned are handed what is there, their turns end, and what they send is put
on the paths. A host is a node's engines at 10.0.H.L port 7000 and, of further workers, the ports after
it; a viewer is 10.128.0.0 plus its number, ports 6004 (video) and 6006 (audio), each with RTCP one
above; encoders send from 10.64.0.0 plus theirs. Viewers and encoders reach their host over an access
path or, without one, in the same moment.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from fastpath.address cimport address_t
from fastpath.receive cimport receive_datagram
from fastpath.siphash cimport siphash24, siphash_key_t
from fastpath.turn cimport begin_turn, end_turn
from fastpath.virtual_io cimport outbox_t, outgoing_t
from fastpath.wheel cimport wheel_next_us
from fastpath.worker cimport datagram_t
from lab.virtual.encoder cimport (
    MAX_PACKET_BYTES, encoder_audio_packet, encoder_audio_us, encoder_begin_frame, encoder_frame_us, encoder_on_rtcp,
    encoder_t, encoder_video_packet,
)
from lab.virtual.path cimport path_admit, path_t
from lab.virtual.queue cimport (
    ARRIVAL, BLOCK_BYTES, ENCODER_AUDIO, ENCODER_VIDEO, FROM_ENCODER, FROM_VIEWER, HOST_TIMER, TO_ENCODER, TO_VIEWER,
    VIEWER_TIMER, happening_t, queue_block, queue_give_block, queue_pop, queue_push, queue_take_block,
)
from lab.virtual.viewer cimport omission_t, viewer_receive, viewer_t
from lab.virtual.viewer_feedback cimport (
    FEEDBACK_BYTES_MAX, feedback_is_report_due, feedback_next_us, feedback_on_rtcp, feedback_reported,
    feedback_write, feedback_write_arrivals, viewer_feedback_t,
)
from rtp.big_endian cimport load_be16, load_be32, store_be16


cdef void note(world_t* world, uint32_t source, uint32_t target, const uint8_t* data, uint32_t size) noexcept nogil:
    """Into the digest: when, from whom, to whom, what."""
    cdef uint64_t mixed
    cdef siphash_key_t key = world.digest
    key.k0 ^= <uint64_t>world.now_us
    key.k1 ^= (<uint64_t>source << 32) | target
    mixed = siphash24(data, size, &key)
    world.digest.k1 = ((world.digest.k0 << 23) | (world.digest.k0 >> 41)) ^ key.k1
    world.digest.k0 = mixed
    world.datagrams += 1


cdef void open_turn(world_t* world, int32_t index) noexcept nogil:
    cdef host_t* host = &world.hosts[index]
    if host.is_open:
        return
    host.is_open = True
    host.turned_us[0] = world.now_us
    begin_turn(host.worker, world.now_us)
    world.open_hosts[world.open_count] = index
    world.open_count += 1
    world.turns += 1


cdef void hand_over(
    world_t* world, int32_t index, int32_t port, const address_t* source, const uint8_t* data, uint32_t size
) noexcept nogil:
    cdef datagram_t datagram
    open_turn(world, index)
    datagram.data = data
    datagram.size = size
    datagram.port = port
    datagram.source = source[0]
    datagram.arrival_us = world.now_us
    receive_datagram(world.hosts[index].worker, &datagram, world.now_us)


cdef void put_under_way(world_t* world, happening_t* arrival, const uint8_t* data, int64_t at_us) noexcept nogil:
    """A copy of a datagram that arrives then. arrival: its kind, source, target, port and size."""
    cdef int64_t block = queue_take_block(&world.queue)
    if block < 0:
        world.is_out_of_memory = True
        return
    memcpy(queue_block(&world.queue, <uint32_t>block), data, arrival.size)
    arrival.time_us = at_us
    arrival.block = <uint32_t>block
    if not queue_push(&world.queue, arrival):
        world.is_out_of_memory = True


cdef void put_on_path(
    world_t* world, path_t* path, happening_t* arrival, const uint8_t* data, int64_t beyond_us=0
) noexcept nogil:
    """What becomes of it is the path's to say. beyond_us: how much later it is where it goes."""
    cdef int64_t copy_us
    cdef int64_t arrival_us = path_admit(path, arrival.size, world.now_us, &copy_us)
    if arrival_us >= 0:
        put_under_way(world, arrival, data, arrival_us + beyond_us)
    if copy_us >= 0:
        put_under_way(world, arrival, data, copy_us + beyond_us)


cdef void send_to_place(world_t* world, int32_t source, int32_t target, const uint8_t* data, uint32_t size) noexcept nogil:
    """To another worker, of the same host or over the path between two hosts."""
    cdef happening_t arrival
    cdef path_t* path
    if target < 0 or target >= world.place_count or size > BLOCK_BYTES:
        world.unjoined += 1
        return
    arrival.kind = ARRIVAL
    arrival.source = source
    arrival.target = target
    arrival.port = 0
    arrival.size = <uint16_t>size
    if source % world.host_count == target % world.host_count:
        put_under_way(world, &arrival, data, world.now_us + LOOPBACK_US)
        return
    path = world.paths[source % world.host_count * world.host_count + target % world.host_count]
    if path == NULL:
        world.unjoined += 1
    else:
        put_on_path(world, path, &arrival, data)


cdef void set_viewer_timer(world_t* world, int32_t number) noexcept nogil:
    """As `set_timer`, for what it has to say."""
    cdef viewer_feedback_t* feedback = world.viewers[number].feedback
    cdef happening_t timer
    cdef int64_t due_us = feedback_next_us(feedback)
    if due_us < 0:
        return
    if due_us <= world.now_us:
        due_us = world.now_us + 1
    if feedback.timer_us >= 0 and feedback.timer_us <= due_us:
        return
    feedback.timer_us = due_us
    timer.time_us = due_us
    timer.kind = VIEWER_TIMER
    timer.source = 0
    timer.target = number
    timer.port = 0
    timer.size = 0
    timer.block = 0
    if not queue_push(&world.queue, &timer):
        world.is_out_of_memory = True


cdef bint is_omitted(
    const world_t* world, viewer_t* viewer, bint is_video, const uint8_t* data, uint32_t size, uint8_t* numbered
) noexcept nogil:
    """A fault on purpose. False: `numbered` is the packet under its number less what was left out before it."""
    cdef omission_t* omission = &viewer.omissions[0 if is_video else 1]
    cdef int32_t every = world.omit_video_every if is_video else world.omit_audio_every
    cdef bint is_left_out
    memcpy(numbered, data, size)
    if size < 12 or every == 0:
        return False
    if load_be32(data + 4) != omission.timestamp:
        omission.timestamp = load_be32(data + 4)
        omission.frames += 1
    is_left_out = omission.frames % <uint32_t>every == 0
    store_be16(numbered + 2, <uint16_t>(load_be16(data + 2) - omission.packets))
    omission.packets += is_left_out
    return is_left_out


cdef void at_viewer(
    world_t* world, int32_t place, int32_t engine_port, int32_t number, int32_t port, const uint8_t* data, uint32_t size
) noexcept nogil:
    """A datagram has reached a viewer's port."""
    cdef viewer_t* viewer = world.viewers[number]
    cdef bint is_video = port == VIDEO_PORT or port == VIDEO_PORT + 1
    cdef uint8_t numbered[BLOCK_BYTES]
    if port == VIDEO_PORT + 1 or port == AUDIO_PORT + 1:
        if viewer.feedback != NULL and viewer.is_present:
            feedback_on_rtcp(viewer.feedback, is_video, data, size, world.now_us)
        return
    note(world, place, <uint32_t>number | VIEWER_MARK, data, size)
    world.to_viewers += 1
    if world.omit_video_every or world.omit_audio_every:
        if is_omitted(world, viewer, is_video, data, size, numbered):
            return
        data = numbered
    if world.lose_every == 0 or world.to_viewers % <uint64_t>world.lose_every != 0:
        viewer_receive(viewer, is_video, data, size, world.now_us)
    if world.echo_every and world.to_viewers % <uint64_t>world.echo_every == 0:
        viewer_receive(viewer, is_video, data, size, world.now_us)
    viewer.place = place
    viewer.port = engine_port
    if viewer.feedback != NULL and viewer.is_present:
        set_viewer_timer(world, number)


cdef void send_to_viewer(world_t* world, int32_t place, const outgoing_t* record, const uint8_t* data) noexcept nogil:
    cdef const address_t* target = &record.destination
    cdef int32_t number = ((target.ip[1] - VIEWER_NET) << 16) | (target.ip[2] << 8) | target.ip[3]
    cdef happening_t arrival
    cdef int32_t access
    if number >= world.viewer_count or not VIDEO_PORT <= target.port <= AUDIO_PORT + 1:
        return
    access = world.access_of_viewer[number]
    if access < 0:
        at_viewer(world, place, record.port, number, target.port, data, record.size)
        return
    # The engine's port goes with it: from where it was sent is where the answer goes.
    arrival.kind = TO_VIEWER
    arrival.source = place | (<int32_t>world.viewers[number].stay << STAY_SHIFT)
    arrival.target = number
    arrival.port = (record.port << 16) | target.port
    arrival.size = <uint16_t>record.size
    put_on_path(world, &world.accesses[access].forward, &arrival, data, world.beyond_us[number])


cdef void send_to_encoder(world_t* world, int32_t place, const outgoing_t* record, const uint8_t* data) noexcept nogil:
    """RTCP. Heard by encoders behind an access path only."""
    cdef int32_t number = (record.destination.ip[2] << 8) | record.destination.ip[3]
    cdef happening_t arrival
    if number >= world.encoder_count or world.access_of_encoder[number] < 0:
        return
    arrival.kind = TO_ENCODER
    arrival.source = place
    arrival.target = number
    arrival.port = record.destination.port
    arrival.size = <uint16_t>record.size
    put_on_path(world, &world.accesses[world.access_of_encoder[number]].back, &arrival, data)


cdef void at_host(world_t* world, const happening_t* arrival, uint32_t mark, const address_t* source, const uint8_t* data) noexcept nogil:
    """A datagram of a viewer or encoder has reached an engine's port."""
    if world.hosts[arrival.target].worker != NULL:
        note(world, <uint32_t>arrival.source | mark, arrival.target, data, arrival.size)
        hand_over(world, arrival.target, arrival.port, source, data, arrival.size)


cdef void address_behind(int32_t net, int32_t number, int32_t port, address_t* address) noexcept nogil:
    memset(address, 0, sizeof(address_t))
    address.ip[0] = 10
    address.ip[1] = <uint8_t>(net + (number >> 16))
    address.ip[2] = <uint8_t>(number >> 8)
    address.ip[3] = <uint8_t>number
    address.port = <uint16_t>port


cdef void send_to_host(
    world_t* world, happening_t* arrival, int32_t access, const uint8_t* data, const address_t* source
) noexcept nogil:
    """Of a viewer or encoder. arrival: all but time and block."""
    if access < 0:
        at_host(world, arrival, VIEWER_MARK if arrival.kind == FROM_VIEWER else ENCODER_MARK, source, data)
    elif arrival.kind == FROM_VIEWER:
        # As if it came so much later to the path, whose queue its own size hardly moves.
        put_on_path(world, &world.accesses[access].back, arrival, data, world.beyond_us[arrival.source])
    else:
        put_on_path(world, &world.accesses[access].forward, arrival, data)


cdef void on_viewer_timer(world_t* world, int32_t number) noexcept nogil:
    """It says what it has to say."""
    cdef viewer_t* viewer = world.viewers[number]
    cdef viewer_feedback_t* feedback = viewer.feedback
    cdef uint8_t said[FEEDBACK_BYTES_MAX]
    cdef happening_t arrival
    cdef address_t source
    cdef bint with_report
    cdef uint32_t size
    cdef int message
    if feedback.timer_us != world.now_us:
        return
    feedback.timer_us = -1
    if not viewer.is_present or viewer.place < 0:
        return
    with_report = feedback_is_report_due(feedback, world.now_us)
    for message in range(3):
        if message < 2:
            size = feedback_write(feedback, message == 0, with_report, world.now_us, said)
        else:
            size = feedback_write_arrivals(feedback, world.now_us, said)
        if size > 0:
            address_behind(VIEWER_NET, number, (AUDIO_PORT if message == 1 else VIDEO_PORT) + 1, &source)
            arrival.kind = FROM_VIEWER
            arrival.source = number
            arrival.target = viewer.place
            arrival.port = viewer.port
            arrival.size = <uint16_t>size
            send_to_host(world, &arrival, world.access_of_viewer[number], said, &source)
    if with_report:
        feedback_reported(feedback, world.now_us)
    set_viewer_timer(world, number)


cdef int32_t place_at(const world_t* world, const address_t* address) noexcept nogil:
    """Of the worker whose overlay port this is; -1: there is none."""
    cdef int32_t host = (address.ip[2] << 8) | address.ip[3]
    cdef int32_t worker = <int32_t>address.port - OVERLAY_PORT
    if host >= world.host_count or worker < 0 or worker >= world.place_count // world.host_count:
        return -1
    return worker * world.host_count + host


cdef void send_out(world_t* world, int32_t index) noexcept nogil:
    cdef outbox_t* outbox = world.hosts[index].outbox
    cdef const outgoing_t* record
    cdef const uint8_t* data
    cdef size_t i
    for i in range(outbox.record_count):
        record = &outbox.records[i]
        data = outbox.bytes + record.start
        if record.destination.ip[0] != 10:
            world.unjoined += 1
        elif record.destination.ip[1] == 0:
            send_to_place(world, index, place_at(world, &record.destination), data, record.size)
        elif record.destination.ip[1] >= VIEWER_NET:
            send_to_viewer(world, index, record, data)
        elif record.destination.ip[1] == ENCODER_NET:
            send_to_encoder(world, index, record, data)
    outbox.record_count = 0
    outbox.byte_count = 0


cdef void set_timer(world_t* world, int32_t index, int64_t due_us) noexcept nogil:
    """In the queue once for each earlier time; those that are overtaken do nothing."""
    cdef happening_t timer
    cdef host_t* host = &world.hosts[index]
    if host.timer_us >= 0 and host.timer_us <= due_us:
        return
    host.timer_us = due_us
    timer.time_us = due_us
    timer.kind = HOST_TIMER
    timer.source = 0
    timer.target = index
    timer.port = 0
    timer.size = 0
    timer.block = 0
    if not queue_push(&world.queue, &timer):
        world.is_out_of_memory = True


cdef void close_turn(world_t* world, int32_t index) noexcept nogil:
    cdef host_t* host = &world.hosts[index]
    cdef int64_t due_us
    host.is_open = False
    host.is_woken = False
    end_turn(host.worker, world.now_us)
    send_out(world, index)
    due_us = wheel_next_us(&host.worker.wheel)
    if due_us >= 0:
        set_timer(world, index, due_us if due_us > world.now_us else world.now_us + 1)
    if host.worker.events.written != host.worker.events.read:
        world.has_told = True


cdef void on_host_timer(world_t* world, int32_t index) noexcept nogil:
    cdef host_t* host = &world.hosts[index]
    cdef int64_t due_us
    if host.timer_us != world.now_us:
        return
    host.timer_us = -1
    if host.worker == NULL:
        return
    due_us = wheel_next_us(&host.worker.wheel)
    if host.is_woken or (due_us >= 0 and due_us <= world.now_us):
        open_turn(world, index)
    elif due_us >= 0:
        set_timer(world, index, due_us)


cdef void on_arrival(world_t* world, const happening_t* arrival) noexcept nogil:
    """Of a datagram, wherever."""
    cdef const uint8_t* data = queue_block(&world.queue, arrival.block)
    cdef host_t* host
    cdef address_t source
    if arrival.kind == ARRIVAL:
        host = &world.hosts[arrival.target]
        world.to_nodes += 1
        if world.lose_between_every and world.to_nodes % <uint64_t>world.lose_between_every == 0:
            pass
        elif host.worker != NULL:
            note(world, arrival.source, arrival.target, data, arrival.size)
            hand_over(world, arrival.target, host.overlay_port, &world.hosts[arrival.source].address, data, arrival.size)
    elif arrival.kind == TO_VIEWER:
        if arrival.source >> STAY_SHIFT == world.viewers[arrival.target].stay:  # else nobody listens there any more
            at_viewer(
                world, arrival.source & PLACE_MASK, arrival.port >> 16, arrival.target, arrival.port & 0xFFFF,
                data, arrival.size,
            )
    elif arrival.kind == FROM_VIEWER:
        address_behind(VIEWER_NET, arrival.source, VIDEO_PORT + 1, &source)
        at_host(world, arrival, VIEWER_MARK, &source, data)
    elif arrival.kind == FROM_ENCODER:
        # An audio packet comes to the port for audio, and is from the encoder's other port.
        address_behind(
            ENCODER_NET, arrival.source,
            5002 if arrival.port == world.encoders[arrival.source].audio_port else 5000, &source,
        )
        at_host(world, arrival, ENCODER_MARK, &source, data)
    elif arrival.kind == TO_ENCODER:
        encoder_on_rtcp(&world.encoders[arrival.target], data, arrival.size)
    queue_give_block(&world.queue, arrival.block)


cdef void plan_encoder(world_t* world, int32_t number, bint is_video) noexcept nogil:
    """When it sends next."""
    cdef encoder_t* encoder = &world.encoders[number]
    cdef happening_t next_one
    next_one.kind = ENCODER_VIDEO if is_video else ENCODER_AUDIO
    next_one.time_us = encoder_frame_us(encoder, encoder.frame) if is_video else encoder_audio_us(encoder, encoder.audio_packet)
    if next_one.time_us < world.now_us:
        next_one.time_us = world.now_us
    next_one.target = number
    next_one.source = 0
    next_one.port = 0
    next_one.size = 0
    next_one.block = 0
    if not queue_push(&world.queue, &next_one):
        world.is_out_of_memory = True


cdef void encode(world_t* world, int32_t number, bint is_video) noexcept nogil:
    """What the encoder sends now, to its host if that is there, and when it sends next."""
    cdef encoder_t* encoder = &world.encoders[number]
    cdef uint8_t packet[MAX_PACKET_BYTES + 64]
    cdef address_t source
    cdef uint32_t size, i
    cdef uint32_t count = 1
    cdef happening_t arrival
    cdef int32_t access = world.access_of_encoder[number]
    cdef bint has_host = encoder.host >= 0 and (access >= 0 or world.hosts[encoder.host].worker != NULL)
    address_behind(ENCODER_NET, number, 5000 if is_video else 5002, &source)
    arrival.kind = FROM_ENCODER
    arrival.source = number
    arrival.target = encoder.host
    arrival.port = encoder.video_port if is_video else encoder.audio_port
    if not encoder.is_running or world.now_us >= encoder.end_us:
        encoder.is_running = False
        return
    if encoder.is_paused:
        if is_video:
            encoder.video_waits = True
        else:
            encoder.audio_waits = True
        return
    if is_video:
        encoder_begin_frame(encoder)
        count = encoder.packet_count
    for i in range(count):
        if is_video:
            size = encoder_video_packet(encoder, i, world.now_us, packet)
        else:
            size = encoder_audio_packet(encoder, world.now_us, packet)
        if has_host:
            arrival.size = <uint16_t>size
            send_to_host(world, &arrival, access, packet, &source)
    plan_encoder(world, number, is_video)


cdef void run_world(world_t* world, int64_t until_us) noexcept nogil:
    """All that is due by then; ends early, at the time of `now_us`, when an engine has events."""
    cdef happening_t what
    cdef int32_t i
    while not world.has_told and not world.is_out_of_memory:
        if world.queue.count == 0 or world.queue.heap[0].time_us > until_us:
            world.now_us = until_us
            return
        world.now_us = world.queue.heap[0].time_us
        while world.queue.count > 0 and world.queue.heap[0].time_us <= world.now_us:
            queue_pop(&world.queue, &what)
            if what.kind == HOST_TIMER:
                on_host_timer(world, what.target)
            elif what.kind == VIEWER_TIMER:
                on_viewer_timer(world, what.target)
            elif what.kind == ENCODER_VIDEO or what.kind == ENCODER_AUDIO:
                encode(world, what.target, what.kind == ENCODER_VIDEO)
            else:
                on_arrival(world, &what)
        for i in range(world.open_count):
            close_turn(world, world.open_hosts[i])
        world.open_count = 0
