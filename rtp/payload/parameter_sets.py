"""H.264 parameter sets that travel in a session description instead of the stream.

In: the value of `sprop-parameter-sets`. Out: its NAL units, or the one payload (STAP-A) by which
who knows only the stream gets them in-band. And the way back: the format parameters of a stream
whose SPS and PPS are known. Source: RFC 6184 8.1.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable

from rtp import constants as c
from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError
from rtp.payload.h264_packets import join_stap_a

_PARAMETER_SETS = frozenset({c.NAL_SPS, c.NAL_PPS})
_PROFILE_LEVEL = slice(1, 4)  # profile_idc, constraint flags, level_idc (H.264 7.3.2.1.1)


def parse_sprop(value: str) -> list[bytes]:
    """NAL units of `sprop-parameter-sets`: base64, between commas; left-out `=` do not matter.

    Raises RtpParseError (offset: in characters) on bad base64, on a NAL unit that is neither SPS
    nor PPS, and if one of the two is missing.
    """
    nals: list[bytes] = []
    offset = 0
    for item in value.split(","):
        text = item.strip()
        if text:  # cameras put a comma behind the last one
            nals.append(_parse_set(text, offset))
        offset += len(item) + 1
    if {nal[0] & c.NAL_TYPE_MASK for nal in nals} != _PARAMETER_SETS:
        raise RtpParseError(ParseErrorKind.NO_PARAMETER_SET, len(value))
    return nals


def stap_a_from_sprop(value: str) -> bytes:
    """One RTP payload with all of the parameter sets. Raises RtpParseError as `parse_sprop`."""
    nals = parse_sprop(value)
    payload_bytes = 1 + sum(c.STAP_A_LENGTH_BYTES + len(nal) for nal in nals)
    if payload_bytes > c.UDP_MAX_BYTES:
        raise RtpParseError(ParseErrorKind.TOO_LONG, len(value))
    return join_stap_a(nals)


def build_fmtp(sps: bytes, *pps: bytes) -> str:
    """The format parameters of a stream in packetization mode 1 with these parameter sets.

    Raises RtpValueError if they are not an SPS, long enough for its profile and level, and PPS.
    """
    if _nal_type(sps) != c.NAL_SPS or len(sps) < _PROFILE_LEVEL.stop:
        raise RtpValueError(f"no SPS: {sps[:4].hex()}")
    if not pps or any(_nal_type(each) != c.NAL_PPS for each in pps):
        raise RtpValueError(f"no PPS: {[each[:4].hex() for each in pps]}")
    profile_level_id = sps[_PROFILE_LEVEL].hex().upper()
    sets = ",".join(b64encode(nal).decode() for nal in (sps, *pps))
    return f"packetization-mode=1;profile-level-id={profile_level_id};sprop-parameter-sets={sets}"


def parameter_sets_of(nals: Iterable[bytes]) -> list[bytes]:
    """The SPS and PPS among the NAL units of an access unit, in their order."""
    return [nal for nal in nals if _nal_type(nal) in _PARAMETER_SETS]


def _parse_set(text: str, offset: int) -> bytes:
    try:
        nal = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RtpParseError(ParseErrorKind.BAD_BASE64, offset) from error
    if _nal_type(nal) not in _PARAMETER_SETS:
        raise RtpParseError(ParseErrorKind.NO_PARAMETER_SET, offset)
    return nal


def _nal_type(nal: bytes) -> int:
    return nal[0] & c.NAL_TYPE_MASK if nal else 0
