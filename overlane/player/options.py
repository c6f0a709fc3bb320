"""What to watch, where, and what to keep of it: one frozen model."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class PlayOptions(BaseModel):
    """All that one viewing needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stream: str = Field(min_length=1)
    node: str = Field(pattern=r"^https?://")
    """The consumer node's admin address, as http://127.0.0.1:8080."""
    listen: str = "127.0.0.1"
    """The local address that RTP is to be sent to."""
    manifest: Path | None = None
    """What the publisher wrote; without it frames are only checked for missing packets."""
    seconds: float | None = Field(default=None, gt=0)
    """How long to watch; None: until the stream ends or falls silent."""
    idle_seconds: float = Field(default=3.0, gt=0)
    """Silence, after the first packet, that ends the viewing. Chosen: six key-frame repairs."""
    wait_seconds: float = Field(default=5.0, ge=0)
    """How long to ask again when the node does not have the stream yet."""
    audio: bool = True
    decode: bool = True
    save: Path | None = None
    """Matroska file for the received H.264 and Opus, not encoded again."""
    picture: Path | None = None
    """PNG of the last decoded frame."""
    handle_signals: bool = True
