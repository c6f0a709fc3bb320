"""The part of the virtual overlay that runs per packet: engines, the paths between them, encoders and
viewers under one queue.

`run` goes on until a time, or until an engine has told Python something. At each moment it hands
the hosts concerned what is there, ends their turns and puts what they send on the paths. A host is a
node's engines at 10.0.H.L port 7000 and, of further workers, the ports after it; a viewer is 10.128.0.0 plus its number, ports 6004 (video) and
6006 (audio), each with RTCP one above; encoders send from 10.64.0.0 plus theirs. Viewers and encoders
reach their host over an access path or, without one, in the same moment.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from fastpath.address cimport address_t
from fastpath.engine cimport Engine
from fastpath.receive cimport receive_datagram
from fastpath.siphash cimport siphash24, siphash_key_t
from fastpath.turn cimport begin_turn, end_turn
from fastpath.virtual_io cimport outbox_t, outgoing_t
from fastpath.wheel cimport wheel_next_us
from fastpath.worker cimport datagram_t, worker_t
from lab.virtual.encoder cimport (
    MAX_PACKET_BYTES, encoder_audio_packet, encoder_audio_us, encoder_begin_frame, encoder_frame_us, encoder_restart,
    encoder_on_rtcp, encoder_resume, encoder_set_bitrate, encoder_t, encoder_video_packet,
)
from lab.virtual.path cimport (
    MICROBITS_PER_BYTE, WAIT_BUCKETS, path_admit, path_advance, path_close, path_configure, path_open, path_t,
    path_wait_us,
)
from lab.virtual.pyramid cimport MAX_B_FRAMES
from lab.virtual.queue cimport (
    ARRIVAL, BLOCK_BYTES, ENCODER_AUDIO, ENCODER_VIDEO, FROM_ENCODER, FROM_VIEWER, HOST_TIMER, TO_ENCODER, TO_VIEWER,
    VIEWER_TIMER, happening_t, queue_block, queue_close, queue_give_block, queue_pop, queue_push, queue_t,
    queue_take_block,
)
from lab.virtual.viewer cimport (
    DELAY_BUCKETS, MAX_VERSIONS, viewer_close, viewer_join, viewer_leave, viewer_open, viewer_receive, viewer_t,
)
from lab.virtual.viewer_feedback cimport (
    FEEDBACK_BYTES_MAX, feedback_is_report_due, feedback_next_us, feedback_on_rtcp, feedback_open, feedback_reported,
    feedback_write, feedback_write_arrivals, viewer_feedback_t,
)
from lab.virtual.figures import ViewerFigures
from lab.virtual.viewer_feedback cimport TRANSPORT_CC_ID as VIEWERS_TRANSPORT_CC_ID

TRANSPORT_CC_ID = VIEWERS_TRANSPORT_CC_ID

cdef enum:
    OVERLAY_PORT = 7000
    VIDEO_PORT = 6004
    AUDIO_PORT = 6006
    VIEWER_NET = 128             # second byte of viewers' addresses, and above
    ENCODER_NET = 64
    INDEX_MASK = 0xFFFFF         # fastpath/handles.py
    WORKER_SHIFT = 52            # relay/workers.py
    LOOPBACK_US = 30             # between workers of one host: a system call and a wake-up
    ENCODER_MARK = 0x10000000    # tells numbers of encoders and viewers from those of hosts
    VIEWER_MARK = 0x20000000

ctypedef struct host_t:
    worker_t* worker             # NULL: nobody answers there
    outbox_t* outbox
    int64_t* turned_us
    int32_t overlay_port
    int64_t timer_us             # of the newest HOST_TIMER in the queue; -1: none
    bint is_open                 # a turn has begun at this moment
    bint is_woken
    address_t address

ctypedef struct access_t:        # what is between a host and those behind it
    path_t forward               # in the direction of the media
    path_t back

ctypedef struct world_t:
    int64_t now_us
    queue_t queue
    host_t* hosts                # a place for each worker: worker * host_count + host
    int32_t host_count
    int32_t place_count
    path_t** paths               # host_count^2, row = sender; NULL: not joined
    encoder_t* encoders
    int32_t encoder_count
    viewer_t** viewers
    int32_t viewer_count
    access_t* accesses
    int32_t access_count
    int32_t* access_of_viewer    # -1: none
    int64_t* beyond_us           # of viewers: one way, on top of the access path's delay
    int32_t* access_of_encoder
    int32_t* open_hosts          # whose turn has begun
    int32_t open_count
    bint has_told                # an engine has events
    bint is_out_of_memory
    siphash_key_t digest
    uint64_t datagrams
    uint64_t unjoined            # sent where no path leads
    uint64_t turns
    int32_t echo_every           # fault on purpose: each so many-th packet to a viewer comes twice
    uint64_t to_viewers


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


cdef void at_viewer(
    world_t* world, int32_t place, int32_t engine_port, int32_t number, int32_t port, const uint8_t* data, uint32_t size
) noexcept nogil:
    """A datagram has reached a viewer's port."""
    cdef viewer_t* viewer = world.viewers[number]
    cdef bint is_video = port == VIDEO_PORT or port == VIDEO_PORT + 1
    if port == VIDEO_PORT + 1 or port == AUDIO_PORT + 1:
        if viewer.feedback != NULL and viewer.is_present:
            feedback_on_rtcp(viewer.feedback, is_video, data, size, world.now_us)
        return
    note(world, place, <uint32_t>number | VIEWER_MARK, data, size)
    world.to_viewers += 1
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
    arrival.source = place
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
        if host.worker != NULL:
            note(world, arrival.source, arrival.target, data, arrival.size)
            hand_over(world, arrival.target, host.overlay_port, &world.hosts[arrival.source].address, data, arrival.size)
    elif arrival.kind == TO_VIEWER:
        at_viewer(
            world, arrival.source, arrival.port >> 16, arrival.target, arrival.port & 0xFFFF, data, arrival.size
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


cdef object arrivals_of(path_t* path, uint32_t size, int64_t now_us):
    """Of a datagram that is nobody's here: as LinkModel.admit."""
    cdef int64_t copy_us
    cdef int64_t arrival_us
    if now_us < path.now_us:
        raise ValueError(f"time does not go back from {path.now_us} to {now_us}")
    arrival_us = path_admit(path, size, now_us, &copy_us)
    if arrival_us < 0:
        return ()
    if copy_us < 0:
        return (arrival_us,)
    return (arrival_us, copy_us)


cdef object load_of(path_t* path, int64_t now_us):
    """See World.access_load. What waits has not passed yet."""
    cdef int i
    cdef uint64_t passed
    if path.waits == NULL:
        return (0.0, 0, ())
    path_advance(path, now_us)
    passed = path.served_bytes - <uint64_t>(path.backlog // MICROBITS_PER_BYTE)
    return (path.could_bits, passed, tuple([(i, path.waits[i]) for i in range(<int>WAIT_BUCKETS) if path.waits[i]]))


cdef object counts_of(const path_t* path):
    """Sent, lost, and dropped as too large or at the bottleneck's queue."""
    return (path.sent, path.lost, path.queue_dropped + path.oversized)


@cython.final
cdef class World:
    """See world.pyi."""
    cdef world_t world
    cdef list engines            # held as long as the host is there

    def __cinit__(self, int hosts, int viewers, int encoders, *, int workers=1, int accesses=0, int64_t start_us=0):
        cdef world_t* w = &self.world
        cdef int32_t i
        if not 1 <= workers <= 64:
            raise ValueError("1 to 64 workers")
        if not 1 <= hosts <= 65535 or not 0 <= viewers < 1 << 23 or not 0 <= encoders < 65536:
            raise ValueError("1 to 65,535 hosts, below 2^23 viewers, below 65,536 encoders")
        if accesses < 0:
            raise ValueError("0 access paths or more")
        w.now_us = start_us
        w.hosts = <host_t*>calloc(<size_t>hosts * workers, sizeof(host_t))
        w.paths = <path_t**>calloc(<size_t>hosts * hosts, sizeof(path_t*))
        w.open_hosts = <int32_t*>calloc(<size_t>hosts * workers, sizeof(int32_t))
        w.encoders = <encoder_t*>calloc(encoders + 1, sizeof(encoder_t))
        w.viewers = <viewer_t**>calloc(viewers + 1, sizeof(viewer_t*))
        w.accesses = <access_t*>calloc(accesses + 1, sizeof(access_t))
        w.access_of_viewer = <int32_t*>calloc(viewers + 1, sizeof(int32_t))
        w.beyond_us = <int64_t*>calloc(viewers + 1, sizeof(int64_t))
        w.access_of_encoder = <int32_t*>calloc(encoders + 1, sizeof(int32_t))
        if (
            w.hosts == NULL or w.paths == NULL or w.open_hosts == NULL or w.encoders == NULL or w.viewers == NULL
            or w.accesses == NULL or w.access_of_viewer == NULL or w.access_of_encoder == NULL or w.beyond_us == NULL
        ):
            raise MemoryError
        w.access_count = accesses
        for i in range(viewers):
            w.access_of_viewer[i] = -1
        for i in range(encoders):
            w.access_of_encoder[i] = -1
        w.host_count = hosts
        w.place_count = hosts * workers
        w.encoder_count = encoders
        w.viewer_count = viewers
        self.engines = [None] * w.place_count
        for i in range(w.place_count):
            w.hosts[i].timer_us = -1
            w.hosts[i].address.ip[0] = 10
            w.hosts[i].address.ip[2] = <uint8_t>((i % hosts) >> 8)
            w.hosts[i].address.ip[3] = <uint8_t>(i % hosts)
            w.hosts[i].address.port = OVERLAY_PORT + i // hosts
        for i in range(viewers):
            w.viewers[i] = viewer_open(0, 0)
            if w.viewers[i] == NULL:
                raise MemoryError

    def __dealloc__(self):
        cdef world_t* w = &self.world
        cdef int64_t i
        queue_close(&w.queue)
        if w.paths != NULL:
            for i in range(<int64_t>w.host_count * w.host_count):
                if w.paths[i] != NULL:
                    path_close(w.paths[i])
                free(w.paths[i])
        if w.viewers != NULL:
            for i in range(w.viewer_count):
                viewer_close(w.viewers[i])
        if w.accesses != NULL:
            for i in range(w.access_count):
                path_close(&w.accesses[i].forward)
                path_close(&w.accesses[i].back)
        free(w.accesses)
        free(w.access_of_viewer)
        free(w.beyond_us)
        free(w.access_of_encoder)
        free(w.hosts)
        free(w.paths)
        free(w.open_hosts)
        free(w.encoders)
        free(w.viewers)

    cdef int check(self, int64_t index, int64_t count) except -1:
        if not 0 <= index < count:
            raise IndexError(f"{index} is outside 0..{count - 1}")
        return 0

    # -- hosts and paths

    def add_host(self, int host, Engine engine, int64_t overlay_port, int worker=0):
        self.check(host, self.world.host_count)
        cdef int64_t place = <int64_t>worker * self.world.host_count + host
        self.check(place, self.world.place_count)
        cdef host_t* h = &self.world.hosts[place]
        engine.go_virtual()
        engine.turned_us = self.world.now_us
        self.engines[place] = engine
        h.worker = engine.worker
        h.outbox = engine.outbox
        h.turned_us = &engine.turned_us
        h.overlay_port = <int32_t>(overlay_port & INDEX_MASK)
        self.wake(host)

    def remove_host(self, int host):
        self.check(host, self.world.host_count)
        cdef int32_t place
        for place in range(host, self.world.place_count, self.world.host_count):
            self.world.hosts[place].worker = NULL
            self.engines[place] = None

    def wake(self, int host):
        self.check(host, self.world.host_count)
        cdef int32_t place
        for place in range(host, self.world.place_count, self.world.host_count):
            if self.world.hosts[place].worker != NULL:
                self.world.hosts[place].is_woken = True
                set_timer(&self.world, place, self.world.now_us)

    def set_path(self, int source, int target, config, uint64_t seed):
        self.check(source, self.world.host_count)
        self.check(target, self.world.host_count)
        cdef int64_t at = <int64_t>source * self.world.host_count + target
        cdef path_t* path = self.world.paths[at]
        if path == NULL:
            path = <path_t*>calloc(1, sizeof(path_t))
            if path == NULL:
                raise MemoryError
            path_open(path, seed)
            self.world.paths[at] = path
        path_configure(path, config, self.world.now_us)

    def path_counts(self, int source, int target):
        cdef path_t* path
        self.check(source, self.world.host_count)
        self.check(target, self.world.host_count)
        path = self.world.paths[<int64_t>source * self.world.host_count + target]
        if path == NULL:
            return (0, 0, 0)
        return counts_of(path)

    # -- access paths

    def open_access(self, int access, uint64_t seed):
        self.check(access, self.world.access_count)
        path_open(&self.world.accesses[access].forward, seed)
        path_open(&self.world.accesses[access].back, seed + 1)

    def set_access(self, int access, forward, back):
        self.check(access, self.world.access_count)
        path_configure(&self.world.accesses[access].forward, forward, self.world.now_us)
        path_configure(&self.world.accesses[access].back, back, self.world.now_us)

    def put_viewer_behind(self, int viewer, int access, int64_t beyond_us=0):
        self.check(viewer, self.world.viewer_count)
        self.check(access, self.world.access_count)
        if beyond_us < 0:
            raise ValueError("beyond_us is not negative")
        self.world.beyond_us[viewer] = beyond_us
        self.world.access_of_viewer[viewer] = access

    def put_encoder_behind(self, int encoder, int access):
        self.check(encoder, self.world.encoder_count)
        self.check(access, self.world.access_count)
        self.world.access_of_encoder[encoder] = access

    def access_counts(self, int access):
        self.check(access, self.world.access_count)
        return counts_of(&self.world.accesses[access].forward), counts_of(&self.world.accesses[access].back)

    def access_load(self, int access, bint is_forward):
        self.check(access, self.world.access_count)
        cdef access_t* a = &self.world.accesses[access]
        return load_of(&a.forward if is_forward else &a.back, self.world.now_us)

    def access_wait_us(self, int access):
        self.check(access, self.world.access_count)
        return path_wait_us(&self.world.accesses[access].forward, self.world.now_us)

    def admit(self, int source, int target, uint32_t size, int64_t now_us):
        self.check(source, self.world.host_count)
        self.check(target, self.world.host_count)
        cdef path_t* path = self.world.paths[<int64_t>source * self.world.host_count + target]
        return () if path == NULL else arrivals_of(path, size, now_us)

    def admit_access(self, int access, bint is_forward, uint32_t size, int64_t now_us):
        self.check(access, self.world.access_count)
        cdef access_t* a = &self.world.accesses[access]
        return arrivals_of(&a.forward if is_forward else &a.back, size, now_us)

    # -- encoders

    def start_encoder(
        self, int encoder, *, uint64_t seed, int64_t start_us, int64_t end_us, uint32_t fps, uint32_t gop_frames,
        uint32_t bitrate_bps, bint has_audio, uint32_t b_frames=0, int broadcast=-1, uint32_t version=0,
    ):
        self.check(encoder, self.world.encoder_count)
        cdef encoder_t* e = &self.world.encoders[encoder]
        if fps == 0 or gop_frames == 0 or start_us < self.world.now_us or e.is_running:
            raise ValueError("fps and gop_frames are at least 1, start_us not in the past, and it does not run yet")
        if b_frames > MAX_B_FRAMES or version > 127:
            raise ValueError(f"{MAX_B_FRAMES} B frames at most, and versions up to 127")
        self.check(encoder if broadcast < 0 else broadcast, self.world.encoder_count)
        e.is_running = True
        e.has_audio = has_audio
        e.broadcast = (encoder if broadcast < 0 else broadcast) + 1
        e.version = version
        e.host = -1
        e.start_us = start_us
        e.end_us = end_us
        e.fps = fps
        e.gop_frames = gop_frames
        e.b_frames = b_frames
        encoder_set_bitrate(e, bitrate_bps)
        e.draws.state = seed
        encoder_restart(e)
        plan_encoder(&self.world, encoder, True)
        if has_audio:
            plan_encoder(&self.world, encoder, False)

    def aim_encoder(self, int encoder, int host, int64_t video_port, int64_t audio_port):
        self.check(encoder, self.world.encoder_count)
        if host >= 0:
            self.check(host, self.world.host_count)
            host += <int>(video_port >> WORKER_SHIFT) * self.world.host_count
            self.check(host, self.world.place_count)
        self.world.encoders[encoder].host = host
        self.world.encoders[encoder].video_port = <int32_t>(video_port & INDEX_MASK)
        self.world.encoders[encoder].audio_port = <int32_t>(audio_port & INDEX_MASK)

    def restart_encoder(self, int encoder):
        self.check(encoder, self.world.encoder_count)
        encoder_restart(&self.world.encoders[encoder])

    def pause_encoder(self, int encoder):
        self.check(encoder, self.world.encoder_count)
        cdef encoder_t* e = &self.world.encoders[encoder]
        if not e.is_paused:
            e.is_paused = True
            e.paused_us = self.world.now_us

    def resume_encoder(self, int encoder):
        self.check(encoder, self.world.encoder_count)
        cdef encoder_t* e = &self.world.encoders[encoder]
        if not e.is_paused:
            return
        encoder_resume(e, self.world.now_us)
        if e.video_waits:
            e.video_waits = False
            plan_encoder(&self.world, encoder, True)
        if e.audio_waits:
            e.audio_waits = False
            plan_encoder(&self.world, encoder, False)

    def set_bitrate(self, int encoder, uint32_t bitrate_bps):
        self.check(encoder, self.world.encoder_count)
        encoder_set_bitrate(&self.world.encoders[encoder], bitrate_bps)

    def keys_asked(self, int encoder):
        self.check(encoder, self.world.encoder_count)
        return self.world.encoders[encoder].keys_asked

    def frames_sent(self, int encoder):
        self.check(encoder, self.world.encoder_count)
        return self.world.encoders[encoder].frame

    # -- viewers

    def set_viewer(self, int viewer, int encoder, int64_t gap_threshold_us):
        self.check(viewer, self.world.viewer_count)
        self.check(encoder, self.world.encoder_count)
        self.world.viewers[viewer].broadcast = encoder + 1
        self.world.viewers[viewer].gap_threshold_us = gap_threshold_us

    def let_speak(self, int viewer, uint8_t wanted, uint64_t seed):
        self.check(viewer, self.world.viewer_count)
        cdef viewer_t* v = self.world.viewers[viewer]
        if v.feedback == NULL:
            v.feedback = feedback_open(wanted, seed)
            if v.feedback == NULL:
                raise MemoryError
        v.feedback.wanted = wanted

    def feedback_counts(self, int viewer):
        self.check(viewer, self.world.viewer_count)
        cdef viewer_feedback_t* feedback = self.world.viewers[viewer].feedback
        if feedback == NULL:
            return (0, 0)
        return (feedback.reports, feedback.asked)

    def join(self, int viewer):
        self.check(viewer, self.world.viewer_count)
        viewer_join(self.world.viewers[viewer], self.world.now_us)

    def leave(self, int viewer, int64_t due_us):
        self.check(viewer, self.world.viewer_count)
        cdef viewer_t* v = self.world.viewers[viewer]
        cdef encoder_t* e
        cdef int64_t last = -1
        self.check(v.broadcast - 1, self.world.encoder_count)
        e = &self.world.encoders[v.broadcast - 1]
        if due_us >= e.start_us and e.fps > 0:
            last = (due_us - e.start_us) * e.fps // 1000000
            last = last if last < e.frame else <int64_t>e.frame - 1
        viewer_leave(v, last, self.world.now_us)

    def newest_frame_us(self, int viewer):
        self.check(viewer, self.world.viewer_count)
        return self.world.viewers[viewer].newest_us

    def faults(self, int viewer):
        self.check(viewer, self.world.viewer_count)
        cdef viewer_t* v = self.world.viewers[viewer]
        return (v.duplicates, v.corrupt)

    def viewer(self, int viewer):
        self.check(viewer, self.world.viewer_count)
        cdef viewer_t* v = self.world.viewers[viewer]
        cdef uint32_t i
        return ViewerFigures(
            joined_us=v.joined_us, first_packet_us=v.first_packet_us, first_intact_us=v.first_intact_us,
            expected=v.expected, whole=v.whole, whole_early=v.whole_early, damaged=v.damaged, undecodable=v.undecodable,
            duplicate_frames=v.duplicate_frames, packets=v.packets, duplicates=v.duplicates, corrupt=v.corrupt,
            breaks=v.breaks, bytes=v.bytes, audio_packets=v.audio_packets, audio_missing=v.audio_missing,
            video_missing=v.video_missing, least_delay_us=v.least_delay_us, longest_gap_us=v.longest_gap_us,
            newest_us=v.newest_us, gaps=tuple([(v.gaps[i].start_us, v.gaps[i].end_us) for i in range(v.gap_count)]),
            of_version=tuple([v.of_version[i] for i in range(<uint32_t>MAX_VERSIONS)]),
            changes=tuple([(v.changes[i].at_us, v.changes[i].version) for i in range(v.change_count)]),
            delays=tuple([(i, v.delays[i]) for i in range(<uint32_t>DELAY_BUCKETS) if v.delays[i]]),
        )

    # -- running

    def run(self, int64_t until_us):
        if until_us < self.world.now_us:
            raise ValueError(f"time does not go back from {self.world.now_us} to {until_us}")
        self.world.has_told = False
        with nogil:
            run_world(&self.world, until_us)
        if self.world.is_out_of_memory:
            raise MemoryError
        return self.world.now_us

    def told(self):
        cdef int32_t i
        cdef list found = []
        for i in range(self.world.place_count):
            if self.world.hosts[i].worker != NULL:
                if self.world.hosts[i].worker.events.written != self.world.hosts[i].worker.events.read:
                    found.append(i % self.world.host_count)
        return list(dict.fromkeys(found))

    def break_by_echo(self, int every):
        self.world.echo_every = every

    @property
    def now_us(self):
        return self.world.now_us

    @property
    def datagrams(self):
        return self.world.datagrams

    @property
    def turns(self):
        return self.world.turns

    @property
    def digest(self):
        return f"{self.world.digest.k0:016x}{self.world.digest.k1:016x}"
