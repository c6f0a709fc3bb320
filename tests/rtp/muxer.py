"""Real encoders behind libavformat's RTP packetiser, whose packets come back over loopback."""

import socket
from dataclasses import dataclass
from functools import cache

import av
import numpy as np
from av.video.stream import VideoStream

from rtp.packet import RtpPacket

WIDTH, HEIGHT = 320, 192
OPTIONS: dict[str, dict[str, object]] = {
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libx264": {"preset": "veryfast", "x264-params": "slices=2:scenecut=0:threads=1"},
}


@dataclass(frozen=True, slots=True)
class MuxedFrame:
    """A frame as it left the encoder, and the datagrams it became."""

    data: bytes
    is_key: bool
    datagrams: tuple[bytes, ...]

    @property
    def packets(self) -> list[RtpPacket]:
        """The datagrams, parsed."""
        return [RtpPacket.parse(datagram) for datagram in self.datagrams]


@cache
def mux(encoder: str, frames: int, gop: int, packet_bytes: int) -> tuple[MuxedFrame, ...]:
    """`frames` frames of moving noise, a key frame each `gop`, packets of at most packet_bytes."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as media,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp,
    ):
        for each in (media, rtcp):
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        ports = f"{media.getsockname()[1]}?rtcpport={rtcp.getsockname()[1]}"
        url = f"rtp://127.0.0.1:{ports}&pkt_size={packet_bytes}"
        with av.open(url, "w", format="rtp") as output:
            stream = output.add_stream(encoder, rate=30)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.codec_context.gop_size = gop
            stream.codec_context.max_b_frames = 0
            stream.options = OPTIONS[encoder]
            images = [av.VideoFrame.from_ndarray(image, format="rgb24") for image in noise(frames)]
            muxed = []
            for image in [*images, None]:
                for encoded in stream.encode(image):
                    data, is_key = bytes(encoded), encoded.is_keyframe
                    output.mux(encoded)
                    muxed.append(MuxedFrame(data, is_key, tuple(received(media))))
    return tuple(muxed)


def noise(frames: int) -> list[np.ndarray]:
    """The same noise, two columns further on in each frame."""
    wide = np.random.default_rng(7).integers(
        0, 255, (HEIGHT, WIDTH + 2 * frames, 3), dtype=np.uint8
    )
    return [np.ascontiguousarray(wide[:, 2 * n : 2 * n + WIDTH]) for n in range(frames)]


def received(media: socket.socket) -> list[bytes]:
    """What loopback has delivered: all that was sent, since it does so within the sender's call."""
    datagrams = []
    while True:
        try:
            datagrams.append(media.recv(2_048))
        except BlockingIOError:
            return datagrams
