"""H.264 access units to RTP payloads and back (RFC 6184, packetization mode 1), for the clients.

In: NAL units without start codes, as `split_annexb` and `split_avcc` give them, or the payloads of
one access unit in order. Out: payloads, or the same NAL units, or an RtpParseError. Also the
canonical form of an access unit and its hash, by which a viewer's frame is compared with the
publisher's. Sources: RFC 6184 5.4 to 5.8, H.264 annex B, ISO/IEC 14496-15 5.3.
"""

from collections.abc import Iterable
from hashlib import blake2b

from rtp import constants as c
from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError

START_CODE = b"\x00\x00\x00\x01"
_SHORT_START_CODE = START_CODE[1:]
ACCESS_UNIT_HASH_BYTES = 16  # ours: collisions are out of reach for any run
MIN_PAYLOAD_BYTES = 16  # ours: below this fragments are nearly all headers
_AGGREGATED_TYPES = frozenset({c.NAL_SEI, c.NAL_SPS, c.NAL_PPS, c.NAL_AUD})


def split_annexb(data: bytes) -> list[bytes]:
    """NAL units of a byte stream with 3- or 4-byte start codes; zeros around them are dropped.

    Raises RtpParseError if data does not begin with a start code, or holds an empty NAL unit.
    """
    start = data.find(_SHORT_START_CODE)
    if not data.strip(b"\x00"):
        return []
    if start < 0 or any(data[:start]):
        raise RtpParseError(ParseErrorKind.NO_START_CODE, 0)
    nals = []
    while start >= 0:
        start += len(_SHORT_START_CODE)
        following = data.find(_SHORT_START_CODE, start)
        # A NAL unit never ends in a zero byte (H.264 7.4.1), so all of them are padding.
        nal = data[start : following if following >= 0 else len(data)].rstrip(b"\x00")
        if not nal:
            raise RtpParseError(ParseErrorKind.EMPTY_NAL, start)
        nals.append(bytes(nal))
        start = following
    return nals


def split_avcc(data: bytes, length_size: int) -> list[bytes]:
    """NAL units with length prefixes of 1, 2 or 4 bytes, as MP4 and RTMP hold them."""
    if length_size not in (1, 2, 4):
        raise RtpValueError(f"length_size is {length_size}, not 1, 2 or 4")
    nals = []
    offset = 0
    while offset < len(data):
        start = offset + length_size
        end = start + int.from_bytes(data[offset:start], "big")
        if end > len(data) or start > len(data):
            raise RtpParseError(ParseErrorKind.TOO_SHORT, offset)
        if start == end:
            raise RtpParseError(ParseErrorKind.EMPTY_NAL, offset)
        nals.append(bytes(data[start:end]))
        offset = end
    return nals


def canonical(nals: Iterable[bytes]) -> bytes:
    """The access unit as a byte stream, each NAL unit after a 4-byte start code."""
    return b"".join(START_CODE + nal for nal in nals)


def access_unit_hash(nals: Iterable[bytes]) -> str:
    """BLAKE2b of the canonical form, 16 bytes as hex."""
    return blake2b(canonical(nals), digest_size=ACCESS_UNIT_HASH_BYTES).hexdigest()


def packetize(nals: Iterable[bytes], max_payload: int) -> list[bytes]:
    """RTP payloads of one access unit, none above max_payload bytes; the last takes the marker.

    Neighbouring delimiters, parameter sets and SEI share an aggregate, so a key frame's first
    packet tells that it is one. Raises RtpValueError for an empty NAL unit or one of type 0 or
    above 23, and for a max_payload outside 16..65535.
    """
    if not MIN_PAYLOAD_BYTES <= max_payload <= c.UDP_MAX_BYTES:
        raise RtpValueError(f"max_payload is {max_payload}")
    payloads: list[bytes] = []
    waiting: list[bytes] = []
    for nal in nals:
        nal_type = _checked_type(nal)
        if waiting and (
            nal_type not in _AGGREGATED_TYPES or _stap_a_bytes([*waiting, nal]) > max_payload
        ):
            payloads.append(_join(waiting))
            waiting = []
        if nal_type in _AGGREGATED_TYPES and len(nal) <= max_payload:
            waiting.append(nal)
        elif len(nal) <= max_payload:
            payloads.append(nal)
        else:
            payloads.extend(_fragment(nal, max_payload))
    if waiting:
        payloads.append(_join(waiting))
    return payloads


def split_stap_a(payload: bytes) -> list[bytes]:
    """NAL units of one STAP-A; its own header is not looked at. Raises RtpParseError."""
    nals = []
    offset = 1
    while offset < len(payload):
        start = offset + c.STAP_A_LENGTH_BYTES
        end = start + int.from_bytes(payload[offset:start], "big")
        if start > len(payload) or end > len(payload):
            raise RtpParseError(ParseErrorKind.TRUNCATED_AGGREGATE, offset)
        if start == end:
            raise RtpParseError(ParseErrorKind.EMPTY_NAL, offset)
        nals.append(bytes(payload[start:end]))
        offset = end
    if not nals:
        raise RtpParseError(ParseErrorKind.TRUNCATED_AGGREGATE, len(payload))
    return nals


