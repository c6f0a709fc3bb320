"""The codecs by their numbers: the one list of what native code calls for each."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from rtp.payload.av1 cimport av1_marks
from rtp.payload.h264 cimport h264_has_sps, h264_marks
from rtp.payload.h265 cimport h265_has_sps, h265_marks
from rtp.payload.opus cimport opus_marks
from rtp.payload.vp8 cimport vp8_marks
from rtp.payload.vp9 cimport vp9_marks

cdef enum:
    CODECS = CODEC_AV1 + 1

cdef codec_t TABLE[CODECS]


cdef int marks_of_opus(codec_state_t* state, const uint8_t* data, size_t size, int begins, bint marker) noexcept nogil:
    return opus_marks(data, size)


cdef int marks_of_h264(codec_state_t* state, const uint8_t* data, size_t size, int begins, bint marker) noexcept nogil:
    return h264_marks(data, size, begins, marker)


cdef int marks_of_vp8(codec_state_t* state, const uint8_t* data, size_t size, int begins, bint marker) noexcept nogil:
    return vp8_marks(data, size, begins, marker)


cdef int marks_of_h265(codec_state_t* state, const uint8_t* data, size_t size, int begins, bint marker) noexcept nogil:
    return h265_marks(&state.h265, data, size, begins, marker)


cdef int marks_of_vp9(codec_state_t* state, const uint8_t* data, size_t size, int begins, bint marker) noexcept nogil:
    return vp9_marks(&state.vp9, data, size, begins, marker)


cdef int marks_of_av1(codec_state_t* state, const uint8_t* data, size_t size, int begins, bint marker) noexcept nogil:
    return av1_marks(&state.av1, data, size, begins, marker)


TABLE[CODEC_OPUS] = codec_t(has_key_frames=False, marks=marks_of_opus, has_parameter_sets=NULL)
TABLE[CODEC_H264] = codec_t(has_key_frames=True, marks=marks_of_h264, has_parameter_sets=h264_has_sps)
TABLE[CODEC_VP8] = codec_t(has_key_frames=True, marks=marks_of_vp8, has_parameter_sets=NULL)
TABLE[CODEC_H265] = codec_t(has_key_frames=True, marks=marks_of_h265, has_parameter_sets=h265_has_sps)
TABLE[CODEC_VP9] = codec_t(has_key_frames=True, marks=marks_of_vp9, has_parameter_sets=NULL)
TABLE[CODEC_AV1] = codec_t(has_key_frames=True, marks=marks_of_av1, has_parameter_sets=NULL)


cdef const codec_t* codec_of(uint8_t number) noexcept nogil:
    if number >= CODECS or TABLE[number].marks == NULL:
        return NULL
    return &TABLE[number]


def numbers():
    return {
        "OPUS": CODEC_OPUS,
        "H264": CODEC_H264,
        "VP8": CODEC_VP8,
        "H265": CODEC_H265,
        "VP9": CODEC_VP9,
        "AV1": CODEC_AV1,
    }
