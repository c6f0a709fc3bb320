"""What to play, from which node, and what to keep of it: one frozen model."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator
from yarl import URL

PLAYOUT_TARGET_MS = 300  # LiveNet 7.1


class PlayOptions(BaseModel):
    """All that one viewing needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    node: str
    """The consumer node's HTTP API: "http://host:port", or "host:port"."""
    stream: str = Field(min_length=1)
    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """How long to play from the subscription on; None: until the stream ends."""
    manifest: Path | None = None
    """The publisher's manifest on this machine. Without it frames can only be called complete."""
    save: Path | None = None
    """Where to keep what was received, not encoded again (.mkv)."""
    picture: Path | None = None
    """Where to keep the last decoded picture (.png)."""
    listen: str = "127.0.0.1"
    """The local address on which RTP is to arrive; the node must reach it."""
    audio: bool = True
    decode: bool = True
    """Needed for `picture`; without it receiving costs next to nothing."""
    wait_seconds: float = Field(default=5.0, ge=0)
    """How long to ask again while the node or the stream is not there yet."""
    idle_seconds: float = Field(default=3.0, gt=0)
    """The stream counts as over when nothing has come for so long."""
    playout_target_ms: int = Field(default=PLAYOUT_TARGET_MS, ge=0, le=10_000)
    handle_signals: bool = True
    """End cleanly on SIGINT and SIGTERM. Off where several sessions share one process."""

    @field_validator("node")
    @classmethod
    def _with_scheme(cls, node: str) -> str:
        base = (node if "://" in node else f"http://{node}").rstrip("/")
        try:
            url = URL(base)
            is_good = url.scheme in ("http", "https") and bool(url.host) and url.port != 0
        except ValueError:
            is_good = False
        if not is_good:
            raise ValueError(f"{node!r} is not of the form host:port or http://host:port")
        return base
