"""Paths that are held are those a search would find, after any sequence of changes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from controller.discovery import NetworkSnapshot
from controller.errors import InvalidSettingError, UnknownNodeError
from controller.paths import Invalidation, OverlayPath, PathBase, PathConfig, SearchMode
from controller.routing import CostConfig
from tests.controller.networks import brute_force, snapshot

FREE = CostConfig(hop_cost_us=0)
SQUARE = {"AB": 10, "BD": 10, "AC": 12, "CD": 12, "AD": 60, "BC": 2}


def base(**settings: object) -> PathBase:
    return PathBase(PathConfig(cost=FREE, **settings))  # type: ignore[arg-type]  # by name


def nodes(paths: PathBase, pair: str, now_us: int = 0) -> list[str]:
    return ["".join(path.nodes) for path in paths.lookup(pair[0], pair[1], now_us).paths]


def test_names_and_costs_of_each_hop() -> None:
    paths = base()
    paths.update(snapshot("ABCD", SQUARE))
    assert paths.lookup("A", "D", 0).paths == (
        OverlayPath(("A", "B", "D"), (5_000, 5_000)),
        OverlayPath(("A", "C", "D"), (6_000, 6_000)),
        OverlayPath(("A", "B", "C", "D"), (5_000, 1_000, 6_000)),
    )
    best = paths.lookup("A", "D", 0).paths[0]
    assert (best.cost_us, best.hops) == (10_000, 2)
    assert paths.lookup("A", "A", 0).paths == ()


def test_nothing_is_known_at_first() -> None:
    paths = base()
    assert paths.version == 0
    with pytest.raises(UnknownNodeError):
        paths.lookup("A", "B", 0)


def test_one_search_serves_a_producer_until_it_is_old() -> None:
    paths = base(max_age_us=100)
    paths.update(snapshot("ABCD", SQUARE))
    for consumer in "BCD":
        assert paths.lookup("A", consumer, 7).computed_us == 7
    assert paths.searches == 1
    assert paths.lookup("A", "D", 106).computed_us == 7
    assert paths.lookup("A", "D", 107).computed_us == 107
    assert paths.searches == 2


def test_only_what_a_change_can_concern_is_searched_again() -> None:
    paths = base(k=1)
    paths.update(snapshot("ABCD", SQUARE))
    for producer in "ABCD":
        paths.lookup(producer, "A" if producer != "A" else "D", 0)
    # Nobody's best path is the direct link of A and D.
    worse = snapshot("ABCD", {**SQUARE, "AD": 70}, version=2)
    assert paths.update(worse) == Invalidation(2, (), 4)
    better = snapshot("ABCD", {**SQUARE, "AD": 65}, version=3)
    assert paths.update(better) == Invalidation(3, (), 4)
    alarm = snapshot("ABCD", {**SQUARE, "AD": 65}, version=4, overloaded="BD")
    # B -> D lies on best paths of A and B; C's own is direct, D's go the other way.
    assert paths.update(alarm) == Invalidation(4, ("A", "B"), 2)
    assert nodes(paths, "AD") == ["ACD"]
    over = snapshot("ABCD", {**SQUARE, "AD": 65}, version=5)
    assert "A" in paths.update(over).producers
    assert nodes(paths, "AD") == ["ABD"]


def test_each_link_of_a_path_is_watched() -> None:
    """A - D is A - B - C - D, although A - X - B is the way to B: over X it is too far."""
    links = {"AB": 10, "AX": 2, "XB": 2, "BC": 2, "CD": 2, "XD": 14}
    for link, cost_ms in links.items():
        held, fresh = base(k=1), base(k=1)
        held.update(snapshot("ABCDX", links))
        assert nodes(held, "AD") == ["ABCD"]
        worse = snapshot("ABCDX", {**links, link: cost_ms + 40}, version=2)
        held.update(worse)
        fresh.update(worse)
        for consumer in "BCDX":
            assert held.lookup("A", consumer, 0) == fresh.lookup("A", consumer, 0), link


def test_a_link_that_gets_as_good_takes_over_if_it_saves_a_hop() -> None:
    paths = base(k=1)
    paths.update(snapshot("ABCD", SQUARE))
    assert nodes(paths, "AD") == ["ABD"]
    paths.update(snapshot("ABCD", {**SQUARE, "AD": 20}, version=2))
    assert nodes(paths, "AD") == ["AD"]


def test_a_node_more_or_less_starts_anew() -> None:
    paths = base()
    paths.update(snapshot("ABCD", SQUARE))
    nodes(paths, "AD")
    assert paths.update(snapshot("ABC", {"AB": 10}, version=2)).producers == ("A",)
    assert nodes(paths, "AB") == ["AB"]
    with pytest.raises(UnknownNodeError):
        paths.lookup("A", "D", 0)


def test_overloaded_nodes_and_links_are_left_out_but_as_ends() -> None:
    paths = base()
    paths.update(snapshot("ABCD", SQUARE, overloaded="B"))
    assert nodes(paths, "AD") == ["ACD", "AD"]
    assert nodes(paths, "AB") == ["AB", "ACB", "ACDB"]
    paths.update(snapshot("ABCD", SQUARE, version=2, overloaded="A D AB", suspect="B"))
    assert nodes(paths, "AD") == ["ACD", "AD"]
    assert nodes(paths, "AB") == ["ACB"]


def test_filter_after_loses_what_bounded_search_finds() -> None:
    chain = {"AB": 2, "BC": 2, "CD": 2, "DE": 2, "AE": 100, "AC": 5, "CE": 5, "BD": 5}
    network = snapshot("ABCDE", chain)
    filtering, bounded = base(mode=SearchMode.FILTER_AFTER, k=1), base(k=1)
    for paths in (filtering, bounded):
        paths.update(network)
    assert nodes(filtering, "AE") == []
    assert [
        "".join(network.names[i] for i in p.nodes) for p in filtering.regardless_of_load("A", "E")
    ] == ["ABCDE"]
    assert nodes(bounded, "AE") == ["ABCE"]
    assert nodes(filtering, "AD") == nodes(bounded, "AD") == ["ABCD"]
    filtering.update(snapshot("ABCDE", chain, version=2, overloaded="C"))
    assert nodes(filtering, "AD") == []


def test_settings_out_of_range() -> None:
    for settings in ({"k": 0}, {"max_hops": 4}, {"max_hops": 0}):
        with pytest.raises(InvalidSettingError):
            base(**settings)


def random_change(rng: np.random.Generator, old: NetworkSnapshot) -> NetworkSnapshot:
    """Some links or one node, better or worse."""
    rtt_us, overloaded = old.rtt_us.copy(), old.link_overloaded.copy()
    load, busy, suspect = old.node_load.copy(), old.node_overloaded.copy(), old.suspect.copy()
    size = len(rtt_us)
    for _ in range(rng.choice([1, 2, 30])):
        link = tuple(rng.choice(size, 2, replace=False))
        rtt_us[link] = rng.choice([np.inf, *rng.integers(1, 30, 4) * 2000])
        overloaded[link] = rng.random() < 0.1
    node = rng.integers(size)
    match rng.integers(6):
        case 0:
            load[node] = rng.choice([0.0, 0.7, 0.8, 0.9])
        case 1:
            busy[node] = not busy[node]
        case 2:
            suspect[node] = not suspect[node]
    return NetworkSnapshot(
        old.version + 1,
        old.names,
        rtt_us,
        old.loss,
        old.utilisation,
        overloaded,
        load,
        busy,
        suspect,
    )


@pytest.mark.parametrize("seed", range(12))
def test_after_any_changes_as_all_paths_sorted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(4, 9))
    names = "ABCDEFGH"[:size]
    links = {a + b: float(rng.integers(1, 30) * 2) for a in names for b in names if a < b}
    network = snapshot(names, links)
    paths = PathBase(PathConfig(k=int(rng.integers(1, 4)), last_resort=frozenset("B"), cost=FREE))
    kept = 0
    for _ in range(25):
        kept += paths.update(network).kept
        graph = paths.graph
        for producer, consumer in rng.integers(0, size, (8, 2)).tolist():
            expected = brute_force(
                graph.usable_us, graph.may_relay, producer, consumer, paths.config.k, 3
            )
            found = paths.lookup(names[producer], names[consumer], 0).paths
            assert [(path.cost_us, path.nodes) for path in found] == [
                (path.cost_us, tuple(names[i] for i in path.nodes)) for path in expected
            ], f"seed {seed}"
            for path in found:
                assert len(set(path.nodes)) == len(path.nodes) <= 4
                for a, b in pairwise(path.nodes):
                    assert not network.link_overloaded[names.index(a), names.index(b)]
        network = random_change(rng, network)
    assert kept > 0  # else the test would not see what is kept wrongly
