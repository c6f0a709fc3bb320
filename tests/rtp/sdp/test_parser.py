"""What senders write, each line that is understood when it is wrong, and any text at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtp.errors import SdpError
from rtp.payload.parameter_sets import parse_sprop
from rtp.sdp import Direction, MediaDescription, PayloadFormat, SessionDescription, parse

FFMPEG = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=No Name
c=IN IP4 203.0.113.5
t=0 0
a=tool:libavformat 59.27.100
m=video 5004 RTP/AVP 96
b=AS:1500
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtk=,aM48gA==; profile-level-id=42C01E
m=audio 5006 RTP/AVP 97
b=AS:96
a=rtpmap:97 opus/48000/2
a=fmtp:97 sprop-stereo=1
"""

GSTREAMER = """v=0
o=- 1188340656180883 1 IN IP4 localhost
s=Session streamed by GStreamer
i=server.sdp
c=IN IP4 239.1.2.3/32
t=0 0
a=tool:GStreamer
a=type:broadcast
a=recvonly
m=video 5000 RTP/AVP 26
a=framerate:30
m=audio 0 RTP/AVP 0 101
c=IN IP6 2001:db8::1
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=sendonly
a=rtcp:5009 IN IP4 192.0.2.1
"""

BROWSER = """v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
a=extmap-allow-mixed
a=msid-semantic: WMS stream
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 0
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:abcd
a=fingerprint:sha-256 00:11
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=sendonly
a=msid:stream audio
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=ssrc:2231627014 cname:4TOk42mSjXCkVIa6
a=ssrc:2231627014 msid:stream audio
m=video 9 UDP/TLS/RTP/SAVPF 96 97 103
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=mid:1
a=sendonly
a=rtcp-mux
a=rtcp-rsize
a=rtcp-fb:* ccm fir
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:103 H264/90000
a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f
a=rtpmap:120 left/90000
a=ssrc-group:FID 3141 2718
a=ssrc:3141 cname:4TOk42mSjXCkVIa6
a=ssrc:2718 cname:4TOk42mSjXCkVIa6
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=sctp-port:5000
a=sendrecv
""".replace("\n", "\r\n")


def test_ffmpeg() -> None:
    description = parse(FFMPEG)
    video, audio = description.media
    assert (description.name, description.origin_address) == ("No Name", "127.0.0.1")
    assert (video.media, video.port, video.address) == ("video", 5004, "203.0.113.5")
    assert (audio.media, audio.port, audio.address) == ("audio", 5006, "203.0.113.5")
    assert (video.control_port, audio.control_port) == (5005, 5007)
    (h264,), (opus,) = video.formats, audio.formats
    assert (h264.payload_type, h264.codec, h264.clock_rate) == (96, "H264", 90_000)
    assert (opus.codec, opus.clock_rate, opus.channels) == ("opus", 48_000, 2)
    assert h264.parameters["packetization-mode"] == "1"
    assert h264.parameters["profile-level-id"] == "42C01E"
    assert len(parse_sprop(h264.parameters["sprop-parameter-sets"])) == 2
    assert video.direction is Direction.SENDRECV


def test_gstreamer() -> None:
    assert parse(GSTREAMER) == SessionDescription(
        name="Session streamed by GStreamer",
        origin_address="localhost",
        session_id=1_188_340_656_180_883,
        session_version=1,
        media=(
            MediaDescription(
                *("video", 5000, "239.1.2.3"),
                formats=(PayloadFormat(26, "JPEG", 90_000),),
                direction=Direction.RECVONLY,
            ),
            MediaDescription(
                *("audio", 0, "2001:db8::1"),
                formats=(
                    PayloadFormat(0, "PCMU", 8_000),
                    PayloadFormat(101, "telephone-event", 8_000, fmtp="0-15"),
                ),
                direction=Direction.SENDONLY,
                rtcp_port=5009,
            ),
        ),
    )
    assert parse(GSTREAMER).media[1].control_port == 5009
    assert parse(GSTREAMER).media[1].formats[1].parameters == {"0-15": ""}


def test_header_extensions() -> None:
    """Those of a medium go before those of the session; the first use of an id holds."""
    session = "a=extmap:1 urn:a\r\na=extmap:2 urn:b\r\na=extmap:4096 urn:offered\r\n"
    medium = "a=extmap:2/sendonly urn:c with attributes\r\na=extmap:2 urn:d\r\na=extmap:0 urn:e\r\n"
    lines = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    text = lines + session + "m=video 5004 RTP/AVP 26\r\n" + medium
    assert parse(text).media[0].extensions == {"urn:a": 1, "urn:c": 2}


def test_browser() -> None:
    description = parse(BROWSER)
    assert description.session_id == 4_611_731_400_430_051_336
    audio, video = description.media
    assert [f.codec for f in audio.formats] == ["opus", "red", "PCMU"]
    assert [f.codec for f in video.formats] == ["VP8", "rtx", "H264"]
    assert video.formats[0].rtcp_feedback == ("ccm fir", "nack", "nack pli")
    assert video.formats[2].rtcp_feedback == ("ccm fir",)
    assert video.protocol == "UDP/TLS/RTP/SAVPF"
    assert (video.ssrc, video.cname) == (3141, "4TOk42mSjXCkVIa6")
    assert audio.extensions == {"urn:ietf:params:rtp-hdrext:ssrc-audio-level": 1}
    assert video.extensions == {}
    assert audio.rtcp_mux
    assert audio.control_port == 9
    assert audio.direction is Direction.SENDONLY


