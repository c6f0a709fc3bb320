"""A stream's packets, written once, indexed by the producer's packet number `stream_seq`.

Slots tail .. head-1 may be held; a slot between them that is not held is a hole (lost, late or
gone). Inserting is idempotent. Descriptor arrays come from pools of seven sizes laid out at start;
a ring moves up a size when it would lose a packet that is young or belongs to the newest GoP.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from fastpath.pages cimport pages_give, pages_take
from fastpath.slab cimport NO_BLOCK, slab_give, slab_t
from rtp.payload.marks cimport MARK_FRAME_END, MARK_FRAME_START, MARK_GOP_START, MARK_KEY


cdef int ring_pool_open(ring_pool_t* pool, uint32_t streams, int* refused) noexcept nogil:
    """Equal memory for each size: as many smallest rings as streams, a 64th of that of the largest."""
    cdef int size_class
    cdef uint32_t i, count
    for size_class in range(RING_CLASSES):
        count = streams >> size_class
        if count < 4:
            count = 4
        pool.count[size_class] = count
        pool.slots[size_class] = <slot_t*>pages_take(
            <size_t>count * (<size_t>SMALLEST_RING << size_class), sizeof(slot_t), refused
        )
        pool.free[size_class] = <uint32_t*>calloc(count, sizeof(uint32_t))
        if pool.slots[size_class] == NULL or pool.free[size_class] == NULL:
            return -1
        for i in range(count):
            pool.free[size_class][i] = count - 1 - i
        pool.free_count[size_class] = count
    return 0


cdef void ring_pool_close(ring_pool_t* pool) noexcept nogil:
    cdef int size_class
    for size_class in range(RING_CLASSES):
        pages_give(pool.slots[size_class])
        free(pool.free[size_class])


cdef int pool_take(ring_pool_t* pool, int size_class, ring_t* ring) noexcept nogil:
    """Give the ring a descriptor array of this size; -1 if none is left."""
    cdef uint32_t i
    cdef uint32_t entries = <uint32_t>SMALLEST_RING << size_class
    if pool.free_count[size_class] == 0:
        return -1
    pool.free_count[size_class] -= 1
    ring.pool_index = pool.free[size_class][pool.free_count[size_class]]
    ring.slots = pool.slots[size_class] + <size_t>ring.pool_index * entries
    ring.size_class = <uint8_t>size_class
    ring.mask = entries - 1
    memset(ring.slots, 0, entries * sizeof(slot_t))
    for i in range(entries):
        ring.slots[i].block = NO_BLOCK
    return 0


cdef void pool_give(ring_pool_t* pool, int size_class, uint32_t pool_index) noexcept nogil:
    pool.free[size_class][pool.free_count[size_class]] = pool_index
    pool.free_count[size_class] += 1


cdef void lack_nothing_before(ring_t* ring, uint32_t seq) noexcept nogil:
    ring.lacking = seq
    ring.lacking_floor = seq
    ring.lacking_next = seq


cdef int ring_open(ring_t* ring, ring_pool_t* pool, int size_class, uint32_t first_seq) noexcept nogil:
    """An empty ring of this size, or of the nearest size that is left; -1 if none is."""
    cdef int step
    memset(ring, 0, sizeof(ring_t))
    ring.head = first_seq
    ring.tail = first_seq
    lack_nothing_before(ring, first_seq)
    for step in range(RING_CLASSES):
        if size_class - step >= 0 and pool_take(pool, size_class - step, ring) == 0:
            return 0
        if size_class + step < RING_CLASSES and pool_take(pool, size_class + step, ring) == 0:
            return 0
    return -1


cdef void clear_slot(ring_t* ring, slab_t* slab, slot_t* slot) noexcept nogil:
    if slot.state == SLOT_HELD:
        slab_give(slab, slot.block)
        ring.held -= 1
    slot.block = NO_BLOCK
    slot.state = SLOT_EMPTY


cdef void ring_close(ring_t* ring, ring_pool_t* pool, slab_t* slab) noexcept nogil:
    cdef uint32_t i
    for i in range(ring.mask + 1):
        clear_slot(ring, slab, &ring.slots[i])
    pool_give(pool, ring.size_class, ring.pool_index)
    ring.slots = NULL


cdef bint ring_grow(ring_t* ring, ring_pool_t* pool) noexcept nogil:
    """Move to the next larger size, keeping every slot; False if it is the largest or none is left."""
    cdef ring_t larger = ring[0]
    cdef uint32_t seq
    cdef int size_class = ring.size_class + 1
    while size_class < RING_CLASSES and pool_take(pool, size_class, &larger) < 0:
        size_class += 1
    if size_class >= RING_CLASSES:
        ring.growth_refused += 1
        return False
    seq = ring.tail
    while seq != ring.head:
        larger.slots[seq & larger.mask] = ring.slots[seq & ring.mask]
        seq += 1
    pool_give(pool, ring.size_class, ring.pool_index)
    ring[0] = larger
    ring.grown += 1
    return True


cdef void move_tail(ring_t* ring, slab_t* slab, uint32_t tail) noexcept nogil:
    """Let go of everything older than `tail` (not beyond the head)."""
    while ring.tail != tail:
        clear_slot(ring, slab, &ring.slots[ring.tail & ring.mask])
        ring.tail += 1
    if ring.has_gop and <int32_t>(ring.gop_start - tail) < 0:
        ring.has_gop = False
        ring.gop_overwritten += 1


cdef bint worth_growing(const ring_t* ring, uint32_t new_tail, int64_t now_us) noexcept nogil:
    """Would moving the tail lose a young packet or the newest GoP's start? Newest first: the usual
    answer is found at once, and a long search is followed by a move as long."""
    cdef const slot_t* slot
    cdef uint32_t at = new_tail
    if ring.has_gop and <int32_t>(ring.gop_start - new_tail) < 0:
        return True
    while at != ring.tail:
        at -= 1
        slot = &ring.slots[at & ring.mask]
        if slot.state == SLOT_HELD and now_us - slot.arrival_us < RETENTION_US:
            return True
    return False


cdef slot_t* ring_make_place(
    ring_t* ring, ring_pool_t* pool, slab_t* slab, uint32_t seq, int64_t now_us
) noexcept nogil:
    """ring_place of any number: tail and head are moved, the ring grows where that is worth it."""
    cdef uint32_t new_tail
    cdef int32_t ahead = <int32_t>(seq - ring.head)
    if ahead >= LARGEST_RING:
        # A confirmed jump: begin at the packet that announced it, which may still be put in.
        move_tail(ring, slab, ring.head)
        ring.head = ring.jump_seq
        ring.tail = ring.jump_seq
        lack_nothing_before(ring, ring.jump_seq)
    while True:
        new_tail = seq - ring.mask
        if <int32_t>(new_tail - ring.tail) <= 0:
            break
        if <int32_t>(new_tail - ring.head) > 0:
            new_tail = ring.head
        if not worth_growing(ring, new_tail, now_us) or not ring_grow(ring, pool):
            move_tail(ring, slab, new_tail)
            if new_tail == ring.head and <int32_t>(seq - ring.mask - ring.head) > 0:
                ring.tail = seq - ring.mask
                ring.head = ring.tail
            break
    while ring.head != seq:
        ring.slots[ring.head & ring.mask].state = SLOT_EMPTY
        ring.slots[ring.head & ring.mask].block = NO_BLOCK
        ring.head += 1
    ring.head = seq + 1
    return &ring.slots[seq & ring.mask]


cdef uint32_t ring_mark_gone(ring_t* ring, uint32_t first, uint32_t count) noexcept nogil:
    """Note that upstream no longer has these; returns how many of them were holes here."""
    cdef uint32_t marked = 0
    cdef uint32_t seq = ring.tail
    cdef slot_t* slot
    if <int32_t>(first - seq) > 0:
        if <int32_t>(first - ring.head) >= 0:
            return 0
        seq = first
    while seq != ring.head and <uint32_t>(seq - first) < count:
        slot = &ring.slots[seq & ring.mask]
        if slot.state == SLOT_EMPTY:
            slot.state = SLOT_GONE
            marked += 1
        seq += 1
    return marked


cdef uint32_t ring_evict_oldest(ring_t* ring, slab_t* slab) noexcept nogil:
    """Let go of the oldest GoP: up to the next GoP start, else of the older half. Packets freed."""
    cdef uint32_t before = ring.held
    cdef uint32_t seq = ring.tail + 1
    cdef uint32_t half = ring.tail + ((ring.head - ring.tail + 1) >> 1)
    cdef slot_t* slot
    while <int32_t>(seq - ring.head) < 0:
        slot = ring_held(ring, seq)
        if slot != NULL and slot.marks & MARK_GOP_START:
            break
        seq += 1
    move_tail(ring, slab, seq if <int32_t>(seq - ring.head) < 0 else half)
    return before - ring.held


cdef int64_t ring_bps(const ring_t* ring) noexcept nogil:
    """What came per second, over all that is held; 0: that is too little to tell."""
    cdef const slot_t* newest = ring_held(ring, ring.head - 1)
    cdef const slot_t* oldest = NULL
    cdef int64_t passed_us
    cdef uint32_t i
    for i in range(SMALLEST_RING):
        if ring.tail + i == ring.head:
            break
        oldest = ring_held(ring, ring.tail + i)
        if oldest != NULL:
            break
    if newest == NULL or oldest == NULL:
        return 0
    passed_us = newest.arrival_us - oldest.arrival_us
    if passed_us < TELLING_US:
        return 0
    return <int64_t><uint32_t>(newest.bytes_before - oldest.bytes_before) * 8000000 // passed_us


cdef bint ring_fast_start(const ring_t* ring, uint32_t* seq) noexcept nogil:
    """First packet of the newest key frame that is complete, or still arriving without a hole.

    If every held key frame has holes (under repair), the newest one whose first packet is held."""
    cdef uint32_t at = ring.head
    cdef bint saw_end = False        # an end of the frame being walked
    cdef bint at_head = True         # no frame end seen yet: the frame is still arriving
    cdef bint has_hole = False
    cdef bint is_key = False
    cdef const slot_t* slot
    while at != ring.tail:
        at -= 1
        slot = &ring.slots[at & ring.mask]
        if slot.state != SLOT_HELD:
            has_hole = True
            continue
        if slot.marks & MARK_FRAME_END:
            saw_end = True
            at_head = False
            has_hole = False
            is_key = False
        if slot.marks & MARK_KEY:
            is_key = True
        if slot.marks & MARK_FRAME_START:
            if is_key and not has_hole and (saw_end or at_head):
                seq[0] = at
                return True
            saw_end = False
            at_head = False
            has_hole = False
            is_key = False
    seq[0] = ring.gop_start
    return ring.has_gop


cdef uint32_t ring_gop_before(const ring_t* ring, uint32_t seq) noexcept nogil:
    """Where the GoP before the one at `seq` begins, if it is held without a hole; else `seq`."""
    cdef uint32_t at = seq
    cdef const slot_t* slot
    while at != ring.tail:
        at -= 1
        slot = &ring.slots[at & ring.mask]
        if slot.state != SLOT_HELD:
            break
        if slot.marks & MARK_GOP_START:
            return at
    return seq


cdef bint ring_whole_gop(const ring_t* ring, uint32_t* seq) noexcept nogil:
    """Does the newest GoP begin with a whole key frame, and is all of it held that has come? Then a
    decoder can go on from it without waiting for anything."""
    cdef uint32_t at = ring.gop_start
    cdef bint has_end = False
    if not ring.has_gop:
        return False
    while at != ring.head:
        if ring_held(ring, at) == NULL:
            return False
        has_end = has_end or (ring.slots[at & ring.mask].marks & MARK_FRAME_END) != 0
        at += 1
    seq[0] = ring.gop_start
    return has_end


cdef uint32_t ring_skip(
    ring_t* ring, ring_pool_t* pool, slab_t* slab, uint32_t first, uint32_t count, int64_t now_us
) noexcept nogil:
    """Upstream has left these out, whole frames: nobody lacks them, and no number is kept for them.
    How many were holes here, or are ahead. More ahead than a ring holds are left to what follows them."""
    cdef uint32_t skipped = 0
    cdef uint32_t end = first + count
    cdef uint32_t seq = first if <int32_t>(first - ring.tail) > 0 else ring.tail
    cdef slot_t* slot
    if count > LARGEST_RING or <int32_t>(first - ring.head) > 0:
        return 0
    while <int32_t>(seq - end) < 0:
        slot = &ring.slots[seq & ring.mask]
        if seq == ring.head:
            slot = ring_place(ring, pool, slab, seq, now_us)
        if slot.state == SLOT_EMPTY or slot.state == SLOT_GONE:
            slot.state = SLOT_SKIPPED
            slot.stream_seq = seq
            skipped += 1
        seq += 1
    return skipped
