"""Parameter sets of H.264 and H.265 that travel in a session description instead of the stream.

In: the format parameters. Out: the one payload (STAP-A, AP) by which who knows only the stream gets
the sets in-band. And the way back: the format parameters of an H.264 stream whose SPS and PPS are
known. Also which packetisation modes cannot be carried: those that need not send in decoding order.
Sources: RFC 6184 8.1, RFC 7798 7.1.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from rtp import constants as c
from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError
from rtp.payload.h264_packets import join_stap_a

# By codec: the format parameters that hold parameter sets.
SET_PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {
    "H264": ("sprop-parameter-sets",),
    "H265": ("sprop-vps", "sprop-sps", "sprop-pps"),
}
_HEVC_TYPES = (c.HEVC_VPS, c.HEVC_SPS, c.HEVC_PPS)  # in the order of their parameters
_PARAMETER_SETS = frozenset({c.NAL_SPS, c.NAL_PPS})
_PROFILE_LEVEL = slice(1, 4)  # profile_idc, constraint flags, level_idc (H.264 7.3.2.1.1)


def payload_of_sets(codec: str, parameters: Mapping[str, str]) -> bytes:
    """One RTP payload with all parameter sets that the parameters hold; b"" if they hold none.

    parameters: as `PayloadFormat.parameters`. Raises RtpParseError (offset: in characters of the
    parameter at fault) if they are not what they should be, or one of the kinds is missing.
    """
    values = [parameters.get(name, "") for name in SET_PARAMETERS.get(codec, ())]
    if not any(values):
        return b""
    return stap_a_from_sprop(values[0]) if codec == "H264" else _aggregate_of_hevc(values)


def unsupported_mode(codec: str, parameters: Mapping[str, str]) -> str | None:
    """Why packets sent this way cannot be carried; None if they can."""
    if codec == "H264" and parameters.get("packetization-mode", "0") not in ("0", "1"):
        mode = parameters["packetization-mode"]
        return f"packetization-mode={mode} is interleaved; send with packetization-mode=1"
    if codec == "H265" and parameters.get("sprop-max-don-diff", "0") != "0":
        return "sprop-max-don-diff above 0 is out of decoding order; send with sprop-max-don-diff=0"
    if codec == "H265" and parameters.get("tx-mode", "SRST").upper() != "SRST":
        return f"tx-mode={parameters['tx-mode']} needs several streams; send with tx-mode=SRST"
    return None


def parse_sprop(value: str) -> list[bytes]:
    """NAL units of `sprop-parameter-sets`: base64, between commas; left-out `=` do not matter.

    Raises RtpParseError (offset: in characters) on bad base64, on a NAL unit that is neither SPS
    nor PPS, and if one of the two is missing.
    """
    nals = _parse_list(value, lambda nal: _nal_type(nal) in _PARAMETER_SETS)
    if {_nal_type(nal) for nal in nals} != _PARAMETER_SETS:
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


def _aggregate_of_hevc(values: list[str]) -> bytes:
    """An aggregation packet (RFC 7798 4.4.2) of base layer and lowest sub-layer."""
    parts = [bytes([c.HEVC_AP << 1, 1])]
    for value, kind in zip(values, _HEVC_TYPES, strict=True):
        header = bytes([kind << 1, 1])
        nals = _parse_list(value, partial(_is_longer, header))
        if not nals:
            raise RtpParseError(ParseErrorKind.NO_PARAMETER_SET, len(value))
        for nal in nals:
            if len(nal) > c.UDP_MAX_BYTES:
                raise RtpParseError(ParseErrorKind.TOO_LONG, len(value))
            parts += [len(nal).to_bytes(c.STAP_A_LENGTH_BYTES), nal]
    return b"".join(parts)


def _is_longer(header: bytes, nal: bytes) -> bool:
    return nal.startswith(header) and len(nal) > len(header)


def _parse_list(value: str, is_wanted: Callable[[bytes], bool]) -> list[bytes]:
    """What stands between the commas, out of base64. Raises RtpParseError."""
    nals: list[bytes] = []
    offset = 0
    for item in value.split(","):
        text = item.strip()
        if text:  # cameras put a comma behind the last one
            nals.append(_parse_set(text, offset, is_wanted))
        offset += len(item) + 1
    return nals


def _parse_set(text: str, offset: int, is_wanted: Callable[[bytes], bool]) -> bytes:
    try:
        nal = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RtpParseError(ParseErrorKind.BAD_BASE64, offset) from error
    if not is_wanted(nal):
        raise RtpParseError(ParseErrorKind.NO_PARAMETER_SET, offset)
    return nal


def _nal_type(nal: bytes) -> int:
    return nal[0] & c.NAL_TYPE_MASK if nal else 0