def test_attributes_do_not_reach_into_other_media() -> None:
    first, second = parse(FFMPEG.replace("b=AS:1500", "a=rtcp-mux\na=recvonly")).media
    assert (first.rtcp_mux, first.direction) == (True, Direction.RECVONLY)
    assert (second.rtcp_mux, second.direction) == (False, Direction.SENDRECV)


@pytest.mark.parametrize(
    ("line", "replacement", "expected"),
    [
        (1, "v=1", "v=0"),
        (1, "SDP:", "v=0"),
        (2, "o=- 0 0 IN IP4", "o="),
        (2, "o=- x 0 IN IP4 a", "session id"),
        (2, "o=- 0 99999999999999999999 IN IP4 a", "session version"),
        (2, "o=- 0 0 IN IP5 a", "IN IP4|IP6"),
        (4, "c=IN IP4", "IN IP4|IP6"),
        (4, "c=IN IP4 a b", "IN IP4|IP6"),
        (4, "c=ATM IP4 a", "IN IP4|IP6"),
        (4, "c=IN IP4 <a>", "IN IP4|IP6"),
        (5, "t", "<letter>=<value>"),
        (5, "time=0", "<letter>=<value>"),
        (7, "m=video 5004 RTP/AVP", "m=<media>"),
        (7, "m=vi(deo 5004 RTP/AVP 96", "m=<media>"),
        (7, "m=video 65536 RTP/AVP 96", "a port"),
        (7, "m=video -1 RTP/AVP 96", "a port"),
        (7, "m=video 5004 RTP/AVP 128", "payload types"),
        (7, "m=video 5004 RTP/AVP ninety", "payload types"),
        (7, "m=video 5004 RTP/AVP 96 98", "a=rtpmap:98"),
        (9, "a=rtpmap:96", "a=rtpmap:<payload type>"),
        (9, "a=rtpmap:128 H264/90000", "payload type"),
        (9, "a=rtpmap:96 H264", "<codec>/<clock rate>"),
        (9, "a=rtpmap:96 H264/9/9/9", "<codec>/<clock rate>"),
        (9, "a=rtpmap:96 /90000", "<codec>/<clock rate>"),
        (9, "a=rtpmap:96 H264/0", "clock rate"),
        (9, "a=rtpmap:96 H264/4294967296", "clock rate"),
        (9, "a=rtpmap:96 H264/²", "clock rate"),
        (9, "a=rtpmap:96 H264/" + "9" * 5_000, "clock rate"),
        (10, "a=fmtp:96", "a=fmtp:<payload type>"),
        (10, "a=fmtp:x y", "payload type"),
        (10, "a=rtcp-fb:96", "a=rtcp-fb:"),
        (10, "a=rtcp:65536", "a port"),
        (10, "a=ssrc:4294967296 cname:x", "SSRC"),
        (10, "a=extmap:4", "a=extmap:<id>"),
        (10, "a=extmap:4 ²", "a=extmap:<id>"),
        (10, "a=extmap:x urn:x", "an id in a=extmap"),
        (13, "a=rtpmap:97 opus/48000/256", "channels"),
        (13, "a=rtpmap:97 opus/48000/0", "channels"),
    ],
)
def test_errors_name_the_line(line: int, replacement: str, expected: str) -> None:
    lines = FFMPEG.splitlines()
    lines[line - 1] = replacement
    with pytest.raises(SdpError) as caught:
        parse("\n".join(lines))
    assert caught.value.line == line
    assert expected in caught.value.expected
    assert str(caught.value).startswith(f"line {line}: expected ")


def test_an_address_is_needed() -> None:
    with pytest.raises(SdpError) as caught:
        parse("\n".join(line for line in FFMPEG.splitlines() if line[0] != "c"))
    assert caught.value.line == 6  # of the m-line, the first of two
    assert "c=" in caught.value.expected


def test_sizes_are_limited() -> None:
    medium = "\nm=audio 5000 RTP/AVP 0"
    head = "v=0\nc=IN IP4 a"
    assert len(parse(head + medium * 64).media) == 64
    with pytest.raises(SdpError, match=r"line 67: expected at most 64 media"):
        parse(head + medium * 65)
    with pytest.raises(SdpError, match="65536 characters"):
        parse(head + "\n" * 65_536)


def test_a_description_without_media() -> None:
    assert parse("v=0\r\n").media == ()
    for text in ("", "\n", "v=0x"):
        with pytest.raises(SdpError):
            parse(text)


lines = st.sampled_from([*FFMPEG.splitlines(), *BROWSER.split("\r\n"), *GSTREAMER.splitlines()])
pieces = st.one_of(lines, st.text(max_size=12), st.text("cma=:0 /rtpmf96\r*-", max_size=16))


@given(st.lists(pieces, max_size=12))
@settings(max_examples=300)
def test_any_text_parses_or_raises_the_named_error(parts: list[str]) -> None:
    text = "\n".join(["v=0", *parts])
    refused = None
    try:
        parse(text)
    except SdpError as error:
        refused = error
    assert refused is None or 1 <= refused.line <= text.count("\n") + 1
