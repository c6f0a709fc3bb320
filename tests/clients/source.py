"""The broadcast that the clients carry: made once, so that every frame of it is known.

A moving pattern whose left half flashes white, and noise with a beep, both each three seconds at
the same instants. Every frame and every sound packet is unlike all others, so each that a player
kept names its place, and one that was damaged names none.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.container
import av.error
import numpy as np
from numpy.typing import NDArray

from tests.support.recordings import digest
from tests.support.units import encoded

FPS = 25
GOP_FRAMES = 50
FLASH_EVERY_S = 3  # longer than a group of pictures: no lag up to that looks like another flash
FLASH_S = 0.12
BRIGHT = 128  # luma of BT.601; the left half is black otherwise
LOUD = 0.15  # of full scale; the beep reaches 0.4, the noise 0.02
_PICTURE = (
    "testsrc2=size=640x360:rate={fps}:duration={seconds}"
    ",drawbox=w=iw/2:color=black:t=fill"
    ",drawbox=w=iw/2:color=white:t=fill:enable='lt(mod(t,{every}),{flash})'"
)
_SOUND = (
    "aevalsrc='0.4*sin(2*PI*1000*t)*lt(mod(t,{every}),{flash})+0.02*(random(0)-0.5)'"
    ":sample_rate=48000:channel_layout=stereo:duration={seconds}"
)
_ENCODERS = {
    "H264": "-c:v libx264 -preset veryfast -bf 2",
    "H265": "-c:v libx265 -preset ultrafast -bf 2"
    " -x265-params log-level=error:pools=1:frame-threads=1:open-gop=0",
    "VP8": "-c:v libvpx -deadline realtime -cpu-used 8",
    "VP9": "-c:v libvpx-vp9 -deadline realtime -cpu-used 8",
}
_STORED = {"h264": "H264", "hevc": "H265"}  # with lengths where others have start codes


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds: digests in its order; times in seconds where flashes and beeps begin."""

    video: list[str]
    audio: list[str]
    flashes_s: list[float]
    beeps_s: list[float]


def make(path: Path, codec: str, seconds: float, bitrate: str = "1M", extra: str = "") -> None:
    """A Matroska file of one of the encoders above with Opus. extra: further filters of the
    picture. Raises CalledProcessError."""
    values = {"fps": FPS, "seconds": seconds, "every": FLASH_EVERY_S, "flash": FLASH_S}
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y"]
    command += ["-f", "lavfi", "-i", _PICTURE.format(**values) + extra]
    command += ["-f", "lavfi", "-i", _SOUND.format(**values)]
    command += [*_ENCODERS[codec].split(), "-b:v", bitrate, "-g", str(GOP_FRAMES)]
    command += ["-c:a", "libopus", "-b:a", "64k", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def read(path: Path, pictures: Path | None = None) -> Contents:
    """What the source holds, or what a player kept of it; pictures: the file that has them all."""
    with av.open(str(path)) as container:
        audio = [digest(bytes(p)) for p in container.demux(container.streams.audio[0]) if p.size]
    return Contents(_pictures_of(pictures or path), audio, flashes_of(path), beeps_of(path))


def _pictures_of(path: Path) -> list[str]:
    """Digests of the frames as they were encoded, in the order of sending."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context.name
        packets = [packet for packet in container.demux(stream) if packet.size]
        if codec in _STORED and path.suffix == ".mkv":
            convert = av.BitStreamFilterContext(f"{codec}_mp4toannexb", in_stream=stream)
            packets = [made for packet in packets for made in convert.filter(packet)]
        return [digest(encoded(_STORED.get(codec, codec), bytes(packet))) for packet in packets]


def flashes_of(path: Path) -> list[float]:
    """When the left half turns white."""
    found = []
    was_bright = True  # a file that begins within a flash does not show its beginning
    with av.open(str(path)) as container:
        for frame in _decoded(container):
            plane = frame.to_ndarray(format="gray")
            is_bright = float(plane[:, : frame.width // 4].mean()) > BRIGHT
            if is_bright and not was_bright and frame.time is not None:
                found.append(float(frame.time))
            was_bright = is_bright
    return found


def _decoded(container: av.container.InputContainer) -> Iterator[av.VideoFrame]:
    """All pictures that can be had: what is damaged is for the digests to tell."""
    for packet in container.demux(container.streams.video[0]):
        with contextlib.suppress(av.error.InvalidDataError):
            yield from packet.decode()


def beeps_of(path: Path) -> list[float]:
    """When the beep begins, to the sample."""
    found: list[float] = []
    loud_until = -1.0
    is_first = True
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            if frame.time is None:
                continue
            for index in np.flatnonzero(_level(frame) > LOUD):
                time_s = float(frame.time) + float(index) / frame.sample_rate
                if time_s > loud_until + FLASH_S and not (is_first and loud_until < 0):
                    found.append(time_s)
                loud_until = time_s
            is_first = False
    return found


def _level(frame: av.AudioFrame) -> NDArray[np.float64]:
    """The louder channel at each sample, of full scale."""
    samples = frame.to_ndarray().astype(np.float64)
    if frame.format.name.startswith("s16"):
        samples /= 32_768
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    loudest: NDArray[np.float64] = np.abs(samples).max(axis=0)
    return loudest
