# What B frames stand between two anchors, in the order of decoding.
from libc.stdint cimport uint8_t

cdef enum:
    MAX_B_FRAMES = 7

# How a frame says what it needs, in its content (`content_t.code`).
cdef enum FrameCode:
    CODE_P = 0                   # the frame before it
    CODE_KEY = 1                 # nothing
    CODE_P_LAST = 8              # 2 to 8: a P frame, and the anchor so many frames before it
    CODE_B = 16                  # and above: 8 * B frames of its group + its place among them

ctypedef struct pyramid_t:       # of so many B frames; entries in the order of decoding
    uint8_t place[MAX_B_FRAMES]      # in the order of display
    uint8_t is_reference[MAX_B_FRAMES]
    uint8_t needs[MAX_B_FRAMES]      # bit 0: the P frame behind; bit 1 + i: B frame i

cdef const pyramid_t* pyramid_of(int b_frames) noexcept nogil
