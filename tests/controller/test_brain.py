"""A whole brain with real sessions of nodes: they come, get their tables, announce and ask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from control_client.codec import encode
from control_client.errors import RequestCode
from control_client.messages import (
    AskPath,
    Hello,
    Inventory,
    LinkReport,
    NodeLoad,
    Report,
    StreamReport,
    Table,
)
from control_client.messages import Paths as PathsMessage
from control_client.session_events import (
    AnnouncementRefused,
    PathNotFound,
    PathsFound,
    RehomeAdvised,
    StreamIdsGiven,
)
from controller.core.advice import OWN_RECOVERY_US
from controller.core.events import (
    BroadcastEnded,
    BroadcastStarted,
    MeshLimited,
    NodeNotPlaced,
    Ready,
    StateIgnored,
)
from controller.core.settings import LinkRule
from controller.discovery import NodeLost
from controller.tables.node_session import Intervals, NodeTurnedAway
from controller.tables.registry import KnownNode
from tests.controller.world import DELAY_US, MS, S, World, broadcast
from tests.support.control_channel import CAPACITY, token_of

NAMES = ("lon", "nyc", "lax", "tyo")
RTT_MS = {
    "lon nyc": 71, "nyc lax": 69, "lon lax": 190, "lax tyo": 108, "nyc tyo": 210, "lon tyo": 320,
}  # fmt: skip
BEST = ("lon", "nyc", "lax", "tyo")
SECOND = ("lon", "nyc", "tyo")


def world_with(names: tuple[str, ...] = NAMES, **changes: Any) -> World:
    """All are there and measured; lon produces "show"."""
    world = World(names, **changes)
    world.add(*names)
    world.run_for(S)
    world.mesh({pair: ms for pair, ms in RTT_MS.items() if set(pair.split()) <= set(names)})
    world.announce("lon", broadcast("show", 7, 8))
    world.run_for(S)
    return world


def known(world: World) -> tuple[KnownNode, ...]:
    return world.settings.nodes


def vias(found: PathsFound | RehomeAdvised) -> list[tuple[str, ...]]:
    return [path.via for path in found.paths]


# -- tables


def test_nodes_get_tables_with_the_same_secrets_on_both_sides() -> None:
    world = World(NAMES)
    world.add(*NAMES)
    world.run_for(S)
    tables = {name: world.table(name) for name in NAMES}
    for name, table in tables.items():
        assert set(table.neighbours) == set(NAMES) - {name}
        for peer, entry in table.neighbours.items():
            assert entry.secret == tables[peer].neighbours[name].secret
            assert entry.address == world.nodes[peer].address
    secrets = {entry.secret for table in tables.values() for entry in table.neighbours.values()}
    assert len(secrets) == 6  # one a pair


def test_rules_for_single_pairs() -> None:
    """nyc and lax are apart; tyo reaches lon at an address of its own, at another rate."""
    rules = (
        LinkRule("lax", "nyc", is_enabled=False),
        LinkRule("tyo", "lon", True, 5_000_000, a_reaches_b_at="10.0.0.1:7", b_reaches_a_at=None),
    )
    world = World(NAMES, links=rules)
    world.add(*NAMES)
    world.run_for(S)
    assert set(world.table("nyc").neighbours) == {"lon", "tyo"}
    assert world.table("tyo").neighbours["lon"].address == "10.0.0.1:7"
    assert world.table("lon").neighbours["tyo"].address == world.nodes["tyo"].address
    assert world.table("lon").neighbours["tyo"].rate_bps == 5_000_000
    assert world.table("lon").neighbours["nyc"].rate_bps == 100_000_000


def test_without_a_mesh_only_the_pairs_of_the_list() -> None:
    world = World(NAMES, links=(LinkRule("nyc", "lon"),), joins_all_pairs=False)
    world.add(*NAMES)
    world.run_for(S)
    assert set(world.table("lon").neighbours) == {"nyc"}
    assert set(world.table("tyo").neighbours) == set()


def test_beyond_node_links_the_nearest_and_the_last_resort_loudly() -> None:
    """Each node takes two links. ixp is reserved: it comes before whoever is nearer."""
    names = (*NAMES, "ixp")
    small = {"capacity": type(CAPACITY)(node_links=2, streams=9, cursors=9, viewers=9)}
    world = World(names, last_resort=frozenset({"ixp"}))
    world.add(*NAMES, **small)
    world.add("ixp")
    world.run_for(S)
    assert world.told(MeshLimited)[-1].nodes == tuple(sorted(NAMES))
    for name in NAMES:
        neighbours = set(world.table(name).neighbours)
        assert "ixp" in neighbours
        assert len(neighbours) == 2
    # Once measured, the nearest of those that have room.
    world.mesh({pair: ms for pair, ms in RTT_MS.items() if pair != "lon nyc"} | {"lon nyc": 1})
    world.run_for(601 * S)
    assert set(world.table("lon").neighbours) == {"nyc", "ixp"}
    assert set(world.table("lax").neighbours) == {"tyo", "ixp"}


def test_two_nodes_at_one_address_are_told_apart_loudly() -> None:
    world = World(NAMES)
    world.add("lon", "nyc")
    world.run_for(S)
    world.add("tyo")
    world.nodes["tyo"].address = world.nodes["nyc"].address
    world.run_for(S)
    (told,) = world.told(NodeNotPlaced)
    text = f"its address {world.nodes['nyc'].address} is that of"
    assert text in told.reason
    assert set(world.table("lon").neighbours) in ({"nyc"}, {"tyo"})
    assert world.brain is not None
    (problem,) = [node.table.problem for node in world.brain.nodes() if node.name == told.node]
    assert text in problem


def test_who_claims_the_address_of_a_node_that_is_there_takes_nothing_from_it() -> None:
    world = World(NAMES)
    world.add("lon", "nyc", "lax")
    world.run_for(S)
    world.add("tyo", address=world.nodes["lon"].address)
    world.run_for(S)
    world.cut("lon")  # and is back a moment later, as the younger connection of the two
    world.run_for(10 * S)
    assert set(world.table("nyc").neighbours) == {"lon", "lax"}
    assert {told.node for told in world.told(NodeNotPlaced)} == {"tyo"}


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:7000", "its address 127.0.0.1:7000 is its own host alone"),
        ("[2001:db8::9]:7000", "lon is reached by IPv4"),
        ("239.1.2.3:7000", "its address 239.1.2.3:7000 is no host"),
        ("255.255.255.255:7000", "its address 255.255.255.255:7000 is no host"),
    ],
)
def test_a_node_that_others_cannot_reach_spoils_no_other_table(address: str, reason: str) -> None:
    """Nodes refuse tables with such an address, and a table as a whole."""
    world = World(NAMES)
    world.add("lon", "nyc")
    world.add("tyo", address=address)
    world.run_for(S)
    world.add("lax")
    world.run_for(S)
    assert set(world.table("lon").neighbours) == {"nyc", "lax"}
    assert reason in " ".join(told.reason for told in world.told(NodeNotPlaced))


def test_nodes_on_one_host_reach_each_other_by_loopback() -> None:
    world = World(NAMES)
    for port, name in enumerate(("lon", "nyc"), 7000):
        world.add(name, address=f"127.0.0.1:{port}")
    world.run_for(S)
    assert set(world.table("lon").neighbours) == {"nyc"}


def test_a_node_that_the_brain_does_not_hear_keeps_its_links() -> None:
    world = world_with()
    world.kill("tyo")
    world.run_for(60 * S)
    assert [lost.node for lost in world.told(NodeLost)] == ["tyo"]
    assert "tyo" in world.table("lon").neighbours
    world.run_for(3600 * S)
    assert "tyo" not in world.table("lon").neighbours


def test_another_list_of_nodes() -> None:
    world = world_with()
    brain = world.brain
    assert brain is not None
    kept = tuple(node for node in world.settings.nodes if node.name != "tyo")
    brain.set_nodes(kept, frozenset({"lax"}), world.now_us)
    world.drain()
    world.run_for(S)
    (away,) = world.told(NodeTurnedAway)
    assert (away.node, away.code) == ("tyo", "unknown_node")
    assert "tyo" not in world.table("lon").neighbours
    world.ask("lax", "show")
    world.run_for(S)
    report = brain.explain("show", "lax")
    assert report is not None
    assert report.kind == "ordinary"
    assert [node.is_last_resort for node in brain.nodes() if node.name == "lax"] == [True]


def test_a_raised_generation_gives_both_sides_new_secrets_at_once() -> None:
    """Nobody is turned away for it: who waits to connect again has links that nobody else knows."""
    world = world_with()
    before = world.table("lon").neighbours["nyc"].secret
    raised = tuple(replace(n, generation=n.generation + (n.name == "lon")) for n in known(world))
    assert world.brain is not None
    world.brain.set_nodes(raised, frozenset(), world.now_us)
    world.drain()
    world.run_for(4 * DELAY_US)
    secrets = {world.table(a).neighbours[b].secret for a, b in (("lon", "nyc"), ("nyc", "lon"))}
    assert len(secrets) == 1
    assert before not in secrets
    assert world.told(NodeTurnedAway) == []


def test_another_list_of_nodes_in_the_turn_in_which_one_of_them_speaks() -> None:
    world = world_with(NAMES[:3])
    brain = world.brain
    assert brain is not None
    lax, tyo = world.connection("lax"), brain.open_connection("tyo:1", world.now_us)
    brain.receive(lax, encode(Report(1, NodeLoad(1, 1, 1, 1))), world.now_us)
    for message in (
        Hello(1, 1, "tyo", token_of("tyo"), 5),
        Inventory("192.0.2.9:7000", CAPACITY),
    ):
        brain.receive(tyo, encode(message), world.now_us)
    kept = tuple(node for node in known(world) if node.name in ("lon", "nyc"))
    brain.set_nodes(kept, frozenset(), world.now_us)
    world.drain()
    assert {node.name for node in brain.nodes()} == {"lon", "nyc"}
    assert brain.links("tyo") == brain.links("lax") == ()
    world.run_for(S)
    assert set(world.table("lon").neighbours) == {"nyc"}


# -- streams


def test_ids_in_use_are_kept_and_missing_ones_given() -> None:
    world = world_with()
    assert world.got("lon", StreamIdsGiven) == [StreamIdsGiven("show", (7, 8))]
    world.announce("lon", broadcast("other"))
    world.run_for(S)
    (given,) = world.got("lon", StreamIdsGiven)[1:]
    assert len(given.stream_ids) == 1
    assert given.stream_ids[0] not in (7, 8)


def test_ids_that_another_stream_has_are_replaced_once() -> None:
    world = world_with()
    world.announce("nyc", broadcast("other", 9, 8))
    world.run_for(S)
    (given,) = world.got("nyc", StreamIdsGiven)
    assert given.stream_ids[0] == 9
    assert given.stream_ids[1] not in (7, 8, 9)
    world.announce("nyc", broadcast("other", *given.stream_ids))  # as a node does then
    world.run_for(S)
    assert world.got("nyc", StreamIdsGiven)[1] == given


def test_an_encoder_that_pauses_goes_on_under_its_ids() -> None:
    world = world_with()
    world.say("lon", lambda node: node.session.end("show", world.now_us))
    world.run_for(S)
    assert world.told(BroadcastEnded)[-1].reason == "it has ended"
    world.announce("lon", broadcast("show", 7, 8))
    world.run_for(S)
    assert world.got("lon", StreamIdsGiven)[-1].stream_ids == (7, 8)


def test_a_broadcaster_moves_and_the_old_producer_is_told_the_way() -> None:
    world = world_with()
    world.announce("tyo", broadcast("show", 17, 18))
    world.run_for(S)
    assert world.told(BroadcastStarted)[-1].moved_from == "lon"
    (advised,) = world.got("lon", RehomeAdvised)
    assert vias(advised)[0] == ("nyc", "lax", "tyo")
    assert advised.reason == "the broadcaster has moved to tyo"
    # It says its old run again: that is over, and the way is told once more.
    world.announce("lon", broadcast("show", 7, 8))
    world.run_for(S)
    (refused,) = world.got("lon", AnnouncementRefused)
    assert (refused.code, refused.text) == (
        RequestCode.NAME_TAKEN,
        "show is produced by tyo now",
    )
    assert len(world.got("lon", RehomeAdvised)) == 2
    world.announce("lon", broadcast("show", 27, 28))  # a new run: the broadcaster is back
    world.run_for(S)
    assert vias(world.got("tyo", RehomeAdvised)[0])[0] == ("lax", "nyc", "lon")


def test_a_lost_producers_broadcasts_end_after_the_grace() -> None:
    world = world_with()
    world.kill("lon")
    world.run_for(29 * S)
    assert world.told(BroadcastEnded) == []
    world.run_for(2 * S)
    assert world.told(BroadcastEnded) == [BroadcastEnded("show", "lon", "lon is lost")]


def test_a_restarted_producers_broadcast_is_replaced_and_never_gone() -> None:
    world = world_with()
    world.nodes["lon"].streams = ()
    world.restart("lon")
    world.run_for(2 * S)
    world.ask("tyo", "show")
    world.run_for(S)
    assert len(world.got("tyo", PathsFound)) == 1
    world.announce("lon", broadcast("show", 70, 80))
    world.run_for(60 * S)
    assert world.told(BroadcastEnded) == []
    assert world.brain is not None
    stream = world.brain.stream("show")
    assert stream is not None
    assert [track.stream_id for track in stream.tracks] == [70, 80]


def test_a_restarted_producer_without_its_broadcast_ends_it_after_a_while() -> None:
    world = world_with()
    world.nodes["lon"].streams = ()
    world.restart("lon")
    world.run_for(40 * S)
    assert world.told(BroadcastEnded)[0].reason == "lon has restarted without it"


# -- paths


def test_a_path_goes_the_other_way_round_than_media() -> None:
    world = world_with()
    world.ask("tyo", "show")
    world.run_for(S)
    (found,) = world.got("tyo", PathsFound)
    # Media goes lon, nyc, lax, tyo; SUBSCRIBE leaves tyo and ends at the producer.
    assert vias(found) == [("lax", "nyc", "lon"), ("nyc", "lon"), ("lax", "lon")]
    assert found.paths[0].cost_us == (71 + 69 + 108) * 500 + 3 * 5000
    world.ask("lon", "show")
    world.run_for(S)
    assert vias(world.got("lon", PathsFound)[0]) == [()]


def test_a_thousand_questions_of_one_turn_cost_one_look_up() -> None:
    world = world_with()
    brain = world.brain
    assert brain is not None
    before = brain.status().counters["lookups"]
    world.to_nodes.clear()
    for number in range(1000):  # a node's own session asks once for all who wait there
        data = encode(AskPath(number, "show"))
        brain.receive(world.connection("tyo"), data, world.now_us)
    world.drain()
    sent = [m for name, m in world.to_nodes if name == "tyo" and isinstance(m, PathsMessage)]
    assert len(sent) == 1000
    assert {message.transaction for message in sent} == set(range(1000))
    assert brain.status().counters["lookups"] == before + 1


def test_exact_errors() -> None:
    world = world_with()
    world.ask("tyo", "nothing")
    world.run_for(S)
    text = "no node announces nothing, or it has ended"
    assert world.got("tyo", PathNotFound) == [
        PathNotFound("nothing", RequestCode.NO_SUCH_STREAM, text)
    ]
    world.run_for(5 * S)
    for peer in ("nyc", "lax", "tyo"):
        world.link_down("lon", peer)
    world.run_for(S)
    world.ask("tyo", "show")
    world.run_for(S)
    assert world.got("tyo", PathNotFound)[-1].code == RequestCode.NO_PATH
    text = "no links that are up join lon, which produces show, to tyo"
    assert world.got("tyo", PathNotFound)[-1].text == text


def test_a_question_waits_for_measurements_that_are_under_way() -> None:
    world = World(("lon", "tyo"))
    world.add("lon", "tyo")
    world.run_for(S)
    world.announce("lon", broadcast("show", 7))
    world.ask("tyo", "show")
    world.run_for(S)
    assert world.got("tyo", PathsFound) == []
    world.mesh({"lon tyo": 100})
    world.run_for(2 * DELAY_US)
    assert vias(world.got("tyo", PathsFound)[0]) == [("lon",)]


def test_a_question_that_nothing_answers_is_refused_in_time() -> None:
    world = World(("lon", "tyo"))
    world.add("lon", "tyo")
    world.run_for(S)
    world.announce("lon", broadcast("show", 7))
    world.ask("tyo", "show")
    world.run_for(3 * S + 2 * DELAY_US)
    (refused,) = world.got("tyo", PathNotFound)
    assert refused.code == RequestCode.NO_PATH  # and not the node's own time-out


def test_the_last_resort() -> None:
    world = World((*NAMES, "ixp"), last_resort=frozenset({"ixp"}))
    world.add(*NAMES, "ixp")
    world.run_for(S)
    world.mesh({"lon ixp": 60, "ixp tyo": 150, "lon tyo": 320})
    world.announce("lon", broadcast("show", 7))
    world.run_for(S)
    world.ask("tyo", "show")
    world.run_for(S)
    assert vias(world.got("tyo", PathsFound)[0]) == [("lon",)]
    world.link_down("lon", "tyo")
    world.run_for(S)
    world.ask("tyo", "show")
    world.run_for(S)
    found = world.got("tyo", PathsFound)[-1]
    assert vias(found) == [("ixp", "lon")]
    assert found.paths[0].is_last_resort


def test_a_table_goes_out_before_the_answer_that_needs_it() -> None:
    """nyc has lost its disk: the brain knows its links, and nyc knows none of its neighbours."""
    world = world_with()
    world.to_nodes.clear()
    world.nodes["nyc"].stored = None
    world.restart("nyc")
    world.ask("nyc", "show")
    world.run_for(2 * S)
    kinds = [type(m) for name, m in world.to_nodes if name == "nyc"]
    assert kinds.index(Table) < kinds.index(PathsMessage)


# -- measurements


def test_loss_counts_for_the_direction_it_was_heard_in() -> None:
    """tyo hears 5 % of what lon sends lost; the other direction is clean."""
    world = world_with(("lon", "tyo"))
    for name, peer, loss_ppm in (("tyo", "lon", 50_000), ("lon", "tyo", 0)):
        link = LinkReport(peer, True, 320 * MS, loss_ppm, 300, 1_000)
        report = Report(60 * S, NodeLoad(1, 1, 0, 0), (link,))
        world.say(name, lambda node, r=report: node.session.report(r, world.now_us))  # type: ignore[misc]
    world.run_for(S)
    assert world.brain is not None
    loss = {(link.sender, link.receiver): link.loss for link in world.brain.links()}
    assert loss == {("lon", "tyo"): 0.05, ("tyo", "lon"): 0.0}


def subscribed(**changes: Any) -> World:
    world = world_with(**changes)
    world.subscribe("tyo", "show", "lon", "nyc", "lax")
    world.run_for(S)
    return world


def test_a_link_down_moves_its_consumers_that_do_not_recover_by_themselves() -> None:
    world = subscribed()
    world.link_down("nyc", "lax")
    world.run_for(OWN_RECOVERY_US)
    assert world.got("tyo", RehomeAdvised) == []
    world.run_for(2 * DELAY_US)
    (advised,) = world.got("tyo", RehomeAdvised)
    assert vias(advised) == [("nyc", "lon"), ("lax", "lon"), ("lon",)]
    assert advised.reason == "a link or node of the path is down"
    world.run_for(30 * S)
    assert len(world.got("tyo", RehomeAdvised)) == 1  # the node may take its time
    world.run_for(90 * S)
    assert len(world.got("tyo", RehomeAdvised)) == 2  # it has not moved for a whole period


@pytest.mark.parametrize("teller", ["tyo", "lax"])
def test_who_gets_it_by_a_node_that_has_no_other_way_is_advised_at_once(teller: str) -> None:
    world = subscribed()
    world.link_down("nyc", "lax")
    world.run_for(300 * MS)
    ancestors = BEST[: BEST.index(teller)]
    world.subscribe(teller, "show", *ancestors, state="lost", viewers=0, subscribers=0)
    world.run_for(2 * DELAY_US)
    (advised,) = world.got("tyo", RehomeAdvised)
    assert vias(advised)[0] == ("nyc", "lon")


def test_who_is_reached_another_way_in_time_is_left_alone() -> None:
    """lax has switched to its second path, and tyo gets it from lax as before."""
    world = subscribed()
    world.link_down("nyc", "lax")
    world.run_for(800 * MS)
    world.subscribe("tyo", "show", "lon", "lax")
    world.run_for(30 * S)
    assert world.got("tyo", RehomeAdvised) == []


def test_an_alarm_moves_at_once_what_gains_by_it() -> None:
    """lax is full: the way by lax costs nearly twice as much."""
    world = subscribed()
    world.report("lax", is_alarm=True, cpu=950)
    world.run_for(2 * DELAY_US)
    (advised,) = world.got("tyo", RehomeAdvised)
    assert vias(advised)[0] == ("nyc", "lon")


def test_a_lost_relay_moves_its_consumers() -> None:
    world = subscribed()
    world.kill("lax")
    world.run_for(33 * S)
    (advised,) = world.got("tyo", RehomeAdvised)
    assert vias(advised)[0] == ("nyc", "lon")


def test_a_better_path_waits_for_its_round() -> None:
    world = world_with()
    world.subscribe("tyo", "show", "lon")
    world.run_for(30 * S)
    assert world.got("tyo", RehomeAdvised) == []
    world.run_for(100 * S)
    advised = world.got("tyo", RehomeAdvised)[0]
    assert (vias(advised)[0], advised.reason) == (("lax", "nyc", "lon"), "a cheaper path")


def test_a_node_that_only_feeds_others_is_left_alone() -> None:
    world = subscribed()
    world.subscribe("lax", "show", "lon", "nyc", viewers=0, subscribers=1)
    world.link_down("lon", "nyc")
    world.run_for(2 * S)
    assert world.got("lax", RehomeAdvised) == []
    assert len(world.got("tyo", RehomeAdvised)) == 1


def test_a_node_that_stands_by_for_others_is_shown_and_not_advised() -> None:
    world = world_with()
    world.subscribe("tyo", "show", *BEST[:-1], state="standby", viewers=0)
    world.link_down("lax", "nyc")
    world.run_for(61 * S)
    assert world.got("tyo", RehomeAdvised) == []
    assert world.brain is not None
    stream = world.brain.stream("show")
    assert stream is not None
    assert [(c.node, c.state, c.path) for c in stream.consumers] == [("tyo", "standby", BEST)]
    explained, one = world.brain.explain_all("show"), world.brain.explain("show", "tyo")
    assert explained is not None
    assert one is not None
    assert explained.paths == ()
    assert one.current is None  # nothing flows


def test_links_never_measured_move_nobody() -> None:
    """After a start without a state: lon-nyc is measured, the rest of the path not yet."""
    world = subscribed()
    world.kill_brain()
    world.saved = None
    world.run_for(S)
    world.links = {}
    world.start_brain()
    world.run_for(35 * S)
    world.mesh({"lon nyc": 71, "nyc tyo": 210})
    world.run_for(5 * S)
    assert world.got("tyo", RehomeAdvised) == []


def test_explain_shows_what_flows_hop_by_hop() -> None:
    world = subscribed()
    counts = {"nyc": ("lon", 990, 12), "lax": ("nyc", 1000, 0), "tyo": ("lax", 1001, 3)}
    for delay, (name, (upstream, received, lost)) in enumerate(counts.items(), 1):
        counted = StreamReport("show", upstream, received, lost, lost, 0, delay * 40 * MS, 1)
        world.count_stream(name, counted)
        world.report(name)
    world.run_for(S)
    assert world.brain is not None
    report = world.brain.explain("show", "tyo")
    assert report is not None
    assert report.state == "live"
    assert report.current is not None
    assert report.current.nodes == BEST
    hops = [(h.sender, h.receiver, h.rtt_us, h.received_packets, h.lost_packets, h.delay_us)
            for h in report.current.hops]  # fmt: skip
    assert hops == [
        ("lon", "nyc", 71 * MS, 990, 12, 40 * MS),
        ("nyc", "lax", 69 * MS, 1000, 0, 80 * MS),
        ("lax", "tyo", 108 * MS, 1001, 3, 120 * MS),
    ]
    assert [candidate.nodes for candidate in report.candidates][:2] == [BEST, SECOND]
    assert report.candidates[0].verdict == "chosen"
    reports = world.brain.explain_all("show")
    assert reports is not None
    assert [path.consumer for path in reports.paths] == ["tyo"]
    world.kill("tyo")
    world.run_for(S)
    report = world.brain.explain("show", "tyo")
    assert report is not None
    assert report.state == "away"
    assert report.current is not None  # it forwards without the brain
    assert report.current.nodes == BEST


# -- popularity


def test_paths_of_a_popular_broadcast_are_pushed_and_follow_the_network() -> None:
    world = world_with()
    world.subscribe("nyc", "show", "lon", viewers=120)
    world.run_for(6 * S)
    assert world.table("tyo").paths["show"][0].via == ("lax", "nyc", "lon")
    assert "show" not in world.table("lon").paths  # it starts there
    world.link_down("nyc", "lax")
    world.run_for(S)
    assert world.table("tyo").paths["show"][0].via == ("nyc", "lon")
    world.announce("nyc", broadcast("show", 17, 18))
    world.run_for(S)
    assert world.table("tyo").paths["show"][0].via == ("nyc",)
    assert world.table("lon").paths["show"][0].via == ("nyc",)


def test_a_campaign_is_pushed_and_ends() -> None:
    world = world_with()
    brain = world.brain
    assert brain is not None
    brain.announce_campaign("show", world.now_us, world.now_us + 60 * S, world.now_us)
    world.drain()
    world.run_for(S)
    assert "show" in world.table("tyo").paths
    assert brain.status().popular == ("show",)
    world.run_for(66 * S)
    assert "show" not in world.table("tyo").paths
    assert not brain.cancel_campaign("show", world.now_us)


# -- restart


def test_after_a_restart_no_table_goes_back_and_no_link_is_lost() -> None:
    world = subscribed()
    world.run_for(5 * S)
    before = {name: world.table(name) for name in NAMES}
    versions = {name: world.version(name) for name in NAMES}
    world.kill_brain()
    world.run_for(60 * S)
    applied = {name: len(world.nodes[name].applied) for name in NAMES}
    world.start_brain()
    world.run_for(40 * S)
    for name in NAMES:
        tables = world.nodes[name].applied[applied[name] :]
        assert all(version > versions[name] for version in tables)
        assert world.version(name) > versions[name]
        assert world.table(name) == before[name]
        assert world.lost_links[name] == 0
    assert world.brain is not None
    stream = world.brain.stream("show")
    assert stream is not None
    assert [track.stream_id for track in stream.tracks] == [7, 8]
    assert stream.consumers[0].path == BEST
    world.ask("nyc", "show")
    world.run_for(S)
    assert vias(world.got("nyc", PathsFound)[-1])[0] == ("lon",)
    assert world.told(BroadcastEnded) == []


def test_without_its_state_a_brain_waits_for_the_nodes_that_have_tables() -> None:
    world = world_with()
    world.kill_brain()
    world.saved = None
    world.cut("tyo")
    world.run_for(10 * S)
    world.start_brain()
    world.run_for(40 * S)
    assert {name: world.lost_links[name] for name in NAMES} == dict.fromkeys(NAMES, 0)
    assert all(len(world.table(name).neighbours) == 3 for name in NAMES)


def test_a_brain_that_waits_for_nodes_does_not_spin() -> None:
    """Longer than a period of reports, as without a state."""
    world = World(NAMES, intervals=Intervals(report_us=5 * S))
    world.add(*NAMES[:3])
    world.run_for(S)
    world.kill_brain()
    world.saved = None
    world.start_brain()
    brain = world.brain
    assert brain is not None
    while not brain.status().is_settling:
        world.run_for(S)
    world.run_until(world.now_us + 6 * S, most_steps=1000)
    assert brain.next_timer_us() > world.now_us


def test_a_node_that_comes_back_with_this_brains_own_table_stops_nothing() -> None:
    """Soon after the first start of all, when there was no state either."""
    world = World(NAMES)
    first, last = NAMES[:-1], NAMES[-1]
    world.add(*first)
    world.run_for(2 * S)
    world.cut(first[0])
    world.run_for(2 * S)
    assert world.brain is not None
    assert world.brain.is_ready
    world.add(last)
    world.run_for(2 * S)
    assert {each.name for each in world.table(last).neighbours.values()} == set(first)


def test_a_damaged_or_foreign_state_is_told_and_left_aside() -> None:
    world = world_with()
    world.run_for(2 * S)
    state = world.saved
    assert state is not None
    damaged = state[:-1] + bytes([state[-1] ^ 1])
    for data, reason in (
        (damaged, "is damaged: its checksum does not fit"),
        (state[: len(state) // 2], "is damaged: its checksum does not fit"),
        (b"", "is no state of a brain"),
        (b"overlane brain 9\n" + state[17:], "is of another version of this program"),
    ):
        world.kill_brain()
        world.events.clear()
        world.start_brain(data)
        assert world.told(StateIgnored) == [StateIgnored(reason)]
        world.run_for(40 * S)
        assert world.brain is not None
        assert world.brain.status().nodes == 4
        assert world.brain.stream("show") is not None  # the producer has said it again


def test_tables_wait_until_all_are_back_and_are_then_made_once() -> None:
    world = world_with()
    world.run_for(2 * S)
    world.kill_brain()
    world.to_nodes.clear()
    world.run_for(100 * MS)
    world.start_brain()
    start_us = world.now_us
    world.run_for(3 * S)
    assert world.told(Ready) == [Ready(())]
    tables = [name for name, message in world.to_nodes if isinstance(message, Table)]
    assert sorted(tables) == sorted(NAMES)
    assert world.now_us == start_us + 3 * S


def test_tables_wait_three_seconds_for_who_does_not_come_back() -> None:
    world = world_with()
    world.run_for(2 * S)
    world.kill_brain()
    world.nodes["tyo"].session.stop(world.now_us)
    world.to_nodes.clear()
    world.run_for(100 * MS)
    world.start_brain()
    world.run_for(2_900 * MS)
    assert world.told(Ready) == []
    assert not [m for _, m in world.to_nodes if isinstance(m, Table)]
    world.run_for(200 * MS)
    assert world.told(Ready) == [Ready(("tyo",))]
    world.run_for(S)
    assert "tyo" in world.table("lon").neighbours


def test_while_tables_wait_paths_are_answered_from_the_state() -> None:
    world = world_with()
    world.run_for(70 * S)  # measurements are saved each minute
    world.kill_brain()
    world.nodes["lax"].session.stop(world.now_us)
    world.run_for(100 * MS)
    world.start_brain()
    world.ask("tyo", "show")
    world.run_for(1_500 * MS)
    assert world.told(Ready) == []
    assert vias(world.got("tyo", PathsFound)[0])[0] == ("lax", "nyc", "lon")


def test_a_round_that_falls_due_while_a_brain_waits_for_its_nodes_asks_for_no_timer() -> None:
    world = World(NAMES, intervals=Intervals(report_us=S))
    world.add(*NAMES)
    world.run_for(2 * S)
    world.kill("tyo")
    world.kill_brain()
    world.start_brain()
    assert world.brain is not None
    world.run_for(1_500 * MS)
    assert not world.brain.is_ready
    world.brain.handle_timer(world.now_us)
    assert world.brain.next_timer_us() > world.now_us
    world.run_for(3 * S)
    assert world.brain.is_ready
