"""One RTP packet that is too large for a link, cut into several that a receiver joins again.

In: the packet, its parsed header, its codec, the limit in bytes. Out: packets with the same RTP
header, CSRC list and extension, without padding, the marker on the last one only, and all with the
sequence number of the original: the caller renumbers.

- H.264 (RFC 6184 5.8): a NAL unit becomes FU-A; a FU-A becomes several, S and E only at the outer
  ends; of a STAP-A each NAL unit goes by itself, as FU-A if it is too large.
- VP8 (RFC 7741 4.2): the payload descriptor is repeated, with S on the first piece only. PID stays:
  where the next partition begins inside the packet is not known, and PID may stay 0 for all.
- Opus has no fragments.

The pieces of a unit are of one size but for the last, which is less than their number smaller:
segmentation offload wants them equal, and a tiny piece would cost as much as a full one.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from rtp.big_endian cimport load_be16
from rtp.payload.codec cimport CODEC_H264, CODEC_OPUS, CODEC_VP8
from rtp.payload.h264 cimport NAL_FU_A, NAL_STAP_A, is_nal_type
from rtp.payload.rtp_header cimport RTP_HEADER_OK, parse_rtp_header, rtp_header_t
from rtp.payload.vp8 cimport VP8_MAX_DESCRIPTOR_BYTES, VP8_PARTITION_START, vp8_descriptor_bytes


cdef inline size_t ceiling(size_t value, size_t divisor) noexcept nogil:
    return (value + divisor - 1) / divisor


# Pieces of one NAL unit, which may fit.
cdef inline size_t pieces_of_nal(size_t size, size_t room) noexcept nogil:
    return 1 if size <= room else ceiling(size - 1, room - 2)


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


cdef inline void set_fu_prefix(
    fragments_t* f, uint8_t nal_header, uint8_t first_bit, uint8_t last_bit
) noexcept nogil:
    f.prefix[0] = (nal_header & 0xE0) | NAL_FU_A
    f.prefix[1] = nal_header & 0x1F
    f.prefix_bytes = 2
    f.bits_at = 1
    f.first_bit = first_bit
    f.last_bit = last_bit


cdef void take_nal(fragments_t* f, const uint8_t* nal, size_t size) noexcept nogil:
    if size <= f.room:
        take_whole(f, nal, size)
        return
    set_fu_prefix(f, nal[0], 0x80, 0x40)
    take_cut(f, nal + 1, size - 1)


# The next NAL unit of the aggregate; False if there is none that is whole.
cdef bint take_unit(fragments_t* f) noexcept nogil:
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
    cdef size_t offset = 1
    cdef size_t nal_bytes
    cdef size_t pieces = 0
    while offset < size:
        if size - offset < 3:
            return -1
        nal_bytes = load_be16(payload + offset)
        offset += 2
        if nal_bytes == 0 or nal_bytes > size - offset or not is_nal_type(payload[offset] & 0x1F):
            return -1
        offset += nal_bytes
        pieces += pieces_of_nal(nal_bytes, f.room)
        if pieces > MAX_FRAGMENTS:
            return -1
    f.units = payload + 1
    f.units_bytes = size - 1
    return <int>pieces if take_unit(f) else -1


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
        set_fu_prefix(
            f, (payload[0] & 0xE0) | (payload[1] & 0x1F), payload[1] & 0x80, payload[1] & 0x40
        )
        return <int>take_cut(f, payload + 2, size - 2)
    if not is_nal_type(structure):
        return -1
    take_nal(f, payload, size)
    return <int>pieces_of_nal(size, f.room)


cdef int begin_vp8(fragments_t* f, const uint8_t* payload, size_t size) noexcept nogil:
    cdef size_t descriptor_bytes = vp8_descriptor_bytes(payload, size)
    if descriptor_bytes == 0 or descriptor_bytes > VP8_MAX_DESCRIPTOR_BYTES:
        return -1
    memcpy(f.prefix, payload, descriptor_bytes)
    f.first_bit = f.prefix[0] & VP8_PARTITION_START
    f.last_bit = 0
    f.prefix[0] &= <uint8_t>~VP8_PARTITION_START
    f.prefix_bytes = descriptor_bytes
    f.bits_at = 0
    return <int>take_cut(f, payload + descriptor_bytes, size - descriptor_bytes)


cdef int fragments_begin(
    fragments_t* f, const uint8_t* data, const rtp_header_t* header, uint8_t codec, size_t limit
) noexcept nogil:
    cdef const uint8_t* payload = data + header.header_bytes
    cdef size_t size = header.payload_bytes
    cdef int pieces = -1
    f.data = data
    f.header_bytes = header.header_bytes
    f.marker = header.marker
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
        elif codec == CODEC_VP8:
            pieces = begin_vp8(f, payload, size)
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
            out[size + f.bits_at] |= f.first_bit
        if piece_bytes == f.rest_bytes:
            out[size + f.bits_at] |= f.last_bit
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


def codecs():
    return {"OPUS": CODEC_OPUS, "H264": CODEC_H264, "VP8": CODEC_VP8}
