# What a synthetic packet says about itself.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    CONTENT_BYTES = 27           # before the filler
    VERSION_SHIFT = 24
    BROADCAST_MASK = 0x7FFFFF
    IS_FRESH = 0x800000          # beside the broadcast: see encoder_t

ctypedef struct content_t:
    uint32_t broadcast           # its number, IS_FRESH, and the version's above it (VERSION_SHIFT)
    uint32_t number              # of the frame, or of the audio packet
    uint32_t index               # of the packet in its frame
    uint32_t count               # of the frame's packets
    uint32_t code                # what it needs: `pyramid`; of audio, CODE_KEY
    int64_t sent_us

cdef void content_write(const content_t* content, uint8_t* target, uint32_t size) noexcept nogil
cdef bint content_read(const uint8_t* data, uint32_t size, content_t* content) noexcept nogil
