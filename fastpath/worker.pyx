"""What several parts of the worker share: its indexes, its events, its lists of work."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from fastpath.address cimport address_equal, address_hash, address_t
from fastpath.link cimport link_t
from fastpath.mailbox cimport EVENT_KEY_FRAME_WANTED, mailbox_post, mailbox_reserve, message_t
from fastpath.ring cimport ring_evict_oldest
from fastpath.slab cimport NO_BLOCK, slab_take
from fastpath.verdict cimport EVENTS_LOST, EVICTED_FOR_SPACE


cdef void count(worker_t* worker, int verdict) noexcept nogil:
    worker.counters[verdict] += 1


cdef void count_many(worker_t* worker, int verdict, uint64_t number) noexcept nogil:
    worker.counters[verdict] += number


cdef inline uint32_t spread(uint32_t stream_id) noexcept nogil:
    return stream_id * 2654435769u  # Fibonacci hashing; ids are random already


cdef stream_t* find_stream(worker_t* worker, uint32_t stream_id) noexcept nogil:
    """The Stream FIB: id -> stream with its ring and cursors; NULL if unknown."""
    cdef int32_t at = worker.stream_buckets[spread(stream_id) & worker.stream_bucket_mask]
    while at >= 0:
        if worker.streams[at].stream_id == stream_id:
            return &worker.streams[at]
        at = worker.streams[at].next_in_bucket
    return NULL


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


cdef int32_t find_peer(const worker_t* worker, const address_t* address, int32_t port) noexcept nogil:
    """The node link whose peer sends from this address to this port, or -1."""
    cdef uint32_t at = address_hash(address) & worker.peer_mask
    cdef int32_t link = worker.peer_table[at]
    while link >= 0:
        if worker.links[link].port == port and address_equal(&worker.links[link].peer, address):
            return link
        at = (at + 1) & worker.peer_mask
        link = worker.peer_table[at]
    return -1


cdef void rebuild_peers(worker_t* worker) noexcept nogil:
    """After a link came or went: events are rare, packets are not."""
    cdef uint32_t at
    cdef int32_t link
    for at in range(worker.peer_mask + 1):
        worker.peer_table[at] = -1
    for link in range(worker.link_count):
        if worker.links[link].is_used and not worker.links[link].is_viewer:
            at = address_hash(&worker.links[link].peer) & worker.peer_mask
            while worker.peer_table[at] >= 0:
                at = (at + 1) & worker.peer_mask
            worker.peer_table[at] = link


cdef message_t* new_event(worker_t* worker, uint32_t kind) noexcept nogil:
    """Where the next event goes (post it with mailbox_post), or NULL: the box is full, counted."""
    cdef message_t* event = mailbox_reserve(&worker.events)
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


cdef void mark_ready(worker_t* worker, int32_t link) noexcept nogil:
    if not worker.links[link].is_ready:
        worker.links[link].is_ready = True
        worker.ready_links[worker.ready_count] = link
        worker.ready_count += 1


cdef void mark_dirty(worker_t* worker, int32_t stream) noexcept nogil:
    if not worker.streams[stream].is_dirty:
        worker.streams[stream].is_dirty = True
        worker.dirty_streams[worker.dirty_count] = stream
        worker.dirty_count += 1


cdef uint32_t take_block(worker_t* worker, uint32_t payload_bytes) noexcept nogil:
    """A block; when the slab is empty the stream holding the oldest packet loses its oldest GoP."""
    cdef uint32_t block = slab_take(&worker.slab, payload_bytes)
    cdef int32_t i, oldest
    cdef int attempt
    cdef stream_t* stream
    cdef int64_t arrival_us, best_us
    cdef uint64_t overwritten
    for attempt in range(4):
        if block != NO_BLOCK:
            return block
        oldest = -1
        best_us = 0
        for i in range(worker.stream_count):
            stream = &worker.streams[i]
            if not stream.is_used or stream.ring.held == 0:
                continue
            arrival_us = stream.ring.slots[stream.ring.tail & stream.ring.mask].arrival_us
            if oldest < 0 or arrival_us < best_us:
                oldest = i
                best_us = arrival_us
        if oldest < 0:
            return NO_BLOCK
        stream = &worker.streams[oldest]
        overwritten = stream.ring.gop_overwritten
        count_many(worker, EVICTED_FOR_SPACE, ring_evict_oldest(&stream.ring, &worker.slab))
        if stream.ring.gop_overwritten != overwritten:
            stream.wanted_key += 1
            post_event(worker, EVENT_KEY_FRAME_WANTED, stream_handle(worker, oldest))
        block = slab_take(&worker.slab, payload_bytes)
    return block


cdef int64_t stream_handle(const worker_t* worker, int32_t stream) noexcept nogil:
    return (<int64_t>worker.streams[stream].generation << 20) | stream


cdef int64_t link_handle(const worker_t* worker, int32_t link) noexcept nogil:
    return (<int64_t>worker.links[link].generation << 20) | link
