"""Frame marks of one AV1 RTP payload (RTP Payload Format For AV1, version 1.0).

In: the payload without RTP header and padding; the marker bit; `begins` as for H.265: 1 if its
timestamp differs from the preceding packet's, 0 if it is the same, -1 if the preceding packet is
unknown; what is kept from packet to packet. Out: marks, or -1 for a packet whose elements do not add
up. A frame here is a temporal unit: all packets of one timestamp.

- FRAME_START: by `begins`; if unknown, when N is set. FRAME_END: marker.
- KEY: the packets of a temporal unit from the one on that begins a new coded video sequence (N) or
  holds the header of a key frame that is shown. One that is hidden, or a sequence header repeated
  before another frame, is no place to begin. GOP_START: KEY and FRAME_START.
- DISCARDABLE: frame headers of this temporal unit were seen up to here, each of a frame that is shown
  and updates no reference (refresh_frame_flags = 0). Everything that AV1 hands from frame to frame
  goes by references, probabilities included (7.20), so nothing else can depend on it. Where the
  sequence has a decoder model the flags lie behind fields that are not read, and nothing is.

A temporal unit's hidden frames come before the one that is shown (7.5), so a packet never turns out
to be needed by what a later packet of its frame says.
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

cdef enum:
    KEY_FRAME = 0
    SWITCH_FRAME = 3
    SELECT = 2  # seq_force_...: chosen frame by frame


# The value of leb128() (AV1 4.10.5), at most 32 bits, and how many bytes it took; 0 if it is broken.
cdef size_t take_leb128(const uint8_t* data, size_t size, size_t* value) noexcept nogil:
    cdef size_t i
    value[0] = 0
    for i in range(8):
        if i >= size:
            return 0
        value[0] |= <size_t>(data[i] & 0x7F) << (7 * i)
        if not data[i] & 0x80:
            if value[0] >> 32:
                return 0
            return i + 1
    return 0


cdef bint av1_elements_begin(av1_elements_t* elements, const uint8_t* payload, size_t size) noexcept nogil:
    cdef int count
    if size < 2:
        return False
    count = (payload[0] >> AV1_COUNT_SHIFT) & AV1_COUNT_MASK
    elements.left = count if count else -1
    elements.data = payload + 1
    elements.size = size - 1
    return True


cdef int av1_next_element(av1_elements_t* elements) noexcept nogil:
    cdef size_t length_bytes = 0
    cdef size_t element_bytes = elements.size
    if elements.left == 0 or (elements.left < 0 and elements.size == 0):
        return 0
    if elements.left != 1:
        length_bytes = take_leb128(elements.data, elements.size, &element_bytes)
        if length_bytes == 0:
            return -1
    if element_bytes == 0 or element_bytes > elements.size - length_bytes:
        return -1
    elements.element = elements.data + length_bytes
    elements.element_bytes = element_bytes
    elements.data += length_bytes + element_bytes
    elements.size -= length_bytes + element_bytes
    if elements.left > 0:
        elements.left -= 1
    return 1


cdef void skip_uvlc(bits_t* bits) noexcept nogil:
    cdef int zeros = 0
    while zeros < 32 and not bits.is_past_end and take_bits(bits, 1) == 0:
        zeros += 1
    if zeros < 32:
        take_bits(bits, zeros)


cdef void skip_operating_points(bits_t* bits, av1_sequence_t* sequence) noexcept nogil:
    """From timing_info_present_flag to the last operating point (5.5.1)."""
    cdef uint32_t delay_bits = 0
    cdef uint32_t i, points
    cdef bint has_display_delay
    if take_bits(bits, 1):  # timing_info
        take_bits(bits, 32)
        take_bits(bits, 32)
        if take_bits(bits, 1):
            skip_uvlc(bits)
        sequence.has_decoder_model = take_bits(bits, 1)
        if sequence.has_decoder_model:
            delay_bits = take_bits(bits, 5) + 1
            take_bits(bits, 32)
            take_bits(bits, 10)
    has_display_delay = take_bits(bits, 1)
    points = take_bits(bits, 5) + 1
    for i in range(points):
        take_bits(bits, 12)
        if take_bits(bits, 5) > 7:
            take_bits(bits, 1)
        if sequence.has_decoder_model and take_bits(bits, 1):
            take_bits(bits, delay_bits)
            take_bits(bits, delay_bits)
            take_bits(bits, 1)
        if has_display_delay and take_bits(bits, 1):
            take_bits(bits, 4)


cdef void read_tools(bits_t* bits, av1_sequence_t* sequence) noexcept nogil:
    """From use_128x128_superblock to the order hint's size (5.5.1), of no reduced still picture."""
    cdef bint has_order_hint
    take_bits(bits, 7)  # superblocks, filters, compound, motion and dual filter
    has_order_hint = take_bits(bits, 1)
    if has_order_hint:
        take_bits(bits, 2)
    sequence.screen_content_tools = SELECT
    if not take_bits(bits, 1):
        sequence.screen_content_tools = take_bits(bits, 1)
    sequence.integer_mv = SELECT
    if sequence.screen_content_tools > 0 and not take_bits(bits, 1):
        sequence.integer_mv = take_bits(bits, 1)
    sequence.order_hint_bits = 0
    if has_order_hint:
        sequence.order_hint_bits = take_bits(bits, 3) + 1


