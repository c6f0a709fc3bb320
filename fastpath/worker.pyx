"""What several parts of the worker share: its indexes, its events, its lists of work."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from fastpath.address cimport address_hash, address_t
from fastpath.age_heap cimport age_heap_add, age_heap_drop_first, age_heap_raise_first, age_heap_t
from fastpath.cursor cimport cursor_t
from fastpath.late cimport late_push, late_t
from fastpath.link cimport NODE_LATE_ENTRIES, VIEWER_LATE_ENTRIES, link_t
from fastpath.mailbox cimport (
    EVENT_CONTROL, EVENT_HELLO, EVENT_KEY_FRAME_WANTED, EVENT_VIEWER_LAGS, mailbox_free, mailbox_post, mailbox_reserve, message_t,
)
from fastpath.ring cimport SLOT_HELD, ring_evict_oldest, slot_t
from fastpath.slab cimport LARGE_BLOCK_BIT, NO_BLOCK, SMALL_PAYLOAD_BYTES, slab_take
from fastpath.verdict cimport EVENTS_LOST, EVICTED_FOR_SPACE, KEY_REQUESTS_MERGED, LATE_POOL_EMPTY, LATE_QUEUE_FULL


cdef enum:
    KEPT_EVENTS = 512            # chosen: every link and stream of a busy node may change at once


cdef void index_stream(worker_t* worker, int32_t stream) noexcept nogil:
    cdef uint32_t bucket = spread(worker.streams[stream].stream_id) & worker.stream_bucket_mask
    worker.streams[stream].next_in_bucket = worker.stream_buckets[bucket]
    worker.stream_buckets[bucket] = stream


cdef void unindex_stream(worker_t* worker, int32_t stream) noexcept nogil:
    cdef uint32_t bucket = spread(worker.streams[stream].stream_id) & worker.stream_bucket_mask
    cdef int32_t* at = &worker.stream_buckets[bucket]
    while at[0] >= 0:
        if at[0] == stream:
            at[0] = worker.streams[stream].next_in_bucket
            return
        at = &worker.streams[at[0]].next_in_bucket


cdef int32_t first_viewer_of(const worker_t* worker, uint32_t ssrc) noexcept nogil:
    """The first in the chain of viewer cursors that may have this SSRC; -1: none has."""
    return worker.viewer_ssrcs[spread(ssrc) & worker.viewer_mask]


cdef int32_t first_viewer_at(const worker_t* worker, const address_t* address) noexcept nogil:
    """The first in the chain of viewer cursors that may send to this address; -1: none does."""
    return worker.viewer_addresses[address_hash(address) & worker.viewer_mask]


cdef void index_viewer(worker_t* worker, int32_t index) noexcept nogil:
    cdef cursor_t* cursor = &worker.cursors[index]
    cdef int32_t* by_ssrc = &worker.viewer_ssrcs[spread(cursor.ssrc) & worker.viewer_mask]
    cdef int32_t* by_address = &worker.viewer_addresses[address_hash(&cursor.peer) & worker.viewer_mask]
    cursor.next_in_ssrc_bucket = by_ssrc[0]
    by_ssrc[0] = index
    cursor.next_in_address_bucket = by_address[0]
    by_address[0] = index


cdef void unindex_viewer(worker_t* worker, int32_t index) noexcept nogil:
    cdef cursor_t* cursor = &worker.cursors[index]
    cdef int32_t* at = &worker.viewer_ssrcs[spread(cursor.ssrc) & worker.viewer_mask]
    while at[0] >= 0 and at[0] != index:
        at = &worker.cursors[at[0]].next_in_ssrc_bucket
    if at[0] == index:
        at[0] = cursor.next_in_ssrc_bucket
    at = &worker.viewer_addresses[address_hash(&cursor.peer) & worker.viewer_mask]
    while at[0] >= 0 and at[0] != index:
        at = &worker.cursors[at[0]].next_in_address_bucket
    if at[0] == index:
        at[0] = cursor.next_in_address_bucket


cdef int32_t find_stranger(const worker_t* worker, uint32_t node_id, int32_t port) noexcept nogil:
    """The link with the neighbour that a HELLO from an unknown address says it is from, or -1."""
    cdef int32_t link
    for link in range(worker.node_link_count):
        if (
            worker.links[link].is_used and worker.links[link].port == port
            and <uint32_t>worker.links[link].peer_node == node_id
        ):
            return link
    return -1


cdef void add_peer(worker_t* worker, const address_t* address, int32_t link) noexcept nogil:
    cdef uint32_t at = address_hash(address) & worker.peer_mask
    while worker.peer_table[at] >= 0:
        at = (at + 1) & worker.peer_mask
    worker.peer_table[at] = link


cdef void rebuild_peers(worker_t* worker) noexcept nogil:
    """After a link came, went or moved: events are rare, packets are not. Candidates stand here too."""
    cdef uint32_t at
    cdef int32_t link
    worker.peers_version += 1
    for at in range(worker.peer_mask + 1):
        worker.peer_table[at] = -1
    for link in range(worker.node_link_count):
        if worker.links[link].is_used:
            add_peer(worker, &worker.links[link].peer, link)
            if worker.links[link].candidate_until_us != 0:
                add_peer(worker, &worker.links[link].candidate, link)


cdef message_t* new_event(worker_t* worker, uint32_t kind) noexcept nogil:
    """Where the next event goes (post it with mailbox_post), or NULL: the box is full, counted.

    What repeats by itself, peers' messages and viewers that lag, leaves room for what is said once."""
    cdef message_t* event = mailbox_reserve(&worker.events)
    cdef bint repeats = kind == EVENT_CONTROL or kind == EVENT_HELLO or kind == EVENT_VIEWER_LAGS
    if repeats and mailbox_free(&worker.events) <= KEPT_EVENTS:
        event = NULL
    if event == NULL:
        count(worker, EVENTS_LOST)
        return NULL
    event.kind = kind
    event.payload_bytes = 0
    return event


