"""When to tell the brain at once: a link or the node is nearly full, a link is down or up.

Pure; `agent` feeds it and reports. Source: LiveNet (SIGCOMM 2022) 4.2, alarms at 80 %.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

SAMPLES = 3  # chosen: one fast start of many viewers is no alarm, a full link is one within 3 s
HYSTERESIS_PERMILLE = 50  # clear at 75 % what was raised at 80 %
UP_SETTLE_US = 250_000  # chosen: a link that has just come up has measured no round trip yet
HOLD_US = 2_000_000  # chosen: a flapping link is told of each 2 s, not at each flap


@dataclass(frozen=True, slots=True)
class Crossing:
    """name: the neighbour, None: the node itself. permille: the mean that crossed a threshold."""

    name: str | None
    permille: int
    is_raised: bool


class LoadAlarm:
    """Means of the last samples against two thresholds. alarm_permille: as Welcome says."""

    def __init__(self, alarm_permille: int = 800) -> None:
        self.alarm_permille = alarm_permille
        self.raised: set[str | None] = set()
        self._samples: dict[str | None, deque[int]] = {}

    def sample(self, levels: Mapping[str | None, int]) -> list[Crossing]:
        """Each second, all there are; one that is missing is forgotten."""
        for gone in self._samples.keys() - levels.keys():
            del self._samples[gone]
            self.raised.discard(gone)
        crossings = []
        for name, level in levels.items():
            self._samples.setdefault(name, deque(maxlen=SAMPLES)).append(level)
            mean = self.mean(name)
            was_raised = name in self.raised
            threshold = self.alarm_permille - (HYSTERESIS_PERMILLE if was_raised else 0)
            if (mean >= threshold) == was_raised:
                continue
            self.raised ^= {name}
            crossings.append(Crossing(name, mean, not was_raised))
        return crossings

    def mean(self, name: str | None) -> int:
        """Of the last three samples, those before the first counted as 0."""
        return sum(self._samples.get(name, ())) // SAMPLES


@dataclass(slots=True)
class _Link:
    is_up: bool
    told: bool | None = None
    due_us: int | None = None
    hold_until_us: int = 0


@dataclass
class LinkWatch:
    """Links' downs and ups, each told once and not more often than `HOLD_US`."""

    _links: dict[str, _Link] = field(default_factory=dict)

    def on_change(self, name: str, is_up: bool, now_us: int) -> None:
        """The engine says so. A link that was never up is not told to be down."""
        link = self._links.setdefault(name, _Link(is_up))
        if link.is_up == is_up and link.due_us is not None:
            return
        link.is_up = is_up
        if link.is_up == bool(link.told):
            link.due_us = None  # back as it was told
        else:
            soonest_us = now_us + (UP_SETTLE_US if is_up else 0)
            link.due_us = max(soonest_us, link.hold_until_us)

    def forget(self, name: str) -> None:
        """No neighbour any more."""
        self._links.pop(name, None)

    def take_due(self, now_us: int) -> list[str]:
        """Those to tell of now; call `on_told` for each that was."""
        waiting = ((name, link.due_us) for name, link in self._links.items())
        return [name for name, due_us in waiting if due_us is not None and now_us >= due_us]

    def is_up(self, name: str) -> bool:
        """As the engine said last."""
        return self._links[name].is_up

    def on_told(self, names: Iterable[str], now_us: int) -> None:
        """The brain has been told."""
        for name in names:
            link = self._links[name]
            link.told, link.due_us = link.is_up, None
            link.hold_until_us = now_us + HOLD_US

    def put_off(self, name: str, now_us: int) -> None:
        """It has no round trip yet."""
        self._links[name].due_us = now_us + UP_SETTLE_US

    def next_timer_us(self) -> int | None:
        """When `take_due` has something."""
        times = (link.due_us for link in self._links.values())
        return min((time_us for time_us in times if time_us is not None), default=None)
