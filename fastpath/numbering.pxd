# From an encoder's RTP sequence numbers to stream_seq.
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

cdef enum:
    SHIFTS = 128                 # remembered exactly: more than a packet may be late (MAX_MISORDER)

ctypedef struct shift_t:         # a packet that became none, or several
    uint64_t number
    int32_t added                # -1: taken out; n: n more than one

ctypedef struct numbering_t:
    uint64_t highest             # extended RTP sequence number, starting at 2^16
    uint64_t first               # since the last start; what is older belongs to nobody's numbers
    uint64_t offset              # stream_seq = extended number + offset, with all shifts so far
    shift_t shifts[SHIFTS]
    uint32_t shift_count
    uint16_t jump_number
    bint has_jump

cdef void numbering_start(numbering_t* numbering, uint16_t sequence_number, uint32_t next_seq) noexcept nogil
cdef int64_t numbering_extend(numbering_t* numbering, uint16_t sequence_number, uint32_t next_seq) noexcept nogil
cdef uint32_t numbering_seq(const numbering_t* numbering, uint64_t number) noexcept nogil
cdef int32_t numbering_added(const numbering_t* numbering, uint64_t number) noexcept nogil
cdef void numbering_shift(numbering_t* numbering, uint64_t number, int32_t added) noexcept nogil
