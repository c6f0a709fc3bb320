# A stream's packets, indexed by stream_seq.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.slab cimport NO_BLOCK, slab_give, slab_t
from rtp.payload.marks cimport MARK_GOP_START

cdef enum:
    RING_CLASSES = 7             # 64, 128 .. 4,096 descriptors
    SMALLEST_RING = 64
    LARGEST_RING = 4096
    RETENTION_US = 2000000       # a packet younger than this is worth a larger ring
    TELLING_US = 1000000         # a rate over less than this says nothing
    LACKING_US = 1000000         # a hole older than this, or up to twice as old, is lacked no more

cdef enum SlotState:
    SLOT_EMPTY
    SLOT_HELD
    SLOT_GONE
    SLOT_SKIPPED                 # of frames that upstream has skipped whole

cdef enum InsertResult:
    INSERT_NEW                   # at or beyond the head
    INSERT_LATE                  # fills a hole behind the head
    INSERT_DUPLICATE
    INSERT_TOO_OLD
    INSERT_JUMP                  # far ahead, unconfirmed
    INSERT_RESTARTED             # far ahead, confirmed: the ring was emptied and begins here

ctypedef struct slot_t:
    int64_t arrival_us
    uint32_t stream_seq
    uint32_t block
    uint32_t batch               # serial of the last send batch that used this slot's headroom
    uint16_t size                # RTP packet, bytes
    uint16_t delay               # header field at receipt, 0.25 ms
    uint8_t marks
    uint8_t flags
    uint8_t hop_limit
    uint8_t state
    uint32_t bytes_before        # of the stream, when this packet came

ctypedef struct ring_pool_t:
    slot_t* slots[RING_CLASSES]
    uint32_t* free[RING_CLASSES]
    uint32_t free_count[RING_CLASSES]
    uint32_t count[RING_CLASSES]

ctypedef struct ring_t:          # one cache line, and counters
    slot_t* slots
    uint32_t mask
    uint32_t head                # one after the newest
    uint32_t tail                # oldest that may still be held
    uint32_t held
    uint32_t gop_start           # newest first packet of a key frame
    uint32_t lacking             # lowest that may still be had from another upstream
    uint32_t lacking_floor       # nothing before it is lacked any more
    uint32_t lacking_next        # the floor from lacking_us + LACKING_US on
    int64_t lacking_us
    uint32_t jump_seq
    uint32_t pool_index
    uint8_t has_gop
    uint8_t has_jump
    uint8_t size_class
    uint64_t key_frames
    uint64_t grown
    uint64_t growth_refused
    uint64_t gop_overwritten     # the newest GoP start had to leave: the GoP is longer than the ring

cdef int ring_pool_open(ring_pool_t* pool, uint32_t streams, int* refused) noexcept nogil
cdef void ring_pool_close(ring_pool_t* pool) noexcept nogil
cdef int ring_open(ring_t* ring, ring_pool_t* pool, int size_class, uint32_t first_seq) noexcept nogil
cdef void ring_close(ring_t* ring, ring_pool_t* pool, slab_t* slab) noexcept nogil
cdef slot_t* ring_make_place(
    ring_t* ring, ring_pool_t* pool, slab_t* slab, uint32_t seq, int64_t now_us
) noexcept nogil
cdef uint32_t ring_mark_gone(ring_t* ring, uint32_t first, uint32_t count) noexcept nogil
cdef uint32_t ring_evict_oldest(ring_t* ring, slab_t* slab) noexcept nogil
cdef int64_t ring_bps(const ring_t* ring) noexcept nogil
cdef bint ring_fast_start(const ring_t* ring, uint32_t* seq) noexcept nogil
cdef uint32_t ring_gop_before(const ring_t* ring, uint32_t seq) noexcept nogil
cdef bint ring_whole_gop(const ring_t* ring, uint32_t* seq) noexcept nogil
cdef uint32_t ring_skip(
    ring_t* ring, ring_pool_t* pool, slab_t* slab, uint32_t first, uint32_t count, int64_t now_us
) noexcept nogil


cdef inline slot_t* ring_held(const ring_t* ring, uint32_t seq) noexcept nogil:
    """The slot that holds `seq`, or NULL."""
    cdef slot_t* slot = &ring.slots[seq & ring.mask]
    if slot.state == SLOT_HELD and slot.stream_seq == seq:
        return slot
    return NULL


