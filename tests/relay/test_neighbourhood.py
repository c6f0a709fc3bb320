"""Neighbours that come and go while a node runs."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from control_client.errors import TableRefusalCode
from control_client.messages import Neighbour
from fastpath import events as engine_events
from relay.events import NeighbourAdded, NeighbourKeyed, NeighbourRemoved, NeighbourUp
from relay.neighbourhood import NeighboursRefusedError
from relay.node import Node
from relay.slowpath.subscription_events import BroadcastState
from relay.workers import new_engine
from tests.relay.encoder import Encoder
from tests.relay.overlay import SECRET, SMALL, Overlay, address_of, config_of, demo_ingest

RATE_BPS = 50_000_000


def entry(number: int, *, rate_bps: int = RATE_BPS, secret: int = 7) -> Neighbour:
    """The neighbour of that node id."""
    address = "{}:{}".format(*address_of(number))
    return Neighbour(f"n{number}", number, address, bytes([secret]) * 32, rate_bps)


def lone_node(neighbours: dict[str, int] | None = None, **parts: Any) -> Node:
    config = config_of("own", 1, neighbours or {}, **parts)
    node = Node(config, new_engine(config), Random(1))
    node.start(1_000_000)
    return node


def names(node: Node) -> set[str]:
    return set(node.neighbours)


def test_a_list_adds_keeps_and_removes() -> None:
    node = lone_node()
    node.set_neighbours([entry(2), entry(3)], 1_000_000)
    assert names(node) == {"n2", "n3"}
    link = node.neighbours["n3"].link
    node.set_neighbours([entry(3), entry(4)], 2_000_000)
    assert names(node) == {"n3", "n4"}
    assert node.neighbours["n3"].link == link
    told = [node.next_event() for _ in range(4)]
    assert told == [
        NeighbourAdded("n2", "10.0.0.2:7000"),
        NeighbourAdded("n3", "10.0.0.3:7000"),
        NeighbourRemoved("n2"),
        NeighbourAdded("n4", "10.0.0.4:7000"),
    ]
    assert node.next_event() is None


def test_another_rate_leaves_the_link_and_another_address_or_secret_makes_it_anew() -> None:
    node = lone_node()
    node.set_neighbours([entry(2)], 1_000_000)
    link = node.neighbours["n2"].link
    node.set_neighbours([entry(2, rate_bps=1_000_000)], 1_000_000)
    assert node.neighbours["n2"].link == link
    assert node.neighbours["n2"].peer.rate_bps == 1_000_000
    node.set_neighbours([replace(entry(2), address="10.0.7.7:7000")], 1_000_000)
    moved = node.neighbours["n2"].link
    assert moved != link
    node.set_neighbours([entry(2, secret=8)], 1_000_000)
    assert node.neighbours["n2"].link != moved


def test_a_peer_that_has_moved_by_itself_keeps_its_link_under_the_new_address() -> None:
    node = lone_node()
    node.set_neighbours([entry(2)], 1_000_000)
    link = node.neighbours["n2"].link
    at = ("10.0.7.7", 7000)
    node.neighbourhood.on_engine_event(engine_events.LinkMoved(link, at), 1_000_000)
    node.set_neighbours([replace(entry(2), address="10.0.7.7:7000")], 1_000_000)
    assert node.neighbours["n2"].link == link


def test_configured_neighbours_stay_and_win() -> None:
    node = lone_node({"b": 2})
    link = node.neighbours["b"].link
    node.set_neighbours([replace(entry(9), name="b"), entry(3)], 1_000_000)
    assert names(node) == {"b", "n3"}
    assert node.neighbours["b"].link == link
    assert node.neighbours["b"].peer.is_static
    assert node.neighbours["b"].peer.node_id == 2
    node.set_neighbours([], 1_000_000)
    assert names(node) == {"b"}


HOSTILE: list[tuple[list[Neighbour], TableRefusalCode, str]] = [
    ([replace(entry(3), name="own")], TableRefusalCode.INVALID, "own is this node itself"),
    ([replace(entry(3), node_id=1)], TableRefusalCode.INVALID, "n3 has id 1, that of own, this"),
    ([replace(entry(3), node_id=2)], TableRefusalCode.INVALID, "n3 has id 2, that of b, a config"),
    (
        [replace(entry(3), address="10.0.0.2:7000")],
        TableRefusalCode.INVALID,
        "n3 is at 10.0.0.2:7000, where b is",
    ),
    (
        [replace(entry(3), address="10.0.0.1:7000")],
        TableRefusalCode.INVALID,
        "n3 is at 10.0.0.1:7000, this node's own",
    ),
    (
        [replace(entry(3), address="[2001:db8::1]:7000")],
        TableRefusalCode.INVALID,
        "IPv6, but this node listens at 10.0.0.1:7000",
    ),
    (
        [replace(entry(3), address="127.0.0.1:7000")],
        TableRefusalCode.INVALID,
        "this host alone, but this node is reached at 10.0.0.1",
    ),
    ([replace(entry(3), address="224.0.0.1:7000")], TableRefusalCode.INVALID, "which is no host"),
    (
        [replace(entry(3), address="255.255.255.255:7000")],
        TableRefusalCode.INVALID,
        "which is no host",
    ),
    ([entry(n) for n in range(3, 7)], TableRefusalCode.NO_ROOM, "has room for 4"),
]


@pytest.mark.parametrize(("entries", "code", "text"), HOSTILE)
def test_a_list_that_cannot_be_had_changes_nothing(
    entries: list[Neighbour], code: TableRefusalCode, text: str
) -> None:
    node = lone_node({"b": 2})
    node.set_neighbours([entry(8), entry(9)], 1_000_000)
    links = {name: neighbour.link for name, neighbour in node.neighbours.items()}
    with pytest.raises(NeighboursRefusedError, match=text) as refused:
        node.set_neighbours(entries, 1_000_000)
    assert refused.value.code is code
    assert {name: neighbour.link for name, neighbour in node.neighbours.items()} == links


def test_a_full_list_may_be_replaced_by_another_full_one() -> None:
    node = lone_node()
    node.set_neighbours([entry(n) for n in range(2, 6)], 1_000_000)
    node.set_neighbours([entry(n) for n in range(6, 10)], 1_000_000)
    assert names(node) == {"n6", "n7", "n8", "n9"}


def test_loopback_is_fine_for_a_node_on_loopback() -> None:
    node = lone_node(listen="127.0.0.1:7000")
    node.set_neighbours([replace(entry(3), address="127.0.0.1:7001")], 1_000_000)
    assert names(node) == {"n3"}


@pytest.mark.parametrize("seed", [1])  # which a failure names
def test_thousands_of_changes_leave_nothing_behind(seed: int) -> None:
    rng = Random(seed)
    node = lone_node(limits={**SMALL, "node_links": 8})
    now_us = 1_000_000
    for _ in range(3000):
        now_us += 10_000
        numbers = rng.sample(range(2, 14), rng.randrange(9))
        entries = [
            entry(n, rate_bps=rng.choice((1_000_000, 2_000_000)), secret=rng.choice((7, 8)))
            for n in numbers
        ]
        node.set_neighbours(entries, now_us)
        node.engine.engines[0].turn(now_us)
        node.handle_engine_events(now_us)
        node.handle_timer(now_us)
        assert names(node) == {f"n{n}" for n in numbers}
        assert node.engine.memory().node_links[0] == len(numbers)
        while node.next_event() is not None:
            pass
    for neighbour in node.neighbours.values():
        assert node.neighbourhood.of_link(neighbour.link) is neighbour
    node.set_neighbours([], now_us)
    node.engine.engines[0].turn(now_us)
    assert node.engine.memory().node_links[0] == 0
    assert node.engine.verdicts().get("command_stale", 0) == 0
    assert node.next_timer_us() is None


def test_a_stream_flows_over_a_link_that_came_while_the_nodes_ran() -> None:
    """And is lost, and comes back, as the link goes and comes."""
    overlay = Overlay()
    overlay.connect(1, 2)
    a = overlay.start(config_of("n1", 1, {}, ingests=demo_ingest(1)))
    b = overlay.start(config_of("n2", 2, {}))
    overlay.run_for(500_000)
    a.node.set_neighbours([entry(2)], overlay.now_us)
    b.node.set_neighbours([entry(1)], overlay.now_us)
    overlay.run_for(500_000)
    assert len(b.of(NeighbourUp)) == 1
    b.node.subscriptions.join_viewer(1, "demo", (("n1",),), overlay.now_us)
    encoder = Encoder(overlay, "n1")
    encoder.run_for(500_000)
    assert b.node.state_of("demo") is BroadcastState.LIVE
    assert a.engine.memory().cursors[0] == 2
    a.node.set_neighbours([], overlay.now_us)
    encoder.run_for(500_000)
    assert a.engine.memory().cursors[0] == 0
    assert b.node.state_of("demo") is BroadcastState.LOST
    a.node.set_neighbours([entry(2)], overlay.now_us)
    encoder.run_for(7_000_000)
    assert b.node.state_of("demo") is BroadcastState.LIVE
    assert b.of(NeighbourKeyed)[-1] == NeighbourKeyed("n1", restarted=True)


def test_an_upstream_that_is_removed_is_lost_and_nothing_is_said_to_it() -> None:
    overlay = Overlay()
    overlay.connect(1, 2)
    overlay.start(config_of("n1", 1, {"n2": 2}, ingests=demo_ingest(1)))
    b = overlay.start(config_of("n2", 2, {}))
    shared = bytes.fromhex("0102" + SECRET[4:])
    b.node.set_neighbours([replace(entry(1), secret=shared)], overlay.now_us)
    overlay.run_for(500_000)
    b.node.subscriptions.join_viewer(1, "demo", (("n1",),), overlay.now_us)
    encoder = Encoder(overlay, "n1")
    encoder.run_for(500_000)
    assert b.node.state_of("demo") is BroadcastState.LIVE
    b.node.set_neighbours([], overlay.now_us)
    encoder.run_for(500_000)
    assert b.node.state_of("demo") is BroadcastState.LOST
    assert b.engine.memory().node_links[0] == 0
