# One pair of ports between two nodes, or one viewer's leg.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.address cimport address_t, sockaddr_in6, socklen_t
from fastpath.late cimport late_pool_t, late_queue_t
from fastpath.siphash cimport siphash_key_t

cdef enum:
    REPLAY_WINDOW = 8192         # RFC 6479 shape
    WINDOW_WORDS = 128
    HISTORY_ENTRIES = 8192       # sent hop_seq remembered per link
    MAX_HOLES = 1024             # libwebrtc bounds its NACK list alike
    LATE_CLASSES = 2
    LATE_AUDIO = 0
    LATE_VIDEO = 1
    NODE_LATE_ENTRIES = 1024
    VIEWER_LATE_ENTRIES = 256
    CNAME_BYTES = 16
    DEAD_PROBES = 3              # RFC 5880's detection multiplier
    BURST_US = 5000              # what an idle link may send at once beyond its rate

cdef enum HistoryKind:
    SENT_NOTHING
    SENT_MEDIA
    SENT_REPAIR                  # a copy of `repairs`
    SENT_OTHER                   # probe, report, control: never sent again

ctypedef struct history_t:
    uint64_t hop_seq
    uint64_t repairs
    int64_t sent_us
    int64_t resent_us            # of the original
    int32_t stream
    uint32_t stream_generation
    uint32_t stream_seq
    uint8_t kind
    uint8_t is_audio

ctypedef struct hole_t:
    uint64_t hop_seq
    int64_t seen_us
    int64_t next_request_us
    int32_t requests

ctypedef struct queue_t:         # cursors with something to send, in turn
    int32_t first
    int32_t last

ctypedef struct key_pair_t:
    bint is_set
    siphash_key_t receive
    siphash_key_t send

# By what touches it, in cache lines (tests/fastpath/test_footprint.py): a packet to a viewer needs
# two, one to a node these and the third, one from a node the second and the fourth.
ctypedef struct link_t:
    # what waits, and when it may leave
    uint32_t generation
    uint8_t is_used
    uint8_t is_viewer
    uint8_t is_up
    uint8_t is_ready             # stands in the worker's list of links to drain
    queue_t queues[LATE_CLASSES] # cursors: audio, video
    late_queue_t late[LATE_CLASSES]
    uint16_t late_count[LATE_CLASSES]
    uint32_t charged_bytes       # the last packet's size and price at this rate: most have its size
    int64_t free_at_ns           # when what was sent has left at the link's rate
    int64_t charged_ns
    # keys, what has left
    uint64_t sent_packets
    uint64_t sent_bytes
    int64_t resume_us            # of the first of its paused cursors; -1: none is
    key_pair_t keys
    # sending to a node
    uint64_t hop_seq             # last used
    history_t* history
    int64_t last_sent_us
    int64_t next_probe_us
    int64_t rtt_us               # 0: not measured
    int64_t next_repair_us       # -1: no hole
    int64_t last_received_us
    int32_t port
    socklen_t address_bytes
    # receiving
    uint64_t highest             # newest hop_seq accepted
    uint64_t* window             # WINDOW_WORDS
    uint64_t received_packets
    uint64_t received_bytes
    int64_t candidate_until_us   # 0: no candidate
    address_t peer
    int32_t hole_count
    # what a packet rarely needs
    sockaddr_in6 address         # of either family; its own line with what follows: the kernel reads it per batch
    int32_t first_cursor
    int64_t rate_bps
    hole_t* holes
    key_pair_t offered
    uint8_t sends_offered        # no keys yet: the offered ones are used for sending
    uint64_t first_hop_seq       # of what is sent under the offered keys, and of what is received
    uint64_t peer_first_hop_seq
    # Where an authentic HELLO came from that is not `peer`: believed once a packet verifies there.
    address_t candidate
    int32_t peer_node
    siphash_key_t hello_key
    int64_t hello_tokens_us
    uint64_t peer_probe_us       # newest probe's send time, to echo
    int64_t peer_probe_at_us
    uint8_t cname[CNAME_BYTES]   # of a viewer's sender reports
    # counters
    uint64_t lost
    uint64_t reordered
    uint64_t repaired
    uint64_t voided
    uint64_t gone
    uint64_t given_up
    uint64_t requests_sent
    uint64_t resent
    uint64_t resend_suppressed
    uint64_t history_evicted
    uint32_t unchecked_seen      # what of overload_t.unchecked is accounted for
    uint8_t apart[40]            # nine lines in all