cdef inline int ring_classify(ring_t* ring, uint32_t seq) noexcept nogil:
    """What inserting `seq` would mean. Only the memory of an unconfirmed jump changes."""
    cdef int32_t ahead = <int32_t>(seq - ring.head)
    cdef slot_t* slot
    if ahead >= 0:
        # The step is bounded by the largest ring, not by this one: a small ring can still grow.
        if ahead < LARGEST_RING:
            ring.has_jump = False
            return INSERT_NEW
        # RFC 3550 A.1: a far jump is believed when a second packet agrees with it.
        if ring.has_jump and <uint32_t>(seq - ring.jump_seq) - 1 < SMALLEST_RING:
            ring.has_jump = False
            return INSERT_RESTARTED
        ring.has_jump = True
        ring.jump_seq = seq
        return INSERT_JUMP
    if <int32_t>(seq - ring.tail) < 0:
        return INSERT_TOO_OLD
    slot = &ring.slots[seq & ring.mask]
    return INSERT_DUPLICATE if slot.state == SLOT_HELD else INSERT_LATE


cdef inline void ring_fill(
    ring_t* ring, slot_t* slot, uint32_t seq, uint32_t block, uint16_t size, uint8_t marks, int64_t arrival_us
) noexcept nogil:
    """Put a packet's block into the slot that ring_place gave."""
    slot.stream_seq = seq
    slot.block = block
    slot.size = size
    slot.marks = marks
    slot.arrival_us = arrival_us
    slot.batch = 0
    slot.state = SLOT_HELD
    ring.held += 1
    if marks & MARK_GOP_START:
        ring.key_frames += 1
        if not ring.has_gop or <int32_t>(seq - ring.gop_start) > 0:
            ring.has_gop = True
            ring.gop_start = seq


cdef inline void ring_note_lacking(ring_t* ring, int64_t now_us) noexcept nogil:
    """After a packet was put in: move `lacking` up to the lowest hole that is young enough to matter,
    or to the head. Each place is passed once, so a packet pays for about one."""
    if now_us - ring.lacking_us >= LACKING_US:
        ring.lacking_us = now_us
        ring.lacking_floor = ring.lacking_next
        ring.lacking_next = ring.head
    if <int32_t>(ring.lacking_floor - ring.lacking) > 0:
        ring.lacking = ring.lacking_floor
    if <int32_t>(ring.tail - ring.lacking) > 0:
        ring.lacking = ring.tail
    while ring.lacking != ring.head and ring.slots[ring.lacking & ring.mask].state != SLOT_EMPTY:
        ring.lacking += 1


cdef inline bint ring_may_replace(ring_t* ring, const slot_t* oldest, int64_t now_us) noexcept nogil:
    """Can a full ring's oldest packet, which is held, make way for the next? Not where the ring could
    grow instead, nor if the newest GoP begins with it."""
    if oldest.state != SLOT_HELD or (ring.has_gop and <int32_t>(ring.gop_start - ring.tail) <= 0):
        return False
    if now_us - oldest.arrival_us < RETENTION_US:
        if ring.size_class < RING_CLASSES - 1:
            return False
        ring.growth_refused += 1
    return True


cdef inline slot_t* ring_place(
    ring_t* ring, ring_pool_t* pool, slab_t* slab, uint32_t seq, int64_t now_us
) noexcept nogil:
    """The empty slot for a `seq` classified NEW, LATE or RESTARTED, with head and tail moved. Usual are
    the next number, while there is room or in the oldest packet's place, and one behind the head."""
    cdef slot_t* slot = &ring.slots[seq & ring.mask]
    if seq == ring.head and seq - ring.tail <= ring.mask:
        ring.head += 1
    elif seq == ring.head and ring_may_replace(ring, slot, now_us):
        slab_give(slab, slot.block)
        slot.block = NO_BLOCK
        slot.state = SLOT_EMPTY
        ring.held -= 1
        ring.tail += 1
        ring.head += 1
    elif <int32_t>(seq - ring.head) >= 0:
        return ring_make_place(ring, pool, slab, seq, now_us)
    return slot
