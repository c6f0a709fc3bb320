# Overlay header: structure, parse, write, tag. Layout by byte: ARCHITECTURE.md.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.siphash cimport siphash_key_t

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

cdef int parse_header(const uint8_t* data, size_t size, header_t* header) noexcept nogil
cdef size_t write_header(uint8_t* payload, const header_t* header) noexcept nogil
cdef uint64_t packet_tag(
    const uint8_t* header, size_t header_bytes, uint8_t packet_type, bint is_sealed,
    uint32_t hop_seq_high, const uint8_t* payload, size_t payload_bytes, const siphash_key_t* key,
) noexcept nogil
