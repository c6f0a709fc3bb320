from libc.stddef cimport size_t
from libc.stdint cimport uint8_t


# RTP payload format for AV1 4.4: the aggregation header.
cdef enum:
    AV1_CONTINUES = 0x80         # Z: the first element is the rest of one
    AV1_GOES_ON = 0x40           # Y: the last element goes on in the next packet
    AV1_COUNT_SHIFT = 4          # W: elements, two bits; 0: each has its length before it
    AV1_COUNT_MASK = 0x03
    AV1_NEW_SEQUENCE = 0x08      # N: first packet of a coded video sequence

# AV1 6.2.2: OBU types.
cdef enum:
    OBU_SEQUENCE_HEADER = 1
    OBU_FRAME_HEADER = 3
    OBU_FRAME = 6

# One packet's elements, in order.
ctypedef struct av1_elements_t:
    const uint8_t* data          # what follows of the packet; borrowed
    size_t size
    int left                     # elements still to come; -1: as many as there are
    size_t element_bytes         # of the one that av1_next_element found, at `element`
    const uint8_t* element

# What the frame header's place of refresh_frame_flags depends on (AV1 5.5).
ctypedef struct av1_sequence_t:
    bint is_known
    bint is_reduced_still
    bint has_decoder_model
    uint8_t frame_id_bits        # 0: none
    uint8_t screen_content_tools # 2: chosen frame by frame
    uint8_t integer_mv           # the same
    uint8_t order_hint_bits

# What the marks of a track's next packet depend on. Zeroed: nothing is known.
ctypedef struct av1_state_t:
    av1_sequence_t sequence
    bint in_key                  # this temporal unit has a key frame
    bint has_frame               # a frame header of it was seen
    bint is_needed               # one of its frames is, or may be, referred to


# False if there is no element.
cdef bint av1_elements_begin(av1_elements_t* elements, const uint8_t* payload, size_t size) noexcept nogil
# 1 with `element`, 0 after the last, -1 if the packet is malformed.
cdef int av1_next_element(av1_elements_t* elements) noexcept nogil

# Marks of one packet (see marks.pxd), or -1 if it is malformed. `payload` is borrowed for the call.
cdef int av1_marks(
    av1_state_t* state, const uint8_t* payload, size_t size, int begins, bint marker
) noexcept nogil
