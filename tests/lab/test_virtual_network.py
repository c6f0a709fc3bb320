"""VirtualNetwork: one queue over many links, ordered by time and then by sending."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import NoLinkError
from lab.link import LinkConfig, LinkModel
from lab.virtual_network import Address, Delivery, VirtualNetwork

A, B, C, D = (("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3), ("10.0.0.4", 4))


def drain(network: VirtualNetwork) -> list[tuple[int, Delivery]]:
    arrived = []
    while (time_us := network.next_timer_us()) is not None:
        arrived += [(time_us, delivery) for delivery in network.receive(time_us)]
    return arrived


def test_directions_have_their_own_config() -> None:
    network = VirtualNetwork()
    network.connect(A, B, LinkConfig(100), LinkConfig(30))
    network.send(A, B, b"there", 0)
    network.send(B, A, b"back", 0)
    assert network.next_timer_us() == 30
    assert drain(network) == [(30, (B, A, b"back")), (100, (A, B, b"there"))]


def test_equal_times_come_in_order_of_sending() -> None:
    network = VirtualNetwork()
    for end in (B, C, D):
        network.connect(A, end, LinkConfig(50))
    for end in (D, B, C):
        network.send(A, end, b"", 7)
    assert network.receive(56) == []
    assert [dst for _, dst, _ in network.receive(57)] == [D, B, C]
    assert network.next_timer_us() is None


def test_unknown_pairs_are_dropped_and_counted() -> None:
    network = VirtualNetwork()
    network.connect(A, B, LinkConfig(0))
    network.send(A, C, b"", 0)
    network.send((A[0], 99), B, b"", 0)
    assert network.no_link == 2
    assert network.next_timer_us() is None
    with pytest.raises(NoLinkError, match=r"10\.0\.0\.3"):
        network.link(A, C)


def test_one_direction_can_be_cut() -> None:
    network = VirtualNetwork()
    config = LinkConfig(10)
    network.connect(A, B, config)
    network.set_config(A, B, config.with_cut(), 5)
    network.send(A, B, b"", 6)
    network.send(B, A, b"", 6)
    assert drain(network) == [(16, (B, A, b""))]
    assert network.link(A, B).counters().lost == 1


def test_pairs_can_share_a_bottleneck() -> None:
    network = VirtualNetwork()
    shared = LinkModel(LinkConfig(0, rate_bps=8_000_000), random.Random(0), random.Random(1))
    network.add_link(A, C, shared)
    network.add_link(B, C, shared)
    network.send(A, C, bytes(972), 0)
    network.send(B, C, bytes(972), 0)
    assert [time_us for time_us, _ in drain(network)] == [1_000, 2_000]
    assert network.counters().sent == 2


sends = st.lists(
    st.tuples(st.sampled_from([A, B, C]), st.sampled_from([A, B, C, D]), st.integers(0, 900)),
    max_size=120,
)


def build(seed: int, ends: list[Address]) -> VirtualNetwork:
    network = VirtualNetwork(seed)
    config = LinkConfig(
        1_000, jitter_us=700, loss=0.1, reorder=0.1, rate_bps=10_000_000, queue_bytes=5_000
    )
    for number, a in enumerate(ends):
        for b in ends[:number]:
            network.connect(a, b, config)
    return network


@given(sends, st.integers(0, 2**32))
def test_runs_repeat_and_nothing_vanishes(
    datagrams: list[tuple[Address, Address, int]], seed: int
) -> None:
    runs = []
    for _ in range(2):
        network = build(seed, [A, B, C])
        for now_us, (src, dst, gap_us) in enumerate(datagrams):
            network.send(src, dst, gap_us.to_bytes(2, "big") * 300, now_us * 500)
        arrived = drain(network)
        times = [time_us for time_us, _ in arrived]
        assert times == sorted(times)
        counters = network.counters()
        assert counters.sent + network.no_link == len(datagrams)
        assert counters.delivered == len(arrived)
        assert counters.in_flight == 0
        runs.append((arrived, counters))
    assert runs[0] == runs[1]


def test_adding_a_link_changes_no_other() -> None:
    results = []
    for ends in ([A, B], [D, C, A, B]):
        network = build(3, ends)
        for now_us in range(0, 100_000, 1_000):
            network.send(A, B, b"x" * 100, now_us)
        results.append(drain(network))
    assert results[0] == results[1]
    assert 50 < len(results[0]) < 100