cdef av1_sequence_t sequence_of(bits_t* bits) noexcept nogil:
    """The sequence header at `bits` (5.5.1), unknown if it is cut off."""
    cdef av1_sequence_t sequence
    cdef uint32_t width_bits, height_bits
    sequence.frame_id_bits = 0
    sequence.has_decoder_model = False
    sequence.screen_content_tools = SELECT
    sequence.integer_mv = SELECT
    sequence.order_hint_bits = 0
    take_bits(bits, 4)  # profile, still_picture
    sequence.is_reduced_still = take_bits(bits, 1)
    if sequence.is_reduced_still:
        take_bits(bits, 5)
    else:
        skip_operating_points(bits, &sequence)
    width_bits = take_bits(bits, 4) + 1
    height_bits = take_bits(bits, 4) + 1
    take_bits(bits, width_bits)
    take_bits(bits, height_bits)
    if not sequence.is_reduced_still:
        if take_bits(bits, 1):
            sequence.frame_id_bits = take_bits(bits, 4) + 2
            sequence.frame_id_bits += take_bits(bits, 3) + 1
        read_tools(bits, &sequence)
    sequence.is_known = not bits.is_past_end
    return sequence


cdef void read_frame(av1_state_t* state, bits_t* bits) noexcept nogil:
    """The frame header at `bits` (5.9.2), as far as refresh_frame_flags."""
    cdef const av1_sequence_t* sequence = &state.sequence
    cdef uint32_t frame_type
    cdef uint8_t tools
    cdef bint is_resilient
    state.has_frame = True
    if sequence.is_known and sequence.is_reduced_still:
        state.in_key = True
        return
    if take_bits(bits, 1):  # show_existing_frame, which may be a key frame
        state.is_needed = True
        return
    frame_type = take_bits(bits, 2)
    if not take_bits(bits, 1):  # hidden: somebody refers to it
        state.is_needed = True
        return
    if frame_type == KEY_FRAME and not bits.is_past_end:
        state.in_key = True
        return
    if frame_type == SWITCH_FRAME or not sequence.is_known or sequence.has_decoder_model:
        state.is_needed = True
        return
    is_resilient = take_bits(bits, 1)
    take_bits(bits, 1)  # disable_cdf_update
    tools = sequence.screen_content_tools
    if tools == SELECT:
        tools = take_bits(bits, 1)
    if tools and sequence.integer_mv == SELECT:
        take_bits(bits, 1)
    take_bits(bits, sequence.frame_id_bits)
    take_bits(bits, 1)  # frame_size_override_flag
    take_bits(bits, sequence.order_hint_bits)
    if frame_type == 1 and not is_resilient:  # an inter frame
        take_bits(bits, 3)  # primary_ref_frame
    if take_bits(bits, 8) or bits.is_past_end:
        state.is_needed = True


# An OBU, or its first part, that begins in this packet.
cdef void read_obu(av1_state_t* state, const uint8_t* data, size_t size) noexcept nogil:
    cdef bits_t bits = bits_of(data, size)
    cdef size_t obu_bytes = 0
    cdef size_t length_bytes
    cdef size_t header_bytes = 1
    cdef uint32_t obu_type
    take_bits(&bits, 1)
    obu_type = take_bits(&bits, 4)
    if take_bits(&bits, 1):
        header_bytes += 1
    if data[0] & 0x02 and size > header_bytes:  # its size follows: nothing needs it
        length_bytes = take_leb128(data + header_bytes, size - header_bytes, &obu_bytes)
        header_bytes += length_bytes if length_bytes else size
    if header_bytes > size:
        header_bytes = size
    bits = bits_of(data + header_bytes, size - header_bytes)
    if obu_type == OBU_SEQUENCE_HEADER:
        state.sequence = sequence_of(&bits)
    elif obu_type == OBU_FRAME_HEADER or obu_type == OBU_FRAME:
        read_frame(state, &bits)


cdef bint read_elements(av1_state_t* state, const uint8_t* payload, size_t size) noexcept nogil:
    cdef av1_elements_t elements
    cdef bint is_rest
    cdef int found
    if not av1_elements_begin(&elements, payload, size):
        return False
    is_rest = payload[0] & AV1_CONTINUES
    if is_rest and payload[0] & AV1_NEW_SEQUENCE:
        return False
    found = av1_next_element(&elements)
    while found > 0:
        if not is_rest:
            read_obu(state, elements.element, elements.element_bytes)
        is_rest = False
        found = av1_next_element(&elements)
    return found == 0


cdef int av1_marks(
    av1_state_t* state, const uint8_t* payload, size_t size, int begins, bint marker
) noexcept nogil:
    cdef av1_state_t next_state = state[0]
    cdef int marks = 0
    if begins != 0:
        next_state.in_key = False
        next_state.has_frame = False
        next_state.is_needed = False
    if not read_elements(&next_state, payload, size):
        return -1
    if payload[0] & AV1_NEW_SEQUENCE:
        next_state.in_key = True
    state[0] = next_state
    if next_state.in_key:
        marks |= MARK_KEY
    elif next_state.has_frame and not next_state.is_needed:
        marks |= MARK_DISCARDABLE
    if begins > 0 or (begins < 0 and payload[0] & AV1_NEW_SEQUENCE):
        marks |= MARK_FRAME_START
        if next_state.in_key:
            marks |= MARK_GOP_START
    if marker:
        marks |= MARK_FRAME_END
    return marks


def elements(const uint8_t[::1] payload not None):
    cdef size_t size = payload.shape[0]
    cdef av1_elements_t walk
    cdef int found
    if not av1_elements_begin(&walk, &payload[0] if size else NULL, size):
        return None
    result = []
    found = av1_next_element(&walk)
    while found > 0:
        result.append(walk.element[:walk.element_bytes])
        found = av1_next_element(&walk)
    return None if found < 0 else result


cdef class Marker:
    cdef av1_state_t state

    def marks(self, const uint8_t[::1] payload not None, int begins, bint marker):
        cdef size_t size = payload.shape[0]
        cdef int found = av1_marks(&self.state, &payload[0] if size else NULL, size, begins, marker)
        return None if found < 0 else found
