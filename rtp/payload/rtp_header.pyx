"""The RTP header of one datagram, parsed in place (RFC 3550 5.1, 5.3.1; RFC 5761 4).

In: the datagram. Out: fields and lengths, or the first reason to refuse it. Nothing is copied: the
payload is `data + header_bytes`, `payload_bytes` long.
"""

from libc.stdint cimport uint8_t, uint16_t

from rtp.big_endian cimport load_be16, load_be32

from rtp.errors import ParseErrorKind


cdef int parse_rtp_header(const uint8_t* data, size_t size, rtp_header_t* header) noexcept nogil:
    cdef size_t header_bytes
    cdef size_t padding_bytes = 0
    if size < 12:
        return RTP_TOO_SHORT
    if size > 65535:
        return RTP_TOO_LONG
    if data[0] >> 6 != 2:
        return RTP_BAD_VERSION
    header_bytes = 12 + 4 * <size_t>(data[0] & 0x0F)
    if size < header_bytes:
        return RTP_CSRC_TRUNCATED
    if data[0] & 0x10:
        if size < header_bytes + 4:
            return RTP_EXTENSION_TRUNCATED
        header_bytes += 4 + 4 * <size_t>load_be16(data + header_bytes + 2)
        if size < header_bytes:
            return RTP_EXTENSION_TRUNCATED
    if data[0] & 0x20:
        if size == header_bytes:
            return RTP_BAD_PADDING
        padding_bytes = data[size - 1]
        if padding_bytes == 0 or padding_bytes > size - header_bytes:
            return RTP_BAD_PADDING
    header.payload_type = data[1] & 0x7F
    header.marker = data[1] >> 7
    header.sequence_number = load_be16(data + 2)
    header.timestamp = load_be32(data + 4)
    header.ssrc = load_be32(data + 8)
    header.header_bytes = <uint16_t>header_bytes
    header.payload_bytes = <uint16_t>(size - header_bytes - padding_bytes)
    return RTP_HEADER_OK


cdef bint is_rtcp(const uint8_t* data, size_t size) noexcept nogil:
    return size >= 2 and data[1] >= 192 and data[1] <= 223


_KINDS = {
    RTP_TOO_SHORT: ParseErrorKind.TOO_SHORT,
    RTP_TOO_LONG: ParseErrorKind.TOO_LONG,
    RTP_BAD_VERSION: ParseErrorKind.BAD_VERSION,
    RTP_CSRC_TRUNCATED: ParseErrorKind.CSRC_TRUNCATED,
    RTP_EXTENSION_TRUNCATED: ParseErrorKind.EXTENSION_TRUNCATED,
    RTP_BAD_PADDING: ParseErrorKind.BAD_PADDING,
}


def parse(const uint8_t[::1] data not None):
    cdef size_t size = data.shape[0]
    cdef rtp_header_t header
    cdef int refused = parse_rtp_header(&data[0] if size else NULL, size, &header)
    if refused:
        return _KINDS[refused]
    return (
        header.payload_type,
        bool(header.marker),
        header.sequence_number,
        header.timestamp,
        header.ssrc,
        header.header_bytes,
        header.payload_bytes,
    )


def looks_like_rtcp(const uint8_t[::1] data not None):
    cdef size_t size = data.shape[0]
    return bool(is_rtcp(&data[0] if size else NULL, size))
