"""Packets that an engine must survive: see mutant_feed.pyi.

Most mutants are tagged anew, under the key and number that fit, because a tag that does not fit ends
a packet before the code that is to be reached. Each buffer is handed over in memory of exactly its
size, so that the address sanitizer sees the first byte read beyond it.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from fastpath.engine cimport Engine
from fastpath.memory_feed cimport MemoryFeed, feed_t, fed_stream_t, hand_over, make_turn, source_t, tag_datagram
from fastpath.siphash cimport siphash_key_t
from fastpath.turn cimport begin_turn, end_turn
from fastpath.wire cimport (
    DESTINATION_BYTES, FLAG_DESTINATION, FLAG_REPAIR, FLAG_WIDE_IDS, HEADER_BYTES, MAX_OVERLAY_BYTES,
    REPAIR_BLOCK_BYTES, TAG_BYTES, TYPE_CONTROL, TYPE_FEEDBACK, TYPE_HELLO, TYPE_MEDIA, TYPE_PROBE,
)
from lab.virtual.draws cimport draw_bits, draws_t
from rtp.big_endian cimport load_be32, store_be16, store_be32, store_be64

cdef enum:
    MOST_BYTES = 2048
    RECENT = 64                  # datagrams kept for replays
    MOST_PORTS = 8
    PORT_EVERY = 64              # each so many-th packet goes to another port as RTP or RTCP
    GROUP_EVERY = 32             # so many-th is a whole buffer of equal sizes
    GROUP_MOST = 8
    INDEX_MASK = 0xFFFFF

cdef struct mutants_t:
    feed_t* feed
    draws_t draws
    siphash_key_t hello_key
    int32_t fanout
    int32_t ports[MOST_PORTS]
    int32_t port_count
    uint8_t recent[RECENT][MOST_BYTES]
    uint32_t recent_bytes[RECENT]
    int32_t recent_source[RECENT]
    uint32_t recent_at
    uint8_t data[MOST_BYTES]     # the mutant in the making
    uint8_t group[GROUP_MOST * MOST_BYTES]
    uint64_t handed_over
    bint is_out_of_memory


cdef uint32_t below(mutants_t* m, uint32_t limit) noexcept nogil:
    return <uint32_t>((draw_bits(&m.draws) >> 32) * limit >> 32)


cdef uint32_t any_word(mutants_t* m) noexcept nogil:
    """A number at an edge, or any."""
    cdef uint32_t kind = below(m, 4)
    if kind == 0:
        return below(m, 3) - 1
    if kind == 1:
        return <uint32_t>1 << below(m, 32)
    return <uint32_t>draw_bits(&m.draws)


cdef uint32_t about(mutants_t* m, uint64_t number, uint32_t span) noexcept nogil:
    """Near a number, or anywhere."""
    if below(m, 16) == 0:
        return any_word(m)
    return <uint32_t>number + below(m, 2 * span) - span


cdef void fill(mutants_t* m, uint8_t* data, uint32_t size) noexcept nogil:
    cdef uint32_t i
    for i in range(size):
        data[i] = <uint8_t>draw_bits(&m.draws)


cdef void flip(mutants_t* m, uint8_t* data, uint32_t size) noexcept nogil:
    """One to eight bits."""
    cdef uint32_t at, i
    for i in range(1 + below(m, 8)):
        at = below(m, 8 * size)
        data[at >> 3] ^= <uint8_t>(1 << (at & 7))


cdef uint64_t draw_number(mutants_t* m, source_t* source) noexcept nogil:
    """A hop_seq of this link's peer: the next, one of long ago, or after a gap; later ones go on there."""
    cdef uint32_t kind = below(m, 64)
    cdef uint64_t number = source.hop_seq
    cdef uint64_t back
    if kind < 12:
        back = 1 + below(m, 40 if kind < 9 else 10000)
        return number - back if number > back else number
    if kind < 15:
        number += below(m, 3000 if below(m, 128) == 0 else 8)
    elif kind == 20 and below(m, 256) == 0:
        number += below(m, 1 << 30)
    source.hop_seq = number + 1
    return number


cdef fed_stream_t* any_stream(mutants_t* m) noexcept nogil:
    return &m.feed.streams[below(m, <uint32_t>m.feed.stream_count)]


cdef uint32_t any_stream_id(mutants_t* m) noexcept nogil:
    return any_word(m) if below(m, 16) == 0 else any_stream(m).stream_id


