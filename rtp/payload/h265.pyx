"""Frame marks of one H.265 RTP payload (RFC 7798, without DONL fields).

In: the payload without RTP header and padding; the marker bit; `begins`: 1 if its timestamp differs
from the preceding packet's, 0 if it is the same, -1 if the preceding packet is unknown (lost or
reordered); what is kept from packet to packet. Out: marks, or -1 for a packet that no receiver can
use. PACI packets (4.4.4) are refused: no encoder in use sends them.

- FRAME_START: by `begins`; if unknown, when the packet begins with a NAL unit that stands only at the
  head of an access unit (H.265 7.4.2.4.4), or with the first slice segment of a picture.
- KEY: an IRAP slice (types 16 to 21) or a parameter set is in it. GOP_START: KEY and FRAME_START.
- DISCARDABLE: it has slices and each is either
  - of a sub-layer non-reference type (even, up to 14) in the highest sub-layer there is. Below it
    such a picture may be referred to from a higher one (7.4.2.2). How many there are says the SPS
    (sps_max_sub_layers_minus1); before one was seen nothing is discardable;
  - a RASL picture that no decoder can decode, as it refers to what was before a BLA, before the CRA
    that the stream begins with, or before an end of sequence (8.1.3).
  A viewer who begins at another CRA leaves its RASL pictures out by itself, as every decoder does.
- Enhancement layers (nuh_layer_id above 0) have no kind: they are neither KEY nor DISCARDABLE.
"""

from libc.stddef cimport size_t
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
    bint has_needed_slice


cdef inline int type_of(const uint8_t* nal) noexcept nogil:
    return (nal[0] >> 1) & 0x3F


cdef inline bint is_base_layer(const uint8_t* nal) noexcept nogil:
    return nal[0] & 0x01 == 0 and nal[1] & 0xF8 == 0


cdef void begin_irap(h265_state_t* state, int nal_type) noexcept nogil:
    if state.in_irap:
        return
    state.skips_rasl = nal_type <= HEVC_LAST_BLA or not state.has_irap
    state.has_irap = True
    state.in_irap = True


cdef bint is_needed(h265_state_t* state, int nal_type, uint8_t temporal_id) noexcept nogil:
    """Some picture may refer to this one."""
    if state.skips_rasl and (nal_type == HEVC_RASL_N or nal_type == HEVC_RASL_R):
        return False
    return (
        nal_type > HEVC_LAST_SUB_LAYER or nal_type & 1 or not state.has_sps or temporal_id < state.highest_tid
    )


cdef void add_slice(h265_state_t* state, contents_t* contents, int nal_type, uint8_t temporal_id) noexcept nogil:
    if temporal_id > state.highest_tid:
        state.highest_tid = temporal_id
    contents.has_slice = True
    if nal_type >= HEVC_FIRST_IRAP and nal_type <= HEVC_CRA:
        contents.has_key = True
        begin_irap(state, nal_type)
    if is_needed(state, nal_type, temporal_id):
        contents.has_needed_slice = True


# `header` is the unit's own or the packet's, `body` follows the unit's; `is_begun`: at its start.
cdef void add_nal(
    h265_state_t* state, contents_t* contents, int nal_type, const uint8_t* header, const uint8_t* body,
    size_t size, bint is_begun,
) noexcept nogil:
    if not is_base_layer(header):
        if nal_type <= HEVC_LAST_VCL:
            contents.has_slice = True
            contents.has_needed_slice = True
    elif nal_type <= HEVC_LAST_VCL:
        add_slice(state, contents, nal_type, (header[1] & 0x07) - 1)
    elif nal_type <= HEVC_PPS:
        contents.has_key = True
        if nal_type == HEVC_SPS and is_begun and size > 0:
            state.has_sps = True
            state.highest_tid = (body[0] >> 1) & 0x07  # sps_max_sub_layers_minus1 (7.3.2.2.1)
    elif nal_type == HEVC_END_OF_SEQUENCE or nal_type == HEVC_END_OF_BITSTREAM:
        state.has_irap = False


