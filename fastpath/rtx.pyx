"""Retransmission payloads (RFC 4588, SSRC-multiplexed): the header of what is sent again.

A retransmission has its own payload type, SSRC and sequence numbers, so a receiver can tell how
much was lost from what it got; its payload begins with the original sequence number. Time stamp,
marker, CSRCs and header extension are those that the original had on its way to this receiver;
padding is taken off.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from rtp.big_endian cimport store_be16

cdef enum:
    PADDING_BIT = 0x20           # RFC 3550 5.1


cdef uint32_t rtx_end_header(uint8_t* header, uint32_t header_bytes, uint16_t original) noexcept nogil:
    """To a copy of the original's header, with room for RTX_OSN_BYTES: its sequence number, `original` as
    the receiver knows it. How many bytes these are; the payload without its padding follows. The caller
    sets payload type, sequence number, SSRC and time stamp, as for any packet."""
    header[0] &= <uint8_t>~PADDING_BIT
    store_be16(header + header_bytes, original)
    return header_bytes + RTX_OSN_BYTES
