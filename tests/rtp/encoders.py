"""Encoders with the structures that marks must tell apart, each behind libavformat's packetiser."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import av
from av.video.stream import VideoStream

from rtp.packet import RtpPacket
from tests.rtp.muxer import HEIGHT, WIDTH, noise, received

_LAYERS = (
    "ts_number_layers=3:ts_target_bitrate=250,500,800:ts_rate_decimator=4,2,1"
    ":ts_periodicity=4:ts_layer_id=0,2,1,2:ts_layering_mode=3"
)
_X265 = "log-level=error:pools=1:frame-threads=1:keyint=12:scenecut=0"
_REALTIME = {"deadline": "realtime", "cpu-used": "8"}


@dataclass(frozen=True, slots=True)
class Case:
    """codec: as a configuration names it. b_frames: in a row, at most. decoder: PyAV's name."""

    codec: str
    encoder: str
    options: dict[str, str]
    b_frames: int = 0
    decoder: str = ""


CASES = {
    "H264 with a pyramid": Case(
        "H264",
        "libx264",
        {"preset": "veryfast", "x264-params": "b-pyramid=normal:b-adapt=0:scenecut=0:threads=1"},
        b_frames=3,
        decoder="h264",
    ),
    "H264 in slices": Case(
        "H264",
        "libx264",
        {
            "preset": "veryfast",
            "x264-params": "slices=4:b-pyramid=normal:b-adapt=0:scenecut=0:threads=1",
        },
        b_frames=3,
        decoder="h264",
    ),
    "H265 with a pyramid, open GoP": Case(
        "H265",
        "libx265",
        {"preset": "veryfast", "x265-params": f"{_X265}:b-pyramid=1:b-adapt=0:open-gop=1"},
        b_frames=4,
        decoder="hevc",
    ),
    "H265 with sub-layers": Case(
        "H265",
        "libx265",
        {"preset": "veryfast", "x265-params": f"{_X265}:temporal-layers=3:b-adapt=0"},
        b_frames=4,
        decoder="hevc",
    ),
    "H265 in slices": Case(
        "H265",
        "libx265",
        {"preset": "veryfast", "x265-params": f"{_X265}:slices=3:b-adapt=0:open-gop=0"},
        b_frames=2,
        decoder="hevc",
    ),
    "VP8 with layers": Case(
        "VP8", "libvpx", _REALTIME | {"ts-parameters": _LAYERS}, decoder="libvpx"
    ),
    "VP9 with layers": Case(
        "VP9",
        "libvpx-vp9",
        _REALTIME | {"ts-parameters": _LAYERS, "error-resilient": "1"},
        decoder="libvpx-vp9",
    ),
    "VP9 with layers, not resilient": Case(
        "VP9", "libvpx-vp9", _REALTIME | {"ts-parameters": _LAYERS}, decoder="libvpx-vp9"
    ),
    "AV1 with a pyramid": Case(
        "AV1",
        "libsvtav1",
        {"preset": "10", "svtav1-params": "pred-struct=2:lp=1:hierarchical-levels=3"},
        decoder="libdav1d",
    ),
}


@dataclass(frozen=True, slots=True)
class Sent:
    """An access unit as it left the encoder, in decoding order, and its packets."""

    data: bytes
    pts: int
    is_key: bool
    datagrams: tuple[bytes, ...]

    @property
    def packets(self) -> list[RtpPacket]:
        return [RtpPacket.parse(datagram) for datagram in self.datagrams]


def encode(name: str, frames: int = 30, packet_bytes: int = 1_200) -> tuple[Sent, ...]:
    """Moving noise, a key frame each twelve; each time the same."""
    return _encode(name, frames, packet_bytes)


@cache  # by position: libvpx's VP8 does less for a frame when the machine is busy
def _encode(name: str, frames: int, packet_bytes: int) -> tuple[Sent, ...]:
    case = CASES[name]
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as media,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp,
    ):
        for each in (media, rtcp):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        ports = f"{media.getsockname()[1]}?rtcpport={rtcp.getsockname()[1]}"
        url = f"rtp://127.0.0.1:{ports}&pkt_size={packet_bytes}"
        options = {"strict": "experimental"}  # what the packetiser calls VP9 and AV1
        with av.open(url, "w", format="rtp", options=options) as output:
            stream = output.add_stream(case.encoder, rate=30)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.codec_context.gop_size = 12
            stream.codec_context.bit_rate = 600_000
            stream.codec_context.max_b_frames = case.b_frames
            stream.options = dict(case.options)
            sent = []
            images = [av.VideoFrame.from_ndarray(image, format="rgb24") for image in noise(frames)]
            for image in [*images, None]:
                for encoded in stream.encode(image):
                    data, pts, is_key = bytes(encoded), encoded.pts, encoded.is_keyframe
                    assert pts is not None
                    output.mux(encoded)
                    sent.append(Sent(data, pts, is_key, tuple(received(media))))
    numbers = [packet.sequence_number for unit in sent for packet in unit.packets]
    assert all((after - before) & 0xFFFF == 1 for before, after in pairwise(numbers)), (
        "loopback lost packets: a frame is larger than a socket's buffer"
    )
    return tuple(sent)
