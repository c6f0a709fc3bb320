"""When a worker sheds, and how much: a controller without I/O, run once per turn.

A queue that stands is one whose head is older than the threshold in every turn for a while. While
it stands and does not get shorter the step rises, each time further. It falls after a calm in which
the worker was idle for long enough to carry what would come back.
"""

from dataclasses import dataclass
from enum import Enum, auto

DISCARDABLE, STREAMS, ALL_VIDEO, UNCHECKED_VIDEO, AUDIO, UNCHECKED = 1, 2, 17, 18, 19, 20
PATIENCE_US, PERIOD_US, FASTEST = 50_000, 5_000, 8
HOLD_US, LONGEST_HOLD_US, SOON = 50_000, 200_000, 4
FULL_PERCENT = 80
QUIET_US = 1_000_000


class Change(Enum):
    AS_BEFORE = auto()
    BEGAN = auto()
    ENDED = auto()


@dataclass(slots=True)
class Overload:
    threshold_us: int
    step: int = 0
    oldest_us: int = 0  # of this turn
    above_us: int | None = None  # since when each turn was above the threshold
    age_us: int = 0  # as it was then
    stride: int = 1
    # the calm: since when, and what was done meanwhile
    calm_us: int = 0
    hold_us: int = HOLD_US
    fell_us: int | None = None
    busy_us: int = 0
    work: int = 0  # in parts of about a shed packet's cost
    saved: int = 0  # by what was shed
    awaited: int = 0  # saved, of streams no longer shed whose key frame has not come
    # an episode: from the first step to a second without any
    is_episode: bool = False
    began_us: int = 0
    zero_us: int = 0
    highest_step: int = 0
    episodes: int = 0
    unchecked: int = 0

    def note(self, age_us: int) -> None:
        self.oldest_us = max(self.oldest_us, age_us)

    def on_shed(self, cost: int, *, is_awaited: bool = False) -> None:
        self.work += 1
        if is_awaited:
            self.awaited += cost - 1
        else:
            self.saved += cost - 1

    def turn(self, now_us: int) -> Change:
        age_us, self.oldest_us = self.oldest_us, 0
        if not self.threshold_us:
            return Change.AS_BEFORE
        if age_us <= self.threshold_us:
            self.above_us = None
            if self.step and now_us - self.calm_us >= self.hold_us:
                self._fall(now_us)
                self._begin_calm(now_us)
            return self._quiet(now_us)
        if self.above_us is None:
            self.above_us, self.age_us = now_us, age_us
        lasted_us = now_us - self.above_us
        if lasted_us >= (PERIOD_US if self.step else PATIENCE_US):
            if self.age_us - age_us < lasted_us // 4:
                self._rise(now_us)
            self.above_us, self.age_us = now_us, age_us
        self._begin_calm(now_us)
        if not self.step or self.is_episode:
            return Change.AS_BEFORE
        self.is_episode, self.began_us, self.highest_step = True, now_us, self.step
        self.episodes += 1
        return Change.BEGAN

    def _quiet(self, now_us: int) -> Change:
        if not self.is_episode or self.step or now_us - self.zero_us < QUIET_US:
            return Change.AS_BEFORE
        self.is_episode, self.hold_us = False, HOLD_US
        return Change.ENDED

    def _begin_calm(self, now_us: int) -> None:
        self.calm_us = now_us
        self.busy_us = self.work = self.saved = self.awaited = 0

    def _rise(self, now_us: int) -> None:
        """All video by strides; what is dearer than that one by one."""
        if self.fell_us is not None and now_us - self.fell_us < SOON * self.hold_us:
            self.hold_us = min(2 * self.hold_us, LONGEST_HOLD_US)
        self.fell_us = None
        if self.step >= ALL_VIDEO:
            self.step = min(self.step + 1, UNCHECKED)
        elif self.step + self.stride >= ALL_VIDEO:
            self.step = ALL_VIDEO
        else:
            self.step += self.stride
            self.stride = min(2 * self.stride, FASTEST)
        self.highest_step = max(self.highest_step, self.step)

    def _fall(self, now_us: int) -> None:
        steps = self._affordable(now_us - self.calm_us)
        self.stride = 1
        if steps > 0:
            self.step -= steps
            self.fell_us = now_us
        if not self.step:
            self.zero_us = now_us

    def _affordable(self, calm_us: int) -> int:
        """By how many steps less may be shed, so that the worker is not too busy with it."""
        if not self.work:
            return self.step
        if self.step > ALL_VIDEO:
            return 1
        if self.busy_us <= 0:
            return self.step
        carried = self.work * calm_us * FULL_PERCENT // (100 * self.busy_us)
        room = carried - self.work - self.awaited
        if room <= 0:
            return 0
        if room >= self.saved:
            return self.step
        return room * (self.step - STREAMS + 1) // self.saved

    def next_us(self) -> int | None:
        """When a turn is due that may shed less, or say that it is over."""
        if self.step:
            return self.calm_us + self.hold_us
        return self.zero_us + QUIET_US if self.is_episode else None
