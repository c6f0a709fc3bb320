"""The generated source: a moving pattern with a readable frame counter, and a tone.

Pure functions of the frame number and a seed, so that two runs draw the same pictures.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from overlane.publish.media import (
    AUDIO_CLOCK_RATE,
    OPUS_FRAME_SAMPLES,
    VIDEO_CLOCK_RATE,
    MediaItem,
    RawAudio,
    RawVideo,
)

Plane: TypeAlias = NDArray[np.uint8]

COUNTER_DIGITS = 6
TONE_HZ = 440.0
BEEP_HZ = 1_000.0  # the first 100 ms of each second, to judge lip-sync by
_BEEP_SAMPLES = AUDIO_CLOCK_RATE // 10
_AMPLITUDE = 6_000  # of 32,767
_BLACK, _WHITE, _GREY = 16, 235, 128  # luma and chroma of BT.601

# One row of a 5 x 7 glyph is five bits, the leftmost highest.
_GLYPHS = (
    (14, 17, 19, 21, 25, 17, 14),
    (4, 12, 4, 4, 4, 4, 14),
    (14, 17, 1, 2, 4, 8, 31),
    (31, 2, 4, 2, 1, 17, 14),
    (2, 6, 10, 18, 31, 2, 2),
    (31, 16, 30, 1, 1, 17, 14),
    (6, 8, 16, 30, 17, 17, 14),
    (31, 1, 2, 4, 8, 8, 8),
    (14, 17, 17, 14, 17, 17, 14),
    (14, 17, 17, 15, 1, 2, 12),
)


class Pattern:
    """Draws the frames of one scene: yuv420p planes as one (height * 3 / 2, width) array."""

    def __init__(self, width: int, height: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._width, self._height = width, height
        self._scale = max(1, width // 80)
        self._luma = _texture(rng, height, width, cell=12, smooth=6)
        self._chroma = [_texture(rng, height // 2, width // 2, cell=40, smooth=0) for _ in range(2)]
        self._noise = rng.integers(_BLACK, _WHITE, (64, 64), dtype=np.uint8)
        self._step_x, self._step_y = (int(step) * 2 for step in rng.integers(1, 3, 2))
        self._glyphs = [_glyph(rows, self._scale) for rows in _GLYPHS]

    def draw(self, index: int) -> Plane:
        width, height = self._width, self._height
        picture = np.empty((height * 3 // 2, width), np.uint8)
        luma = picture[:height]
        x, y = index * self._step_x % width, index * self._step_y % height
        luma[:] = self._luma[y : y + height, x : x + width]
        self._draw_noise(luma, index)
        self._draw_counter(luma, index)
        chroma = picture[height:].reshape(2, height // 2, width // 2)
        for plane, texture in zip(chroma, self._chroma, strict=True):
            plane[:] = texture[y // 2 : y // 2 + height // 2, x // 2 : x // 2 + width // 2]
        self._grey_out_counter(chroma)
        return picture

    def _draw_noise(self, luma: Plane, index: int) -> None:
        """A patch that no motion search predicts, on a path of its own."""
        size = min(64, self._height // 4)
        x = _bounce(index * 7, self._width - size)
        y = _bounce(index * 3, self._height - size)
        luma[y : y + size, x : x + size] = np.roll(self._noise, index * 13)[:size, :size]

    def _draw_counter(self, luma: Plane, index: int) -> None:
        top, left, bottom, right = self._counter_box()
        luma[top:bottom, left:right] = _BLACK
        scale = self._scale
        for place, digit in enumerate(f"{index % 10**COUNTER_DIGITS:0{COUNTER_DIGITS}d}"):
            x = left + scale + place * 6 * scale
            glyph = self._glyphs[int(digit)]
            box = luma[top + scale : top + 8 * scale, x : x + 5 * scale]
            box[:] = glyph[: box.shape[0], : box.shape[1]]

    def _grey_out_counter(self, chroma: Plane) -> None:
        top, left, bottom, right = (edge // 2 for edge in self._counter_box())
        chroma[:, top:bottom, left:right] = _GREY

    def _counter_box(self) -> tuple[int, int, int, int]:
        margin = 2 * self._scale
        return (
            margin,
            margin,
            margin + 9 * self._scale,
            margin + (6 * COUNTER_DIGITS + 1) * self._scale,
        )


def _texture(rng: np.random.Generator, height: int, width: int, cell: int, smooth: int) -> Plane:
    """Blocks of random brightness, twice as wide and high as a frame and seamless when wrapped."""
    rows, columns = -(-height // cell), -(-width // cell)
    blocks = rng.integers(40, 215, (rows, columns)).astype(np.float32)
    tile = blocks.repeat(cell, 0).repeat(cell, 1)[:height, :width]
    for shift in range(1, smooth + 1):
        moved = np.roll(tile, shift, 0) + np.roll(tile, shift, 1)
        tile = ((tile + moved) / 3).astype(np.float32)
    return np.tile(tile.astype(np.uint8), (2, 2))


def _glyph(rows: tuple[int, ...], scale: int) -> Plane:
    bits = np.array([[row >> (4 - column) & 1 for column in range(5)] for row in rows])
    return np.where(bits.repeat(scale, 0).repeat(scale, 1), _WHITE, _BLACK).astype(np.uint8)


def _bounce(distance: int, span: int) -> int:
    """A point that runs to and fro in [0, span]."""
    position = distance % (2 * span) if span > 0 else 0
    return min(position, 2 * span - position)


def tone(first_sample: int, samples: int = OPUS_FRAME_SAMPLES) -> NDArray[np.int16]:
    """Interleaved stereo, shape (1, 2 * samples): a steady tone with a beep each second."""
    index = np.arange(first_sample, first_sample + samples)
    in_second = index % AUDIO_CLOCK_RATE  # both tones have whole periods in a second
    hertz = np.where(in_second < _BEEP_SAMPLES, BEEP_HZ, TONE_HZ)
    wave = np.sin(2 * np.pi * hertz * in_second / AUDIO_CLOCK_RATE) * _AMPLITUDE
    return wave.astype(np.int16).repeat(2).reshape(1, -1)


def tone_frame(index: int) -> av.AudioFrame:
    """20 ms of the tone, the `index`-th."""
    samples = tone(index * OPUS_FRAME_SAMPLES)
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
    frame.sample_rate = AUDIO_CLOCK_RATE
    frame.pts = index * OPUS_FRAME_SAMPLES
    frame.time_base = Fraction(1, AUDIO_CLOCK_RATE)
    return frame


class PatternSource:
    """An endless camera and microphone."""

    def __init__(self, width: int, height: int, fps: int, seed: int, has_audio: bool) -> None:
        self.width, self.height, self.fps = width, height, float(fps)
        self.has_audio = has_audio
        self._fps = fps
        self._pattern = Pattern(width, height, seed)

    def items(self) -> Iterator[MediaItem]:
        video = audio = 0
        while True:
            video_due_us = video * 1_000_000 // self._fps
            audio_due_us = audio * OPUS_FRAME_SAMPLES * 1_000_000 // AUDIO_CLOCK_RATE
            if self.has_audio and audio_due_us < video_due_us:
                yield RawAudio(audio_due_us, audio * OPUS_FRAME_SAMPLES, tone_frame(audio))
                audio += 1
            else:
                ticks = video * VIDEO_CLOCK_RATE // self._fps
                yield RawVideo(video_due_us, ticks, self._frame(video, ticks))
                video += 1

    def _frame(self, index: int, ticks: int) -> av.VideoFrame:
        frame = av.VideoFrame.from_ndarray(self._pattern.draw(index), format="yuv420p")
        frame.pts = ticks
        frame.time_base = Fraction(1, VIDEO_CLOCK_RATE)
        return frame

    def close(self) -> None:
        """Nothing is held open."""
