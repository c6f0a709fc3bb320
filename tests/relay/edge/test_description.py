"""What cannot be described is refused in one line."""

from __future__ import annotations

import msgspec
import pytest

from relay.edge.description import describe
from relay.errors import RefusalCode, Refused
from relay.messages import Track
from rtp.sdp import parse

VIDEO = Track(
    stream_id=1,
    media="video",
    codec="H264",
    payload_type=96,
    clock_rate=90_000,
    first_stream_seq=0,
    fmtp=" packetization-mode=1 ",
)


def test_spaces_around_the_format_parameters_do_no_harm() -> None:
    text = describe("demo", [VIDEO], {"video": ("192.0.2.1", 6000)}, "next")
    assert parse(text).media[0].formats[0].fmtp == "packetization-mode=1"


@pytest.mark.parametrize(
    ("codec", "fmtp"),
    [
        ("H265", "profile-id=1;sprop-vps=QAEM;sprop-sps=QgEBYA==;sprop-pps=RAHBcg=="),
        ("VP9", "profile-id=0"),
        ("AV1", "profile=0;level-idx=5;tier=0"),
        ("VP8", ""),
    ],
)
def test_a_player_is_told_the_codec_and_its_parameters(codec: str, fmtp: str) -> None:
    track = msgspec.structs.replace(VIDEO, codec=codec, fmtp=fmtp)
    text = describe("demo", [track], {"video": ("192.0.2.1", 6000)}, "next")
    assert f"a=rtpmap:96 {codec}/90000\r\n" in text
    (only,) = parse(text).media[0].formats
    assert (only.codec, only.fmtp) == (codec, fmtp)


@pytest.mark.parametrize(
    ("addresses", "text"),
    [
        ({"audio": ("192.0.2.1", 6000)}, "demo has no audio"),
        ({"video": ("239.1.1.1", 6000)}, "there is no SDP for this: 239.1.1.1 is multicast"),
    ],
)
def test_what_sdp_cannot_say_is_refused(addresses: dict[str, tuple[str, int]], text: str) -> None:
    with pytest.raises(Refused) as raised:
        describe("demo", [VIDEO], addresses, "next")
    assert (str(raised.value), raised.value.code) == (text, RefusalCode.BAD_REQUEST)
