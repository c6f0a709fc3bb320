"""Whose paths are sent to all nodes before anybody asks.

A broadcaster counts as popular for its views so far, a view losing half its weight in each half
life, or for a campaign that was announced. It stays popular until its views are worth half of what
made it so. Source: LiveNet (SIGCOMM 2022) 4.4, footnote 7, which gives no numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.errors import InvalidSettingError

FORGET_BELOW = 0.5  # half a view: it no longer tells anything


@dataclass(frozen=True, slots=True)
class PopularityConfig:
    """All chosen. max_broadcasts: a push goes to each node, so their number is bounded; campaigns
    come first, then by views."""

    half_life_us: int = 86_400_000_000  # a day: broadcasters keep daily hours
    popular_views: float = 100.0
    max_broadcasts: int = 1_000
    campaign_lead_us: int = 600_000_000  # as long as paths are computed ahead

    def __post_init__(self) -> None:
        if self.half_life_us <= 0 or self.popular_views <= 0 or self.max_broadcasts < 0:
            raise InvalidSettingError("half_life_us and popular_views must be more than 0")


@dataclass(frozen=True, slots=True)
class PopularityState:
    """views: weight, and at what time it was that. campaigns: start and end. By broadcast."""

    views: dict[str, tuple[float, int]]
    campaigns: dict[str, tuple[int, int]]


@dataclass(slots=True)
class _Views:
    weight: float
    at_us: int
    is_popular: bool = False


class Popularity:
    """Broadcasts by name: a broadcaster who comes back has the same."""

    def __init__(self, config: PopularityConfig) -> None:
        self._config = config
        self._views: dict[str, _Views] = {}
        self._campaigns: dict[str, tuple[int, int]] = {}

    def on_view(self, broadcast: str, now_us: int, views: int = 1) -> None:
        """Viewers that began to watch."""
        known = self._views.setdefault(broadcast, _Views(0.0, now_us))
        known.weight = self._weight(known, now_us) + views
        known.at_us = now_us

    def announce_campaign(self, broadcast: str, start_us: int, end_us: int) -> None:
        """A large audience is expected then; replaces the broadcast's earlier campaign."""
        self._campaigns[broadcast] = (start_us, end_us)

    def cancel_campaign(self, broadcast: str) -> None:
        self._campaigns.pop(broadcast, None)

    def state(self) -> PopularityState:
        """What a restart needs."""
        views = {name: (known.weight, known.at_us) for name, known in self._views.items()}
        return PopularityState(views, dict(self._campaigns))

    def restore(self, state: PopularityState, now_us: int) -> None:
        """A saved state, into an empty one. Times after now_us count as now."""
        for name, (weight, at_us) in state.views.items():
            self._views[name] = _Views(weight, min(at_us, now_us))
        self._campaigns.update(state.campaigns)

    def campaigns(self) -> dict[str, tuple[int, int]]:
        """Start and end by broadcast, past ones possibly included."""
        return dict(self._campaigns)

    def views(self, broadcast: str, now_us: int) -> float:
        """Weighted views until now."""
        known = self._views.get(broadcast)
        return 0.0 if known is None else self._weight(known, now_us)

    def update(self, now_us: int) -> tuple[str, ...]:
        """Who is popular now, by name; forgets past campaigns and old views."""
        self._campaigns = {n: c for n, c in self._campaigns.items() if c[1] > now_us}
        lead_us = self._config.campaign_lead_us
        announced = [
            n for n, (start_us, _) in self._campaigns.items() if now_us >= start_us - lead_us
        ]
        watched = []
        for name, known in list(self._views.items()):
            weight = self._weight(known, now_us)
            if weight < FORGET_BELOW:
                del self._views[name]
                continue
            enough = self._config.popular_views / (2 if known.is_popular else 1)
            known.is_popular = weight >= enough
            if known.is_popular and name not in announced:
                watched.append((-weight, name))
        ranked = sorted(announced) + [name for _, name in sorted(watched)]
        return tuple(sorted(ranked[: self._config.max_broadcasts]))

    def _weight(self, views: _Views, now_us: int) -> float:
        halves: float = (now_us - views.at_us) / self._config.half_life_us
        return float(views.weight * 0.5**halves)
