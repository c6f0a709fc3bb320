"""The manifest: what was sent and when, one JSON object a line, flushed line by line.

A header, then one line for each access unit and each audio packet in the order of sending, then a
last line. Times are microseconds of CLOCK_MONOTONIC, which nobody can set, and which all processes
of one Linux machine share from one start of it to the next. `sent_us` is read just before the last
packet of the unit goes to the kernel: the smoothing of a key frame over some milliseconds then
counts as the encoder's time, not as the network's.
"""

from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import IO, TypeAlias

import msgspec

MANIFEST_VERSION = 1
CLOCK_NAME = "CLOCK_MONOTONIC"
_AUDIO_HASH_BYTES = 8


class VideoTrack(msgspec.Struct, frozen=True, kw_only=True):
    """The header's line on video."""

    payload_type: int
    clock_rate: int
    ssrc: int
    width: int
    height: int
    fps: float


class AudioTrack(msgspec.Struct, frozen=True, kw_only=True):
    """The header's line on audio."""

    payload_type: int
    clock_rate: int
    ssrc: int


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line."""

    version: int
    stream: str
    clock: str
    video: VideoTrack
    audio: AudioTrack | None
    boot_id: str = ""
    """Of the machine's run in which `clock` counts; empty if the writer could not tell."""


class SentFrame(msgspec.Struct, frozen=True, kw_only=True):
    """An access unit. frame: its place in the order of sending; rtp_time: 32 bits."""

    frame: int
    capture_us: int
    sent_us: int
    rtp_time: int
    packets: int
    bytes: int
    key: bool
    hash: str


class SentAudio(msgspec.Struct, frozen=True, kw_only=True):
    """An audio packet. audio: its RTP sequence number."""

    audio: int
    sent_us: int
    rtp_time: int
    hash: str


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The last line; it is missing while the publisher runs, or if it was killed."""

    end: bool
    frames: int
    video_packets: int
    audio_packets: int
    packets_sent: int


Record: TypeAlias = Header | SentFrame | SentAudio | End
_KINDS: tuple[tuple[str, type[Record]], ...] = (
    ("version", Header),
    ("frame", SentFrame),
    ("audio", SentAudio),
    ("end", End),
)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest as read, perhaps of a publisher that still runs."""

    header: Header
    frames: list[SentFrame]
    audio: list[SentAudio]
    end: End | None

    @property
    def shares_clock(self) -> bool:
        """Whether its times can be compared with this process's clock: not those of another
        machine, nor from before a restart of this one."""
        return self.header.clock == CLOCK_NAME and self.header.boot_id == boot_id()


class ManifestError(Exception):
    """Not a manifest: no file, no header, or a line that is none of the four kinds."""


def boot_id() -> str:
    """random(4)'s id of this run of the machine; empty if there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def audio_hash(payload: bytes) -> str:
    """BLAKE2b of an audio packet's payload, 8 bytes as hex."""
    return blake2b(payload, digest_size=_AUDIO_HASH_BYTES).hexdigest()


class ManifestWriter:
    """Appends records; each is on disk (or in the page cache) when `write` returns.

    After a write that fails nothing more is written, so what is there stays readable: whole lines,
    perhaps a partial one behind them, and no last line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] = path.open("wb", buffering=0)
        self.problem: str | None = None
        """Why the manifest is incomplete, in one line."""

    def write(self, record: Record) -> None:
        if self.problem is not None:
            return
        line = msgspec.json.encode(record) + b"\n"
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            self.problem = f"cannot write {self._path}: {error.strerror}; the manifest ends there"

    def __enter__(self) -> "ManifestWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def read_manifest(path: Path) -> Manifest:
    """Raises ManifestError. A last line without its newline is one still being written."""
    try:
        if path.exists() and not path.is_file():
            raise ManifestError(f"cannot read {path}: it is not a file")
        data = path.read_bytes()
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror}") from error
    lines = data.split(b"\n")[:-1]
    records = [_decode(path, number, line) for number, line in enumerate(lines, 1)]
    if not records or not isinstance(records[0], Header):
        raise ManifestError(f"{path} does not begin with a manifest's header")
    end = records[-1]
    return Manifest(
        header=records[0],
        frames=[record for record in records if isinstance(record, SentFrame)],
        audio=[record for record in records if isinstance(record, SentAudio)],
        end=end if isinstance(end, End) else None,
    )


def _decode(path: Path, number: int, line: bytes) -> Record:
    try:
        fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        for key, kind in _KINDS:
            if key in fields:
                return msgspec.json.decode(line, type=kind)
    except msgspec.MsgspecError as error:
        raise ManifestError(f"line {number} of {path}: {error}") from error
    except RecursionError:
        raise ManifestError(f"line {number} of {path} is nested too deeply") from None
    raise ManifestError(f"line {number} of {path} is none of a manifest's records")
