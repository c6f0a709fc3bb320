"""A media file as a source: decoded for re-encoding, or its packets passed through.

Each track is read through a container of its own, so that neither waits for the other, and the two
are merged by the time at which each item is due. Times are moved so that the first item is due at
0 and the earliest picture or sound has RTP time 0.
"""

import heapq
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
from av.audio.resampler import AudioResampler
from av.container import InputContainer
from av.video.stream import VideoStream

from overlane.publish.errors import PublishError
from overlane.publish.media import (
    AUDIO_CLOCK_RATE,
    OPUS_FRAME_SAMPLES,
    VIDEO_CLOCK_RATE,
    CodedAudio,
    CodedVideo,
    MediaItem,
    RawAudio,
    RawVideo,
)
from overlane.publish.parameter_sets import H264Framing

_DEFAULT_FPS = 30.0  # of files that do not say
_PacketTime = tuple[int, int, bytes]  # dts and pts in units of the time base, data


class FileSource:
    """Opens `path`. Raises PublishError if it has no video, or none that can be copied."""

    def __init__(
        self,
        path: Path,
        *,
        copy_video: bool,
        audio: bool,
        size: tuple[int | None, int | None] = (None, None),
    ) -> None:
        self._path = path
        self._copy_video = copy_video
        self._containers: list[InputContainer] = []
        container = self._open()
        if not container.streams.video:
            self.close()
            raise PublishError(f"no video in {path}")
        self._video = container.streams.video[0]
        codec = self._video.codec_context
        if copy_video and codec.name != "h264":
            self.close()
            raise PublishError(f"only H.264 can be copied, {path} holds {codec.name}")
        self.width = codec.width if copy_video else _even(size[0] or codec.width)
        self.height = codec.height if copy_video else _even(size[1] or codec.height)
        self.fps = float(self._video.average_rate or _DEFAULT_FPS)
        self.has_audio = audio and bool(container.streams.audio)

    def items(self) -> Iterator[MediaItem]:
        tracks: list[Iterator[MediaItem]] = [
            self._coded_video() if self._copy_video else self._raw_video()
        ]
        if self.has_audio:
            tracks.append(self._audio())
        return _rebase(tracks)

    def close(self) -> None:
        for container in self._containers:
            container.close()
        self._containers.clear()

    def _open(self) -> InputContainer:
        try:
            container = av.open(str(self._path))
        except av.InvalidDataError:
            text = f"{self._path} is empty, cut short, or no media file that FFmpeg knows"
            raise PublishError(text) from None
        except (OSError, av.FFmpegError) as error:
            raise PublishError(f"cannot read {self._path}: {error.strerror}") from error
        self._containers.append(container)
        return container

    def _raw_video(self) -> Iterator[MediaItem]:
        self._video.codec_context.thread_count = 1
        last_pts: int | None = None
        for frame in self._containers[0].decode(self._video):
            if frame.pts is None or frame.time_base is None:
                continue
            if last_pts is not None and frame.pts <= last_pts:
                continue  # a damaged file: the encoder wants rising times
            last_pts = frame.pts
            time_us = _scale(frame.pts, frame.time_base, 1_000_000)
            ticks = _scale(frame.pts, frame.time_base, VIDEO_CLOCK_RATE)
            picture = frame.reformat(width=self.width, height=self.height, format="yuv420p")
            yield RawVideo(time_us, ticks, picture)

    def _coded_video(self) -> Iterator[MediaItem]:
        framing = H264Framing.from_extradata(self._video.codec_context.extradata or b"")
        base = _time_base(self._video)
        for dts, pts, data in self._timed_packets():
            due_us = _scale(dts, base, 1_000_000)
            ticks = _scale(pts, base, VIDEO_CLOCK_RATE)
            yield CodedVideo(due_us, ticks, framing.access_unit(data))

    def _timed_packets(self) -> Iterator[_PacketTime]:
        """Packets with both times. Matroska keeps no decoding times, and those derived from it
        begin only after the reordering depth: the first ones are counted back from there."""
        base = _time_base(self._video)
        frame_ticks = max(1, round(1 / (self.fps * base)))
        untimed: list[tuple[int, bytes]] = []
        for packet in self._containers[0].demux(self._video):
            if packet.pts is None or not packet.size:
                continue
            if packet.dts is None:
                untimed.append((packet.pts, bytes(packet)))
                continue
            for back, (pts, data) in zip(range(len(untimed), 0, -1), untimed, strict=True):
                yield packet.dts - back * frame_ticks, pts, data
            untimed.clear()
            yield packet.dts, packet.pts, bytes(packet)
        for pts, data in untimed:
            yield pts, pts, data

    def _audio(self) -> Iterator[MediaItem]:
        container = self._open()
        if container.streams.audio[0].codec_context.name in ("opus", "libopus"):
            return self._coded_audio(container)
        return self._raw_audio(container)

    def _coded_audio(self, container: InputContainer) -> Iterator[MediaItem]:
        stream = container.streams.audio[0]
        base = _time_base(stream)
        for packet in container.demux(stream):
            if packet.pts is not None and packet.size:
                due_us = _scale(packet.pts, base, 1_000_000)
                ticks = _scale(packet.pts, base, AUDIO_CLOCK_RATE)
                yield CodedAudio(due_us, ticks, bytes(packet))

    def _raw_audio(self, container: InputContainer) -> Iterator[MediaItem]:
        resampler = AudioResampler("s16", "stereo", AUDIO_CLOCK_RATE, OPUS_FRAME_SAMPLES)
        ticks: int | None = None
        decoded = container.decode(container.streams.audio[0])
        for frame in chain(decoded, (None,)):
            if ticks is None and frame is not None and frame.pts is not None:
                ticks = _scale(frame.pts, frame.time_base or Fraction(1, 1), AUDIO_CLOCK_RATE)
            for part in resampler.resample(frame):
                if part.samples == OPUS_FRAME_SAMPLES:
                    ticks = ticks or 0
                    yield RawAudio(ticks * 1_000_000 // AUDIO_CLOCK_RATE, ticks, part)
                    ticks += OPUS_FRAME_SAMPLES


def _rebase(tracks: list[Iterator[MediaItem]]) -> Iterator[MediaItem]:
    """Merge by due time, and move both times to begin at 0."""
    first = [next(track, None) for track in tracks]
    heads = [item for item in first if item is not None]
    if not heads:
        return
    due_us = min(item.due_us for item in heads)
    media_us = min(item.ticks * 1_000_000 // _clock_rate(item) for item in heads)
    full = [chain((item,), track) for item, track in zip(first, tracks, strict=True) if item]
    for item in heapq.merge(*full, key=lambda item: item.due_us):
        yield _moved(item, due_us, media_us * _clock_rate(item) // 1_000_000)


def _moved(item: MediaItem, due_us: int, ticks: int) -> MediaItem:
    return replace(item, due_us=item.due_us - due_us, ticks=item.ticks - ticks)


def _clock_rate(item: MediaItem) -> int:
    return VIDEO_CLOCK_RATE if isinstance(item, RawVideo | CodedVideo) else AUDIO_CLOCK_RATE


def _scale(time: int, time_base: Fraction, rate: int) -> int:
    return round(time * time_base * rate)


def _time_base(stream: VideoStream | av.AudioStream) -> Fraction:
    if stream.time_base is None:
        raise PublishError(f"the file gives no time base for its {stream.type}")
    return stream.time_base


def _even(size: int) -> int:
    return size & ~1
