"""Three nodes and the whole brain, in virtual time: everything a node knows comes from it."""

from __future__ import annotations

from relay.control.agent_events import TableInForce
from relay.errors import RefusalCode
from relay.events import NeighbourAdded, ViewerStarted, ViewerTurnedAway
from tests.relay.control.world import RealBrain, World, id_of
from tests.relay.encoder import Encoder
from tests.relay.overlay import demo_ingest

RESTART_S = 40  # above the longest back-off


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
