"""Header extensions to viewers, in the one-byte form (RFC 8285 4.2), under the ids they have chosen.

    transport number  u16, across all of a viewer's tracks: what its feedback names
                      (draft-holmer-rmcat-transport-wide-cc-extensions-01, 2)
    delay             u16, 0.25 ms, saturating: since the producer took the packet in, by LiveNet 6.1;
                      half the viewer's round trip, if its reports tell it, is in it

The encoder's own extension, whose ids mean nothing to the viewer, gives way to them.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy
from fastpath.cursor cimport EXTENDS_DELAY, EXTENDS_TRANSPORT_CC, cursor_t
from fastpath.link cimport link_t
from fastpath.pacer cimport TRANSPORT_HISTORY, pacer_t, transport_t
from fastpath.ring cimport slot_t
from fastpath.send cimport delay_at_egress
from rtp.big_endian cimport store_be16
from rtp.payload.rtp_header cimport RTP_HEADER_OK, parse_rtp_header, rtp_header_t

cdef enum:
    FIXED_BYTES = 12
    HAS_EXTENSION = 0x10         # RFC 3550 5.1: the X bit
    ONE_BYTE_FORM = 0xBEDE


cdef uint16_t number_packet(link_t* link, uint32_t size, int64_t now_us) noexcept nogil:
    """The next transport number, and what left under it."""
    cdef pacer_t* pacer = link.pacer
    cdef transport_t* entry
    pacer.transport_number += 1
    entry = &pacer.transport[pacer.transport_number & (TRANSPORT_HISTORY - 1)]
    entry.sent_us = <uint32_t>now_us
    entry.number = <uint16_t>pacer.transport_number
    entry.bytes = <uint16_t>size
    return entry.number


cdef uint32_t write_extended_header(
    uint8_t* header, link_t* link, const cursor_t* cursor, const slot_t* slot, const uint8_t* payload,
    uint32_t* skipped, int64_t now_us,
) noexcept nogil:
    """Everything but the fixed header, which the caller writes: CSRCs and extensions. Bytes of it all,
    and how many bytes of the payload it stands for; 0 if the packet is not one that RTP knows."""
    cdef rtp_header_t parsed
    cdef uint32_t csrc_bytes, size, at
    cdef uint32_t words = 0
    if parse_rtp_header(payload, slot.size, &parsed) != RTP_HEADER_OK:
        return 0
    csrc_bytes = 4 * (payload[0] & 0x0F)
    skipped[0] = parsed.header_bytes
    memcpy(header + FIXED_BYTES, payload + FIXED_BYTES, csrc_bytes)
    at = FIXED_BYTES + csrc_bytes + 4
    words = 2 if cursor.extensions == (EXTENDS_TRANSPORT_CC | EXTENDS_DELAY) else 1
    size = at + 4 * words
    store_be16(header + at - 4, ONE_BYTE_FORM)
    store_be16(header + at - 2, <uint16_t>words)
    if cursor.extensions & EXTENDS_TRANSPORT_CC:
        header[at] = <uint8_t>((cursor.transport_cc_id << 4) | 1)
        store_be16(header + at + 1, number_packet(link, slot.size - skipped[0] + size, now_us))
        link.pacer.frames_numbered += payload[1] >> 7
        at += 3
    if cursor.extensions & EXTENDS_DELAY:
        header[at] = <uint8_t>((cursor.delay_id << 4) | 1)
        store_be16(header + at + 1, delay_at_egress(slot, now_us + cursor.rtt_us // 2))
        at += 3
    while at < size:
        header[at] = 0
        at += 1
    return size
