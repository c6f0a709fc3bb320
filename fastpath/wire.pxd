# Overlay header: structure, parse, write, tag. Layout by byte: ARCHITECTURE.md.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from fastpath.siphash cimport siphash_key_t
from fastpath.verdict cimport ACCEPTED, MALFORMED, TRUNCATED, UNKNOWN_TYPE, WRONG_VERSION
from rtp.big_endian cimport load_be16, load_be32, store_be16, store_be32, store_be64

cdef enum:
    WIRE_VERSION = 12            # outside the ranges of RFC 7983
    HEADER_BYTES = 24
    REPAIR_BLOCK_BYTES = 4
    DESTINATION_BYTES = 20
    TAG_BYTES = 8
    MAX_SEGMENTS = 6
    FIB_LEG_BYTES = 32           # header and tag of a packet forwarded by the Stream FIB
    MAX_OVERLAY_BYTES = 1472     # 1,500 less IPv4 and UDP headers
    MAX_RTP_BYTES = 1436         # what a Stream-FIB leg carries with room for the repair block
    FIB_HOP_LIMIT = 8
    TAGGED_PAYLOAD_BYTES = 16    # of media; other types are tagged whole

cpdef enum PacketType:
    TYPE_MEDIA = 0
    TYPE_FEEDBACK = 1
    TYPE_PROBE = 2
    TYPE_CONTROL = 3
    TYPE_DATAGRAM = 4
    TYPE_PADDING = 5
    TYPE_HELLO = 6

cpdef enum HeaderFlag:
    FLAG_WIDE_IDS = 1
    FLAG_SEALED = 2
    FLAG_REPAIR = 4
    FLAG_REROUTED = 8
    FLAG_DUPLICATE = 16
    FLAG_DESTINATION = 32

cpdef enum TrafficClass:
    CLASS_CONTROL = 0
    CLASS_AUDIO = 1
    CLASS_VIDEO = 2
    CLASS_PREMIUM = 3
    CLASS_STANDARD = 4
    CLASS_DEFAULT = 5
    CLASS_PROBE = 6

ctypedef struct header_t:
    uint8_t type
    uint8_t flags
    uint8_t left
    uint8_t count
    uint8_t hop_limit
    uint8_t traffic_class
    uint8_t marks
    uint8_t epoch
    uint16_t delay
    uint32_t stream_id
    uint32_t stream_seq
    uint32_t hop_seq
    uint32_t send_ts
    uint32_t repairs_hop_seq     # with FLAG_REPAIR
    uint16_t header_bytes        # without the tag

cdef uint64_t packet_tag(
    const uint8_t* header, size_t header_bytes, uint8_t packet_type, bint is_sealed,
    uint32_t hop_seq_high, const uint8_t* payload, size_t payload_bytes, const siphash_key_t* key,
) noexcept nogil


cdef inline int parse_header(const uint8_t* data, size_t size, header_t* header) noexcept nogil:
    """ACCEPTED and a filled header, or the verdict that refuses it. Payload: header_bytes + tag on."""
    cdef size_t need
    if size < HEADER_BYTES + TAG_BYTES:
        return TRUNCATED
    if data[0] >> 4 != WIRE_VERSION:
        return WRONG_VERSION
    header.type = data[0] & 0x0F
    if header.type > TYPE_HELLO:
        return UNKNOWN_TYPE
    header.flags = data[1]
    header.left = data[2] >> 4
    header.count = data[2] & 0x0F
    header.hop_limit = data[3]
    header.traffic_class = data[4] >> 5
    header.marks = data[4] & 0x1F
    header.epoch = data[5]
    header.delay = load_be16(data + 6)
    header.stream_id = load_be32(data + 8)
    header.stream_seq = load_be32(data + 12)
    header.hop_seq = load_be32(data + 16)
    header.send_ts = load_be32(data + 20)
    header.repairs_hop_seq = 0
    if header.count > MAX_SEGMENTS or header.left > header.count:
        return MALFORMED
    need = HEADER_BYTES + header.count * (4 if header.flags & FLAG_WIDE_IDS else 2)
    if header.flags & FLAG_DESTINATION:
        need += DESTINATION_BYTES
    if header.flags & FLAG_REPAIR:
        need += REPAIR_BLOCK_BYTES
    if size < need + TAG_BYTES:
        return TRUNCATED
    if header.flags & FLAG_REPAIR:
        header.repairs_hop_seq = load_be32(data + need - REPAIR_BLOCK_BYTES)
    header.header_bytes = <uint16_t>need
    return ACCEPTED


cdef inline size_t write_header(uint8_t* payload, const header_t* header) noexcept nogil:
    """Write a Stream-FIB header so that its tag ends where `payload` begins; the tag is left to
    the caller. Returns header and tag bytes. The caller guarantees the headroom."""
    cdef size_t length = HEADER_BYTES
    cdef uint8_t* p
    if header.flags & FLAG_REPAIR:
        length += REPAIR_BLOCK_BYTES
    p = payload - TAG_BYTES - length
    p[0] = <uint8_t>((WIRE_VERSION << 4) | header.type)
    p[1] = header.flags
    p[2] = 0
    p[3] = header.hop_limit
    p[4] = <uint8_t>((header.traffic_class << 5) | header.marks)
    p[5] = header.epoch
    store_be16(p + 6, header.delay)
    store_be32(p + 8, header.stream_id)
    store_be32(p + 12, header.stream_seq)
    store_be32(p + 16, header.hop_seq)
    store_be32(p + 20, header.send_ts)
    if header.flags & FLAG_REPAIR:
        store_be32(p + 24, header.repairs_hop_seq)
    return length + TAG_BYTES


cdef inline bint is_plain(uint8_t packet_type, uint8_t flags, size_t header_bytes, size_t size) noexcept nogil:
    """Does the tag cover just what siphash.media_tag takes? `size`: of the whole packet."""
    return (
        packet_type == TYPE_MEDIA and header_bytes == HEADER_BYTES and not flags & FLAG_SEALED
        and size >= FIB_LEG_BYTES + TAGGED_PAYLOAD_BYTES
    )


cdef inline void write_media_header(
    uint8_t* start, uint8_t flags, uint8_t hop_limit, uint8_t class_and_marks, uint16_t delay,
    uint32_t stream_id, uint32_t stream_seq, uint32_t hop_seq, uint32_t send_ts,
) noexcept nogil:
    """The first 24 bytes of media on a Stream-FIB leg, a word at a time (little-endian hosts)."""
    cdef uint64_t first = (
        ((WIRE_VERSION << 4) | TYPE_MEDIA) | (<uint64_t>flags << 8) | (<uint64_t>hop_limit << 24)
        | (<uint64_t>class_and_marks << 32) | (<uint64_t><uint16_t>((delay << 8) | (delay >> 8)) << 48)
    )
    memcpy(start, &first, 8)
    store_be64(start + 8, (<uint64_t>stream_id << 32) | stream_seq)
    store_be64(start + 16, (<uint64_t>hop_seq << 32) | send_ts)
