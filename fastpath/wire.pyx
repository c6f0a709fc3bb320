"""The overlay header: parse, write, tag. Source: the layout in ARCHITECTURE.md."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from fastpath.siphash cimport siphash24, siphash_key_t
from fastpath.verdict cimport (
    ACCEPTED, MALFORMED, TRUNCATED, UNKNOWN_TYPE, WRONG_VERSION,
)
from rtp.big_endian cimport load_be16, load_be32, store_be16, store_be32


cdef int parse_header(const uint8_t* data, size_t size, header_t* header) noexcept nogil:
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


cdef size_t write_header(uint8_t* payload, const header_t* header) noexcept nogil:
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


cdef uint64_t packet_tag(
    const uint8_t* header, size_t header_bytes, uint8_t packet_type, bint is_sealed,
    uint32_t hop_seq_high, const uint8_t* payload, size_t payload_bytes, const siphash_key_t* key,
) noexcept nogil:
    """SipHash-2-4 over header, high half of hop_seq, payload length and the tagged payload bytes.

    Media: the payload's first 16 bytes (its last 16 if sealed); anything else: all of it.
    At most 1,472 bytes in all, which the callers have checked."""
    cdef uint8_t covered[MAX_OVERLAY_BYTES + 64]
    cdef size_t taken = payload_bytes
    cdef size_t skip = 0
    if packet_type == TYPE_MEDIA or packet_type == TYPE_DATAGRAM:
        if taken > TAGGED_PAYLOAD_BYTES:
            taken = TAGGED_PAYLOAD_BYTES
        if is_sealed:
            skip = payload_bytes - taken
    memcpy(covered, header, header_bytes)
    store_be32(covered + header_bytes, hop_seq_high)
    store_be32(covered + header_bytes + 4, <uint32_t>payload_bytes)
    memcpy(covered + header_bytes + 8, payload + skip, taken)
    return siphash24(covered, header_bytes + 8 + taken, key)


def parse(bytes data) -> dict | str:
    """Fields of an overlay header, or the name of the verdict that refuses it. For tests and tools."""
    from fastpath.verdict import Verdict
    cdef header_t header
    cdef int verdict = parse_header(data, len(data), &header)
    if verdict != ACCEPTED:
        return Verdict(verdict).name
    return header


def tag(bytes header, bytes payload, bytes key, uint32_t hop_seq_high=0) -> int:
    """The tag of a packet whose header bytes (without tag) are given. key: 16 bytes."""
    if len(key) != 16 or not HEADER_BYTES <= len(header) <= 64 or len(payload) > MAX_OVERLAY_BYTES - FIB_LEG_BYTES:
        raise ValueError("key must have 16 bytes, header 24 to 64, payload at most 1440")
    cdef siphash_key_t native
    cdef const uint8_t* raw = header
    memcpy(&native, <const uint8_t*>key, 16)
    return packet_tag(
        raw, len(header), raw[0] & 0x0F, raw[1] & FLAG_SEALED, hop_seq_high, payload, len(payload), &native
    )
