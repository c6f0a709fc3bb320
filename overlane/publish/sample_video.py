"""A real video file to publish: scene changes, B frames, x264's own defaults, and sound."""

import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from overlane.publish.media import AUDIO_CLOCK_RATE, OPUS_FRAME_SAMPLES
from overlane.publish.pattern import Pattern, tone_frame

SCENE_SECONDS = (2.0, 6.0)  # shortest and longest; a cut in a scene makes x264 place a key frame


def make_test_video(
    path: Path,
    seconds: float,
    seed: int,
    *,
    width: int = 640,
    height: int = 360,
    fps: int = 30,
    bitrate_bps: int = 1_500_000,
    gop_s: float = 2.0,
    preset: str = "medium",
) -> None:
    """Write `seconds` of H.264 and Opus to `path`; its suffix (.mkv, .mp4) names the container.

    The same seed draws the same pictures. Only bit rate, longest GoP and preset are given to x264:
    B frames (with a pyramid), scene cuts and look-ahead are as it chooses.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps, options={"preset": preset})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.bit_rate = bitrate_bps
        video.gop_size = round(gop_s * fps)
        video.thread_count = 2
        audio = container.add_stream("libopus", rate=AUDIO_CLOCK_RATE, layout="stereo")
        audio.bit_rate = 64_000
        sounds = 0
        for index, frame in enumerate(_pictures(width, height, fps, round(seconds * fps), seed)):
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(video.encode(frame))
            while sounds * OPUS_FRAME_SAMPLES * fps < (index + 1) * AUDIO_CLOCK_RATE:
                container.mux(audio.encode(tone_frame(sounds)))
                sounds += 1
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _pictures(width: int, height: int, fps: int, count: int, seed: int) -> Iterator[av.VideoFrame]:
    """`count` pictures of scenes of random length; the counter runs on across scenes."""
    rng = random.Random(seed)
    drawn = 0
    while drawn < count:
        scene = Pattern(width, height, rng.getrandbits(32))
        length = round(rng.uniform(*SCENE_SECONDS) * fps)
        for index in range(drawn, min(drawn + length, count)):
            yield av.VideoFrame.from_ndarray(scene.draw(index), format="yuv420p")
        drawn += length
