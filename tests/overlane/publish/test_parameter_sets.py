"""Parameter sets out of avcC and Annex B, and into key frames."""

import pytest

from overlane.publish.errors import PublishError
from overlane.publish.parameter_sets import H264Framing

SPS, PPS, IDR, SLICE, AUD = b"\x67sps", b"\x68pp", b"\x65idr", b"\x41p", b"\x09\xf0"
AVCC = b"\x01\x64\x00\x1e\xff\xe1\x00\x04" + SPS + b"\x01\x00\x03" + PPS


def _avcc(*nals: bytes) -> bytes:
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)


def test_avcc_gives_length_size_and_sets() -> None:
    assert H264Framing.from_extradata(AVCC) == H264Framing(4, (SPS, PPS))


def test_a_key_frame_gets_the_sets_after_its_delimiter() -> None:
    framing = H264Framing.from_extradata(AVCC)
    assert framing.access_unit(_avcc(AUD, IDR)) == [AUD, SPS, PPS, IDR]
    assert framing.access_unit(_avcc(IDR)) == [SPS, PPS, IDR]


def test_what_has_its_sets_or_is_no_key_frame_stays() -> None:
    framing = H264Framing.from_extradata(AVCC)
    assert framing.access_unit(_avcc(SPS, PPS, IDR)) == [SPS, PPS, IDR]
    assert framing.access_unit(_avcc(SLICE)) == [SLICE]


def test_annexb_extradata_and_packets() -> None:
    framing = H264Framing.from_extradata(b"\0\0\0\1" + SPS + b"\0\0\1" + PPS)
    assert framing == H264Framing(0, (SPS, PPS))
    assert framing.access_unit(b"\0\0\1" + IDR) == [SPS, PPS, IDR]


def test_no_extradata_adds_nothing() -> None:
    assert H264Framing.from_extradata(b"").access_unit(b"\0\0\1" + IDR) == [IDR]


@pytest.mark.parametrize("length", range(1, len(AVCC)))
def test_a_truncated_avcc_is_refused(length: int) -> None:
    with pytest.raises(PublishError):
        H264Framing.from_extradata(AVCC[:length])
