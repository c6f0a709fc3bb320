"""What cannot be described is refused in one line."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from fastpath import Engine, PortKind
from relay.edge.description import DELAY_URI, describe, describe_viewer
from relay.edge.plain_rtp import Extensions, PlainRtpEdge
from relay.errors import RefusalCode, Refused
from relay.messages import Track
from relay.stream import StreamRegistry
from relay.workers import Workers
from rtp.constants import TRANSPORT_CC_URI
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


def test_header_extensions_are_named_as_they_were_asked_for() -> None:
    addresses = {"video": ("192.0.2.1", 6000)}
    (plain,) = parse(describe("demo", [VIDEO], addresses, "next")).media
    assert plain.extensions == {}
    text = describe("demo", [VIDEO], addresses, "next", extensions=Extensions(3, 14))
    (medium,) = parse(text).media
    assert medium.extensions == {TRANSPORT_CC_URI: 3, DELAY_URI: 14}
    assert "transport-cc" in medium.formats[0].rtcp_feedback
    text = describe("demo", [VIDEO], addresses, "next", extensions=Extensions(delay=1))
    (delayed,) = parse(text).media
    assert delayed.extensions == {DELAY_URI: 1}
    assert "transport-cc" not in delayed.formats[0].rtcp_feedback


def test_only_tracks_of_the_videos_port_are_numbered_with_it() -> None:
    audio = msgspec.structs.replace(VIDEO, media="audio", codec="opus", payload_type=111)
    host = "192.0.2.1"
    for port, ids in ((6000, [3, 3]), (6002, [3, None])):
        addresses = {"video": (host, 6000), "audio": (host, port)}
        text = describe("demo", [VIDEO, audio], addresses, "mux", extensions=Extensions(3, 14))
        media = parse(text).media
        assert [medium.extensions.get(TRANSPORT_CC_URI) for medium in media] == ids
        assert [medium.extensions[DELAY_URI] for medium in media] == [14, 14]
        assert ["transport-cc" in m.formats[0].rtcp_feedback for m in media] == [
            number is not None for number in ids
        ]
    text = describe("demo", [audio], {"audio": (host, 6002)}, "mux", extensions=Extensions(3))
    assert parse(text).media[0].extensions == {TRANSPORT_CC_URI: 3}


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


def test_rtx_is_described_for_video_alone_and_not_in_the_types_of_the_media() -> None:
    audio = msgspec.structs.replace(VIDEO, media="audio", codec="opus", payload_type=111)
    addresses = {"video": ("192.0.2.1", 6000), "audio": ("192.0.2.1", 6002)}
    found = parse(describe("demo", [VIDEO, audio], addresses, "next", 97)).media
    assert [[each.codec for each in medium.formats] for medium in found] == [
        ["H264", "rtx"],
        ["opus"],
    ]
    rtx = found[0].formats[1]
    assert (rtx.payload_type, rtx.clock_rate, rtx.parameters) == (97, 90_000, {"apt": "96"})
    assert len(parse(describe("demo", [VIDEO], addresses, "next", 96)).media[0].formats) == 1


def test_a_viewer_is_told_the_ssrc_of_what_comes_again() -> None:
    engine = Engine(streams=4, cursors=4, viewer_links=4, ports=2, slab_bytes=1 << 20)
    workers = Workers([engine])
    edge = PlainRtpEdge(workers, [workers.open_port(PortKind.VIEWER)], 10**8, 10**7, Random(1))
    viewer = edge.add("demo", {"video": ("192.0.2.9", 6000)}, 0, rtx_payload_type=97)
    edge.start(viewer, [StreamRegistry(workers).add("demo", VIDEO, None)])
    leg = viewer.legs["video"]
    (medium,) = parse(describe_viewer(viewer)).media
    assert medium.ssrc == leg.ssrc
    assert medium.rtx_ssrc == leg.rtx_ssrc
    assert leg.rtx_ssrc not in (None, leg.ssrc)
    engine.turn(1_000)
    assert engine.verdicts()["command_stale"] == 0
