# One pair of ports between two nodes, or one viewer's leg.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.address cimport address_t, sockaddr_in6, socklen_t
from fastpath.late cimport late_pool_t, late_queue_t
from fastpath.pacer cimport pacer_t
from fastpath.siphash cimport siphash_key_t

cdef enum:
    REPLAY_WINDOW = 8192         # RFC 6479 shape
    WINDOW_WORDS = 128
    HISTORY_ENTRIES = 8192       # sent hop_seq remembered per link
    MAX_HOLES = 4096             # chosen: 0.1 s of 400 Mbit/s lost whole; asked for in one message
    LATE_CLASSES = 2
    LATE_AUDIO = 0
    LATE_VIDEO = 1
    NODE_LATE_ENTRIES = 1024
    VIEWER_LATE_ENTRIES = 256
    CNAME_BYTES = 16
    DEAD_PROBES = 3              # RFC 5880's detection multiplier
    BURST_US = 5000              # what an idle link may send at once beyond its rate
    SHORTEST_SETTLE_US = 2000    # chosen: two ticks of the wheel
    LONGEST_SETTLE_US = 20000    # chosen: the distance of audio packets
    REPAIR_SHARE = 4             # of what a subscriber is sent, what may be sent again: a quarter
    LOSSY_SHARE = 65536 * 3 // 100 # chosen
    LEAST_CREDIT_BYTES = 65536   # and at once: a short burst of a link that has sent little so far
    MAX_DEBT_US = 500000         # libwebrtc kMaxDebtInTime: what was sent unasked holds video back no longer
    ARRIVALS_KEPT = 2048         # times of arrival that may still have to be told
    KEY_SHIFT = 11               # MARK_KEY above any size: packets of key frames have a price of their own

cdef enum HistoryKind:
    SENT_NOTHING
    SENT_MEDIA
    SENT_REPAIR                  # a copy of `repairs`
    SENT_OTHER                   # probe, report, control: never sent again

cdef enum SentTrait:
    SENT_AUDIO = 1
    SENT_DOUBLED = 2             # sent again twice within a round trip

ctypedef struct history_t:
    uint64_t hop_seq
    uint64_t repairs
    int64_t sent_us
    int64_t resent_us            # of the original
    int32_t stream
    uint32_t stream_generation
    uint32_t stream_seq
    uint16_t bytes               # on the wire; 0: its fate has been told to the controller
    uint8_t kind
    uint8_t traits               # SentTrait

ctypedef struct hole_t:
    uint64_t hop_seq
    int64_t seen_us
    int64_t next_request_us
    int32_t requests

ctypedef struct loss_t:          # what a node link knows of its losses
    # of what comes
    int64_t lateness_us          # how late reordered packets were, the latest of the last few
    int64_t deadline_us          # the longest of the streams that come, or came, on it
    uint64_t repaired_late       # after their playout
    # of what it sends
    int64_t probed_us            # when the last probe left
    uint64_t asked_from          # numbers after this one are counted in `asked`
    uint32_t asked               # of these, asked for
    uint32_t asked_share         # of the numbers before, in 1/65,536
    uint64_t resend_expired
    uint64_t resent_twice

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
    uint16_t charged_as          # the last packet's size, and whether of a key frame; its price: most are like it
    uint8_t is_controlled        # has a pacer
    uint8_t has_copies           # of its cursors, one is or was a copy
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
    int64_t last_sent_us         # media
    int64_t next_probe_us        # or when it is to be seen whether one is due
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
    int16_t hole_count
    uint8_t tells_arrivals       # the peer wants to know when its packets come (fastpath/arrivals_report)
    uint8_t apart_of_fourth[1]
    # what a packet rarely needs
    sockaddr_in6 address         # of either family; its own line with what follows: the kernel reads it per batch
    int32_t first_cursor
    int32_t cursor_count
    int64_t rate_bps             # configured: no more than this, whatever the controller says
    int64_t target_bps           # what media may take
    int64_t pacing_bps           # what is charged for a packet
    int64_t key_pacing_bps       # and for one of a key frame
    pacer_t* pacer               # NULL: the rate is fixed
    hole_t* holes
    # what is told of arrivals
    uint32_t* arrivals           # ARRIVALS_KEPT, by number, in units of fastpath/arrivals_report
    uint64_t told_from           # what the next report begins with: each number is said twice
    uint64_t told_to             # behind the newest that was said
    int64_t next_arrivals_us     # -1: nothing to tell
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
    loss_t* loss                 # of a node link
    int64_t repair_credit        # bytes that may be sent again now
    uint64_t credited_bytes      # of sent_bytes, what the credit was given for
    uint64_t resend_refused      # for want of credit; ten lines in all

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
cdef bint link_may_repair(link_t* link, uint32_t bytes) noexcept nogil


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
    """The entry of a number that leaves now; the caller says what it is, and its bytes."""
    cdef history_t* entry = &link.history[hop_seq & (HISTORY_ENTRIES - 1)]
    cdef int64_t keep_us = 4 * link.rtt_us if link.rtt_us > 250000 else 1000000
    # Kept for max(1 s, 4 RTT); a younger one that must leave is counted.
    if entry.kind != SENT_NOTHING and now_us - entry.sent_us < keep_us:
        link.history_evicted += 1
    entry.hop_seq = hop_seq
    entry.repairs = 0
    entry.sent_us = now_us
    entry.resent_us = -1
    entry.traits = 0
    entry.kind = kind
    return entry


