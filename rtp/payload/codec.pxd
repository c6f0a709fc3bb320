# What a track's payloads are, for native code that treats codecs differently.
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from rtp.payload.av1 cimport av1_state_t
from rtp.payload.h265 cimport h265_state_t
from rtp.payload.vp9 cimport vp9_state_t

cdef enum:
    CODEC_OPUS = 1
    CODEC_H264 = 2
    CODEC_VP8 = 3
    CODEC_H265 = 4
    CODEC_VP9 = 5
    CODEC_AV1 = 6

# What is kept from one packet of a track to the next. Zeroed: nothing is known.
ctypedef union codec_state_t:
    h265_state_t h265
    vp9_state_t vp9
    av1_state_t av1

# What a codec can do. `payload` is borrowed for the call.
ctypedef struct codec_t:
    bint has_key_frames          # else each packet stands for itself
    # Marks of the track's next packet (marks.pxd), or -1 if it is malformed: then nothing is kept of it.
    int (*marks)(
        codec_state_t* state, const uint8_t* payload, size_t size, int begins, bint marker
    ) noexcept nogil
    # It brings the parameter sets that a decoder begins with. NULL: they are part of the key frame.
    bint (*has_parameter_sets)(const uint8_t* payload, size_t size) noexcept nogil


# The codec of that number; NULL if there is none. It lives as long as the process.
cdef const codec_t* codec_of(uint8_t number) noexcept nogil
