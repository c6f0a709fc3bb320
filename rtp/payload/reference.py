"""Plain-Python twin of the native parsers beside it, for tests and for reading.

Same inputs, same results as the `def` functions of `h264`, `opus`, `vp8`, `rtp_header` and
`fragment`; their sources are named there.
"""

from collections.abc import Callable
from dataclasses import replace

from rtp import constants as c
from rtp.errors import RtpParseError
from rtp.packet import RtpPacket
from rtp.payload.h264_packets import split_stap_a
from rtp.payload.marks import Marks

# One payload and the room of each packet to several payloads; None if it cannot be split.
Splitter = Callable[[bytes, int], list[bytes] | None]

FRAGMENT_MIN_ROOM = 16
MAX_FRAGMENTS = 128

_HEAD_TYPES = frozenset({c.NAL_SEI, c.NAL_SPS, c.NAL_PPS, c.NAL_AUD})
_KEY_TYPES = frozenset({c.NAL_IDR_SLICE, c.NAL_SPS, c.NAL_PPS})
_SLICE_TYPES = frozenset(range(c.NAL_SLICE, c.NAL_IDR_SLICE + 1))
_FIRST_MB_TYPES = frozenset({c.NAL_SLICE, c.NAL_PARTITION_A, c.NAL_IDR_SLICE})


def h264_marks(payload: bytes, begins: int, marker: bool) -> int | None:
    """Marks of one payload, None if malformed; see `h264.pyx`."""
    nals = _visible_nals(payload)
    if nals is None:
        return None
    types = {nal[0] & c.NAL_TYPE_MASK for nal in nals}
    slices = [nal for nal in nals if nal[0] & c.NAL_TYPE_MASK in _SLICE_TYPES]
    starts = _opens_access_unit(payload, nals[0]) if begins < 0 else begins > 0
    marks = Marks(0)
    if types & _KEY_TYPES:
        marks |= Marks.KEY
    elif slices and not any(nal[0] & c.NAL_REF_IDC_MASK for nal in slices):
        marks |= Marks.DISCARDABLE
    if starts:
        marks |= Marks.FRAME_START
    if starts and Marks.KEY in marks:
        marks |= Marks.GOP_START
    if marker:
        marks |= Marks.FRAME_END
    return int(marks)


def opus_marks(payload: bytes) -> int | None:
    """Marks of one payload, None if empty; see `opus.pyx`."""
    return int(Marks.FRAME_START | Marks.FRAME_END | Marks.KEY) if payload else None


def vp8_descriptor_bytes(payload: bytes) -> int:
    """Bytes of the payload descriptor, 0 if truncated or nothing follows it; see `vp8.pyx`."""
    octets = iter(payload)
    used = 0

    def take() -> int:
        nonlocal used
        used += 1
        return next(octets, 0)

    if take() & c.VP8_EXTENDED:
        present = take()
        if present & c.VP8_HAS_PICTURE_ID and take() & c.VP8_LONG_PICTURE_ID:
            take()
        if present & c.VP8_HAS_TL0PICIDX:
            take()
        if present & c.VP8_HAS_TID_OR_KEYIDX:
            take()
    return used if used < len(payload) else 0


def vp8_marks(payload: bytes, begins: int, marker: bool) -> int | None:
    """Marks of one payload, None if malformed; see `vp8.pyx`."""
    descriptor_bytes = vp8_descriptor_bytes(payload)
    if not descriptor_bytes:
        return None
    frame = payload[descriptor_bytes:]
    opens = bool(payload[0] & c.VP8_PARTITION_START) and not payload[0] & c.VP8_PARTITION_MASK
    start_code = frame[c.VP8_START_CODE_AT :][: len(c.VP8_START_CODE)]
    is_key = opens and not frame[0] & c.VP8_INTER_FRAME
    if len(start_code) == len(c.VP8_START_CODE) and start_code != c.VP8_START_CODE:
        is_key = False
    marks = Marks(0)
    if is_key:
        marks |= Marks.KEY | Marks.GOP_START
    elif payload[0] & c.VP8_NON_REFERENCE:
        marks |= Marks.DISCARDABLE
    if opens or begins > 0:
        marks |= Marks.FRAME_START
    if marker:
        marks |= Marks.FRAME_END
    return int(marks)


def parse_rtp_header(data: bytes) -> tuple[int, bool, int, int, int, int, int]:
    """The fields of `rtp_header_t` in order. Raises RtpParseError where the native one refuses."""
    packet = RtpPacket.parse(data)
    return (
        packet.payload_type,
        packet.marker,
        packet.sequence_number,
        packet.timestamp,
        packet.ssrc,
        len(data) - len(packet.payload) - packet.padding_bytes,
        len(packet.payload),
    )


