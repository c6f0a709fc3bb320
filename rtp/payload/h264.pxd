from libc.stdint cimport uint8_t


# NAL unit types: H.264 table 7-1; above 23: RFC 6184 5.2.
cdef enum:
    NAL_SLICE = 1
    NAL_PARTITION_A = 2
    NAL_IDR_SLICE = 5
    NAL_SEI = 6
    NAL_SPS = 7
    NAL_PPS = 8
    NAL_AUD = 9
    NAL_LAST_SINGLE = 23
    NAL_STAP_A = 24
    NAL_FU_A = 28


# A NAL unit of H.264 itself, no structure of RFC 6184.
cdef inline bint is_nal_type(int nal_type) noexcept nogil:
    return nal_type >= 1 and nal_type <= NAL_LAST_SINGLE

# Marks of one packet (see marks.pxd), or -1 if it is malformed. `payload` is borrowed for the call.
cdef int h264_marks(const uint8_t* payload, size_t size, int begins, bint marker) noexcept nogil

# A sequence parameter set is, or begins, in this payload, which h264_marks has accepted: the node can
# tell a key frame that brings its own from one that needs those of the configuration.
cdef bint h264_has_sps(const uint8_t* payload, size_t size) noexcept nogil