cdef inline bint link_may_send(link_t* link, int64_t now_us) noexcept nogil:
    """Has what was sent so far left at the link's rate? Idle time is credited up to BURST_US."""
    cdef int64_t now_ns = now_us * 1000
    cdef int64_t earliest_ns = now_ns - <int64_t>BURST_US * 1000
    if link.free_at_ns < earliest_ns:
        link.free_at_ns = earliest_ns
    return link.free_at_ns <= now_ns


cdef inline void link_set_rate(link_t* link, int64_t rate_bps) noexcept nogil:
    """Of a link without a pacer; fastpath/pacing sets the others'."""
    link.rate_bps = rate_bps
    link.target_bps = rate_bps
    link.pacing_bps = rate_bps
    link.key_pacing_bps = rate_bps
    link.charged_as = 0          # its price was another


cdef inline int64_t link_media_bps(const link_t* link) noexcept nogil:
    """What may be sent on the link in the long run: by it is decided what to drop and when to switch."""
    return link.target_bps


cdef inline void link_charge_media(link_t* link, uint32_t wire_bytes, uint8_t key_mark) noexcept nogil:
    """key_mark: MARK_KEY for a packet of a video key frame, else 0."""
    cdef uint32_t priced_as = wire_bytes | (<uint32_t>key_mark << KEY_SHIFT)
    if priced_as != link.charged_as:
        link.charged_as = <uint16_t>priced_as
        link.charged_ns = <int64_t>wire_bytes * 8000 * 1000000 // (
            link.key_pacing_bps if key_mark else link.pacing_bps
        )
    link.free_at_ns += link.charged_ns
    link.sent_packets += 1
    link.sent_bytes += wire_bytes


cdef inline void link_charge(link_t* link, uint32_t wire_bytes) noexcept nogil:
    link_charge_media(link, wire_bytes, 0)


cdef inline void link_limit_debt(link_t* link, int64_t now_us) noexcept nogil:
    """Audio and messages are charged though they do not wait: video waits for them, but not for ever."""
    if link.free_at_ns > (now_us + MAX_DEBT_US) * 1000:
        link.free_at_ns = (now_us + MAX_DEBT_US) * 1000


cdef inline int64_t link_dead_at_us(const link_t* link, int64_t probe_interval_us) noexcept nogil:
    """When a link that is up is down unless something authentic comes: three probes missed, and some
    time for the third to be late."""
    return link.last_received_us + DEAD_PROBES * probe_interval_us + probe_interval_us * 2 // 5


cdef inline bint link_accept_next(link_t* link, uint64_t hop_seq) noexcept nogil:
    """Set the bit of an authenticated number, if it is the next, as is usual; else False."""
    if hop_seq != link.highest + 1:
        return False
    link.highest = hop_seq
    link.window[(hop_seq & (REPLAY_WINDOW - 1)) >> 6] |= <uint64_t>1 << (hop_seq & 63)
    return True


cdef inline bint link_is_lossy(const link_t* link) noexcept nogil:
    """Of a node link: does it lose so much that three losses of one packet are no rarity?"""
    return link.loss.asked_share >= LOSSY_SHARE


cdef inline int64_t link_settle_us(const link_t* link) noexcept nogil:
    """How long something is given to show by itself: a sixteenth of a round trip, which is all that
    waiting adds to a repair."""
    cdef int64_t settle_us = link.rtt_us >> 4
    if settle_us > LONGEST_SETTLE_US or link.rtt_us == 0:
        return LONGEST_SETTLE_US
    return settle_us if settle_us > SHORTEST_SETTLE_US else SHORTEST_SETTLE_US
