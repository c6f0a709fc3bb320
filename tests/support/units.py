"""What an encoder made and what packets hold, brought to one form that a digest can compare.

Parameter sets, delimiters and SEI may be put in or left out between encoder and network, and so may
the sizes of OBUs: only slices count for H.264 and H.265, for AV1 all but temporal delimiters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rtp.constants import NAL_IDR_SLICE, NAL_SLICE, NAL_TYPE_MASK
from rtp.payload import vp8, vp9
from rtp.payload.h264_packets import assemble, split_annexb
from rtp.payload.reference_av1 import elements, leb128
from rtp.payload.reference_h265 import split_ap

HEVC_LAST_SLICE, HEVC_AP, HEVC_FU = 31, 48, 49
OBU_TEMPORAL_DELIMITER, OBU_HAS_SIZE, OBU_HAS_EXTENSION = 2, 2, 4


def slices_of(nals: Sequence[bytes]) -> list[bytes]:
    """Of H.264."""
    return [nal for nal in nals if NAL_SLICE <= nal[0] & NAL_TYPE_MASK <= NAL_IDR_SLICE]


def hevc_slices_of(nals: Sequence[bytes]) -> list[bytes]:
    return [nal for nal in nals if nal[0] >> 1 <= HEVC_LAST_SLICE]


def encoded(codec: str, data: bytes) -> bytes:
    """Of an access unit as the encoder's file has it: byte stream, frame or OBUs."""
    if codec == "H264":
        return b"".join(slices_of(split_annexb(data)))
    if codec == "H265":
        return b"".join(hevc_slices_of(split_annexb(data)))
    return b"".join(obus_of(data)) if codec == "AV1" else data


def sent(codec: str, payloads: Iterable[bytes]) -> bytes:
    """Of an access unit's payloads in order."""
    if codec == "H264":
        return b"".join(slices_of(assemble(payloads)))
    if codec == "H265":
        return b"".join(hevc_slices_of(hevc_nals_of(payloads)))
    if codec == "AV1":
        return b"".join(map(without_size, obus_sent(payloads)))
    return b"".join(payload[descriptor_bytes(codec, payload) :] for payload in payloads)


def descriptor_bytes(codec: str, payload: bytes) -> int:
    if codec == "VP8":
        return vp8.descriptor_bytes(payload)
    if codec == "VP9":
        found = vp9.descriptor(payload)
        assert found is not None
        return found[-1]
    return 0


def hevc_nals_of(payloads: Iterable[bytes]) -> list[bytes]:
    """NAL units, fragments joined; what does not follow its beginning fails."""
    nals: list[bytes] = []
    in_fragments = False
    for payload in payloads:
        kind = payload[0] >> 1 & 0x3F
        assert in_fragments == (kind == HEVC_FU and payload[2] < 0x80)
        if kind == HEVC_AP:
            nals += split_ap(payload) or []
        elif kind != HEVC_FU:
            nals.append(payload)
        else:
            if payload[2] & 0x80:
                nals.append(bytes([payload[0] & 0x81 | (payload[2] & 0x3F) << 1, payload[1]]))
            nals[-1] += payload[3:]
            in_fragments = not payload[2] & 0x40
    assert not in_fragments
    return nals


def obus_sent(payloads: Iterable[bytes]) -> list[bytes]:
    """OBUs, their parts joined by Z and Y; what does not follow its beginning fails."""
    obus: list[bytes] = []
    goes_on = False
    for payload in payloads:
        found = elements(payload)
        assert found
        assert bool(payload[0] & 0x80) == goes_on
        if goes_on:
            obus[-1] += found.pop(0)
        obus += found
        goes_on = bool(payload[0] & 0x40)
    assert not goes_on
    return obus


def obus_of(data: bytes) -> list[bytes]:
    """Of a temporal unit in a file, each with its size, as `without_size` has them."""
    obus = []
    while data:
        head = 2 if data[0] & OBU_HAS_EXTENSION else 1
        size = leb128(data[head:])
        assert size is not None
        end = head + size[1] + size[0]
        if data[0] >> 3 & 15 != OBU_TEMPORAL_DELIMITER:
            obus.append(without_size(data[:end]))
        data = data[end:]
    return obus


def without_size(obu: bytes) -> bytes:
    if not obu[0] & OBU_HAS_SIZE:
        return obu
    head = 2 if obu[0] & OBU_HAS_EXTENSION else 1
    size = leb128(obu[head:])
    assert size is not None
    return bytes([obu[0] & ~OBU_HAS_SIZE]) + obu[1:head] + obu[head + size[1] :]