def join_stap_a(nals: list[bytes]) -> bytes:
    """One STAP-A, its NRI the highest and its F bit that of any (RFC 6184 5.7).

    nals: none empty, none above 65,535 bytes.
    """
    forbidden = max(nal[0] & c.NAL_FORBIDDEN_BIT for nal in nals)
    reference_idc = max(nal[0] & c.NAL_REF_IDC_MASK for nal in nals)
    parts = [bytes([forbidden | reference_idc | c.NAL_STAP_A])]
    for nal in nals:
        parts += [len(nal).to_bytes(c.STAP_A_LENGTH_BYTES, "big"), nal]
    return b"".join(parts)


class AccessUnitAssembler:
    """Joins the payloads of one access unit, fed in order, into its NAL units.

    It sees holes only inside a fragmented NAL unit: who feeds it knows by sequence number and
    marker whether packets are missing. After an error, or to give up, `reset`.
    """

    __slots__ = ("_fragments", "_nals")

    def __init__(self) -> None:
        self._nals: list[bytes] = []
        self._fragments: list[bytes] = []

    def feed(self, payload: bytes) -> None:
        """Add one payload. Raises RtpParseError if it is malformed or does not follow the last."""
        structure = payload[0] & c.NAL_TYPE_MASK if payload else 0
        if structure == c.NAL_FU_A:
            self._feed_fragment(payload)
            return
        if self._fragments:
            raise RtpParseError(ParseErrorKind.FRAGMENT_UNFINISHED, 0)
        if not payload:
            raise RtpParseError(ParseErrorKind.NO_PAYLOAD, 0)
        nals = split_stap_a(payload) if structure == c.NAL_STAP_A else [bytes(payload)]
        for nal in nals:
            _require_supported(nal[0])
        self._nals.extend(nals)

    def finish(self) -> list[bytes]:
        """The access unit's NAL units; the next `feed` begins another access unit.

        Raises RtpParseError if nothing was fed or a fragmented NAL unit lacks its end.
        """
        if self._fragments:
            raise RtpParseError(ParseErrorKind.FRAGMENT_UNFINISHED, 0)
        if not self._nals:
            raise RtpParseError(ParseErrorKind.NO_PAYLOAD, 0)
        nals = self._nals
        self.reset()
        return nals

    def reset(self) -> None:
        """Forget what was fed."""
        self._nals = []
        self._fragments = []

    def _feed_fragment(self, payload: bytes) -> None:
        if len(payload) < c.FU_A_HEADER_BYTES:
            raise RtpParseError(ParseErrorKind.TRUNCATED_FRAGMENT, len(payload))
        indicator, header = payload[0], payload[1]
        nal_header = bytes([indicator & ~c.NAL_TYPE_MASK | header & c.NAL_TYPE_MASK])
        _require_supported(nal_header[0])
        if header & c.FU_START:
            if self._fragments:
                raise RtpParseError(ParseErrorKind.FRAGMENT_UNFINISHED, 1)
            self._fragments.append(nal_header)
        elif not self._fragments or self._fragments[0] != nal_header:
            raise RtpParseError(ParseErrorKind.FRAGMENT_WITHOUT_START, 1)
        self._fragments.append(bytes(payload[c.FU_A_HEADER_BYTES :]))
        if header & c.FU_END:
            self._nals.append(b"".join(self._fragments))
            self._fragments = []


def assemble(payloads: Iterable[bytes]) -> list[bytes]:
    """NAL units of one access unit from all its payloads in order. Raises RtpParseError."""
    assembler = AccessUnitAssembler()
    for payload in payloads:
        assembler.feed(payload)
    return assembler.finish()


def _is_supported(nal_header: int) -> bool:
    return 1 <= nal_header & c.NAL_TYPE_MASK <= c.NAL_LAST_SINGLE


def _require_supported(nal_header: int) -> None:
    if not _is_supported(nal_header):
        raise RtpParseError(ParseErrorKind.UNSUPPORTED_NAL_TYPE, 0)


def _checked_type(nal: bytes) -> int:
    if not nal or not _is_supported(nal[0]):
        raise RtpValueError("empty NAL unit" if not nal else f"NAL type {nal[0] & 0x1F}")
    return nal[0] & c.NAL_TYPE_MASK


def _stap_a_bytes(nals: list[bytes]) -> int:
    return 1 + sum(c.STAP_A_LENGTH_BYTES + len(nal) for nal in nals)


def _join(nals: list[bytes]) -> bytes:
    """A STAP-A, or the NAL unit itself if it is alone."""
    return nals[0] if len(nals) == 1 else join_stap_a(nals)


def _fragment(nal: bytes, max_payload: int) -> list[bytes]:
    """FU-A payloads, all but the last of one size, which is what segmentation offload wants."""
    room = max_payload - c.FU_A_HEADER_BYTES
    indicator = nal[0] & ~c.NAL_TYPE_MASK | c.NAL_FU_A
    nal_type = nal[0] & c.NAL_TYPE_MASK
    fragments = []
    for start in range(1, len(nal), room):
        header = nal_type
        header |= c.FU_START if start == 1 else 0
        header |= c.FU_END if start + room >= len(nal) else 0
        fragments.append(bytes([indicator, header]) + nal[start : start + room])
    return fragments
