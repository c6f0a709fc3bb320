"""Frame marks of one VP9 RTP payload (RFC 9628), flexible mode or not.

In: the payload without RTP header and padding; the marker bit; `begins` as for H.265: 1 if its
timestamp differs from the preceding packet's, 0 if it is the same, -1 if the preceding packet is
unknown; what is kept from packet to packet. Out: marks, or -1 for a truncated descriptor, one that
RFC 9628 excludes, or a payload with nothing behind it. A frame here is a picture: all its spatial
layers.

- FRAME_START: the first packet (B) of spatial layer 0, or a new timestamp. FRAME_END: marker.
- KEY: every packet of a picture whose lowest layer is a key frame by its own header (6.2 of the
  bitstream specification); the descriptor's P bit may not contradict. P alone says no more than that
  the picture refers to no other, which holds for intra-only frames too, and some senders never set
  it. GOP_START: KEY and B, on spatial layer 0.
- DISCARDABLE: every packet of a frame that is shown, updates no reference
  (refresh_frame_flags = 0), and is error resilient, as are all inter frames since the key picture.
  In a stream that is not, each frame hands its probabilities and motion vectors on to the next one
  decoded (7.2, 6.4.23), whatever refers to it as a picture: nothing can be left out. Descriptors do
  not say it: neither a TID, below which all may stay while its own frames depend on each other, nor
  flexible mode, where only later pictures' P_DIFF would tell.

The frame's header is in its first packet; if that one is lost, the rest is neither.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

from rtp.payload.bits cimport bits_of, bits_t, take_bits
from rtp.payload.marks cimport (
    MARK_DISCARDABLE,
    MARK_FRAME_END,
    MARK_FRAME_START,
    MARK_GOP_START,
    MARK_KEY,
)


# Bytes of the scalability structure (4.2.1); 0 if it is truncated.
cdef size_t structure_bytes(const uint8_t* data, size_t size) noexcept nogil:
    cdef size_t need = 1
    cdef int pictures, i
    if size < 1:
        return 0
    if data[0] & 0x10:  # Y: a width and a height for each layer
        need += 4 * (<size_t>(data[0] >> 5) + 1)
    if data[0] & 0x08:  # G: a group of pictures
        if need >= size:
            return 0
        pictures = data[need]
        need += 1
        for i in range(pictures):
            if need >= size:
                return 0
            need += 1 + ((data[need] >> 2) & 0x03)
    return need if need <= size else 0


# Bytes of the P_DIFFs at `data`: up to three; 0 if they are truncated or go on.
cdef size_t references_bytes(const uint8_t* data, size_t size) noexcept nogil:
    cdef size_t i
    for i in range(VP9_MOST_REFERENCES):
        if i >= size:
            return 0
        if not data[i] & VP9_MORE_REFERENCES:
            return i + 1
    return 0


cdef bint parse_vp9_descriptor(const uint8_t* payload, size_t size, vp9_descriptor_t* out) noexcept nogil:
    cdef size_t at = 1
    cdef size_t more
    if size < 2:
        return False
    out.flags = payload[0]
    out.temporal_id = 0
    out.spatial_id = 0
    if out.flags & VP9_FLEXIBLE and not out.flags & VP9_HAS_PICTURE_ID:
        return False
    if out.flags & VP9_HAS_PICTURE_ID:
        at += 2 if payload[1] & VP9_LONG_PICTURE_ID else 1
    if out.flags & VP9_HAS_LAYER:
        if at >= size:
            return False
        out.temporal_id = payload[at] >> 5
        out.spatial_id = (payload[at] >> 1) & 0x07
        at += 1 if out.flags & VP9_FLEXIBLE else 2
    if out.flags & VP9_FLEXIBLE and out.flags & VP9_INTER_PREDICTED:
        if at >= size:
            return False
        more = references_bytes(payload + at, size - at)
        if more == 0:
            return False
        at += more
    out.fixed_bytes = at
    if out.flags & VP9_HAS_STRUCTURE:
        if at >= size:
            return False
        more = structure_bytes(payload + at, size - at)
        if more == 0:
            return False
        at += more
    out.size = at
    return at < size


# The uncompressed header of a frame as far as it matters (bitstream specification 6.2).
ctypedef struct frame_t:
    bint is_known
    bint is_key
    bint is_unreferenced         # shown, and it updates no reference
    bint is_chained              # it continues, and hands on, the state of the frame before it


cdef frame_t frame_of(const uint8_t* data, size_t size) noexcept nogil:
    cdef bits_t bits = bits_of(data, size)
    cdef frame_t frame
    cdef uint32_t profile
    cdef bint is_shown, is_resilient
    cdef bint is_intra_only = False
    frame.is_known = False
    frame.is_key = False
    frame.is_unreferenced = False
    frame.is_chained = False
    if take_bits(&bits, 2) != 2:  # frame_marker
        return frame
    profile = take_bits(&bits, 1)
    profile |= take_bits(&bits, 1) << 1
    if profile == 3 and take_bits(&bits, 1):
        return frame
    if take_bits(&bits, 1):  # show_existing_frame: no frame of its own
        frame.is_known = not bits.is_past_end
        return frame
    frame.is_key = take_bits(&bits, 1) == 0
    is_shown = take_bits(&bits, 1)
    is_resilient = take_bits(&bits, 1)
    if not frame.is_key:
        if not is_shown:
            is_intra_only = take_bits(&bits, 1)
        if not is_resilient:
            take_bits(&bits, 2)  # reset_frame_context
        frame.is_chained = not is_resilient
        if not is_intra_only:  # else what is shown later begins with it
            frame.is_unreferenced = take_bits(&bits, 8) == 0 and is_shown and is_resilient
    frame.is_known = not bits.is_past_end
    return frame


cdef void begin_frame(vp9_state_t* state, const vp9_descriptor_t* descriptor, const frame_t* frame) noexcept nogil:
    state.in_frame = True
    state.spatial_id = descriptor.spatial_id
    if descriptor.spatial_id == 0:
        state.in_key = frame.is_known and frame.is_key and not descriptor.flags & VP9_INTER_PREDICTED
        if state.in_key:
            state.has_chained_frame = False
    if not frame.is_known or frame.is_chained:
        state.has_chained_frame = True
    state.is_unreferenced = frame.is_known and frame.is_unreferenced and not state.has_chained_frame


cdef int vp9_marks(
    vp9_state_t* state, const uint8_t* payload, size_t size, int begins, bint marker
) noexcept nogil:
    cdef vp9_descriptor_t descriptor
    cdef frame_t frame
    cdef bint opens
    cdef int marks = 0
    if not parse_vp9_descriptor(payload, size, &descriptor):
        return -1
    if begins != 0:
        state.in_key = False
        state.in_frame = False
    opens = descriptor.flags & VP9_FRAME_START and descriptor.spatial_id == 0
    if descriptor.flags & VP9_FRAME_START:
        frame = frame_of(payload + descriptor.size, size - descriptor.size)
        begin_frame(state, &descriptor, &frame)
    elif not state.in_frame or state.spatial_id != descriptor.spatial_id:
        state.in_frame = False
        state.is_unreferenced = False
    if state.in_key:
        marks |= MARK_KEY
        if opens:
            marks |= MARK_GOP_START
    elif state.in_frame and state.is_unreferenced:
        marks |= MARK_DISCARDABLE
    if descriptor.flags & VP9_FRAME_END:
        state.in_frame = False
    if opens or begins > 0:
        marks |= MARK_FRAME_START
    if marker:
        marks |= MARK_FRAME_END
    return marks


def descriptor(const uint8_t[::1] payload not None):
    cdef vp9_descriptor_t found
    cdef size_t size = payload.shape[0]
    if not parse_vp9_descriptor(&payload[0] if size else NULL, size, &found):
        return None
    return found.flags, found.temporal_id, found.spatial_id, found.fixed_bytes, found.size


cdef class Marker:
    cdef vp9_state_t state

    def marks(self, const uint8_t[::1] payload not None, int begins, bint marker):
        cdef size_t size = payload.shape[0]
        cdef int found = vp9_marks(&self.state, &payload[0] if size else NULL, size, begins, marker)
        return None if found < 0 else found