# `body` follows the NAL header; first_slice_segment_in_pic_flag is its first bit (7.3.6.1).
cdef inline bint opens_access_unit(int nal_type, const uint8_t* body, size_t size) noexcept nogil:
    if nal_type <= HEVC_LAST_VCL:
        return size > 0 and (body[0] & 0x80) != 0
    return (
        (nal_type >= HEVC_VPS and nal_type <= HEVC_AUD)
        or nal_type == HEVC_PREFIX_SEI
        or (nal_type >= 41 and nal_type <= 44)
    )


# True if the aggregate is whole: two-byte headers, no structure in it, none past the end.
cdef bint add_aggregate(
    h265_state_t* state, const uint8_t* payload, size_t size, contents_t* contents, bint* opens
) noexcept nogil:
    cdef size_t offset = 2
    cdef size_t nal_bytes
    cdef const uint8_t* nal
    while offset < size:
        if size - offset < 4:
            return False
        nal_bytes = load_be16(payload + offset)
        offset += 2
        if nal_bytes < 2 or nal_bytes > size - offset:
            return False
        nal = payload + offset
        if not is_hevc_type(type_of(nal)) or not is_hevc_header(nal):
            return False
        if offset == 4:
            opens[0] = opens_access_unit(type_of(nal), nal + 2, nal_bytes - 2)
        add_nal(state, contents, type_of(nal), nal, nal + 2, nal_bytes - 2, True)
        offset += nal_bytes
    return offset > 2


cdef bint add_packet(
    h265_state_t* state, const uint8_t* payload, size_t size, contents_t* contents, bint* opens
) noexcept nogil:
    cdef int structure, nal_type
    cdef bint is_begun
    if size < 2 or not is_hevc_header(payload):
        return False
    structure = type_of(payload)
    if is_hevc_type(structure):
        opens[0] = opens_access_unit(structure, payload + 2, size - 2)
        add_nal(state, contents, structure, payload, payload + 2, size - 2, True)
        return True
    if structure == HEVC_AP:
        return add_aggregate(state, payload, size, contents, opens)
    if structure != HEVC_FU or size < 3:
        return False
    nal_type = payload[2] & 0x3F
    if not is_hevc_type(nal_type):
        return False
    is_begun = payload[2] & 0x80 != 0
    opens[0] = is_begun and opens_access_unit(nal_type, payload + 3, size - 3)
    add_nal(state, contents, nal_type, payload, payload + 3, size - 3, is_begun)
    return True


cdef int h265_marks(
    h265_state_t* state, const uint8_t* payload, size_t size, int begins, bint marker
) noexcept nogil:
    cdef h265_state_t next_state = state[0]
    cdef contents_t contents
    cdef bint opens = False
    cdef int marks = 0
    contents.has_key = False
    contents.has_slice = False
    contents.has_needed_slice = False
    if begins != 0:
        next_state.in_irap = False
    if not add_packet(&next_state, payload, size, &contents, &opens):
        return -1
    state[0] = next_state
    if contents.has_key:
        marks |= MARK_KEY
    elif contents.has_slice and not contents.has_needed_slice:
        marks |= MARK_DISCARDABLE
    if begins > 0 or (begins < 0 and opens):
        marks |= MARK_FRAME_START
        if contents.has_key:
            marks |= MARK_GOP_START
    if marker:
        marks |= MARK_FRAME_END
    return marks


cdef bint h265_has_sps(const uint8_t* payload, size_t size) noexcept nogil:
    cdef size_t offset = 2
    if size < 2:
        return False
    if type_of(payload) == HEVC_FU:
        return size > 2 and payload[2] & 0x80 and payload[2] & 0x3F == HEVC_SPS
    if type_of(payload) != HEVC_AP:
        return type_of(payload) == HEVC_SPS
    while offset + 4 <= size:
        if type_of(payload + offset + 2) == HEVC_SPS:
            return True
        offset += 2 + load_be16(payload + offset)
    return False


def has_sps(const uint8_t[::1] payload not None):
    cdef size_t size = payload.shape[0]
    return bool(h265_has_sps(&payload[0] if size else NULL, size))


cdef class Marker:
    cdef h265_state_t state

    def marks(self, const uint8_t[::1] payload not None, int begins, bint marker):
        cdef size_t size = payload.shape[0]
        cdef int found = h265_marks(&self.state, &payload[0] if size else NULL, size, begins, marker)
        return None if found < 0 else found
