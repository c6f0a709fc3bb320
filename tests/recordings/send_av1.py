"""A sender of AV1 by PyAV's libavformat, for want of one in Debian 12.

    .venv/bin/python -m tests.recordings.send_av1 PORT FILE

Sends three seconds of a test pattern in real time, and writes the encoder's output to FILE.
"""

from __future__ import annotations

import sys
import time

import av
from av.video.stream import VideoStream

from tests.rtp.muxer import noise

FPS = 25
FRAMES = 75


def main(port: str, path: str) -> None:
    options = {"strict": "experimental"}
    url = f"rtp://127.0.0.1:{port}"
    with av.open(url, "w", format="rtp", options=options) as output, av.open(path, "w") as kept:
        stream = output.add_stream("libsvtav1", rate=FPS)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.gop_size = FPS
        stream.codec_context.bit_rate = 60_000
        stream.options = {"preset": "10", "svtav1-params": "pred-struct=2:lp=1:tune=0"}
        copy = kept.add_stream_from_template(stream)
        began = time.monotonic()
        images = [image[:96, :160].copy() for image in noise(FRAMES)]
        frames = [av.VideoFrame.from_ndarray(image, format="rgb24") for image in images]
        for index, frame in enumerate([*frames, None]):
            time.sleep(max(0.0, began + index / FPS - time.monotonic()))
            for packet in stream.encode(frame):
                data, pts = bytes(packet), packet.pts
                output.mux(packet)
                again = av.Packet(data)
                again.pts = again.dts = pts
                again.time_base = packet.time_base
                again.stream = copy
                kept.mux(again)


if __name__ == "__main__":
    main(*sys.argv[1:])
