"""Bounded search: against all paths there are, and the shape it gives the world's round trips."""

import numpy as np
import pytest

from controller.errors import InvalidSettingError, UnknownNodeError
from controller.routing import PathSearch
from tests.controller.networks import brute_force, city_rtt_us, random_costs


@pytest.mark.parametrize("seed", range(40))
def test_as_all_paths_sorted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, k, max_hops = int(rng.integers(1, 9)), int(rng.integers(1, 6)), int(rng.integers(1, 4))
    # 3: nearly everything ties; 1,000,000: nothing does.
    highest = int(rng.choice([3, 20, 1_000_000]))
    costs = random_costs(rng, size, highest=highest, missing=float(rng.choice([0, 0.3, 0.7])))
    may_relay = rng.random(size) < 0.8
    search = PathSearch(costs, may_relay, k=k, max_hops=max_hops)
    every = search.all_pairs()
    assert (every.middle[np.isinf(every.cost_us)] == -1).all()
    for source in range(size):
        row = search.from_source(source)
        for target in range(size):
            expected = brute_force(costs, may_relay, source, target, k, max_hops)
            assert row.paths(target) == expected, f"seed {seed}"
            assert search.pair(source, target) == expected
            assert every.hops[source, target].tolist() == [
                *(path.hops for path in expected),
                *[0] * (k - len(expected)),
            ]


def test_a_larger_mesh_with_many_ties() -> None:
    rng = np.random.default_rng(2)
    costs = random_costs(rng, 30, highest=12, missing=0.1)
    may_relay = rng.random(30) < 0.9
    search = PathSearch(costs, may_relay)
    for source, target in rng.integers(0, 30, (40, 2)).tolist():
        expected = brute_force(costs, may_relay, source, target, 3, 3)
        assert search.pair(source, target) == expected


def test_ties_go_to_fewer_hops_then_to_smaller_indices() -> None:
    costs = np.full((5, 5), np.inf)
    for sender, receiver, cost in [
        (0, 4, 6), (0, 1, 3), (1, 4, 3), (0, 2, 3), (2, 4, 3), (0, 3, 2), (3, 2, 1), (3, 1, 1),
    ]:  # fmt: skip
        costs[sender, receiver] = cost
    found = PathSearch(costs, np.ones(5, np.bool_), k=9).pair(0, 4)
    assert [path.nodes for path in found] == [
        (0, 4),
        (0, 1, 4),
        (0, 2, 4),
        (0, 3, 1, 4),
        (0, 3, 2, 4),
    ]
    assert {path.cost_us for path in found} == {6}


def test_no_node_and_one_node() -> None:
    assert PathSearch(np.zeros((0, 0)), np.zeros(0, np.bool_)).all_pairs().cost_us.shape == (
        0,
        0,
        3,
    )
    assert PathSearch(np.full((1, 1), np.inf), np.ones(1, np.bool_)).pair(0, 0) == []


def test_what_is_refused() -> None:
    costs, relays = np.full((2, 2), np.inf), np.ones(2, np.bool_)
    for k, max_hops in ((0, 3), (3, 0), (3, 4)):
        with pytest.raises(InvalidSettingError):
            PathSearch(costs, relays, k=k, max_hops=max_hops)
    search = PathSearch(costs, relays)
    for source, target in ((-1, 0), (0, 2)):
        with pytest.raises(UnknownNodeError):
            search.pair(source, target)


@pytest.mark.parametrize(
    ("hop_cost_us", "share_by_hops"),
    [(0, (18, 39, 44)), (2_000, (39, 47, 14)), (5_000, (59, 36, 5)), (10_000, (76, 22, 2))],
)
def test_what_a_hop_costs_decides_how_many_there_are(
    hop_cost_us: int, share_by_hops: tuple[int, ...]
) -> None:
    costs = np.rint(city_rtt_us() / 2) + hop_cost_us
    size = len(costs)
    best = PathSearch(costs, np.ones(size, np.bool_), k=1).all_pairs().hops[..., 0]
    for hops, percent in enumerate(share_by_hops, start=1):
        assert 100 * (best == hops).sum() / (size * (size - 1)) == pytest.approx(percent, abs=1)
    assert (best > 0).sum() == size * (size - 1)
