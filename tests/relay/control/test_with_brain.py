"""Three nodes and the whole brain, in virtual time: everything a node knows comes from it."""

from __future__ import annotations

import pytest

from controller.core.events import BroadcastStarted
from relay.control.agent_events import BroadcasterDisputed, BroadcasterReturned, TableInForce
from relay.errors import RefusalCode
from relay.events import NeighbourAdded, ViewerStarted, ViewerTurnedAway
from tests.relay.control.world import RealBrain, World, id_of
from tests.relay.encoder import Encoder
from tests.relay.overlay import SMALL, demo_ingest

RESTART_S = 40  # above the longest back-off
SEEDS = (1, 2, 3, 4)  # of the back-off: either node may be the first to find the brain


def three() -> tuple[World, RealBrain, Encoder]:
    world = World()
    world.brain = brain = RealBrain(world.now_us)
    world.link_all("a", "b", "c")
    world.start_node("a", ingests=demo_ingest(id_of("a")))
    world.start_node("b")
    world.start_node("c")
    world.run_for(8_000_000)
    return world, brain, Encoder(world, "a")


def test_a_viewer_anywhere_finds_the_stream() -> None:
    world, brain, encoder = three()
    for name, each in world.agents.items():
        assert set(each.running.node.neighbours) == {"a", "b", "c"} - {name}
    encoder.run_for(500_000)
    asked_us = world.now_us
    world.watch("c")
    encoder.run_for(1_000_000)
    c = world.agents["c"].running
    assert c.node.path_of("demo") == ("a", "c")
    started_us = next(time_us for time_us, event in c.events if isinstance(event, ViewerStarted))
    assert started_us - asked_us < 100_000  # the question, and a round trip to a
    (stream,) = brain.brain.streams()
    assert stream.producer == "a"
    states = {consumer.node: consumer.state for consumer in stream.consumers}
    assert states == {"c": "live", "b": "standby"}
    explained = brain.brain.explain("demo", "b")
    assert explained is not None
    assert (explained.state, explained.current) == ("standby", None)


def test_configured_neighbours_take_room_that_the_brain_does_not_give_away() -> None:
    world = World()
    world.brain = brain = RealBrain(world.now_us)
    world.link_all("a", "b", "c")
    world.start_node("a", configured={"d": id_of("d")}, limits={**SMALL, "node_links": 2})
    world.start_node("b")
    world.start_node("c")
    world.run_for(8_000_000)
    neighbours = set(world.agents["a"].running.node.neighbours)
    assert len(neighbours) == 2
    assert "d" in neighbours
    assert all(node.table.is_current for node in brain.brain.nodes() if node.is_connected)


def test_an_unknown_stream_is_the_brains_answer() -> None:
    world, _, _ = three()
    world.watch("b", "nothing")
    world.run_for(4_000_000)
    (turned_away,) = world.agents["b"].running.of(ViewerTurnedAway)
    assert isinstance(turned_away, ViewerTurnedAway)
    assert turned_away.code is RefusalCode.NO_SUCH_STREAM


def test_a_restarted_brain_takes_no_link_and_no_frame() -> None:
    world, brain, encoder = three()
    encoder.run_for(500_000)
    world.watch("c")
    encoder.run_for(2_000_000)
    before = {
        name: {n.name: n.link for n in each.running.node.neighbours.values()}
        for name, each in world.agents.items()
    }
    state = brain.brain.state()
    world.kill_brain()
    world.received.clear()
    encoder.run_for(5_000_000)
    world.brain = RealBrain(world.now_us, term=2, state=state)
    encoder.run_for(RESTART_S * 1_000_000)
    assert len(world.received) == 50 * (5 + RESTART_S)
    for name, each in world.agents.items():
        assert each.session.is_registered
        assert each.version.term == 2
        links = {n.name: n.link for n in each.running.node.neighbours.values()}
        assert links == before[name]
        assert len(each.running.of(NeighbourAdded)) == 2
        versions = [told.version for told in each.of(TableInForce)]
        assert versions == sorted(versions)