def is_rtcp(data: bytes) -> bool:
    """The second octet is in RFC 5761's range for RTCP."""
    return (
        len(data) >= 2 and c.RTCP_FIRST_MULTIPLEXED_TYPE <= data[1] <= c.RTCP_LAST_MULTIPLEXED_TYPE
    )


def fragments(data: bytes, split: Splitter | None, limit: int) -> list[bytes] | None:
    """The packets of at most `limit` bytes that `data` becomes, None if it cannot be split.

    split: one of the two functions below; None for a codec without fragments. Raises
    RtpParseError where the native RTP parser refuses.
    """
    packet = replace(RtpPacket.parse(data), padding_bytes=0)
    room = limit - (len(packet.serialise()) - len(packet.payload))
    payloads: list[bytes] | None = [packet.payload]
    if len(packet.payload) > room:
        payloads = split(packet.payload, room) if split and room >= FRAGMENT_MIN_ROOM else None
    if payloads is None or room < 0 or len(payloads) > MAX_FRAGMENTS:
        return None
    bare = replace(packet, marker=False)
    pieces = [replace(bare, payload=payload) for payload in payloads[:-1]]
    pieces.append(replace(packet, payload=payloads[-1]))
    return [piece.serialise() for piece in pieces]


def split_h264(payload: bytes, room: int) -> list[bytes] | None:
    """One payload as several of at most `room` bytes; None if malformed."""
    nals = _visible_nals(payload)
    if nals is None:
        return None
    outer = c.FU_START | c.FU_END
    if payload[0] & c.NAL_TYPE_MASK == c.NAL_FU_A:
        return _cut_nal(nals[0], room, payload[1] & outer)
    return [
        piece
        for nal in nals
        for piece in ([nal] if len(nal) <= room else _cut_nal(nal, room, outer))
    ]


def split_vp8(payload: bytes, room: int) -> list[bytes] | None:
    """One payload as several of at most `room` bytes; None if malformed."""
    descriptor_bytes = vp8_descriptor_bytes(payload)
    if not descriptor_bytes:
        return None
    first, *others = payload[:descriptor_bytes]
    later = bytes([first & ~c.VP8_PARTITION_START, *others])
    parts = _equal_parts(payload[descriptor_bytes:], room - descriptor_bytes)
    return [payload[:descriptor_bytes] + parts[0], *(later + part for part in parts[1:])]


def _cut_nal(nal: bytes, room: int, outer: int) -> list[bytes]:
    """FU-A payloads; outer: FU_START, FU_END or both, which the ends of the run get."""
    parts = _equal_parts(nal[1:], room - c.FU_A_HEADER_BYTES)
    headers = [nal[0] & c.NAL_TYPE_MASK] * len(parts)
    headers[0] |= outer & c.FU_START
    headers[-1] |= outer & c.FU_END
    indicator = nal[0] & ~c.NAL_TYPE_MASK | c.NAL_FU_A
    return [bytes([indicator, h]) + part for h, part in zip(headers, parts, strict=True)]


def _equal_parts(data: bytes, most: int) -> list[bytes]:
    """As few parts as possible, of one size but for the last."""
    count = -(-len(data) // most)
    size = -(-len(data) // count)
    return [data[start : start + size] for start in range(0, len(data), size)]


def _visible_nals(payload: bytes) -> list[bytes] | None:
    """The packet's NAL units, a fragment as the piece of one that it is; None if malformed."""
    if not payload:
        return None
    structure = payload[0] & c.NAL_TYPE_MASK
    nals = [payload]
    if structure == c.NAL_STAP_A:
        try:
            nals = split_stap_a(payload)
        except RtpParseError:
            return None
    elif structure == c.NAL_FU_A:
        if len(payload) < c.FU_A_HEADER_BYTES:
            return None
        header = payload[0] & ~c.NAL_TYPE_MASK | payload[1] & c.NAL_TYPE_MASK
        nals = [bytes([header]) + payload[c.FU_A_HEADER_BYTES :]]
    if all(1 <= nal[0] & c.NAL_TYPE_MASK <= c.NAL_LAST_SINGLE for nal in nals):
        return nals
    return None


def _opens_access_unit(payload: bytes, nal: bytes) -> bool:
    if payload[0] & c.NAL_TYPE_MASK == c.NAL_FU_A and not payload[1] & c.FU_START:
        return False
    nal_type = nal[0] & c.NAL_TYPE_MASK
    holds_first_macroblock = len(nal) > 1 and nal[1] >= 0x80
    return nal_type in _HEAD_TYPES or (nal_type in _FIRST_MB_TYPES and holds_first_macroblock)
