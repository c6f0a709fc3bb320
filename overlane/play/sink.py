"""The thread that decodes and keeps what arrived, so that receiving is never delayed by it."""

from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import av

from overlane.play.decoders import H264Decoder, OpusDecoder, write_png
from overlane.play.errors import PlayError
from overlane.play.reassembly import AccessUnit
from overlane.play.recording import Recording
from overlane.play.tracks import AudioUnit


@dataclass(frozen=True, slots=True)
class SinkResult:
    """Counts, and the files that were written."""

    frames_decoded: int
    decode_errors: int
    audio_packets_decoded: int
    saved: Path | None
    picture: Path | None


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

    def put(self, unit: AccessUnit | AudioUnit) -> None:
        self._queue.put(unit)

    def finish(self) -> None:
        """`run` returns after what was put before."""
        self._queue.put(None)

    def run(self) -> SinkResult:
        """Raises PlayError if a file cannot be written."""
        try:
            while (unit := self._queue.get()) is not None:
                self._take(unit)
        finally:
            if self._recording is not None:
                self._recording.close()
        self._video.flush()
        return SinkResult(
            frames_decoded=self._video.frames,
            decode_errors=self._video.errors + self._audio.errors,
            audio_packets_decoded=self._audio.packets,
            saved=self._save if self._recording and self._recording.packets else None,
            picture=self._write_picture(),
        )

    def _take(self, unit: AccessUnit | AudioUnit) -> None:
        if self._decode and isinstance(unit, AccessUnit):
            self._video.decode(unit.nals)
        elif self._decode and isinstance(unit, AudioUnit):
            self._audio.decode(unit.payload)
        if self._recording is not None:
            try:
                self._recording.write(unit)
            except (OSError, av.FFmpegError) as error:
                raise PlayError(f"cannot write {self._save}: {error}") from error

    def _write_picture(self) -> Path | None:
        if self._picture is None or self._video.last is None:
            return None
        try:
            write_png(self._video.last, self._picture)
        except OSError as error:
            raise PlayError(f"cannot write {self._picture}: {error.strerror}") from error
        return self._picture
