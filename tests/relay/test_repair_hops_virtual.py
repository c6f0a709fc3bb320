"""Each link repairs its own losses: nobody asks for what another hop lost, whatever happens."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from fastpath.stats import LinkStats
from lab.scenario.loader import scenario_of
from lab.virtual.run import VirtualOverlay

NAMES = ("producer", "first", "second", "consumer")
REORDER = {"reorder": 0.01, "reorder_extra_ms": 5}
BURSTS = {"delay_ms": 100, "burst_loss": {"p_bad": 0.01, "p_good": 0.1}}


def chain(first_hop: dict[str, Any], others: dict[str, Any], **changes: Any) -> VirtualOverlay:
    document: dict[str, Any] = {
        "name": "hops",
        "duration_s": 40.0,
        "nodes": [{"name": name} for name in NAMES],
        "links": [
            {"a": a, "b": b, "delay_ms": 20, **(others if a != "producer" else first_hop)}
            for a, b in pairwise(NAMES)
        ],
        "paths": [
            {"node": name, "stream": "live", "via": NAMES[:place][::-1]}
            for place, name in enumerate(NAMES)
            if place > 0
        ],
        "broadcasts": [{"name": "live", "node": "producer", "bitrate_bps": 3_000_000}],
        "viewers": [{"name": "v", "stream": "live", "node": "consumer", "join_s": 0.5}],
    }
    overlay = VirtualOverlay(scenario_of(document | changes))
    overlay.run()
    return overlay


def hops(overlay: VirtualOverlay) -> list[tuple[int, LinkStats]]:
    """Of each link: datagrams that its path lost, and what the receiver made of it."""
    found = []
    for a, b in pairwise(NAMES):
        _, lost, _ = overlay.world.path_counts(overlay.numbers[a], overlay.numbers[b])
        found.append((lost, overlay.nodes[b].node.neighbours[a].stats()))
    return found


def passing(node: str, count: int, every_s: float, stay_s: float) -> list[dict[str, Any]]:
    """Viewers for whom the node subscribes anew, again and again."""
    times = [2.0 + n * every_s for n in range(count)]
    return [
        {"name": f"{node}-{n}", "stream": "live", "node": node, "join_s": s, "leave_s": s + stay_s}
        for n, s in enumerate(times)
    ]


@pytest.mark.parametrize("loss", [0.01, 0.05])
def test_a_link_has_as_many_holes_as_it_lost_datagrams(loss: float) -> None:
    overlay = chain({"loss": loss}, {"loss": loss})
    for lost, stats in hops(overlay):
        assert stats.lost + stats.holes_open == lost > 50
        assert stats.reordered == 0


@pytest.mark.parametrize(
    "first_hop", [{"loss": 0.05}, {"loss": 0.05, "delay_ms": 100}, BURSTS], ids=str
)
def test_nobody_behind_a_lossy_link_asks_for_anything(first_hop: dict[str, Any]) -> None:
    """Also of an upstream that is still repairing when a subscription begins."""
    viewers = passing("consumer", 8, 4.3, 1.3) + passing("first", 3, 11.1, 8.0)
    (lost, lossy), *others = hops(chain(first_hop, {}, viewers=viewers))
    assert lossy.requests_sent > 20
    assert 0.95 * lost <= lossy.lost + lossy.holes_open <= lost  # a lost tail shows by nothing
    assert [stats.requests_sent for _, stats in others] == [0, 0]
    assert [stats.lost for _, stats in others] == [0, 0]


def test_where_packets_change_places_hardly_anything_is_asked_for_in_vain() -> None:
    (_, lossy), *others = hops(chain({"loss": 0.01, **REORDER}, REORDER))
    assert lossy.requests_sent > 100
    for _, stats in others:
        assert stats.reordered > 100
        assert stats.requests_sent <= 3  # until the link has shown how late its packets come
