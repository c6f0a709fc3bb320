"""H.264 and Opus decoding over PyAV, and the last picture as a PNG."""

from fractions import Fraction
from pathlib import Path

import av
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext

from overlane.files import write_whole
from rtp.payload.h264_packets import canonical


class H264Decoder:
    """Counts what comes out. A frame that the decoder marks as corrupt is an error and a frame."""

    def __init__(self) -> None:
        context = av.CodecContext.create("h264", "r")
        assert isinstance(context, VideoCodecContext)
        context.thread_count = 1
        self._context = context
        self.frames = 0
        self.errors = 0
        self.last: av.VideoFrame | None = None

    def decode(self, nals: list[bytes]) -> None:
        self._take(canonical(nals))

    def flush(self) -> None:
        """Frames held back for reordering come out."""
        self._take(None)

    def _take(self, data: bytes | None) -> None:
        try:
            frames = self._context.decode(None if data is None else av.Packet(data))
        except av.FFmpegError:
            self.errors += 1
            return
        for frame in frames:
            self.frames += 1
            self.errors += frame.is_corrupt
            self.last = frame


class OpusDecoder:
    """Counts packets that decode."""

    def __init__(self) -> None:
        context = av.CodecContext.create("opus", "r")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate = 48_000
        context.layout = "stereo"
        self._context = context
        self.packets = 0
        self.errors = 0

    def decode(self, payload: bytes) -> None:
        try:
            self._context.decode(av.Packet(payload))
        except av.FFmpegError:
            self.errors += 1
        else:
            self.packets += 1


def write_png(frame: av.VideoFrame, path: Path) -> None:
    """The whole picture or none. Raises OSError if the file cannot be written."""
    picture = frame.reformat(format="rgb24")
    picture.pts = 0
    context = av.CodecContext.create("png", "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = picture.width, picture.height, "rgb24"
    context.time_base = Fraction(1, 1)
    write_whole(path, b"".join(bytes(packet) for packet in context.encode(picture)))
