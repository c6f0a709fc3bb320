"""Which frames are discardable by their dependency descriptor, an RTP header extension for any codec
(RTP Payload Format For AV1, version 1.0, appendix A).

In: a packet, the extension's id, what is kept from packet to packet. Out: discardable, needed, or
unknown. A frame is discardable if each decode target that it is in says so of it: its indication is
"discardable", or "not present", for every one. Key frames bring a structure with templates; a frame
names its template, or brings its own indications. Only a frame's first packet must be complete, so
the others go by it, as long as they are of the same frame.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from rtp.header_extension cimport find_extension
from rtp.payload.bits cimport bits_of, bits_t, take_below, take_bits
from rtp.payload.rtp_header cimport RTP_HEADER_OK, parse_rtp_header, rtp_header_t

cdef enum:
    MANDATORY_BYTES = 3
    MOST_TEMPLATES = 64
    NO_MORE_LAYERS = 3           # next_layer_idc
    NEXT_SPATIAL_LAYER = 2
    DTI_DISCARDABLE = 1          # 0: not present; 2: switch; 3: required


# A frame's, or a template's, indications: none is "switch" or "required".
cdef bint take_indications(bits_t* bits, uint8_t targets) noexcept nogil:
    cdef bint is_discardable = True
    cdef int i
    for i in range(targets):
        if take_bits(bits, 2) > DTI_DISCARDABLE:
            is_discardable = False
    return is_discardable


# How many templates the list of their layers has; 0 if there are too many. (A.8.2)
cdef uint8_t take_layers(bits_t* bits, uint8_t* spatial_layers) noexcept nogil:
    cdef uint8_t templates = 0
    cdef uint32_t following = 0
    spatial_layers[0] = 1
    while following != NO_MORE_LAYERS:
        if templates == MOST_TEMPLATES or bits.is_past_end:
            return 0
        templates += 1
        following = take_bits(bits, 2)
        if following == NEXT_SPATIAL_LAYER:
            spatial_layers[0] += 1
    return templates


cdef void skip_chains(bits_t* bits, uint8_t templates, uint8_t targets) noexcept nogil:
    cdef uint32_t chains = take_below(bits, <uint32_t>targets + 1)
    cdef uint32_t i
    if chains == 0:
        return
    for i in range(targets):
        take_below(bits, chains)
    for i in range(templates * chains):
        take_bits(bits, 4)


cdef bint take_structure(bits_t* bits, dependency_state_t* state) noexcept nogil:
    """The template dependency structure; False if it is cut off."""
    cdef uint8_t spatial_layers
    cdef int i
    state.first_template = take_bits(bits, 6)
    state.targets = take_bits(bits, 5) + 1
    state.templates = take_layers(bits, &spatial_layers)
    state.discardable = 0
    for i in range(state.templates):
        if take_indications(bits, state.targets):
            state.discardable |= <uint64_t>1 << i
    for i in range(state.templates):  # frame differences
        while take_bits(bits, 1):
            take_bits(bits, 4)
    skip_chains(bits, state.templates, state.targets)
    if take_bits(bits, 1):  # resolutions
        for i in range(spatial_layers):
            take_bits(bits, 32)
    state.has_structure = state.templates > 0 and not bits.is_past_end
    return state.has_structure


# A frame's first packet: what it is. `template_id` as written.
cdef int take_frame(bits_t* bits, dependency_state_t* state, uint8_t template_id, bint is_extended) noexcept nogil:
    cdef bint has_structure = False
    cdef bint has_active_targets = False
    cdef bint has_indications = False
    cdef bint is_discardable
    cdef uint8_t place
    if is_extended:
        has_structure = take_bits(bits, 1)
        has_active_targets = take_bits(bits, 1)
        has_indications = take_bits(bits, 1)
        take_bits(bits, 2)  # own differences, own chains: behind the indications
        if has_structure and not take_structure(bits, state):
            return DEPENDENCY_UNKNOWN
    place = (template_id - state.first_template) & (MOST_TEMPLATES - 1)
    if not state.has_structure or place >= state.templates:
        return DEPENDENCY_UNKNOWN
    if has_active_targets:
        take_bits(bits, state.targets)
    is_discardable = (state.discardable >> place) & 1
    if has_indications:
        is_discardable = take_indications(bits, state.targets)
    if bits.is_past_end:
        return DEPENDENCY_UNKNOWN
    return DEPENDENCY_DISCARDABLE if is_discardable else DEPENDENCY_NEEDED


cdef int dependency_of(
    dependency_state_t* state, const uint8_t* data, const rtp_header_t* header, uint8_t extension_id
) noexcept nogil:
    cdef size_t size = 0
    cdef const uint8_t* descriptor = find_extension(data, header.header_bytes, extension_id, &size)
    cdef bits_t bits
    cdef bint begins
    cdef uint8_t template_id
    cdef uint16_t frame_number
    cdef int found
    if descriptor == NULL or size < MANDATORY_BYTES:
        return DEPENDENCY_UNKNOWN
    bits = bits_of(descriptor, size)
    begins = take_bits(&bits, 1)
    take_bits(&bits, 1)
    template_id = take_bits(&bits, 6)
    frame_number = take_bits(&bits, 16)
    if not begins:
        if not state.has_frame or frame_number != state.frame_number:
            return DEPENDENCY_UNKNOWN
        return DEPENDENCY_DISCARDABLE if state.is_discardable else DEPENDENCY_NEEDED
    found = take_frame(&bits, state, template_id, size > MANDATORY_BYTES)
    state.has_frame = found != DEPENDENCY_UNKNOWN
    state.frame_number = frame_number
    state.is_discardable = found == DEPENDENCY_DISCARDABLE
    return found


cdef class Reader:
    cdef dependency_state_t state

    def read(self, const uint8_t[::1] data not None, uint8_t extension_id):
        cdef size_t size = data.shape[0]
        cdef rtp_header_t header
        cdef const uint8_t* first = &data[0] if size else NULL
        if parse_rtp_header(first, size, &header) != RTP_HEADER_OK:
            return None
        cdef int found = dependency_of(&self.state, first, &header, extension_id)
        return None if found == DEPENDENCY_UNKNOWN else found == DEPENDENCY_DISCARDABLE