cdef int link_open(link_t* link, bint is_viewer) noexcept nogil
cdef void link_close(link_t* link, late_pool_t* pool) noexcept nogil
cdef void link_accept_out_of_order(
    link_t* link, uint64_t hop_seq, int64_t now_us, int64_t first_request_us
) noexcept nogil
cdef void link_number_anew(link_t* link) noexcept nogil
cdef void link_take_offered(link_t* link, late_pool_t* pool) noexcept nogil
cdef history_t* link_recall(link_t* link, uint64_t hop_seq) noexcept nogil
cdef hole_t* link_hole(link_t* link, uint64_t hop_seq) noexcept nogil
cdef void link_close_hole(link_t* link, hole_t* hole) noexcept nogil
cdef void link_on_rtt(link_t* link, int64_t sample_us) noexcept nogil


cdef inline uint64_t link_unwrap(const link_t* link, uint32_t hop_seq) noexcept nogil:
    """The 64-bit number nearest to the newest one accepted; 0 for one before the first."""
    cdef int64_t step = <int32_t>(hop_seq - <uint32_t>link.highest)
    if step < 0 and <uint64_t>(-step) > link.highest:
        return 0
    return link.highest + <uint64_t>step


cdef inline bint link_before_window(const link_t* link, uint64_t hop_seq) noexcept nogil:
    return hop_seq == 0 or hop_seq + REPLAY_WINDOW <= link.highest


cdef inline bint link_was_seen(const link_t* link, uint64_t hop_seq) noexcept nogil:
    if hop_seq > link.highest:
        return False
    return (link.window[(hop_seq & (REPLAY_WINDOW - 1)) >> 6] >> (hop_seq & 63)) & 1


cdef inline const siphash_key_t* link_send_key(const link_t* link) noexcept nogil:
    if link.keys.is_set:
        return &link.keys.send
    if link.sends_offered:
        return &link.offered.send
    return NULL


cdef inline uint64_t link_next_hop_seq(link_t* link) noexcept nogil:
    link.hop_seq += 1
    return link.hop_seq


cdef inline history_t* link_remember(link_t* link, uint64_t hop_seq, uint8_t kind, int64_t now_us) noexcept nogil:
    cdef history_t* entry = &link.history[hop_seq & (HISTORY_ENTRIES - 1)]
    cdef int64_t keep_us = 4 * link.rtt_us if link.rtt_us > 250000 else 1000000
    # Kept for max(1 s, 4 RTT); a younger one that must leave is counted.
    if entry.kind != SENT_NOTHING and now_us - entry.sent_us < keep_us:
        link.history_evicted += 1
    entry.hop_seq = hop_seq
    entry.repairs = 0
    entry.sent_us = now_us
    entry.resent_us = -1
    entry.kind = kind
    return entry


cdef inline bint link_may_send(link_t* link, int64_t now_us) noexcept nogil:
    """Has what was sent so far left at the link's rate? Idle time is credited up to BURST_US."""
    cdef int64_t now_ns = now_us * 1000
    cdef int64_t earliest_ns = now_ns - <int64_t>BURST_US * 1000
    if link.free_at_ns < earliest_ns:
        link.free_at_ns = earliest_ns
    return link.free_at_ns <= now_ns


cdef inline int64_t link_media_bps(const link_t* link) noexcept nogil:
    """What the link can carry of media: what decides about dropping and about versions."""
    return link.rate_bps


cdef inline void link_set_rate(link_t* link, int64_t rate_bps) noexcept nogil:
    link.rate_bps = rate_bps
    link.charged_bytes = 0       # its price was another


cdef inline void link_charge(link_t* link, uint32_t wire_bytes) noexcept nogil:
    if wire_bytes != link.charged_bytes:
        link.charged_bytes = wire_bytes
        link.charged_ns = <int64_t>wire_bytes * 8000 * 1000000 // link.rate_bps
    link.free_at_ns += link.charged_ns
    link.sent_packets += 1
    link.sent_bytes += wire_bytes


cdef inline int64_t link_dead_at_us(const link_t* link, int64_t probe_interval_us) noexcept nogil:
    """When a link that is up is down unless something authentic comes: three probes missed, and some
    time for the third to be late."""
    return link.last_received_us + DEAD_PROBES * probe_interval_us + probe_interval_us * 2 // 5


cdef inline void link_accept(link_t* link, uint64_t hop_seq, int64_t now_us, int64_t first_request_us) noexcept nogil:
    """Set the bit of an authenticated number. The usual one is the next."""
    if hop_seq != link.highest + 1:
        link_accept_out_of_order(link, hop_seq, now_us, first_request_us)
        return
    link.highest = hop_seq
    link.window[(hop_seq & (REPLAY_WINDOW - 1)) >> 6] |= <uint64_t>1 << (hop_seq & 63)
