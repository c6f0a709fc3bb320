"""SPS and PPS from a file's codec data, put in-band before each key frame.

Files keep them once, outside the stream (avcC, ISO/IEC 14496-15 5.3.3.1, or Annex B); a viewer who
joins late finds them only in-band.
"""

from dataclasses import dataclass

from overlane.publish.errors import PublishError
from overlane.publish.media import is_key
from rtp.constants import NAL_AUD, NAL_SPS, NAL_TYPE_MASK
from rtp.payload.h264_packets import split_annexb, split_avcc

_AVCC_VERSION = 1
_AVCC_HEADER_BYTES = 6


@dataclass(frozen=True, slots=True)
class H264Framing:
    """How a file frames NAL units. length_size: bytes of each length, 0 for Annex B."""

    length_size: int
    parameter_sets: tuple[bytes, ...]

    @classmethod
    def from_extradata(cls, extradata: bytes) -> "H264Framing":
        """Raises PublishError on a truncated avcC."""
        if not extradata or extradata[0] != _AVCC_VERSION:
            return cls(0, tuple(split_annexb(extradata)))
        if len(extradata) <= _AVCC_HEADER_BYTES:
            raise PublishError("the file's H.264 configuration (avcC) is truncated")
        sets: list[bytes] = []
        sps_count = extradata[5] & 0x1F
        offset = _read_sets(extradata, _AVCC_HEADER_BYTES, sps_count, sets)
        if offset >= len(extradata):
            raise PublishError("the file's H.264 configuration (avcC) has no PPS")
        _read_sets(extradata, offset + 1, extradata[offset], sets)
        return cls((extradata[4] & 3) + 1, tuple(sets))

    def access_unit(self, data: bytes) -> list[bytes]:
        """NAL units of one packet of the file; a key frame gets the sets it lacks.

        Raises RtpParseError on a packet that is not framed so.
        """
        nals = split_avcc(data, self.length_size) if self.length_size else split_annexb(data)
        if not is_key(nals) or any(nal[0] & NAL_TYPE_MASK == NAL_SPS for nal in nals):
            return nals
        after_delimiter = 1 if nals[0][0] & NAL_TYPE_MASK == NAL_AUD else 0
        return [*nals[:after_delimiter], *self.parameter_sets, *nals[after_delimiter:]]


def _read_sets(data: bytes, offset: int, count: int, sets: list[bytes]) -> int:
    """Append `count` sets with 16-bit lengths from `offset`; the offset after them."""
    for _ in range(count):
        start = offset + 2
        offset = start + int.from_bytes(data[offset:start], "big")
        if offset > len(data):
            raise PublishError("the file's H.264 configuration (avcC) is truncated")
        sets.append(data[start:offset])
    return offset
