"""The playout buffer of a viewer, as a model: when it starts, freezes, and catches up.

Frames come with the time at which they were whole and their place in the media. Playing starts when
`target_us` of media is buffered (or as much time has passed since the first frame), each frame is
due one interval after the last, and a freeze is a frame that is due while the buffer is empty. A
frame that is missing while later ones are there is passed over, as a decoder conceals it. With
more than the target buffered (a late joiner's cache, a burst after an outage) the model plays
`max_speed` times faster until it is at its target again.
Pure; time is an argument. Source of target and speed: LiveNet 7.1 and 5.2.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

DEFAULT_TARGET_US = 300_000
DEFAULT_MAX_SPEED = 1.5
CATCH_UP_FRAMES = 2  # ours: an excess above this is no jitter of single frames


class PlayoutState(Enum):
    BUFFERING = "buffering"
    PLAYING = "playing"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class ArrivedFrame:
    """A whole frame: when it was whole, and its place in the media."""

    completed_us: int
    media_us: int


@dataclass(frozen=True, slots=True)
class PlayoutResult:
    """started_us is None if nothing was shown. fast_us: time spent playing faster than real."""

    started_us: int | None
    freezes: int
    frozen_us: int
    shown: int
    skipped: int
    late: int
    fast_us: int
    last_shown_us: int | None
    last_shown_media_us: int | None


class PlayoutModel:
    """Feed `on_frame` and `handle_timer` in the order of time; then `finish` once."""

    def __init__(
        self,
        interval_us: int,
        target_us: int = DEFAULT_TARGET_US,
        max_speed: float = DEFAULT_MAX_SPEED,
    ) -> None:
        self._interval_us = interval_us
        self._target_us = target_us
        self._max_speed = max_speed
        self._state = PlayoutState.BUFFERING
        self._buffer: list[int] = []
        self._highest_us = 0
        self._timer_us: int | None = None
        self._media_us: int | None = None
        self._shown_us: int | None = None
        self._started_us: int | None = None
        self._freeze_us: int | None = None
        self._catching_up = False
        self._freezes = self._frozen_us = self._fast_us = 0
        self._shown = self._skipped = self._late = 0

    @property
    def state(self) -> PlayoutState:
        return self._state

    def on_frame(self, media_us: int, now_us: int) -> None:
        if self._media_us is not None and media_us <= self._media_us:
            self._late += 1
            return
        heapq.heappush(self._buffer, media_us)
        self._highest_us = max(self._highest_us, media_us)
        if self._state is not PlayoutState.BUFFERING:
            return
        if self._highest_us - self._buffer[0] + self._interval_us >= self._target_us:
            self._start(now_us)
        elif self._timer_us is None:
            self._timer_us = now_us + self._target_us

    def next_timer_us(self) -> int | None:
        return self._timer_us

    def handle_timer(self, now_us: int) -> None:
        if self._timer_us is None or now_us < self._timer_us:
            return
        if self._state is PlayoutState.BUFFERING:
            self._start(now_us)
        elif not self._buffer:
            self._freeze(now_us)
        else:
            self._show_or_wait(now_us)

    def finish(self, now_us: int, media_end_us: int | None) -> PlayoutResult:
        """The outcome. media_end_us: the last frame's place, if the stream has ended; nothing is
        due after it, so the pause after it is no freeze."""
        if self._freeze_us is not None:
            if self._has_ended(media_end_us):
                self._freezes -= 1
            else:
                self._frozen_us += now_us - self._freeze_us
        self._state = PlayoutState.FINISHED
        self._timer_us = None
        return PlayoutResult(
            started_us=self._started_us,
            freezes=self._freezes,
            frozen_us=self._frozen_us,
            shown=self._shown,
            skipped=self._skipped,
            late=self._late,
            fast_us=self._fast_us,
            last_shown_us=self._shown_us,
            last_shown_media_us=self._media_us,
        )

    def _has_ended(self, media_end_us: int | None) -> bool:
        if media_end_us is None or self._media_us is None:
            return False
        return self._media_us + self._interval_us // 2 >= media_end_us

    def _start(self, now_us: int) -> None:
        self._state = PlayoutState.PLAYING
        if self._started_us is None:
            self._started_us = now_us
        if self._freeze_us is not None:
            self._frozen_us += now_us - self._freeze_us
            self._freeze_us = None
        self._show(now_us)

    def _freeze(self, now_us: int) -> None:
        self._state = PlayoutState.BUFFERING
        self._freezes += 1
        self._freeze_us = now_us
        self._timer_us = None

    def _show_or_wait(self, now_us: int) -> None:
        """The head of the buffer may lie beyond the next frame, which is missing."""
        assert self._media_us is not None
        assert self._shown_us is not None
        due_us = self._shown_us + self._duration_us(self._buffer[0] - self._media_us)
        if due_us > now_us:
            self._timer_us = due_us
            return
        if self._speed > 1:
            self._fast_us += now_us - self._shown_us
        self._show(now_us)

    def _show(self, now_us: int) -> None:
        media_us = heapq.heappop(self._buffer)
        if self._media_us is not None:
            gap_us = media_us - self._media_us
            self._skipped += max(0, round(gap_us / self._interval_us) - 1)
        self._shown += 1
        self._media_us, self._shown_us = media_us, now_us
        excess_us = self._highest_us - media_us - self._target_us
        if excess_us <= 0:
            self._catching_up = False
        elif excess_us > CATCH_UP_FRAMES * self._interval_us:
            self._catching_up = True
        self._timer_us = now_us + self._duration_us(self._interval_us)

    @property
    def _speed(self) -> float:
        return self._max_speed if self._catching_up else 1.0

    def _duration_us(self, media_us: int) -> int:
        return round(media_us / self._speed)


def simulate(
    frames: Iterable[ArrivedFrame],
    model: PlayoutModel,
    until_us: int,
    media_end_us: int | None,
) -> PlayoutResult:
    """Run `model` over a recorded session that ended at `until_us`."""
    for frame in sorted(frames, key=lambda frame: frame.completed_us):
        _advance(model, frame.completed_us)
        model.on_frame(frame.media_us, frame.completed_us)
    _advance(model, until_us)
    return model.finish(until_us, media_end_us)


def _advance(model: PlayoutModel, now_us: int) -> None:
    while (timer_us := model.next_timer_us()) is not None and timer_us <= now_us:
        model.handle_timer(timer_us)
