"""The overlay header: parse, write, tag. Source: the layout in ARCHITECTURE.md."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from fastpath.siphash cimport siphash24, siphash_key_t
from fastpath.verdict cimport ACCEPTED
from rtp.big_endian cimport store_be32


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
