"""What `play` tells while it runs and when it is done. Plain values, fit for JSON."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import msgspec

PlayEnd: TypeAlias = Literal["seconds", "ended", "idle", "stopped"]


class DelayReport(msgspec.Struct, frozen=True, kw_only=True):
    """From the time a frame was sent to the time it was whole here, in milliseconds.

    Unknown (None) if the manifest was written on another machine, or before this one was restarted.

    min is over all frames; the others over frames sent after the first packet came, as frames from
    a cache are older by their time in it.
    """

    p50: float
    p99: float
    min: float


class AudioReport(msgspec.Struct, frozen=True, kw_only=True):
    """packets_expected and intact as for frames; None without a manifest."""

    packets_expected: int | None
    packets_received: int
    intact: int | None
    intact_ratio: float | None
    packets_lost: int
    packets_duplicate: int
    delay_ms: DelayReport | None


class PlayoutReport(msgspec.Struct, frozen=True, kw_only=True):
    """The model of a viewer's buffer. start_ms: from the start of play to the first picture shown.

    fast_ms: time spent playing faster to reach the target. latency_ms: from sending to showing of
    the last frame shown, None without a manifest of this machine.
    """

    start_ms: float | None
    freezes: int
    freeze_ms: float
    frames_shown: int
    frames_skipped: int
    frames_late: int
    fast_ms: float
    latency_ms: float | None


class PlayReport(msgspec.Struct, frozen=True, kw_only=True):
    """state: "live", "lost" or "ended", as the node said last. ended: why play stopped.

    frames_expected = frames_intact + frames_incomplete + frames_damaged + frames_late.

    Frames are judged by the manifest (see `verdict`); without one, expected, damaged and late are
    None and intact counts whole frames. `intact_ratio` is 0 if nothing was expected.
    frames_complete: whole, whatever their hash and time. Packets are those of video, but malformed
    and foreign ones (not of the tracks that the node announced, see `admission`) those of both.
    problems: what could not be read or written, a line each; the viewing went on without it.
    """

    stream: str
    viewer: str
    path: list[str]
    state: str
    ended: PlayEnd
    seconds: float
    frames_expected: int | None
    frames_intact: int
    intact_ratio: float | None
    frames_incomplete: int
    frames_damaged: int | None
    frames_late: int | None
    frames_late_in_first_3s: int | None
    frames_complete: int
    freezes: int
    freeze_ms: float
    first_frame_ms: float | None
    delay_ms: DelayReport | None
    packets_received: int
    packets_lost: int
    packets_duplicate: int
    packets_malformed: int
    packets_foreign: int
    audio: AudioReport
    playout: PlayoutReport
    frames_decoded: int
    decode_errors: int
    audio_packets_decoded: int
    subscriptions: int
    saved: str | None
    picture: str | None
    problems: list[str]


class PlayProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A glance at a running session, each second."""

    stream: str
    viewer: str
    path: list[str]
    state: str
    seconds: float
    packets_received: int
    packets_lost: int
    frames_whole: int
    first_frame_ms: float | None


ProgressCallback: TypeAlias = Callable[[PlayProgress], None]


def delay_report(delays_us: Sequence[int], smallest_us: int | None) -> DelayReport | None:
    """None if there is nothing to report. Percentiles are values that occurred (nearest rank)."""
    if not delays_us or smallest_us is None:
        return None
    ordered = sorted(delays_us)
    return DelayReport(
        p50=ordered[(len(ordered) - 1) // 2] / 1_000,
        p99=ordered[-(-len(ordered) * 99 // 100) - 1] / 1_000,
        min=smallest_us / 1_000,
    )
