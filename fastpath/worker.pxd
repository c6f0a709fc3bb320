# A worker's memory: everything one native thread owns.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.address cimport address_equal, address_hash, address_t, sockaddr_storage, socklen_t
from fastpath.age_heap cimport age_heap_t
from fastpath.cursor cimport cursor_t
from fastpath.encoder_loss cimport encoder_loss_t
from fastpath.histogram cimport histogram_t
from fastpath.late cimport late_pool_t, late_t
from fastpath.link cimport link_t
from fastpath.mailbox cimport mailbox_t, message_t
from fastpath.media_clock cimport media_clock_t
from fastpath.numbering cimport numbering_t
from fastpath.overload cimport overload_t
from fastpath.ring cimport ring_pool_t, ring_t, slot_t
from fastpath.shared_counter cimport add_to_counter
from fastpath.siphash cimport covered_t, siphash_key_t
from fastpath.slab cimport NO_BLOCK, slab_t, slab_take
from fastpath.spans cimport span_pool_t
from fastpath.verdict cimport VERDICT_COUNT
from fastpath.wheel cimport wheel_t
from rtp.payload.codec cimport codec_state_t, codec_t
from rtp.payload.dependency cimport dependency_state_t

cdef extern from "<sys/uio.h>" nogil:
    cdef struct iovec:
        void* iov_base
        size_t iov_len

cdef enum:
    EARLY_PACKETS = 1024         # media that came before its stream was known
    EARLY_AGE_US = 1000000
    BATCH_SEGMENTS = 64          # kernel's limit of UDP_SEGMENT
    BATCH_PARTS = 128            # a viewer packet has two
    LONG_HEADER_BYTES = 88       # RTP: 12, at most 15 CSRCs, 12 of our extensions, 2 of RTX
    BATCH_SIZES = 7              # classes of packets a batch: 1, 2, 3-4, 5-8, ... 33-64
    BATCH_BYTES = 65000          # and of one datagram, with room for headers
    FALLBACK_HUGE_PAGES = 8      # of worker_t.fallbacks; the others are in fastpath/socket_io.pxd
    RECENT_WAYS = 4              # places in a set of worker_t.recently
    LEAST_RECENT_SETS = 1024
    QUANTUM_BYTES = 16384        # deficit round robin: long enough for a batch of 13 large packets

cdef enum PortState:
    PORT_CLOSED
    PORT_OPEN

cdef enum:                       # values of fastpath.engine.PortKind and Media; Codec: rtp/payload/codec.pxd
    PORT_OVERLAY = 0
    PORT_INGEST = 1
    PORT_VIEWER = 2
    PORT_INGEST_RTCP = 3
    MEDIA_AUDIO = 1
    MEDIA_VIDEO = 2
    TRACKS_OF_PORT = 4           # payload types that share a socket: audio, video, and as many again
    TRANSPORT_SEEN = 512         # transport numbers remembered: more than a report tells
    PARAMETER_SET_BYTES = 512    # a packet of (VPS,) SPS and PPS; usual ones take 40 to 100

ctypedef struct ingest_t:        # one track on an ingest port, told apart by its payload type
    int32_t stream               # NOBODY: unassigned
    uint8_t codec
    const codec_t* does          # what it can do
    codec_state_t state          # what its packets' marks depend on
    uint8_t dependency_id        # of the header extension that tells dependencies; 0: none
    dependency_state_t dependencies
    uint8_t payload_type
    uint8_t transport_cc_id      # of the header extension that numbers its packets; 0: none does
    bint is_locked
    uint32_t ssrc
    uint32_t other_ssrc          # a newcomer, believed after its second packet
    int64_t last_us
    numbering_t numbering
    int64_t longest_gap_us       # between its packets, slowly forgotten
    uint32_t timestamp_shift     # RTP time of the stream = the encoder's + this
    uint32_t newest_timestamp    # of the stream, and when its packet came
    int64_t newest_us
    uint32_t last_timestamp
    uint32_t key_timestamp       # of the newest access unit with key content
    uint64_t key_number          # its packet that came first
    bint has_key
    bint asks_again              # for what does not come, with NACK
    uint8_t rtx_payload_type     # in which that may come (RFC 4588); 0: none
    encoder_loss_t loss
    uint16_t parameter_set_bytes # 0: none configured
    uint8_t parameter_sets[PARAMETER_SET_BYTES]
    # the encoder's clock
    media_clock_t arrivals       # RTP time against arrival, from the packets that came soonest
    bint has_report
    bint uses_report
    uint64_t report_ntp          # newest sender report
    uint32_t report_timestamp
    int64_t report_at_us
    uint64_t ntp_shift           # from the encoder's NTP time to this node's
    # RTCP to it
    address_t source             # of its RTP
    address_t rtcp_source
    int32_t rtcp_port            # the port its RTCP comes to; NOBODY: none came
    bint has_rtcp_to
    address_t rtcp_to            # configured
    int64_t next_report_us
    # reception statistics (RFC 3550 A.3, A.8)
    uint64_t received
    uint64_t expected
    uint64_t received_before
    uint64_t expected_before
    int64_t transit_us
    int64_t jitter_us

