from libc.stddef cimport size_t
from libc.stdint cimport uint8_t


# NAL unit types: H.265 table 7-1; above 47: RFC 7798 4.4.
cdef enum:
    HEVC_LAST_SUB_LAYER = 14     # up to here even types are not referred to within their sub-layer
    HEVC_RASL_N = 8
    HEVC_RASL_R = 9
    HEVC_FIRST_IRAP = 16
    HEVC_LAST_BLA = 18
    HEVC_CRA = 21                # the last IRAP type in use
    HEVC_LAST_VCL = 31
    HEVC_VPS = 32
    HEVC_SPS = 33
    HEVC_PPS = 34
    HEVC_AUD = 35
    HEVC_END_OF_SEQUENCE = 36
    HEVC_END_OF_BITSTREAM = 37
    HEVC_PREFIX_SEI = 39
    HEVC_LAST_SINGLE = 47
    HEVC_AP = 48
    HEVC_FU = 49

# What the marks of a track's next packet depend on. Zeroed: nothing is known.
ctypedef struct h265_state_t:
    bint has_sps
    uint8_t highest_tid          # temporal id that pictures may have
    bint has_irap                # in this coded video sequence
    bint in_irap                 # the packets of this picture are of one
    bint skips_rasl              # the pictures that follow the newest IRAP as RASL cannot be decoded


# A NAL unit of H.265 itself, no structure of RFC 7798.
cdef inline bint is_hevc_type(int nal_type) noexcept nogil:
    return nal_type <= HEVC_LAST_SINGLE


# A temporal id of 0 is written as 1 (7.4.2.2).
cdef inline bint is_hevc_header(const uint8_t* header) noexcept nogil:
    return header[1] & 0x07 != 0

# Marks of one packet (see marks.pxd), or -1 if it is malformed. `payload` is borrowed for the call.
cdef int h265_marks(
    h265_state_t* state, const uint8_t* payload, size_t size, int begins, bint marker
) noexcept nogil

# A sequence parameter set is, or begins, in this payload, which h265_marks has accepted.
cdef bint h265_has_sps(const uint8_t* payload, size_t size) noexcept nogil
