"""An engine fed from memory: see memory_feed.pyi.

Each turn first makes its packets, in buffers like those that the kernel coalesces, and then, timed
apart, runs the engine's part: commands, what arrived, what may be sent, timers. What it knows of the
engine is how a turn begins and ends (fastpath.turn) and what socket_io hands a buffer to
(receive_buffer), so that it measures what a node runs.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_THREAD_CPUTIME_ID, clock_gettime, timespec
from fastpath.address cimport address_from_python
from fastpath.engine cimport Engine
from fastpath.receive cimport receive_buffer
from fastpath.siphash cimport siphash_key_t
from fastpath.socket_io cimport monotonic_us, socket_io_close, socket_io_open, socket_io_transmit
from fastpath.turn cimport begin_turn, end_turn
from fastpath.wire cimport (
    CLASS_VIDEO, FIB_HOP_LIMIT, FIB_LEG_BYTES, FLAG_SEALED, HEADER_BYTES, MAX_RTP_BYTES, TAG_BYTES, TYPE_MEDIA,
    WIRE_VERSION, packet_tag,
)
from fastpath.worker cimport BATCH_BYTES, BATCH_SEGMENTS, batch_t, datagram_t, worker_t
from rtp.big_endian cimport store_be16, store_be32, store_be64
from rtp.payload.marks cimport MARK_FRAME_END, MARK_FRAME_START, MARK_GOP_START, MARK_KEY
from fastpath.feed_figures import BATCH_RANGES as _RANGE_NAMES, FeedFigures

cdef enum:
    INDEX_MASK = 0xFFFFF         # fastpath/handles.py
    RTP_BYTES = 12
    LEAST_RTP_BYTES = 16         # with the four bytes of payload that the tag covers
    MOST_A_TURN = 4096           # packets: more than 32 full buffers of one port hold
    FRAME_TICKS = 3000           # of 90 kHz: 30 frames/s


cdef int64_t thread_ns() noexcept nogil:
    """CPU time of this thread."""
    cdef timespec now
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


cdef int64_t clock_cost_ns() noexcept nogil:
    """What is measured when nothing is."""
    cdef int64_t least = 1000000
    cdef int64_t begin, span
    cdef int32_t i
    for i in range(100):
        begin = thread_ns()
        span = thread_ns() - begin
        if span < least:
            least = span
    return least


# -- making packets

cdef void tag_datagram(
    uint8_t* data, uint32_t header_bytes, uint32_t size, uint64_t hop_seq, const siphash_key_t* key
) noexcept nogil:
    """Write the tag of a datagram whose header (with this hop_seq's low half) and payload stand."""
    store_be64(
        data + header_bytes,
        packet_tag(
            data, header_bytes, data[0] & 0x0F, data[1] & FLAG_SEALED, <uint32_t>(hop_seq >> 32),
            data + header_bytes + TAG_BYTES, size - header_bytes - TAG_BYTES, key,
        ),
    )


cdef void make_packet(
    source_t* source, fed_stream_t* stream, uint8_t marks, uint32_t size, uint8_t* data
) noexcept nogil:
    """The stream's next packet, as the link's peer sends it. The payload's rest stays as it is."""
    cdef uint8_t* rtp = data + FIB_LEG_BYTES
    data[0] = (WIRE_VERSION << 4) | <uint8_t>TYPE_MEDIA
    data[1] = 0
    data[2] = 0
    data[3] = FIB_HOP_LIMIT
    data[4] = (<uint8_t>CLASS_VIDEO << 5) | marks
    data[5] = 0
    store_be16(data + 6, 4)
    store_be32(data + 8, stream.stream_id)
    store_be32(data + 12, stream.stream_seq)
    store_be32(data + 16, <uint32_t>source.hop_seq)
    store_be32(data + 20, 0)
    rtp[0] = 0x80
    rtp[1] = 96 | (0x80 if marks & MARK_FRAME_END else 0)
    store_be16(rtp + 2, <uint16_t>stream.stream_seq)
    store_be32(rtp + 4, stream.bursts * FRAME_TICKS)
    store_be32(rtp + 8, stream.stream_id)
    store_be32(rtp + 12, 0x65880000 if marks & MARK_KEY else 0x419A0000)  # slices, RFC 6184 5.6
    tag_datagram(data, HEADER_BYTES, size, source.hop_seq, &source.key)
    source.hop_seq += 1
    stream.stream_seq += 1


cdef feed_buffer_t* open_buffer(feed_t* feed, int32_t source_index) noexcept nogil:
    """The buffer that takes this source's next packet; NULL: no memory."""
    cdef source_t* source = &feed.sources[source_index]
    cdef feed_buffer_t* buffer
    if source.buffer >= 0:
        buffer = &feed.buffers[source.buffer]
        if buffer.packets < BATCH_SEGMENTS and buffer.used + feed.datagram_bytes <= BATCH_BYTES:
            return buffer
    buffer = &feed.buffers[feed.buffer_count]
    if buffer.data == NULL:
        buffer.data = <uint8_t*>malloc(FEED_BUFFER_BYTES)
        if buffer.data == NULL:
            return NULL
        memset(buffer.data, 0x5A, FEED_BUFFER_BYTES)
    buffer.source = source_index
    buffer.used = 0
    buffer.packets = 0
    source.buffer = feed.buffer_count
    feed.buffer_count += 1
    return buffer


cdef void make_burst(feed_t* feed, fed_stream_t* stream) noexcept nogil:
    """One frame: a key frame at the start of each GoP."""
    cdef uint8_t marks
    cdef bint is_key = stream.bursts % feed.bursts_a_gop == 0
    cdef feed_buffer_t* buffer
    cdef int32_t i
    for i in range(feed.burst):
        marks = MARK_KEY if is_key else 0
        if i == 0:
            marks |= MARK_FRAME_START | (MARK_GOP_START if is_key else 0)
        if i == feed.burst - 1:
            marks |= MARK_FRAME_END
        buffer = open_buffer(feed, stream.source)
        if buffer == NULL:
            feed.is_out_of_memory = True
            return
        make_packet(&feed.sources[stream.source], stream, marks, feed.datagram_bytes, buffer.data + buffer.used)
        buffer.used += feed.datagram_bytes
        buffer.packets += 1
        feed.packets_in += 1
    stream.bursts += 1


cdef void make_turn(feed_t* feed) noexcept nogil:
    """Frames of the next streams in turn; the link each comes on has its own buffers."""
    cdef int32_t i
    for i in range(feed.buffer_count):
        feed.sources[feed.buffers[i].source].buffer = -1
    feed.buffer_count = 0
    for i in range(feed.bursts_a_turn):
        make_burst(feed, &feed.streams[feed.next_stream])
        feed.next_stream += 1
        if feed.next_stream == feed.stream_count:
            feed.next_stream = 0


# -- the engine's part

cdef void hand_over(
    feed_t* feed, const source_t* source, const uint8_t* data, uint32_t size, uint32_t segment_bytes
) noexcept nogil:
    """One buffer, as socket_io hands over what the kernel gave."""
    cdef datagram_t datagram
    datagram.port = source.port
    datagram.source = source.address
    datagram.arrival_us = feed.now_us
    receive_buffer(feed.worker, data, size, segment_bytes, &datagram, feed.now_us)


cdef void run_engine_turn(feed_t* feed) noexcept nogil:
    """Called through a pointer alone, so that it stays a function which profilers can tell apart."""
    cdef feed_buffer_t* buffer
    cdef int32_t i
    begin_turn(feed.worker, feed.now_us)
    for i in range(feed.buffer_count):
        buffer = &feed.buffers[i]
        hand_over(feed, &feed.sources[buffer.source], buffer.data, buffer.used, feed.datagram_bytes)
    end_turn(feed.worker, feed.now_us)


cdef void run_other_turn(feed_t* feed) noexcept nogil:
    cdef int32_t i
    for i in range(feed.buffer_count):
        feed.other_take(feed.other, feed.buffers[i].data, feed.buffers[i].used, feed.datagram_bytes)
    feed.other_send(feed.other)


cdef int32_t batch_range(int32_t packets) noexcept nogil:
    """0: one packet, 1: two, 2: 3 to 4, .. 6: 33 to 64."""
    cdef int32_t found = 0
    while (1 << found) < packets and found < BATCH_RANGES - 1:
        found += 1
    return found


cdef void feed_transmit(worker_t* worker, const batch_t* batch) noexcept nogil:
    """Count the batch, by its first header's type; send it if that is asked for."""
    cdef feed_t* feed = <feed_t*>worker.transmit_context
    cdef const uint8_t* first = <const uint8_t*>batch.parts[0].iov_base
    if first[0] & 0x0F == <int>TYPE_MEDIA:
        feed.packets_out += <uint64_t>batch.packets
        feed.batches += 1
        feed.batch_ranges[batch_range(batch.packets)] += 1
    else:
        feed.others_out += <uint64_t>batch.packets
    if feed.sends:
        worker.transmit_context = feed.socket_context
        socket_io_transmit(worker, batch)
        worker.transmit_context = feed


cdef void run_turns(feed_t* feed, int64_t turns) noexcept nogil:
    cdef int64_t begin_ns
    while turns > 0 and not feed.is_out_of_memory:
        make_turn(feed)
        feed.now_us = monotonic_us() if feed.turn_us == 0 else feed.now_us + feed.turn_us
        begin_ns = thread_ns()
        feed.engine_turn(feed)
        feed.engine_ns += thread_ns() - begin_ns - feed.clock_ns
        feed.turns += 1
        turns -= 1


@cython.final
@cython.no_gc_clear  # its end needs the engine
cdef class MemoryFeed:  # its attributes are in memory_feed.pxd
    def __cinit__(
        self,
        Engine engine,
        *,
        int packet_bytes=1200,
        int burst=8,
        int bursts_a_turn=8,
        int bursts_a_gop=60,
        int64_t now_us=1000000,
        int64_t turn_us=1000,
        bint sends=False,
    ):
        cdef feed_t* feed = &self.feed
        if not LEAST_RTP_BYTES <= packet_bytes <= MAX_RTP_BYTES:
            raise ValueError(f"packet_bytes is {packet_bytes}; it must be {LEAST_RTP_BYTES} to {MAX_RTP_BYTES}")
        if burst < 1 or bursts_a_turn < 1 or burst > MOST_A_TURN or bursts_a_turn > MOST_A_TURN // burst:
            raise ValueError(f"{burst} packets times {bursts_a_turn} bursts; a turn has 1 to {MOST_A_TURN} packets")
        if bursts_a_gop < 1 or now_us < 1 or turn_us < 0:
            raise ValueError("bursts_a_gop and now_us must be positive, turn_us not negative")
        self.engine = engine
        feed.worker = engine.worker
        feed.datagram_bytes = <uint32_t>packet_bytes + FIB_LEG_BYTES
        feed.burst = burst
        feed.bursts_a_turn = bursts_a_turn
        feed.bursts_a_gop = <uint32_t>bursts_a_gop
        feed.turn_us = turn_us
        feed.now_us = now_us if turn_us > 0 else monotonic_us()
        feed.sends = sends
        feed.engine_turn = run_engine_turn
        feed.clock_ns = clock_cost_ns()
        feed.buffer_limit = burst * bursts_a_turn
        feed.buffers = <feed_buffer_t*>calloc(feed.buffer_limit, sizeof(feed_buffer_t))
        if feed.buffers == NULL:
            raise MemoryError
        engine.go_virtual()  # commands beyond the mailbox's room are applied without a running worker
        self.own_transmit = feed.worker.transmit
        self.own_context = feed.worker.transmit_context
        if sends:
            if socket_io_open(feed.worker) < 0:
                raise OSError("no memory or no epoll for the engine's sockets")
            feed.socket_context = feed.worker.transmit_context
        self.give_back()

    def __dealloc__(self):
        cdef int32_t i
        if self.feed.socket_context != NULL:
            self.feed.worker.transmit_context = self.feed.socket_context
            socket_io_close(self.feed.worker)
            self.give_back()
        if self.feed.buffers != NULL:
            for i in range(self.feed.buffer_limit):
                free(self.feed.buffers[i].data)
        free(self.feed.buffers)
        free(self.feed.sources)
        free(self.feed.streams)

    cdef int take_over(self) except -1:
        """While the feed runs, what the engine sends is the feed's."""
        if self.feed.stream_count == 0:
            raise ValueError("a feed without streams has nothing to make")
        self.feed.worker.transmit_context = &self.feed
        self.feed.worker.transmit = feed_transmit
        return 0

    cdef void give_back(self) noexcept:
        self.feed.worker.transmit = self.own_transmit
        self.feed.worker.transmit_context = self.own_context

    def add_source(self, *, int64_t port, address, bytes key, int64_t first_hop_seq=1):
        cdef feed_t* feed = &self.feed
        cdef source_t* source
        if len(key) != 16 or first_hop_seq < 1:
            raise ValueError("a key has 16 bytes, and hop_seq begins at 1 or later")
        cdef void* grown = realloc(feed.sources, (feed.source_count + 1) * sizeof(source_t))
        if grown == NULL:
            raise MemoryError
        feed.sources = <source_t*>grown
        source = &feed.sources[feed.source_count]
        memset(source, 0, sizeof(source_t))
        address_from_python(address, &source.address)
        memcpy(&source.key, <const uint8_t*>key, 16)
        source.port = <int32_t>(self.engine.ports.check(port) & INDEX_MASK)
        source.hop_seq = <uint64_t>first_hop_seq
        source.buffer = -1
        feed.source_count += 1
        return feed.source_count - 1

    def add_stream(self, *, int source, uint32_t stream_id, uint32_t first_stream_seq=1):
        cdef feed_t* feed = &self.feed
        if not 0 <= source < feed.source_count:
            raise IndexError(f"source {source} is outside 0..{feed.source_count - 1}")
        cdef void* grown = realloc(feed.streams, (feed.stream_count + 1) * sizeof(fed_stream_t))
        if grown == NULL:
            raise MemoryError
        feed.streams = <fed_stream_t*>grown
        feed.streams[feed.stream_count] = fed_stream_t(
            stream_id=stream_id, source=source, stream_seq=first_stream_seq, bursts=0
        )
        feed.stream_count += 1
        return feed.stream_count - 1

    def run(self, int64_t turns):
        if turns < 1:
            raise ValueError(f"turns is {turns}; it must be positive")
        self.take_over()
        try:
            with nogil:
                run_turns(&self.feed, turns)
        finally:
            self.give_back()
        if self.feed.is_out_of_memory:
            raise MemoryError
        self.engine.turned_us = self.feed.now_us
        return self.figures()

    def run_through(self, int64_t turns, *, uintptr_t relay, uintptr_t take, uintptr_t send):
        if turns < 1 or self.feed.stream_count == 0 or relay == 0 or take == 0 or send == 0:
            raise ValueError("turns must be positive, streams be there, and no address be 0")
        self.feed.other = <void*>relay
        self.feed.other_take = <other_take_t>take
        self.feed.other_send = <other_send_t>send
        self.feed.engine_turn = run_other_turn
        with nogil:
            run_turns(&self.feed, turns)
        self.feed.engine_turn = run_engine_turn
        if self.feed.is_out_of_memory:
            raise MemoryError
        return self.figures()

    def figures(self):
        return FeedFigures(
            turns=self.feed.turns,
            packets_in=self.feed.packets_in,
            packets_out=self.feed.packets_out,
            others_out=self.feed.others_out,
            batches=self.feed.batches,
            batch_packets=dict(zip(_RANGE_NAMES, self.feed.batch_ranges, strict=True)),
            engine_ns=self.feed.engine_ns,
        )

    @property
    def now_us(self):
        return self.feed.now_us

    @property
    def engine_turn_address(self):
        return <uintptr_t>self.feed.engine_turn
