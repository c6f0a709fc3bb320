"""Descriptions written: round trips, refusals, and libavformat receiving by one."""

import socket
import threading
from dataclasses import replace
from pathlib import Path

import av
import pytest
from av.video.stream import VideoStream
from hypothesis import given
from hypothesis import strategies as st

from rtp.errors import RtpValueError
from rtp.payload.h264_packets import split_annexb
from rtp.payload.parameter_sets import build_fmtp, parameter_sets_of
from rtp.sdp import Direction, MediaDescription, PayloadFormat, SessionDescription, parse, write
from tests.rtp.muxer import HEIGHT, WIDTH, mux

H264 = PayloadFormat(96, "H264", 90_000, 1, "packetization-mode=1", ("nack", "nack pli"))
OPUS = PayloadFormat(97, "opus", 48_000, 2)
VIDEO = MediaDescription("video", 5004, "192.0.2.1", (H264,), ssrc=7, cname="node")
AUDIO = MediaDescription("audio", 5006, "192.0.2.1", (OPUS,), direction=Direction.SENDONLY)
SESSION = SessionDescription((VIDEO, AUDIO), "a stream", "2001:db8::1", 1, 2)


def test_vector() -> None:
    assert write(SESSION).split("\r\n") == [
        "v=0",
        "o=- 1 2 IN IP6 2001:db8::1",
        "s=a stream",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
        "m=video 5004 RTP/AVP 96",
        "a=rtpmap:96 H264/90000",
        "a=fmtp:96 packetization-mode=1",
        "a=rtcp-fb:96 nack",
        "a=rtcp-fb:96 nack pli",
        "a=sendrecv",
        "a=ssrc:7 cname:node",
        "m=audio 5006 RTP/AVP 97",
        "a=rtpmap:97 opus/48000/2",
        "a=sendonly",
        "",
    ]


def test_a_source_and_what_is_sent_again_of_it_are_a_group() -> None:
    """RFC 5576 4.2 and RFC 4588 8: as browsers write it."""
    rtx = PayloadFormat(98, "rtx", 90_000, fmtp="apt=96")
    text = write(replace(SESSION, media=(replace(VIDEO, formats=(H264, rtx), rtx_ssrc=8),)))
    assert "m=video 5004 RTP/AVP 96 98\r\n" in text
    assert "a=rtpmap:98 rtx/90000\r\na=fmtp:98 apt=96\r\n" in text
    assert "a=ssrc-group:FID 7 8\r\na=ssrc:7 cname:node\r\na=ssrc:8 cname:node\r\n" in text
    other = text.replace("FID 7 8", "FEC-FR 7 9")
    assert parse(other).media[0].rtx_ssrc is None


def test_addresses_that_differ_go_below_their_media() -> None:
    other = replace(AUDIO, address="2001:db8::2")
    text = write(replace(SESSION, media=(VIDEO, other)))
    assert text.index("m=video") < text.index("c=IN IP4 192.0.2.1")
    assert text.index("m=audio") < text.index("c=IN IP6 2001:db8::2")


