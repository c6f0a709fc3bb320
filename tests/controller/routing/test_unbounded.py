"""Paths of any length, and what is lost by dropping the long ones afterwards."""

import numpy as np
import pytest

from controller.errors import UnknownNodeError
from controller.routing import PathSearch, UnboundedSearch
from tests.controller.networks import brute_force, city_rtt_us, random_costs


@pytest.mark.parametrize("seed", range(30))
def test_as_all_paths_sorted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, k = int(rng.integers(2, 8)), int(rng.integers(1, 6))
    highest = int(rng.choice([3, 1_000_000]))
    costs = random_costs(rng, size, highest=highest, missing=float(rng.choice([0, 0.4])))
    may_relay = rng.random(size) < 0.8
    search = UnboundedSearch(costs, may_relay, k=k)
    for target in range(size):
        for source in range(size):
            expected = brute_force(costs, may_relay, source, target, k, size)
            found = search.pair(source, target)
            assert [path.cost_us for path in found] == [path.cost_us for path in expected]
            assert found == sorted(set(found)), f"seed {seed}"
            if highest > 3:
                assert found == expected
            else:  # which of equal ones: each is a path that there is
                every = brute_force(costs, may_relay, source, target, 10_000, size)
                assert set(found) <= set(every)


def test_unknown_nodes_are_refused() -> None:
    search = UnboundedSearch(np.full((2, 2), np.inf), np.ones(2, np.bool_))
    for source, target in ((0, 2), (-1, 0)):
        with pytest.raises(UnknownNodeError):
            search.pair(source, target)
    assert search.pair(0, 1) == []


def test_on_raw_round_trips_one_pair_in_nine_loses_all_its_paths() -> None:
    """Bounded search loses none, and its best is hardly dearer."""
    costs = np.rint(city_rtt_us() / 2)
    relays = np.ones(len(costs), np.bool_)
    unbounded, bounded = UnboundedSearch(costs, relays), PathSearch(costs, relays)
    rng = np.random.default_rng(11)
    some, all_, free_us, limited_us, pairs = 0, 0, 0, 0, 500
    for _ in range(pairs):
        source, target = (int(node) for node in rng.choice(len(costs), 2, replace=False))
        found = unbounded.pair(source, target)
        some += any(path.hops > 3 for path in found)
        all_ += all(path.hops > 3 for path in found)
        free_us += found[0].cost_us
        limited_us += bounded.pair(source, target)[0].cost_us
    assert 0.40 < some / pairs < 0.60
    assert 0.07 < all_ / pairs < 0.16
    assert 1.0 < limited_us / free_us < 1.01
