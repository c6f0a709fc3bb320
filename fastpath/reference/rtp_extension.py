"""Header extensions to viewers, in the one-byte form (RFC 8285 4.2): a number across all their
tracks, and the accumulated delay. They replace what the encoder put there."""

from fastpath.reference.cursor import Viewer
from fastpath.reference.link import Link
from fastpath.reference.ring import Packet
from rtp.payload.rtp_header import parse

MAX_DELAY = 0xFFFF
UNIT_US = 250
EXTENDED = 0x10  # RFC 3550 5.1: the X bit
ONE_BYTE_FORM = bytes.fromhex("bede")


def delay_at_egress(packet: Packet, leaves_us: int) -> int:
    """LiveNet 6.1: the delay it had, our processing, and half the next hop's round trip."""
    return min(packet.delay + (leaves_us - packet.arrival_us) // UNIT_US, MAX_DELAY)


def extended_payload(link: Link, viewer: Viewer, packet: Packet, now_us: int) -> bytes:
    """The RTP packet with the extensions that the viewer wants; one that is no RTP, as it is."""
    payload = packet.payload
    pacer = link.pacer
    has_numbers = viewer.transport_cc_id and pacer is not None and pacer.has_numbers
    if not has_numbers and not viewer.delay_id:
        return payload
    parsed = parse(payload)
    if not isinstance(parsed, tuple):
        return payload
    header_bytes = parsed[5]
    elements = b""
    if has_numbers and pacer is not None:
        pacer.transport_number += 1
        pacer.frames_numbered += packet.payload[1] >> 7
        elements += _element(viewer.transport_cc_id, pacer.transport_number & 0xFFFF)
    if viewer.delay_id:
        elements += _element(viewer.delay_id, delay_at_egress(packet, now_us))
    elements += bytes(-len(elements) % 4)
    head = payload[: 12 + 4 * (payload[0] & 0x0F)]
    block = ONE_BYTE_FORM + (len(elements) // 4).to_bytes(2) + elements
    return bytes([head[0] | EXTENDED]) + head[1:] + block + payload[header_bytes:]


def _element(extension_id: int, value: int) -> bytes:
    return bytes([extension_id << 4 | 1]) + value.to_bytes(2)