ctypedef struct early_report_t:  # a sender report that came before its SSRC's first packet
    uint32_t ssrc                # 0: none
    uint32_t timestamp
    uint64_t ntp
    int64_t arrival_us
    int32_t port
    address_t source

ctypedef struct seen_t:          # when a transport number came
    uint32_t number
    bint is_set
    int64_t arrival_us

ctypedef struct transport_seen_t:  # of encoders that want to know (fastpath/transport_report)
    uint64_t highest             # extended; 0: none came
    uint64_t told_to             # behind the newest that was told
    int64_t next_us
    uint8_t reports
    seen_t entries[TRANSPORT_SEEN]

ctypedef struct port_t:
    uint32_t generation
    uint8_t state
    uint8_t kind
    int32_t fd
    int32_t partner              # INGEST_RTCP: the RTP port it belongs to
    int32_t track_count
    ingest_t tracks[TRACKS_OF_PORT]
    early_report_t early_reports[TRACKS_OF_PORT]
    uint32_t early_report_count
    transport_seen_t seen
    uint32_t dropped             # by the kernel, as last read
    uint8_t batches              # taken since

ctypedef struct shed_t:          # of a video stream under overload (fastpath/shed)
    uint32_t first               # first packet that was shed
    uint32_t newest
    uint32_t resumed             # the key frame it went on at

# A packet needs its first three lines: whose it is, the ring, counters.
ctypedef struct stream_t:
    uint32_t generation
    uint8_t is_used
    uint8_t is_dirty             # got packets in this turn
    uint8_t media
    uint8_t has_started
    uint32_t stream_id
    int32_t next_in_bucket
    int32_t upstream             # link, or NOBODY for an ingest
    int32_t second_upstream      # link that may deliver it as well, while one takes over; or NOBODY
    int32_t awaited              # link whose first packet is to be told of; or NOBODY
    int32_t first_cursor
    uint32_t clock_rate          # of its RTP timestamps, Hz
    uint8_t wants_key            # a key frame is to be asked for at the end of the turn, until one comes
    uint8_t is_aged[2]           # stands in the heap of those that small, large blocks are taken from
    uint8_t shed_state           # 0: nothing of it is, or was lately, shed
    int64_t last_packet_us
    int64_t delay_us             # smoothed
    uint64_t key_frames_before   # that it had when a key frame was first wanted
    ring_t ring
    uint64_t packets
    uint64_t bytes
    # what a packet does not need
    uint32_t group               # tracks of one broadcast share it; 0: alone
    int32_t ingest_port          # and its track, for an ingest; else NOBODY
    int32_t ingest_track
    int32_t subscribers
    int32_t awaited_by           # cursors that are to go on with it (fastpath/switch)
    media_clock_t clock
    int64_t key_asked_us
    uint64_t keys_asked
    uint64_t duplicates
    uint64_t late
    uint64_t too_old
    uint64_t gone
    uint64_t restarts
    shed_t shed
    uint32_t deadline_us         # a packet that comes later than this after those that follow it is of no use
    uint64_t copies              # packets that the second path brought first
    uint64_t copies_confirmed    # of these, the first path brought as well, unasked; five lines in all

ctypedef struct resent_t:        # to a viewer: once per round trip
    uint32_t cursor              # low bits of its handle
    uint32_t number              # RTP sequence number
    int64_t at_us

