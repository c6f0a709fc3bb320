"""Keeps what was received as a Matroska file, not encoded again.

The two tracks have unrelated RTP times. They are laid side by side by their quickest packets: over
the first seconds, the smallest difference of arrival and RTP time of each track is taken for one
and the same delay.
"""

import heapq
import io
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from overlane.files import part_of, put_in_place
from overlane.play.errors import PlayError
from overlane.play.reassembly import AccessUnit
from overlane.play.tracks import AudioUnit
from rtp.payload.h264_packets import canonical
from rtp.sequence import SequenceUnwrapper

_HOLD_US = 3_000_000  # ours: a burst from a cache is over by then, and live packets have come
# H.264 A.3.1 lets a decoder hold at most 16 frames, so a picture is shown at most 16 later than
# it is decoded: the 16th picture back in showing order is a decoding time that is never too late.
_REORDER_FRAMES = 16
_VIDEO_BASE, _AUDIO_BASE = Fraction(1, 90_000), Fraction(1, 48_000)


@dataclass(frozen=True, slots=True)
class _Held:
    """A unit with its unwrapped RTP time."""

    unit: AccessUnit | AudioUnit
    ticks: int

    @property
    def media_us(self) -> int:
        rate = 90_000 if isinstance(self.unit, AccessUnit) else 48_000
        return self.ticks * 1_000_000 // rate


class Recording:
    """Write units in the order of sending, then `close`; or `abandon` it after an error.

    It stands in `path` when it is closed, and beside it until then. The constructor raises
    PlayError; `write` and `close` raise OSError or FFmpegError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = part_of(path)
        try:
            self._file = self._part.open("wb")
            self._container: OutputContainer = av.open(self._file, "w", format="matroska")
        except (OSError, av.FFmpegError) as error:
            raise PlayError(f"cannot write {path}: {error.strerror}") from error
        self._unwrap = {AccessUnit: SequenceUnwrapper(32), AudioUnit: SequenceUnwrapper(32)}
        self._held: list[_Held] = []
        self._video: VideoStream | None = None
        self._audio: AudioStream | None = None
        self._offset = {AccessUnit: 0, AudioUnit: 0}
        self._begun = False
        self._recent: list[int] = []
        self._last_dts: dict[type, int] = {}
        self.packets = 0

    def write(self, unit: AccessUnit | AudioUnit) -> None:
        held = _Held(unit, self._unwrap[type(unit)].unwrap(unit.rtp_time))
        if self._begun:
            self._mux(held)
            return
        self._held.append(held)
        if unit.completed_us - self._held[0].unit.completed_us >= _HOLD_US:
            self._begin()

    def close(self) -> None:
        if not self._begun and self._held:
            self._begin()
        self._container.close()
        self._file.close()
        if self.packets:
            put_in_place(self._part, self._path)
        else:
            self._remove_part()

    def abandon(self) -> str:
        """After an error: what there is of it stays in the part. Returns where, to be said."""
        with suppress(OSError, av.FFmpegError):
            self._container.close()
        with suppress(OSError):
            self._file.close()
        if self._part == self._path:
            return ""
        if not self.packets:
            self._remove_part()
            return ""
        return f"; its first {self.packets} packets are in {self._part}"

    def _remove_part(self) -> None:
        if self._part != self._path:
            self._part.unlink(missing_ok=True)

    def _begin(self) -> None:
        """Open the tracks that have come, and write what was held."""
        self._begun = True
        video = [held for held in self._held if isinstance(held.unit, AccessUnit)]
        audio = [held for held in self._held if isinstance(held.unit, AudioUnit)]
        if video:
            self._video = _add_video(self._container, video[0].unit)
        if audio:
            self._audio = self._container.add_stream("libopus", rate=48_000, layout="stereo")
        delays = {
            kind: min(held.unit.completed_us - held.media_us for held in track)
            for kind, track in ((AccessUnit, video), (AudioUnit, audio))
            if track
        }
        start_us = min(held.media_us + delays[type(held.unit)] for held in self._held)
        self._offset.update({kind: delay_us - start_us for kind, delay_us in delays.items()})
        for held in self._held:
            self._mux(held)
        self._held.clear()

    def _mux(self, held: _Held) -> None:
        packet = self._packet(held)
        if packet is None or packet.dts is None:
            return
        kind = type(held.unit)
        if packet.dts <= self._last_dts.get(kind, packet.dts - 1):
            return  # a sender that went back in time
        self._last_dts[kind] = packet.dts
        self._container.mux(packet)
        self.packets += 1

    def _packet(self, held: _Held) -> "av.Packet[Stream] | None":
        """None for a track that had not begun when the file did: its header is written."""
        unit = held.unit
        stream: VideoStream | AudioStream | None
        if isinstance(unit, AccessUnit):
            stream, data, base = self._video, canonical(unit.nals), _VIDEO_BASE
        else:
            stream, data, base = self._audio, unit.payload, _AUDIO_BASE
        if stream is None:
            return None
        packet = av.Packet(data)
        packet.stream, packet.time_base = stream, base
        packet.pts = held.ticks + round(self._offset[type(unit)] / (1_000_000 * base))
        packet.dts = self._decoding_time(packet.pts) if base is _VIDEO_BASE else packet.pts
        packet.is_keyframe = unit.key
        return packet

    def _decoding_time(self, pts: int) -> int:
        """The picture shown _REORDER_FRAMES back; before there are so many, counted up to it."""
        heapq.heappush(self._recent, pts)
        if len(self._recent) > _REORDER_FRAMES:
            return heapq.heappop(self._recent)
        return self._recent[0] - _REORDER_FRAMES + len(self._recent) - 1


def _add_video(container: OutputContainer, key_unit: AccessUnit | AudioUnit) -> VideoStream:
    """A track with size and parameter sets as its first key frame has them."""
    assert isinstance(key_unit, AccessUnit)
    with av.open(io.BytesIO(canonical(key_unit.nals)), format="h264") as probe:
        return container.add_stream_from_template(probe.streams.video[0])
