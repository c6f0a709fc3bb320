"""Frame marks of one H.264 RTP payload (RFC 6184, packetization modes 0 and 1).

In: the payload without RTP header and padding; the marker bit; `begins`: 1 if its timestamp differs
from the preceding packet's, 0 if it is the same, -1 if the preceding packet is unknown (lost or
reordered). Out: marks, or -1 for a packet that no receiver can use.

- FRAME_START: by `begins`; if unknown, when the packet begins with a NAL unit that can stand only at
  the head of an access unit (H.264 7.4.1.2.3), or with the slice that holds macroblock 0.
- KEY: an IDR slice or a parameter set is in it. GOP_START: KEY and FRAME_START. FRAME_END: marker.
- DISCARDABLE: it has slices, all with nal_ref_idc 0, and nothing that makes it KEY.

Each packet is judged by itself: if a sender puts a delimiter or SEI alone in a key frame's first
packet, that one is no KEY, and the packet that is KEY is no FRAME_START: GOP_START is then for the
caller to set, who knows both.

A fragment that is both first and last (RFC 6184 5.8 forbids it, cameras send it) is accepted.
"""

from libc.stdint cimport uint8_t

from rtp.big_endian cimport load_be16
from rtp.payload.marks cimport (
    MARK_DISCARDABLE,
    MARK_FRAME_END,
    MARK_FRAME_START,
    MARK_GOP_START,
    MARK_KEY,
)


# What the NAL units of one packet say together.
ctypedef struct contents_t:
    bint has_key
    bint has_slice
    bint has_reference_slice


cdef inline void add_nal(contents_t* contents, int nal_type, int reference_idc) noexcept nogil:
    if nal_type == NAL_IDR_SLICE or nal_type == NAL_SPS or nal_type == NAL_PPS:
        contents.has_key = True
    if nal_type >= NAL_SLICE and nal_type <= NAL_IDR_SLICE:
        contents.has_slice = True
        if reference_idc != 0:
            contents.has_reference_slice = True


# `body` follows the NAL header. first_mb_in_slice is ue(v): 0 is the single bit 1.
cdef inline bint opens_access_unit(int nal_type, const uint8_t* body, size_t size) noexcept nogil:
    if nal_type >= NAL_SEI and nal_type <= NAL_AUD:
        return True
    if nal_type == NAL_SLICE or nal_type == NAL_PARTITION_A or nal_type == NAL_IDR_SLICE:
        return size > 0 and (body[0] & 0x80) != 0
    return False


# True if the aggregate is whole: at least one NAL unit, none empty, none past the end.
cdef inline bint add_aggregate(
    const uint8_t* payload, size_t size, contents_t* contents, bint* opens
) noexcept nogil:
    cdef size_t offset = 1
    cdef size_t nal_bytes
    cdef int nal_type
    while offset < size:
        if size - offset < 3:
            return False
        nal_bytes = load_be16(payload + offset)
        offset += 2
        if nal_bytes == 0 or nal_bytes > size - offset:
            return False
        nal_type = payload[offset] & 0x1F
        if not is_nal_type(nal_type):
            return False
        if offset == 3:
            opens[0] = opens_access_unit(nal_type, payload + offset + 1, nal_bytes - 1)
        add_nal(contents, nal_type, payload[offset] & 0x60)
        offset += nal_bytes
    return offset > 1


cdef int h264_marks(const uint8_t* payload, size_t size, int begins, bint marker) noexcept nogil:
    cdef contents_t contents
    cdef bint opens = False
    cdef int structure, nal_type
    cdef int marks = 0
    contents.has_key = False
    contents.has_slice = False
    contents.has_reference_slice = False
    if size < 1:
        return -1
    structure = payload[0] & 0x1F
    if is_nal_type(structure):
        opens = opens_access_unit(structure, payload + 1, size - 1)
        add_nal(&contents, structure, payload[0] & 0x60)
    elif structure == NAL_STAP_A:
        if not add_aggregate(payload, size, &contents, &opens):
            return -1
    elif structure == NAL_FU_A:
        if size < 2:
            return -1
        nal_type = payload[1] & 0x1F
        if not is_nal_type(nal_type):
            return -1
        if payload[1] & 0x80:
            opens = opens_access_unit(nal_type, payload + 2, size - 2)
        add_nal(&contents, nal_type, payload[0] & 0x60)
    else:
        return -1

    if contents.has_key:
        marks |= MARK_KEY
    elif contents.has_slice and not contents.has_reference_slice:
        marks |= MARK_DISCARDABLE
    if begins > 0 or (begins < 0 and opens):
        marks |= MARK_FRAME_START
        if contents.has_key:
            marks |= MARK_GOP_START
    if marker:
        marks |= MARK_FRAME_END
    return marks


cdef bint h264_has_sps(const uint8_t* payload, size_t size) noexcept nogil:
    cdef size_t offset = 1
    if size < 2:
        return False
    if payload[0] & 0x1F == NAL_FU_A:
        return payload[1] & 0x80 and payload[1] & 0x1F == NAL_SPS
    if payload[0] & 0x1F != NAL_STAP_A:
        return payload[0] & 0x1F == NAL_SPS
    while offset + 2 < size:
        if payload[offset + 2] & 0x1F == NAL_SPS:
            return True
        offset += 2 + load_be16(payload + offset)
    return False


def has_sps(const uint8_t[::1] payload not None):
    cdef size_t size = payload.shape[0]
    cdef bint found
    with nogil:
        found = h264_has_sps(&payload[0] if size else NULL, size)
    return bool(found)


def marks(const uint8_t[::1] payload not None, int begins, bint marker):
    cdef size_t size = payload.shape[0]
    cdef const uint8_t* data = &payload[0] if size else NULL
    cdef int found
    with nogil:
        found = h264_marks(data, size, begins, marker)
    return None if found < 0 else found


def mark_values():
    return {
        "GOP_START": MARK_GOP_START,
        "FRAME_END": MARK_FRAME_END,
        "FRAME_START": MARK_FRAME_START,
        "DISCARDABLE": MARK_DISCARDABLE,
        "KEY": MARK_KEY,
    }
