"""Eq. 2 and 3 in the units that make them what the paper says they are."""

import numpy as np
import pytest

from controller.errors import InvalidSettingError
from controller.routing import CostConfig, build_graph, overload_penalty
from tests.controller.networks import snapshot

CONFIG = CostConfig()


@pytest.mark.parametrize(
    ("load", "penalty"), [(0.6, 1.00005), (0.75, 1.076), (0.8, 1.5), (0.85, 1.924), (1.0, 2.0)]
)
def test_penalty(load: float, penalty: float) -> None:
    assert overload_penalty(np.array([load]), CONFIG)[0] == pytest.approx(penalty, abs=0.0005)


def test_penalty_runs_from_one_to_two_and_only_up() -> None:
    values = overload_penalty(np.linspace(0, 1, 101), CONFIG)
    assert (np.diff(values) >= 0).all()
    assert values[0] == pytest.approx(1.0)
    assert values[-1] <= 2.0


def test_cost_is_half_a_round_trip_and_loss_and_a_hop() -> None:
    graph = build_graph(snapshot("AB", {"AB": 80}, loss={"AB": 0.1}), CONFIG)
    assert graph.cost_us[0, 1] == 44_000 + 5_000
    assert graph.cost_us[1, 0] == 40_000 + 5_000
    assert np.isinf(np.diag(graph.cost_us)).all()


@pytest.mark.parametrize(
    ("load", "utilisation"), [({"A": 0.8}, {}), ({"B": 0.8}, {}), ({}, {"AB": 0.8})]
)
def test_the_busiest_of_link_and_ends_counts(
    load: dict[str, float], utilisation: dict[str, float]
) -> None:
    graph = build_graph(snapshot("AB", {"AB": 80}, load=load, utilisation=utilisation), CONFIG)
    assert graph.cost_us[0, 1] == 60_000 + 5_000


def test_what_the_graph_bars() -> None:
    network = snapshot("ABCD", {"AB": 10, "BC": 10}, overloaded="B AB", suspect="C")
    graph = build_graph(network, CONFIG, last_resort={"D", "not there"})
    assert np.isinf(graph.usable_us[0, 1])
    assert np.isfinite(graph.cost_us[0, 1])
    assert np.isfinite(graph.usable_us[1, 0])
    assert graph.may_relay.tolist() == [True, False, False, False]
    assert graph.is_reserved.tolist() == [False, False, False, True]


def test_settings_out_of_range() -> None:
    for settings in ({"hop_cost_us": -1}, {"alpha": 0}):
        with pytest.raises(InvalidSettingError):
            CostConfig(**settings)
