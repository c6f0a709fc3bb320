"""When a viewer is sent another bitrate of a broadcast that has several. Pure.

Down: its queue has been building up, or frames were left out of it, for some time; to the best
version that its link can carry by what is known of that, at least the next lower one. Up: nothing
has waited for some time, and the link's rate has room for more. What is known of a link may be
only what it is configured to: so an attempt that ends soon is made again later and later. In:
what the engine says of viewers that lag, and every TICK_US how those stand that did lately or are
below the best version. What a viewer would be sent of a better version is *wished for*: its
link's rate controller looks whether there is room (fastpath/rate/probing). Source: LiveNet
(SIGCOMM 2022) 5.2, which leaves the thresholds open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

TICK_US = 250_000  # as often as the engine says that a viewer lags
SOON_US = 10_000_000  # chosen: a version that is left again within this was too much
EPISODE_US = 2 * TICK_US  # lagging that is not said again within this has ended


@dataclass(frozen=True, slots=True)
class Limits:
    """Of the configuration: see `relay.config.Versions`."""

    patience_us: int
    calm_us: int
    room: float
    longest_wait_us: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a viewer stands. bitrates_bps: of the versions, the best first; version: the place of the
    one that it is sent. link_bps: what its link carries. lag_us: of its queue, now. is_changing: it
    is on its way to another version."""

    version: int
    bitrates_bps: Sequence[int]
    link_bps: int
    lag_us: int = 0
    is_changing: bool = False


@dataclass(slots=True)
class _Watched:
    since_us: int  # when it began to lag
    lagged_us: int  # when that was last said
    went_up_us: int | None = None
    waits_us: dict[int, int] = field(default_factory=dict)  # by version: after its last failure
    not_before_us: dict[int, int] = field(default_factory=dict)


class VersionPolicy:
    """Viewers by any number; only those that have lagged are known."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._watched: dict[int, _Watched] = {}

    @property
    def watched(self) -> list[int]:
        """Whose standing is wanted at the next tick."""
        return list(self._watched)

    def on_lags(self, viewer: int, now_us: int) -> None:
        """The engine says that it lags, or that something was left out for it."""
        watched = self._watched.get(viewer)
        if watched is None:
            self._watched[viewer] = _Watched(now_us, now_us)
            return
        if now_us - watched.lagged_us > EPISODE_US:
            watched.since_us = now_us
        watched.lagged_us = now_us

    def forget(self, viewer: int) -> None:
        """It left."""
        self._watched.pop(viewer, None)

    def on_refused(self, viewer: int, version: int, now_us: int) -> None:
        """The version that it was to be sent is not to be had."""
        watched = self._watched.get(viewer)
        if watched is not None:
            self._put_off(watched, version, now_us)

    def on_tick(self, viewer: int, standing: Standing, now_us: int) -> int | None:
        """The version it is to be sent from now on; None: the one that it is."""
        watched = self._watched.get(viewer)
        if watched is None or standing.is_changing:
            return None
        if now_us - watched.lagged_us <= EPISODE_US:
            if watched.lagged_us - watched.since_us < self._limits.patience_us:
                return None
            return self._down(watched, standing, now_us)
        if now_us - watched.lagged_us < self._limits.calm_us or standing.lag_us > 0:
            return None
        if standing.version == 0 and (
            watched.went_up_us is None or now_us - watched.went_up_us > SOON_US
        ):
            del self._watched[viewer]
            return None
        return self._up(watched, standing, now_us)

    def wished_bps(self, viewer: int, standing: Standing, now_us: int) -> int:
        """What its link would have to carry for the next version that it may go up to; 0: it is to
        stay. Not while it lags even so."""
        watched = self._watched.get(viewer)
        if watched is None or now_us - watched.lagged_us <= EPISODE_US:
            return 0
        for version in reversed(range(standing.version)):
            if _is_open(watched, version, now_us):
                return math.ceil(standing.bitrates_bps[version] * self._limits.room)
        return 0

    def _fits(self, standing: Standing, version: int) -> bool:
        return standing.bitrates_bps[version] * self._limits.room <= standing.link_bps

    def _down(self, watched: _Watched, standing: Standing, now_us: int) -> int | None:
        current, last = standing.version, len(standing.bitrates_bps) - 1
        if current >= last:
            return None
        if watched.went_up_us is not None and now_us - watched.went_up_us < SOON_US:
            self._put_off(watched, current, now_us)
        watched.went_up_us = None
        watched.since_us = now_us  # the next step down takes as much patience
        lower = [v for v in range(current + 1, last + 1) if _is_open(watched, v, now_us)]
        fitting = (version for version in lower if self._fits(standing, version))
        return next(fitting, lower[-1] if lower else None)

    def _up(self, watched: _Watched, standing: Standing, now_us: int) -> int | None:
        for version in range(standing.version):
            if _is_open(watched, version, now_us) and self._fits(standing, version):
                watched.went_up_us = now_us
                return version
        return None

    def _put_off(self, watched: _Watched, version: int, now_us: int) -> None:
        """Not before twice as long as the last time."""
        wait_us = min(
            2 * watched.waits_us.get(version, self._limits.calm_us), self._limits.longest_wait_us
        )
        watched.waits_us[version] = wait_us
        watched.not_before_us[version] = now_us + wait_us


def _is_open(watched: _Watched, version: int, now_us: int) -> bool:
    return now_us >= watched.not_before_us.get(version, now_us)
