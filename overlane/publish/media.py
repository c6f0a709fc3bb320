"""The values that pass from a source, through the encoders, to the sender."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import av

from rtp.constants import NAL_IDR_SLICE, NAL_TYPE_MASK

VIDEO_CLOCK_RATE = 90_000  # RFC 6184 5.1
AUDIO_CLOCK_RATE = 48_000  # RFC 7587 4.1
OPUS_FRAME_SAMPLES = 960  # 20 ms, RFC 7587's recommended packet length


@dataclass(frozen=True, slots=True)
class RawVideo:
    """A picture to encode when it is due. Times count from the start of the session."""

    due_us: int
    ticks: int
    frame: av.VideoFrame


@dataclass(frozen=True, slots=True)
class RawAudio:
    """20 ms of sound, 48 kHz stereo, to encode when it is due."""

    due_us: int
    ticks: int
    frame: av.AudioFrame


@dataclass(frozen=True, slots=True)
class CodedVideo:
    """An H.264 access unit, passed through. `ticks` is its presentation time at 90 kHz."""

    due_us: int
    ticks: int
    nals: list[bytes]


@dataclass(frozen=True, slots=True)
class CodedAudio:
    """An Opus packet, passed through."""

    due_us: int
    ticks: int
    payload: bytes


MediaItem: TypeAlias = RawVideo | RawAudio | CodedVideo | CodedAudio


@dataclass(frozen=True, slots=True)
class VideoUnit:
    """An access unit ready to be packetised."""

    ticks: int
    capture_us: int
    nals: list[bytes]
    key: bool


@dataclass(frozen=True, slots=True)
class AudioUnit:
    """An Opus packet ready to be sent."""

    ticks: int
    payload: bytes


MediaUnit: TypeAlias = VideoUnit | AudioUnit


class MediaSource(Protocol):
    """Items of both tracks in the order in which they are due."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def fps(self) -> float: ...
    @property
    def has_audio(self) -> bool: ...
    def items(self) -> Iterator[MediaItem]: ...
    def close(self) -> None: ...


def is_key(nals: list[bytes]) -> bool:
    """Whether decoding can start at this access unit."""
    return any(nal[0] & NAL_TYPE_MASK == NAL_IDR_SLICE for nal in nals)
