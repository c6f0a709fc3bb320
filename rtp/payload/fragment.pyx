"""One RTP packet that is too large for a link, cut into several that a receiver joins again.

In: the packet, its parsed header, its codec, the limit in bytes. Out: packets with the same RTP
header, CSRC list and extension, without padding, the marker on the last one only, and all with the
sequence number of the original: the caller renumbers.

- H.264 (RFC 6184 5.8): a NAL unit becomes FU-A; a FU-A becomes several, S and E only at the outer
  ends; of a STAP-A each NAL unit goes by itself, as FU-A if it is too large.
- H.265 (RFC 7798 4.4): the same with FU and AP, whose headers are a byte longer.
- VP8 (RFC 7741 4.2): the payload descriptor is repeated, with S on the first piece only. PID stays:
  where the next partition begins inside the packet is not known, and PID may stay 0 for all.
- VP9 (RFC 9628 4.2): the payload descriptor is repeated, with B and the scalability structure on the
  first piece only, E on the last.
- AV1 (its payload format 4.4): each OBU goes by itself, in pieces if it is too large; Z and Y join
  them, and keep the outer ends of the packet as they were; N stays with the first.
- Opus has no fragments.

The pieces of a unit are of one size but for the last, which is less than their number smaller:
segmentation offload wants them equal, and a tiny piece would cost as much as a full one.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from rtp.big_endian cimport load_be16
from rtp.payload.av1 cimport (
    AV1_CONTINUES, AV1_COUNT_SHIFT, AV1_GOES_ON, AV1_NEW_SEQUENCE, av1_elements_begin, av1_elements_t, av1_next_element,
)
from rtp.payload.codec cimport CODEC_AV1, CODEC_H264, CODEC_H265, CODEC_VP8, CODEC_VP9
from rtp.payload.h264 cimport NAL_FU_A, NAL_STAP_A, is_nal_type
from rtp.payload.h265 cimport HEVC_AP, HEVC_FU, is_hevc_header, is_hevc_type
from rtp.payload.rtp_header cimport RTP_HEADER_OK, parse_rtp_header, rtp_header_t
from rtp.payload.vp8 cimport VP8_PARTITION_START, vp8_descriptor_bytes
from rtp.payload.vp9 cimport (
    VP9_FRAME_END, VP9_FRAME_START, VP9_HAS_STRUCTURE, parse_vp9_descriptor, vp9_descriptor_t,
)


cdef inline size_t ceiling(size_t value, size_t divisor) noexcept nogil:
    return (value + divisor - 1) / divisor


# The unit is sent as it is.
cdef inline void take_whole(fragments_t* f, const uint8_t* data, size_t size) noexcept nogil:
    f.rest = data
    f.rest_bytes = size
    f.piece_bytes = size
    f.at_start = True
    f.prefix_bytes = 0


# The unit is cut into pieces that each have the prefix, set before; returns how many.
cdef inline size_t take_cut(fragments_t* f, const uint8_t* data, size_t size) noexcept nogil:
    cdef size_t pieces = ceiling(size, f.room - f.prefix_bytes)
    f.rest = data
    f.rest_bytes = size
    f.piece_bytes = ceiling(size, pieces)
    f.at_start = True
    return pieces


# NAL units of H.264 and H.265 -----------------------------------------------------------------------


cdef inline size_t nal_header_bytes(const fragments_t* f) noexcept nogil:
    return 2 if f.codec == CODEC_H265 else 1


# A NAL unit itself, no structure of the payload format; its header must be there.
cdef inline bint is_nal(const fragments_t* f, const uint8_t* nal) noexcept nogil:
    if f.codec == CODEC_H265:
        return is_hevc_type((nal[0] >> 1) & 0x3F) and is_hevc_header(nal)
    return is_nal_type(nal[0] & 0x1F)


# Pieces of one NAL unit, which may fit. A fragment has a byte more than the unit's own header.
cdef inline size_t pieces_of_nal(const fragments_t* f, size_t size) noexcept nogil:
    cdef size_t header_bytes = nal_header_bytes(f)
    return 1 if size <= f.room else ceiling(size - header_bytes, f.room - header_bytes - 1)


# `header`: of the unit or of a fragment of it. `ends`: S and E as the outer ends of the run have them.
cdef inline void set_fu_prefix(
    fragments_t* f, const uint8_t* header, uint8_t nal_type, uint8_t ends
) noexcept nogil:
    f.prefix_bytes = nal_header_bytes(f) + 1
    f.bits_at = f.prefix_bytes - 1
    if f.codec == CODEC_H265:
        f.prefix[0] = (header[0] & 0x81) | (HEVC_FU << 1)
        f.prefix[1] = header[1]
    else:
        f.prefix[0] = (header[0] & 0xE0) | NAL_FU_A
    f.prefix[f.bits_at] = nal_type
    f.first_bits = ends & 0x80
    f.last_bits = ends & 0x40


cdef void take_nal(fragments_t* f, const uint8_t* nal, size_t size) noexcept nogil:
    cdef size_t header_bytes = nal_header_bytes(f)
    if size <= f.room:
        take_whole(f, nal, size)
        return
    set_fu_prefix(f, nal, (nal[0] >> 1) & 0x3F if f.codec == CODEC_H265 else nal[0] & 0x1F, 0xC0)
    take_cut(f, nal + header_bytes, size - header_bytes)


# The next NAL unit of the aggregate; False if there is none that is whole.
cdef bint take_next_nal(fragments_t* f) noexcept nogil:
    cdef size_t nal_bytes
    if f.units_bytes < 3:
        return False
    nal_bytes = load_be16(f.units)
    if nal_bytes == 0 or nal_bytes > f.units_bytes - 2:
        return False
    take_nal(f, f.units + 2, nal_bytes)
    f.units += 2 + nal_bytes
    f.units_bytes -= 2 + nal_bytes
    return True


# Packets that the NAL units of an aggregate take; -1 if it is malformed or there are too many.
cdef int begin_aggregate(fragments_t* f, const uint8_t* payload, size_t size) noexcept nogil:
    cdef size_t header_bytes = nal_header_bytes(f)
    cdef size_t offset = header_bytes
    cdef size_t nal_bytes
    cdef size_t pieces = 0
    while offset < size:
        if size - offset < 2 + header_bytes:
            return -1
        nal_bytes = load_be16(payload + offset)
        offset += 2
        if nal_bytes < header_bytes or nal_bytes > size - offset or not is_nal(f, payload + offset):
            return -1
        offset += nal_bytes
        pieces += pieces_of_nal(f, nal_bytes)
        if pieces > MAX_FRAGMENTS:
            return -1
    f.units = payload + header_bytes
    f.units_bytes = size - header_bytes
    return <int>pieces if take_next_nal(f) else -1


cdef int begin_h264(fragments_t* f, const uint8_t* payload, size_t size) noexcept nogil:
    cdef int structure
    if size < 3:
        return -1
    structure = payload[0] & 0x1F
    if structure == NAL_STAP_A:
        return begin_aggregate(f, payload, size)
    if structure == NAL_FU_A:
        if not is_nal_type(payload[1] & 0x1F):
            return -1
        set_fu_prefix(f, payload, payload[1] & 0x1F, payload[1])
        return <int>take_cut(f, payload + 2, size - 2)
    if not is_nal_type(structure):
        return -1
    take_nal(f, payload, size)
    return <int>pieces_of_nal(f, size)


cdef int begin_h265(fragments_t* f, const uint8_t* payload, size_t size) noexcept nogil:
    cdef int structure
    if size < 4 or not is_hevc_header(payload):
        return -1
    structure = (payload[0] >> 1) & 0x3F
    if structure == HEVC_AP:
        return begin_aggregate(f, payload, size)
    if structure == HEVC_FU:
        if not is_hevc_type(payload[2] & 0x3F):
            return -1
        set_fu_prefix(f, payload, payload[2] & 0x3F, payload[2])
        return <int>take_cut(f, payload + 3, size - 3)
    if not is_hevc_type(structure):
        return -1
    take_nal(f, payload, size)
    return <int>pieces_of_nal(f, size)


# VP8 and VP9 ----------------------------------------------------------------------------------------


cdef int begin_vp8(fragments_t* f, const uint8_t* payload, size_t size) noexcept nogil:
    cdef size_t descriptor_bytes = vp8_descriptor_bytes(payload, size)
    if descriptor_bytes == 0 or descriptor_bytes > MAX_PREFIX_BYTES:
        return -1
    memcpy(f.prefix, payload, descriptor_bytes)
    f.first_bits = f.prefix[0] & VP8_PARTITION_START
    f.last_bits = 0
    f.prefix[0] &= <uint8_t>~VP8_PARTITION_START
    f.prefix_bytes = descriptor_bytes
    f.bits_at = 0
    return <int>take_cut(f, payload + descriptor_bytes, size - descriptor_bytes)


cdef int begin_vp9(fragments_t* f, const uint8_t* payload, size_t size) noexcept nogil:
    """The scalability structure is the first piece's, as the beginning of what is cut."""
    cdef vp9_descriptor_t descriptor
    cdef int pieces
    if not parse_vp9_descriptor(payload, size, &descriptor) or descriptor.fixed_bytes > MAX_PREFIX_BYTES:
        return -1
    memcpy(f.prefix, payload, descriptor.fixed_bytes)
    f.first_bits = f.prefix[0] & (VP9_FRAME_START | VP9_HAS_STRUCTURE)
    f.last_bits = f.prefix[0] & VP9_FRAME_END
    f.prefix[0] &= <uint8_t>~(VP9_FRAME_START | VP9_HAS_STRUCTURE | VP9_FRAME_END)
    f.prefix_bytes = descriptor.fixed_bytes
    f.bits_at = 0
    pieces = <int>take_cut(f, payload + f.prefix_bytes, size - f.prefix_bytes)
    return pieces if descriptor.size - descriptor.fixed_bytes < f.piece_bytes else -1


