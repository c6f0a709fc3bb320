"""What stands before a synthetic packet's content, by codec: payload descriptors, fragment headers and as
much of parameter sets and frame headers as a node may read to know key frames and what is discardable.

H.264 (RFC 6184) and H.265 (RFC 7798) send parameter sets and an SEI message with the content as an
aggregate before a key frame, then slices, in fragments if they are long. VP8 (RFC 7741), VP9 (RFC 9628,
not flexible) and AV1 (RTP Payload Format For AV1) cut a frame at any byte. The parameter sets are of
1280x720: those of usual encoders, and an AV1 sequence header without any tool. In VP9 every inter frame
is error resilient, so that those which refresh nothing can be left out.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset
from lab.virtual.content cimport CONTENT_BYTES, content_write
from rtp.big_endian cimport load_be16, store_be16

cdef extern from *:
    """
    /* Each NAL unit after its size, as in an aggregate. */
    static const unsigned char overlane_h264_sets[] = {
        0, 10, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8, 0x40,  /* SPS, constrained baseline */
        0, 4, 0x68, 0xce, 0x3c, 0x80  /* PPS */};
    static const unsigned char overlane_h265_sets[] = {
        0, 24, 0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00,
        0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x5d, 0xba, 0x02, 0x40,  /* VPS */
        0, 40, 0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00,
        0x00, 0x03, 0x00, 0x5d, 0xa0, 0x02, 0x80, 0x80, 0x2d, 0x16, 0x5b, 0xa4, 0xa4, 0xc2, 0xe6, 0x80,
        0x80, 0x00, 0x00, 0x03, 0x00, 0x80, 0x00, 0x00, 0x0f, 0x04,  /* SPS */
        0, 6, 0x44, 0x01, 0xc0, 0x71, 0x83, 0x12  /* PPS */};
    static const unsigned char overlane_av1_sequence[] = {  /* OBU header, sequence header (AV1 5.5) */
        0x08, 0x00, 0x00, 0x00, 0x2d, 0x4c, 0xff, 0xb3, 0xc0, 0x00, 0x00, 0x80};
    """
    const uint8_t overlane_h264_sets[18]
    const uint8_t overlane_h265_sets[76]
    const uint8_t overlane_av1_sequence[12]

cdef enum:
    H264_SETS_BYTES = 18
    H265_SETS_BYTES = 76
    AV1_SEQUENCE_BYTES = 12
    UUID_BYTES = 16
    SEI_HEAD_BYTES = 18          # payload type, size, UUID; after the NAL header


cdef bint has_parameter_packet(uint8_t codec) noexcept nogil:
    """A key frame begins with a packet of parameter sets."""
    return codec == LAB_H264 or codec == LAB_H265


cdef bint reorders_frames(uint8_t codec) noexcept nogil:
    """Frames may be sent before others that are shown first. Without, those between two anchors are
    shown in the order sent, as those of higher temporal layers are."""
    return codec == LAB_H264 or codec == LAB_H265


cdef uint32_t put_sei(uint8_t nal_head_bytes, const content_t* content, uint8_t* target) noexcept nogil:
    """User data without a registered owner (H.264 D.1.7) that is the content, after the NAL header. Zeros
    as its UUID would need emulation prevention, so ones."""
    store_be16(target, <uint16_t>(nal_head_bytes + SEI_HEAD_BYTES + CONTENT_BYTES + 1))
    target += 2 + nal_head_bytes
    target[0] = 5
    target[1] = UUID_BYTES + CONTENT_BYTES
    memset(target + 2, 0x11, UUID_BYTES)
    content_write(content, target + SEI_HEAD_BYTES, CONTENT_BYTES)
    target[SEI_HEAD_BYTES + CONTENT_BYTES] = 0x80
    return 2 + nal_head_bytes + SEI_HEAD_BYTES + CONTENT_BYTES + 1


cdef uint32_t put_parameter_sets(uint8_t codec, const content_t* content, uint8_t* target) noexcept nogil:
    """A STAP-A (RFC 6184 5.7.1) or AP (RFC 7798 4.4.2); only for codecs that have one."""
    if codec == LAB_H264:
        target[0] = 24 | 0x60
        memcpy(target + 1, overlane_h264_sets, H264_SETS_BYTES)
        target[1 + H264_SETS_BYTES + 2] = 6
        return 1 + H264_SETS_BYTES + put_sei(1, content, target + 1 + H264_SETS_BYTES)
    target[0] = 48 << 1
    target[1] = 1
    memcpy(target + 2, overlane_h265_sets, H265_SETS_BYTES)
    target[2 + H265_SETS_BYTES + 2] = 39 << 1
    target[2 + H265_SETS_BYTES + 3] = 1
    return 2 + H265_SETS_BYTES + put_sei(2, content, target + 2 + H265_SETS_BYTES)


cdef uint32_t put_h264_head(const piece_t* piece, uint8_t* target) noexcept nogil:
    """NAL unit or FU-A (RFC 6184 5.8). The slice header begins with first_mb_in_slice 0 and slice_type 7
    (I), 5 (P) or 6 (B), in Exp-Golomb codes (H.264 7.3.3)."""
    cdef uint8_t kind = 0x65 if piece.is_key else 0x01 if piece.is_discardable else 0x41
    cdef uint32_t at = 1
    if piece.is_first and piece.is_last:
        target[0] = kind
    else:
        target[0] = 28 | (kind & 0x60)
        target[1] = (kind & 0x1F) | (0x80 if piece.is_first else 0) | (0x40 if piece.is_last else 0)
        at = 2
    if piece.is_first:
        target[at] = 0x88 if piece.is_key else 0x9F if piece.is_b else 0x9B
        target[at + 1] = 0xFF
        at += 2
    return at


cdef uint32_t put_h265_head(const piece_t* piece, uint8_t* target) noexcept nogil:
    """NAL unit or FU (RFC 7798 4.4.3): IDR_W_RADL, TRAIL_R or TRAIL_N; first_slice_segment_in_pic_flag."""
    cdef uint8_t kind = 19 if piece.is_key else 0 if piece.is_discardable else 1
    cdef uint32_t at = 2
    target[1] = 1
    if piece.is_first and piece.is_last:
        target[0] = <uint8_t>(kind << 1)
    else:
        target[0] = 49 << 1
        target[2] = kind | (0x80 if piece.is_first else 0) | (0x40 if piece.is_last else 0)
        at = 3
    if piece.is_first:
        target[at] = 0xAF
        target[at + 1] = 0xFF
        at += 2
    return at


cdef uint32_t put_vp8_head(const piece_t* piece, uint8_t* target) noexcept nogil:
    """Descriptor (RFC 7741 4.2) and, of a frame's first packet, its header (RFC 6386 9.1)."""
    target[0] = (0x10 if piece.is_first else 0) | (0x20 if piece.is_discardable else 0)
    if not piece.is_first:
        return 1
    target[1] = 0x10 if piece.is_key else 0x11
    target[2] = 0xFF
    target[3] = 0xFF
    if not piece.is_key:
        return 4
    target[4], target[5], target[6] = 0x9D, 0x01, 0x2A
    target[7], target[8], target[9], target[10] = 0x00, 0x05, 0xD0, 0x02
    return 11


