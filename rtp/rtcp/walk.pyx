"""RTCP per packet: walk a compound, read reports and feedback, write the packets a node sends.

In: one datagram. Out: its packets one by one, refused exactly where `compound` refuses them, and
the fields of SR, report blocks and feedback. The writers give SR, RR, SDES with CNAME and PLI; they
are put one behind the other for a compound. Sources: RFC 3550 6.4 and 6.5, RFC 4585 6.1 to 6.3.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from rtp.big_endian cimport load_be16, load_be32, load_be64, store_be16, store_be32, store_be64


cdef int rtcp_next(
    const uint8_t* data, size_t size, size_t* at, rtcp_packet_t* packet
) noexcept nogil:
    cdef size_t offset = at[0]
    cdef size_t body_bytes, end
    cdef size_t padding_bytes = 0
    if offset >= size:
        return 0
    if size - offset < RTCP_HEADER_BYTES:
        return -1
    if data[offset] >> 6 != 2 or data[offset + 1] < 192 or data[offset + 1] > 223:
        return -1
    body_bytes = 4 * <size_t>load_be16(data + offset + 2)
    if body_bytes > size - offset - RTCP_HEADER_BYTES:
        return -1
    end = offset + RTCP_HEADER_BYTES + body_bytes
    if data[offset] & 0x20:
        # RFC 3550 6.4.1: only the last packet is padded, by a multiple of four.
        if body_bytes > 0 and end == size:
            padding_bytes = data[end - 1]
        if padding_bytes == 0 or padding_bytes % 4 != 0 or padding_bytes > body_bytes:
            return -1
    at[0] = end
    packet.packet_type = data[offset + 1]
    packet.count = data[offset] & 0x1F
    packet.body = data + offset + RTCP_HEADER_BYTES
    packet.body_bytes = body_bytes - padding_bytes
    return 1


cdef bint rtcp_is_whole(const uint8_t* data, size_t size) noexcept nogil:
    cdef rtcp_packet_t packet
    cdef size_t at = 0
    cdef int found = 1
    if size == 0:
        return False
    while found == 1:
        found = rtcp_next(data, size, &at, &packet)
    return found == 0


cdef bint read_sender_report(const rtcp_packet_t* packet, sender_info_t* info) noexcept nogil:
    if packet.packet_type != RTCP_SR:
        return False
    if packet.body_bytes < SENDER_INFO_BYTES + REPORT_BLOCK_BYTES * <size_t>packet.count:
        return False
    info.ssrc = load_be32(packet.body)
    info.ntp = load_be64(packet.body + 4)
    info.timestamp = load_be32(packet.body + 12)
    info.packet_count = load_be32(packet.body + 16)
    info.octet_count = load_be32(packet.body + 20)
    return True


# Bytes before the first report block; 0 if the packet has none by its type.
cdef inline size_t block_offset(const rtcp_packet_t* packet) noexcept nogil:
    if packet.packet_type == RTCP_SR:
        return SENDER_INFO_BYTES
    return 4 if packet.packet_type == RTCP_RR else 0


cdef int report_blocks(const rtcp_packet_t* packet) noexcept nogil:
    cdef size_t offset = block_offset(packet)
    if offset == 0:
        return 0
    if packet.body_bytes < offset + REPORT_BLOCK_BYTES * <size_t>packet.count:
        return 0
    return packet.count


cdef bint read_report_block(
    const rtcp_packet_t* packet, int index, report_block_t* block
) noexcept nogil:
    cdef const uint8_t* body
    cdef uint32_t lost
    # This says that all `count` blocks are there.
    if index < 0 or index >= report_blocks(packet):
        return False
    body = packet.body + block_offset(packet) + REPORT_BLOCK_BYTES * <size_t>index
    lost = load_be32(body + 4)
    block.ssrc = load_be32(body)
    block.fraction_lost = <uint8_t>(lost >> 24)
    block.cumulative_lost = <int32_t>(lost & 0xFFFFFF) - (0x1000000 if lost & 0x800000 else 0)
    block.extended_highest = load_be32(body + 8)
    block.jitter = load_be32(body + 12)
    block.last_sr = load_be32(body + 16)
    block.delay_since_last_sr = load_be32(body + 20)
    return True


cdef bint read_feedback(const rtcp_packet_t* packet, feedback_t* feedback) noexcept nogil:
    if packet.packet_type != RTCP_RTPFB and packet.packet_type != RTCP_PSFB:
        return False
    if packet.body_bytes < FEEDBACK_BYTES:
        return False
    feedback.sender_ssrc = load_be32(packet.body)
    feedback.media_ssrc = load_be32(packet.body + 4)
    feedback.fci = packet.body + FEEDBACK_BYTES
    feedback.fci_bytes = packet.body_bytes - FEEDBACK_BYTES
    return True


# The common header of a packet of `size` bytes, whole words, without padding; returns `size`.
cdef inline size_t write_common(
    uint8_t* out, uint8_t packet_type, uint8_t count, size_t size
) noexcept nogil:
    out[0] = 0x80 | count
    out[1] = packet_type
    store_be16(out + 2, <uint16_t>(size / 4 - 1))
    return size


cdef size_t write_sender_report(
    uint8_t* out, uint32_t ssrc, uint64_t ntp, uint32_t timestamp, uint32_t packet_count,
    uint32_t octet_count,
) noexcept nogil:
    store_be32(out + 4, ssrc)
    store_be64(out + 8, ntp)
    store_be32(out + 16, timestamp)
    store_be32(out + 20, packet_count)
    store_be32(out + 24, octet_count)
    return write_common(out, RTCP_SR, 0, WRITTEN_SR_BYTES)


cdef size_t write_receiver_report(
    uint8_t* out, uint32_t ssrc, const report_block_t* block
) noexcept nogil:
    cdef int32_t lost
    store_be32(out + 4, ssrc)
    if block is NULL:
        return write_common(out, RTCP_RR, 0, 8)
    lost = block.cumulative_lost
    if lost > 0x7FFFFF:
        lost = 0x7FFFFF
    elif lost < -0x800000:
        lost = -0x800000
    store_be32(out + 8, block.ssrc)
    store_be32(out + 12, (<uint32_t>block.fraction_lost << 24) | (<uint32_t>lost & 0xFFFFFF))
    store_be32(out + 16, block.extended_highest)
    store_be32(out + 20, block.jitter)
    store_be32(out + 24, block.last_sr)
    store_be32(out + 28, block.delay_since_last_sr)
    return write_common(out, RTCP_RR, 1, WRITTEN_RR_BYTES)


cdef size_t write_cname(
    uint8_t* out, uint32_t ssrc, const uint8_t* cname, size_t cname_bytes
) noexcept nogil:
    cdef size_t end = 10 + cname_bytes
    cdef size_t size = (end / 4 + 1) * 4  # one to four null octets end the list of items
    if cname_bytes < 1 or cname_bytes > MAX_CNAME_BYTES:
        return 0
    store_be32(out + 4, ssrc)
    out[8] = 1  # CNAME
    out[9] = <uint8_t>cname_bytes
    memcpy(out + 10, cname, cname_bytes)
    memset(out + end, 0, size - end)
    return write_common(out, RTCP_SDES, 1, size)


cdef size_t write_pli(uint8_t* out, uint32_t sender_ssrc, uint32_t media_ssrc) noexcept nogil:
    store_be32(out + 4, sender_ssrc)
    store_be32(out + 8, media_ssrc)
    return write_common(out, RTCP_PSFB, PSFB_PLI, WRITTEN_PLI_BYTES)


cdef size_t write_nack(
    uint8_t* out, uint32_t sender_ssrc, uint32_t media_ssrc, const uint16_t* numbers, int32_t count
) noexcept nogil:
    cdef size_t size = RTCP_HEADER_BYTES + FEEDBACK_BYTES
    cdef uint16_t step
    cdef uint16_t blp = 0
    cdef int32_t first = 0
    cdef int32_t i
    store_be32(out + 4, sender_ssrc)
    store_be32(out + 8, media_ssrc)
    for i in range(1, count + 1):
        step = <uint16_t>(numbers[i] - numbers[first]) if i < count else <uint16_t>0xFFFF
        if step <= 16:
            blp |= <uint16_t>(1 << (step - 1)) if step > 0 else <uint16_t>0
            continue
        store_be16(out + size, numbers[first])
        store_be16(out + size + 2, blp)
        size += NACK_ITEM_BYTES
        first = i
        blp = 0
    return write_common(out, RTCP_RTPFB, RTPFB_NACK, size)


# For tests: readers look at the first packet of `data`, writers fill `out` and say how much of it.


cdef bint read_first(const uint8_t[::1] data, rtcp_packet_t* packet):
    cdef size_t size = data.shape[0]
    cdef size_t at = 0
    return rtcp_next(&data[0] if size else NULL, size, &at, packet) == 1


cdef object block_fields(const report_block_t* block):
    return (
        block.ssrc,
        block.fraction_lost,
        block.cumulative_lost,
        block.extended_highest,
        block.jitter,
        block.last_sr,
        block.delay_since_last_sr,
    )


cdef uint8_t* with_room(uint8_t[::1] out, Py_ssize_t need) except NULL:
    if out.shape[0] < need:
        raise ValueError(f"room for {need} bytes needed, not {out.shape[0]}")
    return &out[0]


def packets(const uint8_t[::1] data not None):
    cdef size_t size = data.shape[0]
    cdef const uint8_t* first = &data[0] if size else NULL
    cdef rtcp_packet_t packet
    cdef size_t at = 0
    cdef int result = rtcp_next(first, size, &at, &packet)
    found = []
    while result == 1:
        found.append((packet.packet_type, packet.count, packet.body[: packet.body_bytes]))
        result = rtcp_next(first, size, &at, &packet)
    return found, result == 0


def is_whole(const uint8_t[::1] data not None):
    cdef size_t size = data.shape[0]
    return bool(rtcp_is_whole(&data[0] if size else NULL, size))


def sender_report(const uint8_t[::1] data not None):
    cdef rtcp_packet_t packet
    cdef sender_info_t info
    if not read_first(data, &packet) or not read_sender_report(&packet, &info):
        return None
    return info.ssrc, info.ntp, info.timestamp, info.packet_count, info.octet_count


def block_count(const uint8_t[::1] data not None):
    cdef rtcp_packet_t packet
    return report_blocks(&packet) if read_first(data, &packet) else 0


def block_at(const uint8_t[::1] data not None, int index):
    cdef rtcp_packet_t packet
    cdef report_block_t block
    if not read_first(data, &packet) or not read_report_block(&packet, index, &block):
        return None
    return block_fields(&block)


def feedback(const uint8_t[::1] data not None):
    cdef rtcp_packet_t packet
    cdef feedback_t found
    if not read_first(data, &packet) or not read_feedback(&packet, &found):
        return None
    return found.sender_ssrc, found.media_ssrc, found.fci[: found.fci_bytes]


def put_sender_report(
    uint8_t[::1] out not None, uint32_t ssrc, uint64_t ntp, uint32_t timestamp,
    uint32_t packet_count, uint32_t octet_count,
):
    cdef uint8_t* room = with_room(out, WRITTEN_SR_BYTES)
    return write_sender_report(room, ssrc, ntp, timestamp, packet_count, octet_count)


def put_receiver_report(uint8_t[::1] out not None, uint32_t ssrc, fields):
    cdef report_block_t block
    if fields is None:
        return write_receiver_report(with_room(out, 8), ssrc, NULL)
    (
        block.ssrc,
        block.fraction_lost,
        block.cumulative_lost,
        block.extended_highest,
        block.jitter,
        block.last_sr,
        block.delay_since_last_sr,
    ) = fields
    return write_receiver_report(with_room(out, WRITTEN_RR_BYTES), ssrc, &block)


def put_cname(uint8_t[::1] out not None, uint32_t ssrc, bytes cname not None):
    cdef size_t cname_bytes = len(cname)
    cdef const uint8_t* text = cname
    cdef size_t need = (10 + cname_bytes) // 4 * 4 + 4 if cname_bytes <= MAX_CNAME_BYTES else 1
    return write_cname(with_room(out, need), ssrc, text, cname_bytes)


def put_pli(uint8_t[::1] out not None, uint32_t sender_ssrc, uint32_t media_ssrc):
    return write_pli(with_room(out, WRITTEN_PLI_BYTES), sender_ssrc, media_ssrc)


def put_nack(uint8_t[::1] out not None, uint32_t sender_ssrc, uint32_t media_ssrc, numbers):
    cdef uint16_t wanted[64]
    cdef int32_t count = len(numbers)
    cdef int32_t i
    if not 1 <= count <= 64:
        raise ValueError(f"{count} numbers, not 1 to 64")
    for i in range(count):
        wanted[i] = numbers[i]
    return write_nack(with_room(out, 12 + 4 * <size_t>count), sender_ssrc, media_ssrc, wanted, count)


def constants():
    return {
        "RTCP_HEADER_BYTES": RTCP_HEADER_BYTES,
        "RTCP_SENDER_REPORT": RTCP_SR,
        "RTCP_RECEIVER_REPORT": RTCP_RR,
        "RTCP_SOURCE_DESCRIPTION": RTCP_SDES,
        "RTCP_GOODBYE": RTCP_BYE,
        "RTCP_APPLICATION": RTCP_APP,
        "RTCP_TRANSPORT_FEEDBACK": RTCP_RTPFB,
        "RTCP_PAYLOAD_FEEDBACK": RTCP_PSFB,
        "RTCP_SENDER_INFO_BYTES": SENDER_INFO_BYTES,
        "RTCP_REPORT_BLOCK_BYTES": REPORT_BLOCK_BYTES,
        "RTCP_FEEDBACK_BYTES": FEEDBACK_BYTES,
        "NACK_FORMAT": RTPFB_NACK,
        "NACK_ITEM_BYTES": NACK_ITEM_BYTES,
        "PLI_FORMAT": PSFB_PLI,
        "FIR_FORMAT": PSFB_FIR,
        "FIR_ITEM_BYTES": FIR_ITEM_BYTES,
    }
