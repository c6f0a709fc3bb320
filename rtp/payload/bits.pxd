# Bits of a header, most significant first, never past the end: what is not there reads as 0, and
# `is_past_end` says so once, for all that was read. For headers of frames, not for each packet.
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

ctypedef struct bits_t:
    const uint8_t* data          # borrowed
    size_t size                  # bytes
    size_t at                    # bits read
    bint is_past_end


cdef inline bits_t bits_of(const uint8_t* data, size_t size) noexcept nogil:
    cdef bits_t bits
    bits.data = data
    bits.size = size
    bits.at = 0
    bits.is_past_end = False
    return bits


# At most 32.
cdef inline uint32_t take_bits(bits_t* bits, int count) noexcept nogil:
    cdef uint32_t value = 0
    cdef int i
    for i in range(count):
        value <<= 1
        if bits.at >> 3 < bits.size:
            value |= (bits.data[bits.at >> 3] >> (7 - (bits.at & 7))) & 1
        else:
            bits.is_past_end = True
        bits.at += 1
    return value


# A value below `most`, in as few bits as it takes: ns(n) of AV1 4.10.7.
cdef inline uint32_t take_below(bits_t* bits, uint32_t most) noexcept nogil:
    cdef int width = 0
    cdef uint32_t short_values, value
    while most >> width:
        width += 1
    if width == 0:
        return 0
    short_values = (<uint32_t>1 << width) - most
    value = take_bits(bits, width - 1)
    return value if value < short_values else (value << 1) - short_values + take_bits(bits, 1)