cdef uint32_t put_vp9_head(const piece_t* piece, uint8_t* target) noexcept nogil:
    """Descriptor (RFC 9628 4.2) with a picture id of 15 bits; the frame's header up to
    refresh_frame_flags (VP9 6.2), or a key frame's sync code."""
    cdef uint32_t at = 3
    target[0] = 0x80 | (0 if piece.is_key else 0x40) | (0x08 if piece.is_first else 0) | (0x04 if piece.is_last else 0)
    store_be16(target + 1, <uint16_t>(0x8000 | (piece.number & 0x7FFF)))
    if not piece.is_first:
        return at
    if piece.is_key:
        target[0] |= 0x02
        target[at] = 0x10
        store_be16(target + at + 1, 1280)
        store_be16(target + at + 3, 720)
        at += 5
        target[at], target[at + 1], target[at + 2], target[at + 3] = 0x83, 0x49, 0x83, 0x42
        return at + 4
    target[at] = 0x87
    target[at + 1] = 0x00 if piece.is_discardable else 0x01
    return at + 2


cdef uint32_t put_av1_head(const piece_t* piece, uint8_t* target) noexcept nogil:
    """Aggregation header, the sequence header before a key frame, OBU header and the frame's header up to
    refresh_frame_flags (AV1 5.9.2)."""
    cdef uint32_t at = 1
    target[0] = (0 if piece.is_first else 0x80) | (0 if piece.is_last else 0x40) | 0x10
    if not piece.is_first:
        return at
    if piece.is_key:
        target[0] += 0x10 | 0x08
        target[at] = AV1_SEQUENCE_BYTES
        memcpy(target + at + 1, overlane_av1_sequence, AV1_SEQUENCE_BYTES)
        at += 1 + AV1_SEQUENCE_BYTES
    target[at] = 0x30
    target[at + 1] = 0x10 if piece.is_key else 0x30
    target[at + 2] = 0x00
    target[at + 3] = 0x3F if piece.is_discardable else 0x7F
    return at + 4