cdef uint32_t any_sent(mutants_t* m) noexcept nogil:
    """About what a link of the engine has used as hop_seq."""
    return about(m, m.feed.packets_out // <uint64_t>m.fanout, 6000)


cdef uint32_t write_feedback(mutants_t* m, uint8_t* payload) noexcept nogil:
    """Of each kind, with numbers that mean something; sometimes shorter or longer than it should be."""
    cdef uint32_t kind = 1 + below(m, 6)
    cdef uint32_t size = 5
    cdef uint32_t i
    payload[0] = <uint8_t>kind
    if kind <= 2:
        size = 1 + 8 * (1 + below(m, 12))
        for i in range(size // 8):
            store_be32(payload + 1 + 8 * i, any_sent(m))
            store_be32(payload + 5 + 8 * i, any_word(m))
        return size - (below(m, 9) if below(m, 8) == 0 else 0)
    store_be32(payload + 1, any_stream_id(m))
    if kind == 3:
        size = 17
        store_be32(payload + 5, about(m, any_stream(m).stream_seq, 200))
        store_be32(payload + 9, below(m, 40) if below(m, 4) else any_word(m))
        store_be32(payload + 13, about(m, m.feed.sources[0].hop_seq, 200))
    elif kind == 4:
        size = 17
        store_be32(payload + 5, any_word(m))
        store_be64(payload + 9, draw_bits(&m.draws))
    return size - (below(m, size) if below(m, 8) == 0 else 0)


cdef uint32_t write_probe(mutants_t* m, uint8_t* payload) noexcept nogil:
    store_be64(payload, <uint64_t>m.feed.now_us)
    store_be64(payload + 8, <uint64_t>(m.feed.now_us - below(m, 300000)) if below(m, 4) else draw_bits(&m.draws))
    store_be32(payload + 16, below(m, 1000) if below(m, 4) else any_word(m))
    return 20 - (below(m, 21) if below(m, 8) == 0 else 0)


cdef void set_fields(mutants_t* m, uint8_t* data) noexcept nogil:
    """Some of the header's fields, not those that say where the payload begins."""
    cdef uint32_t chosen = <uint32_t>draw_bits(&m.draws)
    cdef fed_stream_t* stream = any_stream(m)
    if chosen & 7 == 0:
        data[3] = <uint8_t>below(m, 10)
    if chosen & 0x18 == 0:
        data[4] = <uint8_t>below(m, 256)
    if chosen & 0x3E0 == 0:
        data[5] = <uint8_t>below(m, 256)
    if chosen & 0xC00 == 0:
        store_be16(data + 6, <uint16_t>any_word(m))
    if chosen & 0x3000 == 0:
        store_be32(data + 8, any_stream_id(m))
    if chosen & 0x1C000 == 0:
        store_be32(data + 12, about(m, stream.stream_seq, 40 if chosen & 0x60000 else 5000))
    if chosen & 0x780000 == 0:
        data[1] = <uint8_t>(below(m, 256) & ~<uint32_t>(FLAG_WIDE_IDS | FLAG_REPAIR | FLAG_DESTINATION))


cdef uint32_t set_route(mutants_t* m, uint8_t* data) noexcept nogil:
    """Segments, a destination and a repair block, as flags and counts drawn at random ask for them.
    Returns where the tag begins."""
    cdef uint32_t count = below(m, 8) if below(m, 2) else 0
    cdef uint8_t flags = <uint8_t>below(m, 64)
    cdef uint32_t end = HEADER_BYTES
    data[1] = flags
    data[2] = <uint8_t>(below(m, count + 2) << 4 | count)
    end += count * (4 if flags & FLAG_WIDE_IDS else 2)
    end += DESTINATION_BYTES if flags & FLAG_DESTINATION else 0
    fill(m, data + HEADER_BYTES, end - HEADER_BYTES)
    if flags & FLAG_REPAIR:
        store_be32(data + end, about(m, m.feed.sources[0].hop_seq, 300))
        end += REPAIR_BLOCK_BYTES
    return end


cdef uint32_t forge_valid(mutants_t* m, source_t** source, uint8_t* data, uint32_t size) noexcept nogil:
    """A packet with a tag that fits, and contents that may make no sense. `data` holds a real one."""
    cdef uint32_t begin = HEADER_BYTES
    cdef uint32_t kind = below(m, 16)
    cdef uint32_t payload_bytes = size - HEADER_BYTES - TAG_BYTES
    cdef uint64_t number
    cdef uint8_t packet_type = TYPE_MEDIA
    if below(m, 8) == 0 or kind >= 9:  # the engine's subscribers speak as well
        source[0] = &m.feed.sources[below(m, <uint32_t>m.feed.source_count)]
    set_fields(m, data)
    if kind < 3:
        begin = set_route(m, data)
    if kind == 3:
        payload_bytes = below(m, MAX_OVERLAY_BYTES + 40 - HEADER_BYTES - TAG_BYTES)
    if begin + TAG_BYTES + payload_bytes > MOST_BYTES:
        payload_bytes = MOST_BYTES - begin - TAG_BYTES
    if kind >= 9 and kind < 13:
        packet_type = TYPE_FEEDBACK
        payload_bytes = write_feedback(m, data + begin + TAG_BYTES)
    elif kind == 13:
        packet_type = TYPE_PROBE
        payload_bytes = write_probe(m, data + begin + TAG_BYTES)
    elif kind == 14:
        packet_type = <uint8_t>below(m, 16)
        payload_bytes = below(m, 1440)
    elif kind == 15:
        packet_type = TYPE_CONTROL if below(m, 64) == 0 else TYPE_HELLO
        payload_bytes = below(m, 64)
    data[0] = (data[0] & 0xF0) | packet_type
    if packet_type == TYPE_HELLO:
        store_be32(data + 8, below(m, 8))
        tag_datagram(data, begin, begin + TAG_BYTES + payload_bytes, 0, &m.hello_key)
        return begin + TAG_BYTES + payload_bytes
    number = draw_number(m, source[0])
    store_be32(data + 16, <uint32_t>number)
    size = begin + TAG_BYTES + payload_bytes
    if size > MAX_OVERLAY_BYTES and packet_type != TYPE_MEDIA:
        size = MAX_OVERLAY_BYTES  # a tag covers no more
    tag_datagram(data, begin, size, number, &source[0].key)
    return size


cdef void swap_words(uint8_t* data, uint32_t a, uint32_t b) noexcept nogil:
    cdef uint32_t word = load_be32(data + a)
    store_be32(data + a, load_be32(data + b))
    store_be32(data + b, word)


cdef uint32_t forge(mutants_t* m, source_t** source, uint8_t* data, uint32_t size) noexcept nogil:
    """Turn a real packet into another one, in place (MOST_BYTES are there); its new size."""
    cdef uint32_t kind = below(m, 16)
    cdef uint32_t at
    cdef uint64_t number
    if kind < 9:
        return forge_valid(m, source, data, size)
    if kind == 9:
        flip(m, data, HEADER_BYTES + TAG_BYTES + 16)
    elif kind == 10:
        flip(m, data, size)
    elif kind == 11:
        size = below(m, size)
    elif kind == 12:
        at = below(m, MOST_BYTES - size)
        fill(m, data + size, at)
        size += at
    elif kind == 13:
        swap_words(data, 4 * below(m, 4), 20 if below(m, 4) == 0 else 4 * below(m, 4))
        if size <= MAX_OVERLAY_BYTES:
            number = draw_number(m, source[0])  # which stays where it is: it would be believed
            store_be32(data + 16, <uint32_t>number)
            tag_datagram(data, HEADER_BYTES, size, number, &source[0].key)
    elif kind == 14:
        at = below(m, RECENT)
        size = m.recent_bytes[at]
        memcpy(data, m.recent[at], size)
        source[0] = &m.feed.sources[m.recent_source[at]]
    else:
        size = below(m, 1600)
        fill(m, data, size)
    return size


cdef void give(mutants_t* m, const source_t* source, const uint8_t* data, uint32_t size, uint32_t segment_bytes) noexcept nogil:
    """Hand over a copy in memory of its own."""
    cdef uint8_t* exact = <uint8_t*>malloc(size if size > 0 else 1)
    if exact == NULL:
        m.is_out_of_memory = True
        return
    memcpy(exact, data, size)
    hand_over(m.feed, source, exact, size, segment_bytes)
    free(exact)


cdef void give_to_a_port(mutants_t* m, const source_t* source, uint8_t* rtp, uint32_t size) noexcept nogil:
    """As RTP or RTCP to a port that is not an overlay port."""
    cdef source_t elsewhere = source[0]
    elsewhere.port = m.ports[below(m, <uint32_t>m.port_count)]
    if below(m, 2):
        rtp[1] = <uint8_t>(200 + below(m, 8))
        store_be16(rtp + 2, <uint16_t>(below(m, 16) if below(m, 4) else any_word(m)))
    if below(m, 2):
        flip(m, rtp, size if size < 40 else 40)
    give(m, &elsewhere, rtp, below(m, size) if below(m, 4) == 0 else size, 0)


cdef void give_group(mutants_t* m, source_t* source, const uint8_t* real, uint32_t size) noexcept nogil:
    """Mutants of one size and a shorter one in one buffer, as the kernel may coalesce them."""
    cdef uint8_t* group = &m.group[0]
    cdef uint32_t count = 2 + below(m, GROUP_MOST - 1)
    cdef uint32_t segment_bytes = 1 + below(m, 64 if below(m, 4) == 0 else size)
    cdef uint32_t used = 0
    cdef uint32_t i
    cdef source_t* ignored
    if below(m, 2):
        segment_bytes = size
    for i in range(count):
        ignored = source
        memset(group + used, 0, MOST_BYTES)
        memcpy(group + used, real, size)
        forge(m, &ignored, group + used, size)
        used += segment_bytes
    if below(m, 2):
        used -= below(m, segment_bytes)
    give(m, source, group, used, segment_bytes)
    m.handed_over += count - 1


cdef void mutate_packet(mutants_t* m, int32_t source_index, const uint8_t* real, uint32_t size) noexcept nogil:
    """What comes instead of one real packet: this, nothing, it twice, or a mutant of it."""
    cdef uint8_t* data = &m.data[0]
    cdef source_t* source = &m.feed.sources[source_index]
    cdef uint32_t kind = below(m, 64)
    if kind == 0:
        return
    m.handed_over += 1
    if kind < 20:
        give(m, source, real, size, 0)
        if kind == 1:
            give(m, source, real, size, 0)
            m.handed_over += 1
        memcpy(m.recent[m.recent_at], real, size)
        m.recent_bytes[m.recent_at] = size
        m.recent_source[m.recent_at] = source_index
        m.recent_at = (m.recent_at + 1) % RECENT
        return
    if below(m, GROUP_EVERY) == 0:
        give_group(m, source, real, size)
        return
    memset(data, 0, MOST_BYTES)
    memcpy(data, real, size)
    if m.port_count > 0 and below(m, PORT_EVERY) == 0:
        give_to_a_port(m, source, data + HEADER_BYTES + TAG_BYTES, size - HEADER_BYTES - TAG_BYTES)
        return
    size = forge(m, &source, data, size)
    give(m, source, data, size, 0)


cdef void move_a_stream(mutants_t* m) noexcept nogil:
    """Its packets go on elsewhere, so that rings whose head mutants have moved do not refuse all others."""
    cdef fed_stream_t* stream = any_stream(m)
    stream.stream_seq = about(m, stream.stream_seq + 4000, 4000)


cdef void run_mutants(mutants_t* m, uint64_t until) noexcept nogil:
    cdef feed_t* feed = m.feed
    cdef int32_t i
    cdef uint32_t at
    while m.handed_over < until and not m.is_out_of_memory and not feed.is_out_of_memory:
        if below(m, 16) == 0:
            move_a_stream(m)
        make_turn(feed)
        feed.now_us += feed.turn_us
        begin_turn(feed.worker, feed.now_us)
        for i in range(feed.buffer_count):
            at = 0
            while at < feed.buffers[i].used:
                mutate_packet(m, feed.buffers[i].source, feed.buffers[i].data + at, feed.datagram_bytes)
                at += feed.datagram_bytes
        end_turn(feed.worker, feed.now_us)
        feed.turns += 1


@cython.final
cdef class MutantFeed:
    """See mutant_feed.pyi."""
    cdef mutants_t mutants
    cdef MemoryFeed feed

    def __cinit__(self, MemoryFeed feed, *, uint64_t seed, bytes hello_key, int fanout):
        if feed.feed.turn_us == 0 or fanout < 1 or len(hello_key) != 16:
            raise ValueError("mutants need virtual time, a positive fan-out and a key of 16 bytes")
        self.feed = feed
        self.mutants.feed = &feed.feed
        self.mutants.draws.state = seed
        self.mutants.fanout = fanout
        memcpy(&self.mutants.hello_key, <const uint8_t*>hello_key, 16)

    def add_port(self, int64_t port):
        if self.mutants.port_count == MOST_PORTS:
            raise ValueError(f"at most {MOST_PORTS} ports")
        self.mutants.ports[self.mutants.port_count] = <int32_t>(port & INDEX_MASK)
        self.mutants.port_count += 1

    def run(self, uint64_t packets):
        self.feed.take_over()
        try:
            with nogil:
                run_mutants(&self.mutants, self.mutants.handed_over + packets)
        finally:
            self.feed.give_back()
        if self.mutants.is_out_of_memory or self.feed.feed.is_out_of_memory:
            raise MemoryError
        self.feed.engine.turned_us = self.feed.feed.now_us
        return self.mutants.handed_over

    def next_hop_seq(self, int source):
        if not 0 <= source < self.feed.feed.source_count:
            raise IndexError(f"source {source} is outside 0..{self.feed.feed.source_count - 1}")
        return self.feed.feed.sources[source].hop_seq