ctypedef struct early_t:
    uint32_t block
    uint32_t stream_id
    uint32_t stream_seq
    int32_t link
    uint16_t size
    uint16_t delay
    uint8_t marks
    uint8_t flags
    uint8_t hop_limit
    int64_t arrival_us

ctypedef struct batch_t:         # packets to one destination that leave in one system call
    int32_t port
    const sockaddr_storage* address
    socklen_t address_bytes
    int32_t packets
    int32_t pieces
    uint32_t segment_bytes
    uint32_t total_bytes
    uint32_t serial
    bint is_closed               # a shorter segment ends it
    iovec parts[BATCH_PARTS]
    const siphash_key_t* key     # the link's, for the tags that are made when the batch leaves
    int32_t untagged
    covered_t covered[BATCH_SEGMENTS]
    uint8_t rtp_headers[BATCH_SEGMENTS][12]
    uint8_t long_headers[BATCH_SEGMENTS][LONG_HEADER_BYTES]  # with extensions, or of what is sent again as RTX

cdef struct worker_t
ctypedef void (*transmit_t)(worker_t* worker, const batch_t* batch) noexcept nogil

cdef struct worker_t:
    # tables
    port_t* ports
    link_t* links
    stream_t* streams
    cursor_t* cursors
    early_t* early
    int32_t port_count
    int32_t link_count
    int32_t node_link_count      # they come first
    int32_t stream_count
    int32_t cursor_count
    uint32_t early_written
    uint32_t early_read
    uint32_t early_held          # of those between, not yet taken
    int32_t* stream_buckets      # stream_id -> stream
    uint32_t stream_bucket_mask
    int32_t* peer_table          # address -> node link, open addressing
    uint32_t peer_mask
    uint32_t peers_version       # of that table: what was found before it changed is looked up again
    int64_t stranger_tokens_us   # HELLOs from unknown addresses that are looked at
    slab_t slab
    ring_pool_t rings
    age_heap_t oldest[2]         # streams by their oldest packet: where small, large blocks come from
    late_pool_t late
    span_pool_t spans            # what viewers were sent before they skipped something
    resent_t* recently           # what viewers asked for and got, for a round trip: sets of a cache line
    uint32_t recently_mask       # of sets
    wheel_t wheel
    int32_t* ready_links         # to be drained in this turn
    int32_t ready_count
    int32_t round_left           # the first so many are seen to before more is taken in
    int32_t* dirty_streams
    int32_t dirty_count
    batch_t batch
    uint8_t scratch[2048]        # a control packet in the making
    uint8_t fragment[2048]       # a piece of a packet too large for a link
    size_t pacer_bytes           # of all controlled links
    int32_t* viewer_ssrcs        # SSRC -> viewer cursor
    int32_t* viewer_addresses    # address -> viewer cursor
    uint32_t viewer_mask
    # boxes
    mailbox_t commands
    mailbox_t events
    # settings
    uint32_t node_id
    uint64_t ntp_offset          # NTP time at time 0 of this worker's clock
    bint repair
    int64_t repair_scan_us
    bint repair_early
    int64_t reorder_us
    int64_t repair_deadline_us   # of a stream that says nothing else
    int64_t probe_interval_us
    int64_t max_lag_us           # of a viewer; 0: nothing is dropped
    int64_t max_lag_bytes
    int start_at                 # StartAt
    bint use_gro
    bint use_gso
    int64_t spin_us              # longest wait awake for the next packet; 0: none
    bint use_timerfd
    # sending
    transmit_t transmit
    void* transmit_context
    int32_t epoll
    int32_t stop
    int64_t turn_us              # when this turn began
    bint is_running
    uint8_t fallbacks            # bits: 1 gro, 2 gso, 4 timestamps, 8 huge pages
    int huge_refused             # errno
    uint64_t counters[VERDICT_COUNT]
    overload_t overload
    histogram_t* delays          # of each node link, then one for all viewers
    uint64_t batch_sizes[BATCH_SIZES]

ctypedef struct datagram_t:      # borrowed for one call
    const uint8_t* data
    uint32_t size
    int32_t port
    address_t source
    int64_t arrival_us

