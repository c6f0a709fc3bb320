from libc.stddef cimport size_t
from libc.stdint cimport uint8_t


# RFC 9628 4.2: first octet of the payload descriptor, and fields after it.
cdef enum:
    VP9_HAS_PICTURE_ID = 0x80    # I
    VP9_INTER_PREDICTED = 0x40   # P
    VP9_HAS_LAYER = 0x20         # L
    VP9_FLEXIBLE = 0x10          # F
    VP9_FRAME_START = 0x08       # B
    VP9_FRAME_END = 0x04         # E
    VP9_HAS_STRUCTURE = 0x02     # V
    VP9_LONG_PICTURE_ID = 0x80   # M, in the picture id's first octet
    VP9_MORE_REFERENCES = 0x01   # N, in P_DIFF
    VP9_MOST_REFERENCES = 3
    VP9_MAX_FIXED_BYTES = 8      # of a descriptor without its scalability structure

ctypedef struct vp9_descriptor_t:
    uint8_t flags
    uint8_t temporal_id          # 0 without L
    uint8_t spatial_id
    size_t fixed_bytes           # before the scalability structure
    size_t size                  # all of it

# What the marks of a track's next packet depend on. Zeroed: nothing is known.
ctypedef struct vp9_state_t:
    bint in_key                  # this picture is a key picture
    bint in_frame                # the packet before was of a frame that goes on
    uint8_t spatial_id           # of that frame,
    bint is_unreferenced         # to which nothing refers
    bint has_chained_frame       # since the key picture there was a frame that others follow closely


# False if it is truncated, nothing follows it, or it says what RFC 9628 excludes.
cdef bint parse_vp9_descriptor(const uint8_t* payload, size_t size, vp9_descriptor_t* out) noexcept nogil

# Marks of one packet (see marks.pxd), or -1 if it is malformed. `payload` is borrowed for the call.
cdef int vp9_marks(
    vp9_state_t* state, const uint8_t* payload, size_t size, int begins, bint marker
) noexcept nogil