# AV1 ------------------------------------------------------------------------------------------------


# The next OBU, which pieces_of_obus has seen whole; False after the last.
cdef bint take_next_obu(fragments_t* f, bint is_first) noexcept nogil:
    cdef av1_elements_t elements
    cdef uint8_t header = f.data[f.header_bytes]
    elements.data = f.units
    elements.size = f.units_bytes
    elements.left = f.units_left
    if av1_next_element(&elements) <= 0:
        return False
    f.units = elements.data
    f.units_bytes = elements.size
    f.units_left = elements.left
    f.prefix[0] = AV1_CONTINUES | AV1_GOES_ON | (1 << AV1_COUNT_SHIFT)
    f.prefix_bytes = 1
    f.bits_at = 0
    f.first_bits = AV1_CONTINUES
    f.last_bits = AV1_GOES_ON
    if is_first:
        f.first_bits = (~header & AV1_CONTINUES) | (header & AV1_NEW_SEQUENCE)
    if f.units_bytes == 0:
        f.last_bits = ~header & AV1_GOES_ON
    take_cut(f, elements.element, elements.element_bytes)
    return True


cdef int begin_av1(fragments_t* f, const uint8_t* payload, size_t size) noexcept nogil:
    cdef av1_elements_t elements
    cdef size_t pieces = 0
    cdef int found
    if not av1_elements_begin(&elements, payload, size):
        return -1
    f.units = elements.data
    f.units_bytes = elements.size
    f.units_left = elements.left
    found = av1_next_element(&elements)
    while found > 0:
        pieces += ceiling(elements.element_bytes, f.room - 1)
        if pieces > MAX_FRAGMENTS:
            return -1
        found = av1_next_element(&elements)
    return <int>pieces if found == 0 and take_next_obu(f, True) else -1


