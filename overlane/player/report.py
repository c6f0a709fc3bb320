"""What `play` tells when it is done (and, in part, while it runs)."""

import msgspec


class DelayReport(msgspec.Struct, frozen=True, kw_only=True):
    """Last packet of a frame in, less the time it was sent; ms, of frames after the first 3 s."""

    p50: float | None = None
    p99: float | None = None
    min: float | None = None


class AudioReport(msgspec.Struct, frozen=True, kw_only=True):
    """packets_expected and intact need a manifest."""

    packets_received: int = 0
    packets_expected: int | None = None
    intact: int | None = None


class PlayReport(msgspec.Struct, frozen=True, kw_only=True):
    """frames_intact: hash as sent, complete before time sent + smallest delay + 300 ms. Frames of
    the first 3 s need only be whole; the late ones among them are frames_late_in_first_3s.

    first_frame_ms: from the start of play to the first intact key frame complete; None: none came.
    freezes: how often the playout buffer was empty when a picture was due; freeze_ms in all.
    """

    stream: str
    viewer: str
    state: str
    path: list[str]
    seconds: float
    frames_expected: int
    frames_intact: int
    intact_ratio: float
    frames_damaged: int
    frames_incomplete: int
    frames_late: int
    frames_late_in_first_3s: int
    frames_complete: int
    first_frame_ms: float | None
    freezes: int
    freeze_ms: float
    delay_ms: DelayReport
    packets_received: int
    packets_lost: int
    packets_duplicate: int
    packets_malformed: int
    audio: AudioReport
    frames_decoded: int
    decode_errors: int
    saved: str | None
    picture: str | None