cdef void post_event(worker_t* worker, uint32_t kind, int64_t handle) noexcept nogil:
    cdef message_t* event = new_event(worker, kind)
    if event != NULL:
        event.handle = handle
        mailbox_post(&worker.events)


cdef bint may_free(const stream_t* stream, bint wants_large) noexcept nogil:
    """Would this stream's oldest packets give a block of the wanted size? Audio's are mostly small."""
    cdef const slot_t* oldest
    if not stream.is_used or stream.ring.held == 0:
        return False
    oldest = &stream.ring.slots[stream.ring.tail & stream.ring.mask]
    if not wants_large or stream.media == MEDIA_VIDEO:
        return True
    return oldest.state == SLOT_HELD and (oldest.block & LARGE_BLOCK_BIT) != 0


cdef int64_t oldest_arrival_us(const stream_t* stream) noexcept nogil:
    return stream.ring.slots[stream.ring.tail & stream.ring.mask].arrival_us


cdef void note_age(worker_t* worker, int32_t index) noexcept nogil:
    """A stream that is new: it may be asked for its oldest packet."""
    cdef int which
    for which in range(2):
        if not worker.streams[index].is_aged[which]:  # or from an earlier stream of this index
            worker.streams[index].is_aged[which] = True
            age_heap_add(&worker.oldest[which], index, worker.turn_us - EARLY_AGE_US)


cdef int32_t oldest_of_all(const worker_t* worker, bint wants_large) noexcept nogil:
    cdef int32_t i
    cdef int32_t oldest = -1
    cdef int64_t arrival_us
    cdef int64_t best_us = 0
    cdef const stream_t* stream
    for i in range(worker.stream_count):
        stream = &worker.streams[i]
        if not may_free(stream, wants_large):
            continue
        arrival_us = oldest_arrival_us(stream)
        if oldest < 0 or arrival_us < best_us:
            oldest = i
            best_us = arrival_us
    return oldest


cdef int32_t oldest_stream(worker_t* worker, bint wants_large) noexcept nogil:
    """The stream that holds the oldest packet, among those whose eviction can help; -1: none.

    A stream's key is a time before which it has none to give. It is looked up again only when it has
    come to the front, so that ten thousand streams cost a packet a few steps, not a scan."""
    cdef age_heap_t* heap = &worker.oldest[wants_large]
    cdef int64_t arrival_us
    cdef int32_t index
    cdef stream_t* stream
    while heap.count > 0:
        index = heap.entries[0].member
        stream = &worker.streams[index]
        if not stream.is_used:
            stream.is_aged[wants_large] = False
            age_heap_drop_first(heap)
        elif may_free(stream, wants_large):
            arrival_us = oldest_arrival_us(stream)
            if arrival_us <= heap.entries[0].key:
                return index
            age_heap_raise_first(heap, arrival_us)
        elif heap.entries[0].key < worker.turn_us:
            age_heap_raise_first(heap, worker.turn_us)  # what it gets from now on is newer
        else:
            # All that can help came in this very turn: the slab is much too small, or nothing can.
            return oldest_of_all(worker, wants_large)
    return -1


cdef void want_key_frame(worker_t* worker, int32_t stream) noexcept nogil:
    """Have one asked for at the end of this turn (or of the next if that has begun), until one comes."""
    if worker.streams[stream].wants_key:
        count(worker, KEY_REQUESTS_MERGED)
    else:
        worker.streams[stream].wants_key = True
        worker.streams[stream].key_frames_before = worker.streams[stream].ring.key_frames
    mark_dirty(worker, stream)


cdef void want_lost_gop(worker_t* worker, int32_t stream, uint64_t overwritten) noexcept nogil:
    """Ask for a key frame if the ring has lost its newest GoP start since it counted `overwritten`."""
    if worker.streams[stream].ring.gop_overwritten != overwritten:
        post_event(worker, EVENT_KEY_FRAME_WANTED, stream_handle(worker, stream))
        want_key_frame(worker, stream)


cdef bint push_late(worker_t* worker, int32_t link_index, int which, const late_t* late) noexcept nogil:
    """Have a packet leave out of order on this link. False, and counted, if there is no room."""
    cdef link_t* link = &worker.links[link_index]
    if link.late_count[which] >= (VIEWER_LATE_ENTRIES if link.is_viewer else NODE_LATE_ENTRIES):
        count(worker, LATE_QUEUE_FULL)
        return False
    if not late_push(&worker.late, &link.late[which], late):
        count(worker, LATE_POOL_EMPTY)
        return False
    link.late_count[which] += 1
    mark_ready(worker, link_index)
    return True


cdef uint32_t take_block(worker_t* worker, uint32_t payload_bytes) noexcept nogil:
    """A block; when the slab is empty the stream holding the oldest packet loses its oldest GoP,
    then the next, until a block of the size is free."""
    cdef uint32_t block = slab_take(&worker.slab, payload_bytes)
    cdef int32_t index
    cdef stream_t* stream
    cdef uint64_t overwritten
    while block == NO_BLOCK:
        index = oldest_stream(worker, payload_bytes > SMALL_PAYLOAD_BYTES)
        if index < 0:
            return NO_BLOCK
        stream = &worker.streams[index]
        overwritten = stream.ring.gop_overwritten
        count_many(worker, EVICTED_FOR_SPACE, ring_evict_oldest(&stream.ring, &worker.slab))
        want_lost_gop(worker, index, overwritten)
        block = slab_take(&worker.slab, payload_bytes)
    return block