# The next unit of an aggregate.
cdef bint take_unit(fragments_t* f) noexcept nogil:
    return take_next_obu(f, False) if f.codec == CODEC_AV1 else take_next_nal(f)


cdef int fragments_begin(
    fragments_t* f, const uint8_t* data, const rtp_header_t* header, uint8_t codec, size_t limit
) noexcept nogil:
    cdef const uint8_t* payload = data + header.header_bytes
    cdef size_t size = header.payload_bytes
    cdef int pieces = -1
    f.data = data
    f.header_bytes = header.header_bytes
    f.marker = header.marker
    f.codec = codec
    f.units_bytes = 0
    f.left = 0
    if limit < f.header_bytes:
        return -1
    f.room = limit - f.header_bytes
    if size <= f.room:
        take_whole(f, payload, size)
        pieces = 1
    elif f.room >= FRAGMENT_MIN_ROOM:
        if codec == CODEC_H264:
            pieces = begin_h264(f, payload, size)
        elif codec == CODEC_H265:
            pieces = begin_h265(f, payload, size)
        elif codec == CODEC_VP8:
            pieces = begin_vp8(f, payload, size)
        elif codec == CODEC_VP9:
            pieces = begin_vp9(f, payload, size)
        elif codec == CODEC_AV1:
            pieces = begin_av1(f, payload, size)
    if pieces < 0 or pieces > MAX_FRAGMENTS:
        return -1
    f.left = pieces
    return pieces


cdef size_t fragments_next(fragments_t* f, uint8_t* out) noexcept nogil:
    cdef size_t size = f.header_bytes
    cdef size_t piece_bytes
    if f.left == 0:
        return 0
    if f.rest_bytes == 0 and f.units_bytes > 0 and not take_unit(f):
        return 0
    piece_bytes = f.piece_bytes if f.piece_bytes < f.rest_bytes else f.rest_bytes
    memcpy(out, f.data, size)
    out[0] &= 0xDF  # no padding
    out[1] &= 0x7F
    if f.marker and f.left == 1:
        out[1] |= 0x80
    if f.prefix_bytes > 0:
        memcpy(out + size, f.prefix, f.prefix_bytes)
        if f.at_start:
            out[size + f.bits_at] ^= f.first_bits
        if piece_bytes == f.rest_bytes:
            out[size + f.bits_at] ^= f.last_bits
        size += f.prefix_bytes
    memcpy(out + size, f.rest, piece_bytes)
    f.rest += piece_bytes
    f.rest_bytes -= piece_bytes
    f.at_start = False
    f.left -= 1
    return size + piece_bytes


def fragments(
    const uint8_t[::1] data not None, uint8_t codec, size_t limit, uint8_t[::1] out not None
):
    cdef size_t size = data.shape[0]
    cdef const uint8_t* first = &data[0] if size else NULL
    cdef rtp_header_t header
    cdef fragments_t f
    cdef size_t written
    if <size_t>out.shape[0] < limit or limit == 0:
        raise ValueError(f"room for {limit} bytes needed, not {out.shape[0]}")
    if parse_rtp_header(first, size, &header) != RTP_HEADER_OK:
        return None
    cdef int count = fragments_begin(&f, first, &header, codec, limit)
    found = []
    written = fragments_next(&f, &out[0])
    while written > 0:
        found.append((<const uint8_t*>&out[0])[:written])
        written = fragments_next(&f, &out[0])
    return count, found
