"""RTCP SDES: the CNAME that ties the streams of one participant together.

Builds a packet with one chunk; reads the CNAME of every chunk and passes over other items.
Source: RFC 3550 6.5 and 6.5.1.
"""

from rtp.constants import RTCP_SOURCE_DESCRIPTION, SDES_CNAME, SDES_END, SDES_MAX_ITEM_BYTES
from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError
from rtp.rtcp.compound import RtcpPacket

_SSRC_BYTES = 4
_ITEM_HEADER_BYTES = 2


def build_cname(ssrc: int, cname: str) -> RtcpPacket:
    """SDES with one CNAME, 1 to 255 bytes of UTF-8. Raises RtpValueError."""
    text = cname.encode()
    if not 0 < len(text) <= SDES_MAX_ITEM_BYTES:
        raise RtpValueError(f"cname of {len(text)} bytes")
    if not 0 <= ssrc <= 0xFFFFFFFF:
        raise RtpValueError(f"ssrc is {ssrc}")
    chunk = ssrc.to_bytes(_SSRC_BYTES, "big") + bytes([SDES_CNAME, len(text)]) + text
    # One to four null octets: the end of the list, up to the next word.
    return RtcpPacket(RTCP_SOURCE_DESCRIPTION, 1, chunk + bytes(4 - len(chunk) % 4))


def parse_cnames(packet: RtcpPacket) -> dict[int, str]:
    """SSRC -> CNAME of each chunk that has one. Raises RtpParseError (offset: in the body)."""
    if packet.packet_type != RTCP_SOURCE_DESCRIPTION:
        raise RtpParseError(ParseErrorKind.WRONG_PACKET_TYPE, 0)
    cnames: dict[int, str] = {}
    offset = 0
    for _ in range(packet.count):
        ssrc = int.from_bytes(packet.body[offset : offset + _SSRC_BYTES], "big")
        cname, offset = _parse_chunk_items(packet.body, offset + _SSRC_BYTES)
        if cname is not None:
            cnames[ssrc] = cname
    return cnames


def _parse_chunk_items(body: bytes, offset: int) -> tuple[str | None, int]:
    """The chunk's CNAME, and where the next chunk begins."""
    cname = None
    while True:
        if offset >= len(body):
            raise RtpParseError(ParseErrorKind.BAD_SDES, len(body))
        if body[offset] == SDES_END:
            return cname, (offset // 4 + 1) * 4
        text_start = offset + _ITEM_HEADER_BYTES
        if text_start > len(body) or text_start + body[offset + 1] > len(body):
            raise RtpParseError(ParseErrorKind.BAD_SDES, offset)
        text_end = text_start + body[offset + 1]
        if body[offset] == SDES_CNAME:
            cname = body[text_start:text_end].decode(errors="replace")
        offset = text_end
