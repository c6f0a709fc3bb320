from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint64_t

from rtp.payload.rtp_header cimport rtp_header_t

cdef enum:
    DEPENDENCY_UNKNOWN = -1      # no descriptor, or one that says nothing about this frame
    DEPENDENCY_NEEDED = 0
    DEPENDENCY_DISCARDABLE = 1

# What descriptors leave out because an earlier one said it. Zeroed: nothing is known.
ctypedef struct dependency_state_t:
    bint has_structure
    uint8_t first_template       # template_id_offset
    uint8_t templates
    uint8_t targets              # decode targets
    uint64_t discardable         # templates that are discardable, by their place
    bint has_frame
    uint16_t frame_number        # of the newest frame that began,
    bint is_discardable          # and what it is


# What the dependency descriptor in this packet's header extension `extension_id` says of its frame.
# `data` is the packet and `header` parse_rtp_header's; borrowed for the call.
cdef int dependency_of(
    dependency_state_t* state, const uint8_t* data, const rtp_header_t* header, uint8_t extension_id
) noexcept nogil
