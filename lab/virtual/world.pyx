"""The part of the virtual overlay that runs per packet, for Python: hosts, paths, encoders and viewers are
made and asked here, `traffic` moves them. `run` goes on until a time, or until an engine has told Python
something.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from fastpath.engine cimport Engine
from lab.virtual.encoder cimport encoder_restart, encoder_resume, encoder_set_bitrate, encoder_t
from lab.virtual.path cimport (
    MICROBITS_PER_BYTE, WAIT_BUCKETS, path_admit, path_advance, path_close, path_configure, path_open, path_t,
    path_wait_us,
)
from lab.virtual.payloads cimport LAB_CODECS, LAB_H264
from lab.virtual.pyramid cimport MAX_B_FRAMES
from lab.virtual.queue cimport queue_close
from lab.virtual.traffic cimport (
    INDEX_MASK, OVERLAY_PORT, WORKER_SHIFT, access_t, host_t, plan_encoder, run_world, set_timer, world_t,
)
from lab.virtual.viewer cimport (
    DELAY_BUCKETS, MAX_TOLD, MAX_VERSIONS, missing, viewer_close, viewer_join, viewer_leave, viewer_open, viewer_t,
)
from lab.virtual.viewer_feedback cimport TRANSPORT_CC_ID as VIEWERS_TRANSPORT_CC_ID
from lab.virtual.viewer_feedback cimport feedback_open, viewer_feedback_t
from lab.virtual.figures import ViewerFigures, ViewerLook

TRANSPORT_CC_ID = VIEWERS_TRANSPORT_CC_ID


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
        uint8_t codec=LAB_H264,
    ):
        self.check(encoder, self.world.encoder_count)
        cdef encoder_t* e = &self.world.encoders[encoder]
        if fps == 0 or gop_frames == 0 or start_us < self.world.now_us or e.is_running:
            raise ValueError("fps and gop_frames are at least 1, start_us not in the past, and it does not run yet")
        if b_frames > MAX_B_FRAMES or version > 127:
            raise ValueError(f"{MAX_B_FRAMES} B frames at most, and versions up to 127")
        if codec >= LAB_CODECS:
            raise ValueError(f"codecs are 0 to {LAB_CODECS - 1}")
        self.check(encoder if broadcast < 0 else broadcast, self.world.encoder_count)
        e.is_running = True
        e.has_audio = has_audio
        e.broadcast = (encoder if broadcast < 0 else broadcast) + 1
        e.version = version
        e.codec = codec
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

    def set_viewer(self, int viewer, int encoder, int64_t gap_threshold_us, uint8_t codec=LAB_H264):
        self.check(viewer, self.world.viewer_count)
        self.check(encoder, self.world.encoder_count)
        self.world.viewers[viewer].broadcast = encoder + 1
        self.world.viewers[viewer].gap_threshold_us = gap_threshold_us
        self.world.viewers[viewer].codec = codec

    def switch_viewer(self, int viewer, int encoder):
        self.check(viewer, self.world.viewer_count)
        cdef viewer_t* v = self.world.viewers[viewer]
        self.check(encoder, self.world.encoder_count)
        v.next_broadcast = <uint32_t>(encoder + 1)
        v.told[v.told_count % MAX_TOLD] = v.next_broadcast
        v.told_count += 1

    def note_packet_delays(self, int viewer):
        self.check(viewer, self.world.viewer_count)
        cdef viewer_t* v = self.world.viewers[viewer]
        if v.packet_delays == NULL:
            v.packet_delays = <uint32_t*>calloc(DELAY_BUCKETS, sizeof(uint32_t))
            if v.packet_delays == NULL:
                raise MemoryError

    def let_speak(self, int viewer, uint8_t wanted, uint64_t seed):
        self.check(viewer, self.world.viewer_count)
        cdef viewer_t* v = self.world.viewers[viewer]
        if v.feedback == NULL:
            v.feedback = feedback_open(wanted, seed)
            if v.feedback == NULL:
                raise MemoryError
        v.feedback.wanted = wanted

    def let_ask_for_rtx(self, int viewer, uint8_t payload_type):
        self.check(viewer, self.world.viewer_count)
        if payload_type > 127:
            raise ValueError("a payload type is 0 to 127")
        self.world.viewers[viewer].rtx_payload_type = payload_type

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

    def look(self, int viewer):
        self.check(viewer, self.world.viewer_count)
        cdef viewer_t* v = self.world.viewers[viewer]
        return ViewerLook(
            newest_us=v.newest_us, whole=v.whole, video_missing=missing(&v.video), audio_missing=missing(&v.audio),
            unexplained=v.unexplained, unexplained_us=v.unexplained_us, audio_passed=v.audio_passed,
        )

    def viewer(self, int viewer):
        self.check(viewer, self.world.viewer_count)
        cdef viewer_t* v = self.world.viewers[viewer]
        cdef uint32_t i
        return ViewerFigures(
            joined_us=v.joined_us, first_packet_us=v.first_packet_us, first_intact_us=v.first_intact_us,
            expected=v.expected, whole=v.whole, whole_early=v.whole_early, damaged=v.damaged, undecodable=v.undecodable,
            duplicate_frames=v.duplicate_frames, packets=v.packets, duplicates=v.duplicates, corrupt=v.corrupt,
            rtx_packets=v.rtx_packets, rtx_repaired=v.rtx_repaired,
            breaks=v.breaks, bytes=v.bytes, audio_packets=v.audio_packets, audio_missing=v.audio_missing,
            video_missing=v.video_missing, least_delay_us=v.least_delay_us, longest_gap_us=v.longest_gap_us,
            newest_us=v.newest_us, gaps=tuple([(v.gaps[i].start_us, v.gaps[i].end_us) for i in range(v.gap_count)]),
            of_version=tuple([v.of_version[i] for i in range(<uint32_t>MAX_VERSIONS)]),
            switches=tuple([(v.switches[i].at_us, v.switches[i].broadcast - 1) for i in range(v.switch_count)]),
            changes=tuple([(v.changes[i].at_us, v.changes[i].version) for i in range(v.change_count)]),
            delays=tuple([(i, v.delays[i]) for i in range(<uint32_t>DELAY_BUCKETS) if v.delays[i]]),
            packet_delays=() if v.packet_delays == NULL else tuple(
                [(i, v.packet_delays[i]) for i in range(<uint32_t>DELAY_BUCKETS) if v.packet_delays[i]]
            ),
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

    def break_by_loss(self, int every, *, bint between_nodes=False):
        if between_nodes:
            self.world.lose_between_every = every
        else:
            self.world.lose_every = every

    def break_by_omission(self, int every, *, bint of_video):
        if of_video:
            self.world.omit_video_every = every
        else:
            self.world.omit_audio_every = every

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
