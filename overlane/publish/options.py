"""What to publish, where to, and how: one frozen model."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from overlane.publish.errors import PublishError


def split_address(text: str) -> tuple[str, int]:
    """("host", port) of "host:port" or "[v6]:port". Raises PublishError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise PublishError(f"not an address of the form host:port: {text!r}")
    return host, int(port)


def _checked_address(text: str) -> str:
    try:
        split_address(text)
    except PublishError as error:
        raise ValueError(str(error)) from None
    return text


HostPort = Annotated[str, AfterValidator(_checked_address)]


class PublishOptions(BaseModel):
    """All that one publishing session needs. `None` means: as the source has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stream: str = Field(min_length=1)
    """Name of the stream, written into the manifest."""
    to: HostPort
    """Where RTP goes: the producer node's ingest port, "host:port"."""
    audio_to: HostPort | None = None
    """Where audio goes, if not to the same port as video."""
    source: Path | None = None
    """A media file; None: a moving pattern with a frame counter, and a tone."""
    copy_video: bool = False
    """Send the file's H.264 as it is (B frames and all), at the pace of its decoding times."""
    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """How long to publish; None: to the end of the file, or until stopped."""
    audio: bool = True
    width: int | None = Field(default=None, ge=64, le=7680, multiple_of=2)
    """Default: the file's, or 640 for the pattern."""
    height: int | None = Field(default=None, ge=64, le=4320, multiple_of=2)
    """Default: the file's, or 360 for the pattern."""
    fps: int | None = Field(default=None, ge=1, le=240)
    """Frames a second of the pattern (default 30). A file keeps its own times."""
    bitrate_bps: int = Field(default=1_500_000, ge=10_000, le=1_000_000_000)
    audio_bitrate_bps: int = Field(default=64_000, ge=6_000, le=510_000)
    gop_s: float = Field(default=2.0, gt=0, le=3600)
    """Time between key frames when encoding."""
    b_frames: int = Field(default=0, ge=0, le=16)
    preset: str = "veryfast"
    """x264's trade of processor time against quality. Chosen: about 1.5 ms a frame at 640x360."""
    zerolatency: bool = True
    """x264's `tune=zerolatency`: no frame is held back for look-ahead."""
    max_payload_bytes: int = Field(default=1200, ge=100, le=1400)
    """Largest RTP payload. The header adds 12 bytes."""
    manifest: Path | None = None
    """Where to write what was sent, as JSON lines."""
    seed: int | None = None
    """Draws SSRCs, first sequence numbers and times, and the pattern; None: at random."""
    handle_signals: bool = True
    """End cleanly on SIGINT and SIGTERM. Off where several sessions share one process."""

    @model_validator(mode="after")
    def _check(self) -> "PublishOptions":
        if self.copy_video and self.source is None:
            raise ValueError("copy_video needs a source file")
        return self