def test_a_cut_link_moves_the_stream_to_another_path() -> None:
    world, _, encoder = three()
    encoder.run_for(500_000)
    world.watch("c")
    encoder.run_for(6_000_000)
    world.cut(id_of("a"), id_of("c"))
    encoder.run_for(3_000_000)
    c = world.agents["c"].running.node
    assert c.path_of("demo") == ("a", "b", "c")
    world.received.clear()
    encoder.run_for(1_000_000)
    assert len(world.received) == 50


def test_two_nodes_with_one_name_and_the_second_changes_nothing() -> None:
    world, _, _ = three()
    first = world.agents["c"]
    second = world.start_node("c")  # a copied configuration: another process, the same name
    world.agents = {"c": first, "copy": second, **world.agents}
    world.run_for(3_000_000)
    assert first.session.is_registered
    assert not second.session.is_registered
    assert "c is connected already" in second.agent.last_problem


def two_ingests(seed: int = 1) -> tuple[World, RealBrain]:
    """Nodes that an encoder may send to, and one more."""
    world = World(seed=seed)
    world.brain = brain = RealBrain(world.now_us)
    world.link_all("a", "b", "c")
    for name in ("a", "b"):
        world.start_node(name, ingests=demo_ingest(id_of(name)))
    world.start_node("c")
    world.run_for(8_000_000)
    return world, brain


def producer_of(brain: RealBrain) -> str:
    (stream,) = brain.brain.streams()
    return stream.producer


@pytest.mark.parametrize("seed", SEEDS)
def test_a_broadcaster_that_moves_while_the_brain_is_away_stays_where_it_sends(seed: int) -> None:
    world, brain = two_ingests(seed)
    world.watch("b")
    state = brain.brain.state()
    world.kill_brain()
    Encoder(world, "a").run_for(1_000_000)
    at_b = Encoder(world, "b", ssrc=0x9999)
    at_b.run_for(3_000_000)
    world.brain = brain = RealBrain(world.now_us, term=2, state=state)
    at_b.run_for(12_000_000)
    world.watch("c")
    world.received.clear()
    at_b.run_for(5_000_000)
    assert producer_of(brain) == "b"
    assert len(world.received) == 500  # of two viewers
    starts = [event for event in brain.events if isinstance(event, BroadcastStarted)]
    assert [(start.producer, start.moved_from) for start in starts] == [("b", None)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_broadcaster_that_moves_just_before_its_node_is_back_is_there_soon(seed: int) -> None:
    """The node it left announces it with the packets of the last two seconds."""
    world, brain = two_ingests(seed)
    at_a, at_b = Encoder(world, "a"), Encoder(world, "b", ssrc=0x9999)
    at_a.run_for(1_000_000)
    world.watch("c")
    at_a.run_for(1_000_000)
    a = world.agents["a"]
    assert a.connection is not None
    brain.on_closed(a.connection, "reset", world.now_us)
    a.connection = None
    a.session.on_closed("reset", world.now_us)
    at_b.run_for(6_000_000)
    assert a.session.is_registered
    assert producer_of(brain) == "b"
    world.received.clear()
    at_b.run_for(2_000_000)
    assert len(world.received) == 100


def test_two_encoders_of_one_broadcast_do_not_take_it_from_each_other() -> None:
    world, brain = two_ingests()
    at_a, at_b = Encoder(world, "a"), Encoder(world, "b", ssrc=0x9999)
    at_a.run_for(1_000_000)
    world.watch("a")
    for _ in range(600):
        at_b.run_for(20_000)
        at_a.send_frame()
    assert producer_of(brain) == "b"
    a, b = world.agents["a"], world.agents["b"]
    assert a.of(BroadcasterDisputed) == [BroadcasterDisputed("demo")]
    assert list(a.agent.announcement_problems) == ["demo"]
    # The one that is served stops: the other's node sees it, and need not wait until it is over.
    at_a.run_for(5_000_000)
    assert producer_of(brain) == "a"
    assert a.of(BroadcasterReturned) == [BroadcasterReturned("demo")]
    assert a.agent.announcement_problems == {}
    assert b.of(BroadcasterDisputed) == []
