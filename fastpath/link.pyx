"""A link: one pair of ports. `hop_seq`, keys, replay window, holes, sent history and budget.

The replay window follows RFC 6479: a bitmap that `highest` slides over. A number skipped when
`highest` moves is a hole: a loss on this link until it is filled (fastpath/repair).
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memmove, memset
from fastpath.late cimport late_drop_answers, late_pop, late_pool_t, late_t


cdef int link_open(link_t* link, bint is_viewer) noexcept nogil:
    """Zeroed state; node links also get a window, holes and history. A viewer's allocates nothing."""
    cdef uint32_t generation = link.generation
    cdef uint8_t is_ready = link.is_ready
    cdef int i
    memset(link, 0, sizeof(link_t))
    link.generation = generation
    link.is_ready = is_ready  # may stand in the worker's list since before it was closed
    link.is_used = True
    link.is_viewer = is_viewer
    link.port = -1
    link.first_cursor = -1
    link.next_repair_us = -1
    link.last_received_us = -1
    link.resume_us = -1
    link.next_arrivals_us = -1
    for i in range(LATE_CLASSES):
        link.queues[i].first = -1
        link.queues[i].last = -1
        link.late[i].first = -1
        link.late[i].last = -1
    if is_viewer:
        return 0
    link.window = <uint64_t*>calloc(WINDOW_WORDS, sizeof(uint64_t))
    link.holes = <hole_t*>calloc(MAX_HOLES, sizeof(hole_t))
    link.history = <history_t*>calloc(HISTORY_ENTRIES, sizeof(history_t))
    link.arrivals = <uint32_t*>calloc(ARRIVALS_KEPT, sizeof(uint32_t))
    if link.window == NULL or link.holes == NULL or link.history == NULL or link.arrivals == NULL:
        return -1
    return 0


cdef void link_close(link_t* link, late_pool_t* pool) noexcept nogil:
    cdef late_t dropped
    cdef int i
    for i in range(LATE_CLASSES):
        while link.late[i].first >= 0:
            late_pop(pool, &link.late[i], &dropped)
    free(link.window)
    free(link.holes)
    free(link.history)
    free(link.arrivals)
    link.window = NULL
    link.holes = NULL
    link.history = NULL
    link.arrivals = NULL
    if link.pacer != NULL:
        free(link.pacer.transport)
        free(link.pacer)
        link.pacer = NULL
        link.is_controlled = False
    link.is_used = False
    link.generation += 1


cdef void add_hole(link_t* link, uint64_t hop_seq, int64_t now_us, int64_t first_request_us) noexcept nogil:
    """Holes are in rising order of hop_seq. The oldest gives way when the list is full."""
    cdef hole_t* hole
    if link.hole_count == MAX_HOLES:
        link.given_up += 1
        link.lost += 1
        link.hole_count -= 1
        memmove(link.holes, link.holes + 1, link.hole_count * sizeof(hole_t))
    hole = &link.holes[link.hole_count]
    hole.hop_seq = hop_seq
    hole.seen_us = now_us
    hole.next_request_us = first_request_us
    hole.requests = 0
    link.hole_count += 1
    if link.next_repair_us < 0 or first_request_us < link.next_repair_us:
        link.next_repair_us = first_request_us


