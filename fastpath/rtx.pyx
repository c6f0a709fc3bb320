"""Retransmission payloads (RFC 4588, session-multiplexed SSRC): the header of what is sent again.

A retransmission has its own payload type, SSRC and sequence numbers, so a receiver can tell how
much was lost from what it got; its payload begins with the original sequence number. Time stamp,
marker, CSRCs and header extension are the original's; padding is taken off.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy
from rtp.big_endian cimport store_be16
from rtp.payload.rtp_header cimport RTP_HEADER_OK, parse_rtp_header, rtp_header_t

cdef enum:
    PADDING_BIT = 0x20           # RFC 3550 5.1


cdef uint32_t rtx_write_header(
    const uint8_t* packet, uint32_t size, uint8_t* header, uint32_t room, uint16_t original, uint32_t* payload_bytes
) noexcept nogil:
    """The original's header and its sequence number, `original` as the receiver knows it. How many bytes
    these are; what of the packet follows them, from its own header on, is payload_bytes long. 0: they have
    no room. The caller sets payload type, sequence number, SSRC and time stamp, as for any packet."""
    cdef rtp_header_t rtp
    if parse_rtp_header(packet, size, &rtp) != RTP_HEADER_OK or rtp.header_bytes + RTX_OSN_BYTES > room:
        return 0
    memcpy(header, packet, rtp.header_bytes)
    header[0] &= <uint8_t>~PADDING_BIT
    store_be16(header + rtp.header_bytes, original)
    payload_bytes[0] = rtp.payload_bytes
    return rtp.header_bytes + RTX_OSN_BYTES
