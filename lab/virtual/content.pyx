"""The bytes of a synthetic packet: who sent it when and which of how many it is, filler that follows
from that, and a checksum over both.

Every byte has its highest bit set and carries seven: so no start code can be in it, and it may stand
in an H.264 slice without emulation prevention (H.264 7.4.1).

    broadcast 5 bytes, number 5, index 2, count 2, code 1, sent 8, checksum 4, filler
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from lab.virtual.draws cimport draw_bits, draws_t

cdef enum:
    CHECKSUM_AT = 23
    CHECKSUM_BITS = 28


cdef void put(uint8_t* target, uint64_t value, int count) noexcept nogil:
    """Seven bits a byte, the highest first."""
    cdef int i
    for i in range(count):
        target[i] = <uint8_t>(0x80 | ((value >> (7 * (count - 1 - i))) & 0x7F))


cdef uint64_t take(const uint8_t* data, int count) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(count):
        value = (value << 7) | (data[i] & 0x7F)
    return value


cdef uint64_t mixed(uint64_t sum, uint64_t word) noexcept nogil:
    sum = (sum ^ word) * <uint64_t>0x9FB21C651E98DF25
    return sum ^ (sum >> 32)


cdef uint32_t checksum(const uint8_t* data, uint32_t size) noexcept nogil:
    """Over all but its own place."""
    cdef uint64_t sum = size
    cdef uint64_t word = 0
    cdef uint32_t at = CONTENT_BYTES
    memcpy(&word, data, 8)
    sum = mixed(sum, word)
    memcpy(&word, data + 8, 8)
    sum = mixed(sum, word)
    memcpy(&word, data + 15, 8)
    sum = mixed(sum, word)
    while at + 8 <= size:
        memcpy(&word, data + at, 8)
        sum = mixed(sum, word)
        at += 8
    word = 0
    if at < size:
        memcpy(&word, data + at, size - at)
        sum = mixed(sum, word)
    return <uint32_t>(sum >> 20) & ((1 << CHECKSUM_BITS) - 1)


cdef void content_write(const content_t* content, uint8_t* target, uint32_t size) noexcept nogil:
    """size: CONTENT_BYTES at least."""
    cdef draws_t draws
    cdef uint64_t word
    cdef uint32_t at = CONTENT_BYTES
    put(target, content.broadcast, 5)
    put(target + 5, content.number, 5)
    put(target + 10, content.index, 2)
    put(target + 12, content.count, 2)
    put(target + 14, content.code, 1)
    put(target + 15, <uint64_t>content.sent_us, 8)
    draws.state = (<uint64_t>content.broadcast << 32) ^ (<uint64_t>content.number << 14) ^ content.index
    while at < size:
        word = draw_bits(&draws) | <uint64_t>0x8080808080808080
        memcpy(target + at, &word, 8 if size - at > 8 else size - at)
        at += 8
    put(target + CHECKSUM_AT, checksum(target, size), 4)


cdef bint content_read(const uint8_t* data, uint32_t size, content_t* content) noexcept nogil:
    """False: it is not as it was written."""
    if size < CONTENT_BYTES:
        return False
    content.broadcast = <uint32_t>take(data, 5)
    content.number = <uint32_t>take(data + 5, 5)
    content.index = <uint32_t>take(data + 10, 2)
    content.count = <uint32_t>take(data + 12, 2)
    content.code = <uint32_t>take(data + 14, 1)
    content.sent_us = <int64_t>take(data + 15, 8)
    return take(data + CHECKSUM_AT, 4) == checksum(data, size) and content.index < content.count
