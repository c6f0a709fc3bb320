"""The links of a scenario: which pairs are joined, who is behind which access path, and what each
does to datagrams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, TypeAlias

from lab.cities import rtt_us
from lab.link import LinkConfig
from lab.scenario.link_keys import LinkKeys, link_config, ms_to_us
from lab.scenario.model import Access, ChangeAccess, ChangeLink, CrossTraffic, Scenario

Pair: TypeAlias = tuple[str, str]


def pair_of(a: str, b: str) -> Pair:
    """The key of a pair, whatever the order."""
    return (a, b) if a < b else (b, a)


def link_configs(scenario: Scenario) -> dict[Pair, LinkConfig]:
    """Each joined pair (`pair_of`), in the order of the file's nodes; both directions are alike.

    Raises NoMeasurementError for a pair of cities that nobody measured and no [[links]] gives.
    """
    overrides = {pair_of(link.a, link.b): link for link in scenario.links}
    cities = {node.name: node.city for node in scenario.nodes}
    found: dict[Pair, LinkConfig] = {}
    for a, b in combinations((node.name for node in scenario.nodes), 2):
        override = overrides.get(pair_of(a, b))
        is_meshed = cities[a] is not None and cities[b] is not None
        if override is None and is_meshed:
            found[pair_of(a, b)] = link_config(_measured_us(cities[a], cities[b]), scenario.mesh)
        elif override is not None and not override.cut:
            if override.delay_ms is None:
                delay_us = _measured_us(cities[a], cities[b])
            else:
                delay_us = ms_to_us(override.delay_ms)
            found[pair_of(a, b)] = link_config(delay_us, scenario.mesh, override)
    return found


def ceilings(scenario: Scenario) -> dict[Pair, int]:
    """What nodes are told of links' rates, where the file says so."""
    return {
        pair_of(link.a, link.b): link.ceiling_bps
        for link in scenario.links
        if link.ceiling_bps is not None
    }


def changed(config: LinkConfig, event: ChangeLink, now_us: int = 0) -> LinkConfig:
    """A link after an event; what the event leaves out stays. now_us: on the links' clock."""
    return _with(config, event, event.delay_ms, now_us)


@dataclass(frozen=True, slots=True)
class AccessPath:
    """Between a node and those behind it. viewers: their names; broadcast: None unless it is an
    encoder's. forward: in the direction of the media."""

    viewers: tuple[str, ...]
    broadcast: str | None
    forward: LinkConfig
    back: LinkConfig

    @property
    def behind(self) -> tuple[str, ...]:
        """Everybody; nobody is behind two paths."""
        if self.broadcast is not None:
            return (encoder_behind(self.broadcast),)
        return tuple(map(viewer_behind, self.viewers))

    @property
    def name(self) -> str:
        """Of the scenario's access paths no two have the same."""
        return self.behind[0]

    @property
    def short_name(self) -> str:
        """In reports."""
        return self.broadcast or self.viewers[0]

    def with_traces_from(self, origin_us: int) -> AccessPath:
        """Their traces begin at this time."""
        forward, back = (c.with_trace_from(origin_us) for c in (self.forward, self.back))
        return replace(self, forward=forward, back=back)


def viewer_behind(name: str) -> str:
    """How `AccessPath.behind` names a viewer."""
    return f"viewer {name}"


def encoder_behind(broadcast: str) -> str:
    """Likewise the encoder of a broadcast."""
    return f"broadcast {broadcast}"


def access_paths(scenario: Scenario) -> list[AccessPath]:
    """Each path of the scenario's [[access]], in the file's order."""
    return [path for access in scenario.access for path in _paths_of(scenario, access)]


def is_meant(path: AccessPath, said: ChangeAccess | CrossTraffic) -> bool:
    """Whether an event or flow is about it: one of those behind it is named."""
    if said.broadcast is not None:
        return path.broadcast == said.broadcast
    return any(said.is_of_viewer(name) for name in path.viewers)


def flow_places(scenario: Scenario) -> list[tuple[str, CrossTraffic, int | None]]:
    """Every flow of [[flows]]: its name in the report, its entry, and the number of its access path
    (see `access_paths`) or None if it is over a link."""
    paths = access_paths(scenario)
    found: list[tuple[str, CrossTraffic, int | None]] = []
    for entry in scenario.flows:
        places: list[int | None] = [None]
        if entry.a is None:
            places = [number for number, path in enumerate(paths) if is_meant(path, entry)]
        places *= entry.count
        for number, place in enumerate(places, 1):
            name = entry.name if len(places) == 1 else f"{entry.name}-{number}"
            found.append((name, entry, place))
    return found


def changed_access(path: AccessPath, event: ChangeAccess, now_us: int = 0) -> AccessPath:
    """As `changed`."""
    back = path.back
    if event.back is not None:
        back = _with(back, event.back, event.back.delay_ms, now_us)
    return replace(path, forward=_with(path.forward, event, event.delay_ms, now_us), back=back)


def _paths_of(scenario: Scenario, access: Access) -> Iterator[AccessPath]:
    delay_us = ms_to_us(access.delay_ms)
    forward = back = link_config(delay_us, access)
    if access.back is not None:
        back = _with(forward, access.back, access.back.delay_ms, 0)
    if access.broadcast is not None:
        yield AccessPath((), access.broadcast, forward, back)
        return
    names = tuple(
        name for entry in scenario.viewers for name in entry.names if access.is_of_viewer(name)
    )
    for behind in (names,) if access.shared else ((name,) for name in names):
        yield AccessPath(behind, None, forward, back)


def _with(config: LinkConfig, said: LinkKeys, delay_ms: float | None, now_us: int) -> LinkConfig:
    fields: dict[str, Any] = said.fields()
    if delay_ms is not None:
        fields["delay_us"] = ms_to_us(delay_ms)
    if fields.get("rate_trace"):
        fields["trace_origin_us"] = now_us
    return replace(config, **fields)


def _measured_us(city_a: str | None, city_b: str | None) -> int:
    """One way."""
    assert city_a is not None  # `checks` sees to it
    assert city_b is not None
    return rtt_us(city_a, city_b) // 2