tokens = st.text("abcXYZ019-.", min_size=1, max_size=8)
texts = st.text(
    st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1, max_size=20
).filter(lambda text: text == text.strip())
addresses = st.sampled_from(["192.0.2.1", "2001:db8::1", "node.example", "0.0.0.0"])
ports = st.integers(0, 65_535)
u64 = st.integers(0, 2**64 - 1)
formats = st.lists(
    st.builds(
        PayloadFormat,
        payload_type=st.integers(0, 127),
        codec=tokens,
        clock_rate=st.integers(1, 2**32 - 1),
        channels=st.integers(1, 255),
        fmtp=st.just("") | texts,
        rtcp_feedback=st.lists(texts, max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda each: each.payload_type,
).map(tuple)


uris = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


@st.composite
def media(draw: st.DrawFn) -> MediaDescription:
    source = draw(st.none() | st.tuples(st.integers(0, 2**32 - 1), texts))
    return MediaDescription(
        media=draw(tokens),
        port=draw(ports),
        address=draw(addresses),
        formats=draw(formats),
        protocol=draw(st.sampled_from(["RTP/AVP", "RTP/AVPF", "UDP/TLS/RTP/SAVPF"])),
        direction=draw(st.sampled_from(Direction)),
        rtcp_port=draw(st.none() | ports),
        rtcp_mux=draw(st.booleans()),
        ssrc=source[0] if source else None,
        cname=source[1] if source else None,
        rtx_ssrc=(source[0] + 1) % 2**32 if source and draw(st.booleans()) else None,
        extensions={uri: n for n, uri in enumerate(draw(st.sets(uris, max_size=3)), 14)},
    )


@given(
    st.builds(
        SessionDescription, st.lists(media(), max_size=4).map(tuple), texts, addresses, u64, u64
    )
)
def test_round_trip(description: SessionDescription) -> None:
    assert parse(write(description)) == description


@pytest.mark.parametrize(
    "description",
    [
        replace(SESSION, name=""),
        replace(SESSION, name="a\r\nm=audio 1 RTP/AVP 0"),
        replace(SESSION, name=" a"),
        replace(SESSION, session_id=-1),
        replace(SESSION, origin_address="a b"),
        replace(SESSION, media=(VIDEO,) * 65),
        replace(SESSION, name="x" * 65_536),
        *[
            replace(SESSION, media=(replace(VIDEO, **change),))
            for change in (
                {"port": 65_536},
                {"address": "239.0.0.1"},
                {"address": ""},
                {"media": "vi deo"},
                {"protocol": "UDP/DTLS/SCTP"},
                {"formats": ()},
                {"formats": (H264, H264)},
                {"formats": (replace(H264, payload_type=128),)},
                {"formats": (replace(H264, codec="H/264"),)},
                {"formats": (replace(H264, clock_rate=0),)},
                {"formats": (replace(H264, channels=256),)},
                {"formats": (replace(H264, fmtp="a\nb"),)},
                {"formats": (replace(H264, rtcp_feedback=("",)),)},
                {"rtcp_port": -1},
                {"ssrc": None},
                {"cname": None},
                {"ssrc": 2**32},
                {"cname": "a\nb"},
                {"rtx_ssrc": 7},
                {"rtx_ssrc": 2**32},
                {"rtx_ssrc": 8, "ssrc": None, "cname": None},
                {"extensions": {"urn:x": 0}},
                {"extensions": {"urn:x": 256}},
                {"extensions": {"urn:x": 1, "urn:y": 1}},
                {"extensions": {"urn: x": 1}},
            )
        ],
    ],
)
def test_what_does_not_fit_is_our_own_error(description: SessionDescription) -> None:
    with pytest.raises(RtpValueError):
        write(description)


def free_ports() -> int:
    """An even port that is free now, and so is the next, which libavformat takes for RTCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            if port % 2:
                continue
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
                try:
                    second.bind(("127.0.0.1", port + 1))
                except OSError:
                    continue
                return port


def test_libavformat_receives_by_what_is_written(tmp_path: Path) -> None:
    """It takes port, payload type and parameter sets from the description, and decodes."""
    frames = mux("libx264", 14, 12, 1_200)
    sets = parameter_sets_of(split_annexb(frames[0].data))
    payload_type = frames[0].packets[0].payload_type
    h264 = PayloadFormat(payload_type, "H264", 90_000, fmtp=build_fmtp(*sets))
    port = free_ports()
    file = tmp_path / "stream.sdp"
    video = replace(VIDEO, port=port, address="127.0.0.1", formats=(h264,), cname="a node")
    file.write_bytes(write(replace(SESSION, media=(video,))).encode())
    stop = threading.Event()

    def send() -> None:
        """The frames again and again, from before libavformat listens until it has enough."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not stop.is_set():
                for frame in frames:
                    for datagram in frame.datagrams:
                        sender.sendto(datagram, ("127.0.0.1", port))
                    if stop.wait(0.01):
                        return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        options = {"protocol_whitelist": "file,udp,rtp", "reorder_queue_size": "0"}
        with av.open(str(file), format="sdp", options=options, timeout=30) as source:
            (stream,) = source.streams
            assert isinstance(stream, VideoStream)
            assert stream.codec_context.name == "h264"
            assert (stream.codec_context.width, stream.codec_context.height) == (WIDTH, HEIGHT)
            assert stream.codec_context.extradata == b"".join(b"\0\0\0\1" + nal for nal in sets)
            assert next(source.decode(stream)).width == WIDTH
    finally:
        stop.set()
        thread.join()
