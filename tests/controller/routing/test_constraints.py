"""Each rule against a path has its name."""

from controller.routing import CostConfig, Violation, ViolationKind, build_graph, violations
from tests.controller.networks import snapshot


def test_all_that_speaks_against_a_path() -> None:
    links = {"AB": 1, "BC": 1, "CD": 1, "DE": 1}
    network = snapshot("ABCDE", links, overloaded="A B BC E", suspect="CA")
    graph = build_graph(network, CostConfig(), {"D"})
    assert violations(graph, (0, 1, 2, 3, 4), 3) == (
        Violation(ViolationKind.TOO_MANY_HOPS),
        Violation(ViolationKind.OVERLOADED_NODE, (1,)),
        Violation(ViolationKind.SUSPECT_NODE, (2,)),
        Violation(ViolationKind.RESERVED_NODE, (3,)),
        Violation(ViolationKind.OVERLOADED_LINK, (1, 2)),
    )


def test_ends_may_be_overloaded_suspect_and_reserved() -> None:
    network = snapshot("AB", {"AB": 1}, overloaded="A B", suspect="AB")
    assert violations(build_graph(network, CostConfig(), {"A"}), (0, 1), 3) == ()
    assert violations(build_graph(snapshot("AB", {}), CostConfig()), (0, 1), 3) == (
        Violation(ViolationKind.NO_LINK, (0, 1)),
    )
