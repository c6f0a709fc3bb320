"""The thread that decodes and keeps what arrived, so that receiving is never delayed by it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import av

from overlane.play.decoders import H264Decoder, OpusDecoder, write_png
from overlane.play.reassembly import AccessUnit
from overlane.play.recording import Recording
from overlane.play.tracks import AudioUnit


@dataclass(frozen=True, slots=True)
class SinkResult:
    """Counts, the files that were written, and a line for each that could not be."""

    frames_decoded: int
    decode_errors: int
    audio_packets_decoded: int
    saved: Path | None
    picture: Path | None
    problems: list[str]


class Sink:
    """`put` and `finish` from the event loop; `run` in a thread of its own."""

    def __init__(self, save: Path | None, picture: Path | None, *, decode: bool) -> None:
        self._queue: SimpleQueue[AccessUnit | AudioUnit | None] = SimpleQueue()
        self._save = save
        self._picture = picture
        self._decode = decode or picture is not None
        self._recording = Recording(save) if save is not None else None
        self._video = H264Decoder()
        self._audio = OpusDecoder()
        self._problems: list[str] = []

    def put(self, unit: AccessUnit | AudioUnit) -> None:
        self._queue.put(unit)

    def finish(self) -> None:
        """`run` returns after what was put before."""
        self._queue.put(None)

    def run(self) -> SinkResult:
        """A file that cannot be written is a problem in the result, and stops nothing else."""
        while (unit := self._queue.get()) is not None:
            self._take(unit)
        recording, self._recording = self._recording, None
        is_kept = recording is not None and self._tried(recording, recording.close)
        self._video.flush()
        picture = self._write_picture()
        return SinkResult(
            frames_decoded=self._video.frames,
            decode_errors=self._video.errors + self._audio.errors,
            audio_packets_decoded=self._audio.packets,
            saved=self._save if is_kept and recording and recording.packets else None,
            picture=picture,
            problems=self._problems,
        )

    def _take(self, unit: AccessUnit | AudioUnit) -> None:
        if self._decode and isinstance(unit, AccessUnit):
            self._video.decode(unit.nals)
        elif self._decode and isinstance(unit, AudioUnit):
            self._audio.decode(unit.payload)
        recording = self._recording
        if recording is not None and not self._tried(recording, lambda: recording.write(unit)):
            self._recording = None

    def _tried(self, recording: Recording, step: Callable[[], None]) -> bool:
        """False if the recording failed in this step; what it has so far is kept."""
        try:
            step()
        except (OSError, av.FFmpegError) as error:
            self._problems.append(
                f"cannot write {self._save}: {error.strerror}{recording.abandon()}"
            )
            return False
        return True

    def _write_picture(self) -> Path | None:
        if self._picture is None or self._video.last is None:
            return None
        try:
            write_png(self._video.last, self._picture)
        except OSError as error:
            self._problems.append(f"cannot write {self._picture}: {error.strerror}")
            return None
        return self._picture
