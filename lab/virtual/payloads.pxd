# The payload formats of synthetic video: what stands before a packet's content.
from libc.stdint cimport uint8_t, uint32_t
from lab.virtual.content cimport content_t

cdef enum VideoCodec:
    LAB_H264
    LAB_H265
    LAB_VP8
    LAB_VP9
    LAB_AV1
    LAB_CODECS

cdef enum:
    MAX_HEAD_BYTES = 24          # before the content

ctypedef struct piece_t:         # one packet of a frame's picture
    uint8_t codec
    bint is_key
    bint is_b
    bint is_discardable
    bint is_first
    bint is_last
    uint32_t number              # of the frame

cdef bint has_parameter_packet(uint8_t codec) noexcept nogil
cdef bint reorders_frames(uint8_t codec) noexcept nogil
cdef uint32_t put_parameter_sets(uint8_t codec, const content_t* content, uint8_t* target) noexcept nogil
cdef uint32_t put_head(const piece_t* piece, uint8_t* target) noexcept nogil
cdef uint32_t content_place(uint8_t codec, const uint8_t* payload, uint32_t size, uint32_t* end) noexcept nogil
