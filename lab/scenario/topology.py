"""The links of a scenario: which pairs are joined, and what each does to datagrams."""

from __future__ import annotations

from itertools import combinations
from typing import TypeAlias

from lab.cities import rtt_us
from lab.link import LinkConfig
from lab.scenario.model import ChangeLink, Mesh, Scenario, ScenarioLink, link_config, ms_to_us

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
            found[pair_of(a, b)] = link_config(scenario.mesh, _measured_us(cities[a], cities[b]))
        elif override is not None and not override.cut:
            if override.delay_ms is None:
                delay_us = _measured_us(cities[a], cities[b])
            else:
                delay_us = ms_to_us(override.delay_ms)
            found[pair_of(a, b)] = link_config(_over(scenario.mesh, override), delay_us)
    return found


def changed(config: LinkConfig, event: ChangeLink) -> LinkConfig:
    """A link after an event; what the event leaves out stays."""
    delay_us = config.delay_us if event.delay_ms is None else ms_to_us(event.delay_ms)
    jitter_us = config.jitter_us if event.jitter_ms is None else ms_to_us(event.jitter_ms)
    return LinkConfig(
        delay_us,
        jitter_us=jitter_us,
        loss=config.loss if event.loss is None else event.loss,
        rate_bps=config.rate_bps if event.rate_bps is None else event.rate_bps,
        queue_bytes=config.queue_bytes,
    )


def _measured_us(city_a: str | None, city_b: str | None) -> int:
    """One way."""
    assert city_a is not None  # `checks` sees to it
    assert city_b is not None
    return rtt_us(city_a, city_b) // 2


def _over(mesh: Mesh, link: ScenarioLink) -> ScenarioLink:
    """The link with the mesh's values where it has none."""
    common = ("jitter_ms", "loss", "rate_bps", "queue_bytes")
    own = {key: getattr(link, key) for key in common if getattr(link, key) is not None}
    return link.model_copy(update={key: getattr(mesh, key) for key in common} | own)
