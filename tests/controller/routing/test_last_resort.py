"""Paths over reserved nodes, and the pairs that have none."""

from controller.routing import (
    CostConfig,
    IndexPath,
    build_graph,
    last_resort_paths,
    uncovered_pairs,
)
from tests.controller.networks import snapshot

FREE = CostConfig(hop_cost_us=0)
LINKS = {"AX": 20, "BX": 20, "AY": 2, "BY": 2, "AZ": 30, "BZ": 30, "AB": 1, "CX": 8}


def test_cheapest_first_and_overloaded_last() -> None:
    graph = build_graph(snapshot("ABCXYZ", LINKS, overloaded="Y"), FREE, {"X", "Y", "Z"})
    assert last_resort_paths(graph, 0, 1, 3) == [
        IndexPath(20_000, 2, (0, 3, 1)),
        IndexPath(30_000, 2, (0, 5, 1)),
        IndexPath(2_000, 2, (0, 4, 1)),
    ]
    assert len(last_resort_paths(graph, 0, 1, 2)) == 2


def test_links_and_silence_count_as_overload_does() -> None:
    links = {"AX": 2, "XB": 2, "AY": 4, "YB": 4, "AZ": 6, "ZB": 6}
    network = snapshot("ABXYZ", links, overloaded="XB", suspect="Y")
    found = last_resort_paths(build_graph(network, FREE, {"X", "Y", "Z"}), 0, 1, 3)
    assert [path.nodes for path in found] == [(0, 4, 1), (0, 2, 1), (0, 3, 1)]


def test_a_reserved_node_as_an_end_uses_another() -> None:
    graph = build_graph(snapshot("ABXY", {"AX": 2, "AY": 4, "XY": 6}), FREE, {"X", "Y"})
    assert [path.nodes for path in last_resort_paths(graph, 0, 2, 3)] == [(0, 3, 2)]


def test_which_pairs_have_none() -> None:
    graph = build_graph(snapshot("ABCXYZ", LINKS), FREE, {"X", "Y", "Z"})
    assert uncovered_pairs(graph).tolist() == []
    fewer = {link: rtt for link, rtt in LINKS.items() if "X" not in link}
    graph = build_graph(snapshot("ABCYZ", fewer), FREE, {"Y", "Z"})
    assert uncovered_pairs(graph).tolist() == [[0, 2], [1, 2], [2, 0], [2, 1]]
    assert len(uncovered_pairs(build_graph(snapshot("AB", {"AB": 1}), FREE))) == 2
