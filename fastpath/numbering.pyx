"""stream_seq follows the encoder's extended sequence number, so that loss and reordering before the
producer stay visible. What we take out (padding) or add (pieces of a packet too large for a link,
parameter sets) shifts all later numbers; the newest shifts are kept, for packets that come late.

A far jump is believed after a second consistent packet (RFC 3550 A.1); numbers go on at the head.
"""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

cdef enum:
    SEQUENCE_BASE = 65536        # extended numbers begin here: one step back stays positive
    MAX_DROPOUT = 3000           # RFC 3550 A.1
    MAX_MISORDER = 100           # RFC 3550 A.1


cdef void numbering_start(numbering_t* numbering, uint16_t sequence_number, uint32_t next_seq) noexcept nogil:
    """Let this packet follow the newest one of the stream, whatever its sequence number is."""
    numbering.highest = <uint64_t>SEQUENCE_BASE + sequence_number - 1
    numbering.first = numbering.highest + 1
    numbering.offset = <uint64_t>next_seq - numbering.highest - 1
    numbering.shift_count = 0
    numbering.has_jump = False


cdef int64_t numbering_extend(numbering_t* numbering, uint16_t sequence_number, uint32_t next_seq) noexcept nogil:
    """The extended sequence number, or -1 for a jump that nobody has confirmed yet."""
    cdef uint16_t step = <uint16_t>(sequence_number - <uint16_t>numbering.highest)
    if step < MAX_DROPOUT:
        numbering.has_jump = False
        return <int64_t>(numbering.highest + step)
    if step > 65536 - MAX_MISORDER:
        return <int64_t>(numbering.highest + step - 65536)
    if numbering.has_jump and sequence_number == numbering.jump_number:
        numbering_start(numbering, sequence_number, next_seq)
        return <int64_t>(numbering.highest + 1)
    numbering.has_jump = True
    numbering.jump_number = <uint16_t>(sequence_number + 1)
    return -1


cdef uint32_t numbering_seq(const numbering_t* numbering, uint64_t number) noexcept nogil:
    """stream_seq of a packet, or of its first piece: without the shifts made by it and after it."""
    cdef uint64_t seq = number + numbering.offset
    cdef uint32_t known = numbering.shift_count if numbering.shift_count < SHIFTS else SHIFTS
    cdef uint32_t i
    cdef const shift_t* shift
    for i in range(known):
        shift = &numbering.shifts[(numbering.shift_count - 1 - i) & (SHIFTS - 1)]
        if shift.number < number:
            break  # they stand in rising order
        seq -= <uint64_t><int64_t>shift.added
    return <uint32_t>seq


cdef int32_t numbering_added(const numbering_t* numbering, uint64_t number) noexcept nogil:
    """How many numbers this packet was given beyond its one; 0 for a packet not known to have shifted."""
    cdef uint32_t known = numbering.shift_count if numbering.shift_count < SHIFTS else SHIFTS
    cdef uint32_t i
    cdef const shift_t* shift
    for i in range(known):
        shift = &numbering.shifts[(numbering.shift_count - 1 - i) & (SHIFTS - 1)]
        if shift.number == number:
            return shift.added
    return 0


cdef void numbering_shift(numbering_t* numbering, uint64_t number, int32_t added) noexcept nogil:
    """A packet newer than all before became `added` more than one."""
    cdef shift_t* shift = &numbering.shifts[numbering.shift_count & (SHIFTS - 1)]
    shift.number = number
    shift.added = added
    numbering.shift_count += 1
    numbering.offset += <uint64_t><int64_t>added