cdef uint32_t put_head(const piece_t* piece, uint8_t* target) noexcept nogil:
    """Bytes before the content: MAX_HEAD_BYTES at most."""
    if piece.codec == LAB_H264:
        return put_h264_head(piece, target)
    if piece.codec == LAB_H265:
        return put_h265_head(piece, target)
    if piece.codec == LAB_VP8:
        return put_vp8_head(piece, target)
    if piece.codec == LAB_VP9:
        return put_vp9_head(piece, target)
    return put_av1_head(piece, target)


cdef uint32_t sei_content(const uint8_t* payload, uint32_t size, uint32_t head_bytes, uint8_t sei_type) noexcept nogil:
    """Where it is in an aggregate; 0: nowhere."""
    cdef uint32_t at = head_bytes
    cdef uint8_t kind
    while at + 2 + head_bytes <= size:
        kind = payload[at + 2] & 0x1F if head_bytes == 1 else (payload[at + 2] >> 1) & 0x3F
        if kind == sei_type:
            return at + 2 + head_bytes + SEI_HEAD_BYTES
        at += 2 + load_be16(payload + at)
    return 0


cdef uint32_t content_place(uint8_t codec, const uint8_t* payload, uint32_t size, uint32_t* end) noexcept nogil:
    """Where a packet's content begins, and where it ends; 0: nowhere."""
    cdef uint32_t at
    end[0] = size
    if size < MAX_HEAD_BYTES:
        return 0
    if codec == LAB_H264:
        if payload[0] & 0x1F == 24:
            at = sei_content(payload, size, 1, 6)
            end[0] = at + CONTENT_BYTES
            return at
        if payload[0] & 0x1F == 28:
            return 4 if payload[1] & 0x80 else 2
        return 3
    if codec == LAB_H265:
        if payload[0] >> 1 == 48:
            at = sei_content(payload, size, 2, 39)
            end[0] = at + CONTENT_BYTES
            return at
        if payload[0] >> 1 == 49:
            return 5 if payload[2] & 0x80 else 3
        return 4
    if codec == LAB_VP8:
        if not payload[0] & 0x10:
            return 1
        return 4 if payload[1] & 1 else 11
    if codec == LAB_VP9:
        if not payload[0] & 0x08:
            return 3
        return 12 if payload[0] & 0x02 else 5
    if payload[0] & 0x80:
        return 1
    return 18 if payload[0] & 0x08 else 5
