"""What a brain is told: plain values, made of a configuration or by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from controller.discovery import DiscoveryConfig
from controller.paths import PathConfig, PopularityConfig, RehomeConfig
from controller.tables.node_session import Intervals
from controller.tables.registry import KnownNode


@dataclass(frozen=True, slots=True)
class LinkRule:
    """One pair of nodes, other than the mesh would have it.

    is_enabled: False keeps the pair apart, True joins it whatever the mesh says. rate_bps: paces
    both directions; None: the mesh's. The addresses replace the advertised ones for this pair.
    """

    a: str
    b: str
    is_enabled: bool = True
    rate_bps: int | None = None
    a_reaches_b_at: str | None = None
    b_reaches_a_at: str | None = None

    @property
    def pair(self) -> tuple[str, str]:
        """Its names, in order."""
        return (self.a, self.b) if self.a < self.b else (self.b, self.a)


@dataclass(frozen=True, slots=True)
class BrainSettings:
    """last_resort: names of nodes that carry last-resort paths and nothing else; `routing` needs
    not repeat them. member_us: how long after it was last seen a node stays its neighbours'
    neighbour; it may forward while the brain does not hear it. settle_us: after a start, how long
    nodes that were connected before may take to come back before tables are made.
    lost_state_settle_us: the same if nodes hold tables that this brain has no state of, so that it
    cannot know whom they are neighbours with. patience_us: how long a path may be waited for that
    measurements under way may bring.
    """

    nodes: tuple[KnownNode, ...]
    last_resort: frozenset[str] = frozenset()
    links: tuple[LinkRule, ...] = ()
    joins_all_pairs: bool = True
    link_rate_bps: int = 100_000_000
    intervals: Intervals = field(default_factory=Intervals)
    session_grace_us: int = 30_000_000
    routing: PathConfig = field(default_factory=PathConfig)
    rehome: RehomeConfig | None = None
    popularity: PopularityConfig = field(default_factory=PopularityConfig)
    member_us: int = 3_600_000_000  # chosen: a host's repair; its place in tables costs little
    settle_us: int = 3_000_000
    lost_state_settle_us: int = 31_000_000  # chosen: just above a refused node's back-off
    patience_us: int = 3_000_000  # chosen: below the 4 s after which a node stops asking
    save_delay_us: int = 1_000_000
    measurements_save_us: int = 60_000_000  # chosen: as often as links are reported

    @property
    def discovery(self) -> DiscoveryConfig:
        """The view's timers follow the reports'."""
        level = self.intervals.alarm_permille / 1000
        return DiscoveryConfig(
            report_period_us=self.intervals.report_us,
            session_grace_us=self.session_grace_us,
            alarm_level=level,
            clear_level=level * 0.9375,  # 75 % for LiveNet's 80 %
        )

    @property
    def path_config(self) -> PathConfig:
        """With the nodes that are reserved."""
        return replace(self.routing, last_resort=self.last_resort)

    @property
    def rehome_config(self) -> RehomeConfig:
        """Held for a period of reports, unless said otherwise."""
        return self.rehome or RehomeConfig(hold_us=self.intervals.report_us)