cdef void link_accept_out_of_order(
    link_t* link, uint64_t hop_seq, int64_t now_us, int64_t first_request_us
) noexcept nogil:
    """link_accept of any number: open a hole for each one skipped, close one that is filled."""
    cdef uint64_t at
    cdef uint64_t skipped
    cdef hole_t* hole
    if hop_seq > link.highest:
        skipped = hop_seq - link.highest - 1
        if skipped >= REPLAY_WINDOW:
            memset(link.window, 0, WINDOW_WORDS * sizeof(uint64_t))
            link.given_up += skipped - MAX_HOLES
            link.lost += skipped - MAX_HOLES
        at = link.highest + 1
        if skipped > MAX_HOLES:
            if skipped < REPLAY_WINDOW:
                link.given_up += skipped - MAX_HOLES
                link.lost += skipped - MAX_HOLES
                while at < hop_seq - MAX_HOLES:
                    link.window[(at & (REPLAY_WINDOW - 1)) >> 6] &= ~(<uint64_t>1 << (at & 63))
                    at += 1
            at = hop_seq - MAX_HOLES
        while at < hop_seq:
            link.window[(at & (REPLAY_WINDOW - 1)) >> 6] &= ~(<uint64_t>1 << (at & 63))
            add_hole(link, at, now_us, first_request_us)
            at += 1
        link.highest = hop_seq
    else:
        hole = link_hole(link, hop_seq)
        if hole != NULL:
            link.reordered += 1
            link_close_hole(link, hole)
    link.window[(hop_seq & (REPLAY_WINDOW - 1)) >> 6] |= <uint64_t>1 << (hop_seq & 63)


cdef void link_number_anew(link_t* link) noexcept nogil:
    """Another sending key: its numbers start anew, and what the old ones carried is forgotten."""
    link.hop_seq = link.first_hop_seq - 1
    memset(link.history, 0, HISTORY_ENTRIES * sizeof(history_t))


cdef void link_take_offered(link_t* link, late_pool_t* pool) noexcept nogil:
    """A packet verified under the offered keys: they are the link's now, and numbers start anew.

    Sending under them may have begun already; only a change of the sending key restarts hop_seq."""
    cdef const siphash_key_t* sending = link_send_key(link)
    cdef int i
    if sending == NULL or memcmp(sending, &link.offered.send, sizeof(siphash_key_t)) != 0:
        link_number_anew(link)
    link.keys = link.offered
    link.offered.is_set = False
    link.sends_offered = False
    link.highest = link.peer_first_hop_seq - 1
    memset(link.window, 0xFF, WINDOW_WORDS * sizeof(uint64_t))  # what came before is no news
    link.hole_count = 0
    link.next_repair_us = -1
    link.told_from = link.peer_first_hop_seq
    link.told_to = link.peer_first_hop_seq
    link.next_arrivals_us = -1
    link.peer_probe_us = 0
    for i in range(LATE_CLASSES):
        link.late_count[i] = <uint16_t>late_drop_answers(pool, &link.late[i])


cdef history_t* link_recall(link_t* link, uint64_t hop_seq) noexcept nogil:
    cdef history_t* entry = &link.history[hop_seq & (HISTORY_ENTRIES - 1)]
    if entry.kind == SENT_NOTHING or entry.hop_seq != hop_seq:
        return NULL
    return entry


cdef hole_t* link_hole(link_t* link, uint64_t hop_seq) noexcept nogil:
    """Binary search among the open holes."""
    cdef int32_t low = 0
    cdef int32_t high = link.hole_count
    cdef int32_t middle
    while low < high:
        middle = (low + high) >> 1
        if link.holes[middle].hop_seq < hop_seq:
            low = middle + 1
        else:
            high = middle
    if low < link.hole_count and link.holes[low].hop_seq == hop_seq:
        return &link.holes[low]
    return NULL


cdef void link_close_hole(link_t* link, hole_t* hole) noexcept nogil:
    cdef int32_t index = <int32_t>(hole - link.holes)
    link.hole_count -= 1
    memmove(hole, hole + 1, (link.hole_count - index) * sizeof(hole_t))
    if link.hole_count == 0:
        link.next_repair_us = -1


cdef void link_on_rtt(link_t* link, int64_t sample_us) noexcept nogil:
    """Smoothed as in RFC 6298 2.3 (gain 1/8)."""
    if sample_us < 1:
        sample_us = 1
    link.rtt_us = sample_us if link.rtt_us == 0 else (7 * link.rtt_us + sample_us) // 8