cdef void index_stream(worker_t* worker, int32_t stream) noexcept nogil
cdef void unindex_stream(worker_t* worker, int32_t stream) noexcept nogil
cdef void rebuild_peers(worker_t* worker) noexcept nogil
cdef void index_viewer(worker_t* worker, int32_t cursor) noexcept nogil
cdef void unindex_viewer(worker_t* worker, int32_t cursor) noexcept nogil
cdef int32_t first_viewer_of(const worker_t* worker, uint32_t ssrc) noexcept nogil
cdef int32_t first_viewer_at(const worker_t* worker, const address_t* address) noexcept nogil
cdef int32_t find_stranger(const worker_t* worker, uint32_t node_id, int32_t port) noexcept nogil
cdef message_t* new_event(worker_t* worker, uint32_t kind) noexcept nogil
cdef void post_event(worker_t* worker, uint32_t kind, int64_t handle) noexcept nogil
cdef void want_key_frame(worker_t* worker, int32_t stream) noexcept nogil
cdef void want_lost_gop(worker_t* worker, int32_t stream, uint64_t overwritten) noexcept nogil
cdef void note_age(worker_t* worker, int32_t stream) noexcept nogil
cdef bint push_late(worker_t* worker, int32_t link, int which, const late_t* late) noexcept nogil
cdef uint32_t take_block(worker_t* worker, uint32_t payload_bytes) noexcept nogil


cdef inline uint32_t spread(uint32_t stream_id) noexcept nogil:
    return stream_id * 2654435769u  # Fibonacci hashing; ids are random already


cdef inline void count(worker_t* worker, int verdict) noexcept nogil:
    add_to_counter(&worker.counters[verdict], 1)


cdef inline void count_many(worker_t* worker, int verdict, uint64_t number) noexcept nogil:
    add_to_counter(&worker.counters[verdict], number)


cdef inline stream_t* find_stream(worker_t* worker, uint32_t stream_id) noexcept nogil:
    """The Stream FIB: id -> stream with its ring and cursors; NULL if unknown."""
    cdef int32_t at = worker.stream_buckets[spread(stream_id) & worker.stream_bucket_mask]
    while at >= 0:
        if worker.streams[at].stream_id == stream_id:
            return &worker.streams[at]
        at = worker.streams[at].next_in_bucket
    return NULL


cdef inline bint comes_from(const stream_t* stream, int32_t link) noexcept nogil:
    """May this link deliver the stream? For an ingest no link may."""
    return stream.upstream == link or stream.second_upstream == link


cdef inline int32_t find_peer(const worker_t* worker, const address_t* address, int32_t port) noexcept nogil:
    """The node link whose peer sends from this address to this port, or -1."""
    cdef uint32_t at = address_hash(address) & worker.peer_mask
    cdef int32_t link = worker.peer_table[at]
    while link >= 0:
        if worker.links[link].port == port and (
            address_equal(&worker.links[link].peer, address)
            or (worker.links[link].candidate_until_us != 0 and address_equal(&worker.links[link].candidate, address))
        ):
            return link
        at = (at + 1) & worker.peer_mask
        link = worker.peer_table[at]
    return -1


cdef inline void mark_ready(worker_t* worker, int32_t link) noexcept nogil:
    if not worker.links[link].is_ready:
        worker.links[link].is_ready = True
        worker.ready_links[worker.ready_count] = link
        worker.ready_count += 1


cdef inline void mark_dirty(worker_t* worker, int32_t stream) noexcept nogil:
    if not worker.streams[stream].is_dirty:
        worker.streams[stream].is_dirty = True
        worker.dirty_streams[worker.dirty_count] = stream
        worker.dirty_count += 1


cdef inline int64_t stream_handle(const worker_t* worker, int32_t stream) noexcept nogil:
    return (<int64_t>worker.streams[stream].generation << 20) | stream


cdef inline int64_t link_handle(const worker_t* worker, int32_t link) noexcept nogil:
    return (<int64_t>worker.links[link].generation << 20) | link


cdef inline uint32_t get_block(worker_t* worker, uint32_t payload_bytes) noexcept nogil:
    """A block, or NO_BLOCK; usually one is free."""
    cdef uint32_t block = slab_take(&worker.slab, payload_bytes)
    return block if block != NO_BLOCK else take_block(worker, payload_bytes)
