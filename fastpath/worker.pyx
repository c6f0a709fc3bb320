"""What several parts of the worker share: its indexes, its events, its lists of work."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from fastpath.address cimport address_hash, address_t
from fastpath.cursor cimport cursor_t
from fastpath.mailbox cimport (
    EVENT_CONTROL, EVENT_HELLO, EVENT_KEY_FRAME_WANTED, mailbox_free, mailbox_post, mailbox_reserve, message_t,
)
from fastpath.ring cimport SLOT_HELD, ring_evict_oldest, slot_t
from fastpath.slab cimport LARGE_BLOCK_BIT, NO_BLOCK, SMALL_PAYLOAD_BYTES, slab_take
from fastpath.verdict cimport EVENTS_LOST, EVICTED_FOR_SPACE, KEY_REQUESTS_MERGED


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

    Peers' messages, which repeat by themselves, leave room for what is said once."""
    cdef message_t* event = mailbox_reserve(&worker.events)
    if (kind == EVENT_CONTROL or kind == EVENT_HELLO) and mailbox_free(&worker.events) <= KEPT_EVENTS:
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


cdef int32_t oldest_stream(const worker_t* worker, bint wants_large) noexcept nogil:
    """The stream that holds the oldest packet, among those whose eviction can help; -1: none."""
    cdef int32_t i
    cdef int32_t oldest = -1
    cdef int64_t arrival_us
    cdef int64_t best_us = 0
    cdef const stream_t* stream
    for i in range(worker.stream_count):
        stream = &worker.streams[i]
        if not may_free(stream, wants_large):
            continue
        arrival_us = stream.ring.slots[stream.ring.tail & stream.ring.mask].arrival_us
        if oldest < 0 or arrival_us < best_us:
            oldest = i
            best_us = arrival_us
    return oldest


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
