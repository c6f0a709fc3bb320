"""H.264 and Opus as a live encoder makes them, over PyAV."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from overlane.publish.errors import PublishError
from overlane.publish.media import (
    AUDIO_CLOCK_RATE,
    VIDEO_CLOCK_RATE,
    AudioUnit,
    RawAudio,
    RawVideo,
    VideoUnit,
    is_key,
)
from rtp.payload.h264_packets import split_annexb


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """What the H.264 encoder is told."""

    width: int
    height: int
    fps: float
    bitrate_bps: int
    gop_s: float
    b_frames: int
    preset: str
    zerolatency: bool


class H264Encoder:
    """Pictures in, access units out (in decoding order; later than their pictures if B frames)."""

    def __init__(self, settings: VideoSettings) -> None:
        self._context = _open_h264(settings)
        self._capture_us: dict[int, int] = {}
        self._key_wanted = False

    def request_key_frame(self) -> None:
        """The next picture becomes a key frame. May be called from any thread."""
        self._key_wanted = True

    def encode(self, item: RawVideo, capture_us: int) -> list[VideoUnit]:
        if self._key_wanted:
            self._key_wanted = False
            item.frame.pict_type = PictureType.I
        else:
            item.frame.pict_type = PictureType.NONE
        item.frame.pts = item.ticks
        item.frame.time_base = Fraction(1, VIDEO_CLOCK_RATE)
        self._capture_us[item.ticks] = capture_us
        return self._units(item.frame)

    def flush(self) -> list[VideoUnit]:
        return self._units(None)

    def _units(self, frame: av.VideoFrame | None) -> list[VideoUnit]:
        units = []
        for packet in self._context.encode(frame):
            assert packet.pts is not None  # libx264 stamps every packet
            nals = split_annexb(bytes(packet))
            capture_us = self._capture_us.pop(packet.pts)
            units.append(VideoUnit(packet.pts, capture_us, nals, is_key(nals)))
        return units


def _open_h264(settings: VideoSettings) -> VideoCodecContext:
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = settings.width, settings.height
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, VIDEO_CLOCK_RATE)
    context.framerate = Fraction(settings.fps).limit_denominator(1001)
    context.bit_rate = settings.bitrate_bps
    context.gop_size = max(1, round(settings.gop_s * settings.fps))
    context.max_b_frames = settings.b_frames
    context.thread_count = 1
    context.options = {
        "preset": settings.preset,
        "sc_threshold": "0",  # key frames come by the clock, so GoPs have one length
        "forced-idr": "1",
        "maxrate": str(settings.bitrate_bps * 6 // 5),
        "bufsize": str(settings.bitrate_bps // 2),  # half a second: bounds a key frame's size
        **({"tune": "zerolatency"} if settings.zerolatency else {}),
    }
    _open(context.open, f"x264 with preset {settings.preset!r}")
    return context


class OpusEncoder:
    """20 ms frames in, packets out."""

    def __init__(self, bitrate_bps: int) -> None:
        context = av.CodecContext.create("libopus", "w")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate = AUDIO_CLOCK_RATE
        context.layout = "stereo"
        context.format = "s16"
        context.time_base = Fraction(1, AUDIO_CLOCK_RATE)
        context.bit_rate = bitrate_bps
        context.options = {"frame_duration": "20"}
        _open(context.open, "libopus")
        self._context = context

    def encode(self, item: RawAudio) -> list[AudioUnit]:
        item.frame.pts = item.ticks
        item.frame.time_base = Fraction(1, AUDIO_CLOCK_RATE)
        return [
            AudioUnit(packet.pts or 0, bytes(packet)) for packet in self._context.encode(item.frame)
        ]


def _open(call: Callable[[], None], what: str) -> None:
    try:
        call()
    except (av.FFmpegError, ValueError) as error:
        raise PublishError(f"cannot open {what}: {error}") from error
