"""Nodes that take everything from a brain, with real engines and sessions, in virtual time."""

from __future__ import annotations

import pytest

from control_client.errors import RequestCode
from control_client.messages import (
    AnnounceStream,
    EndStream,
    Path,
    RehomeAdvice,
    TableRefused,
    TableVersion,
)
from control_client.session import SessionState
from control_client.table import HeldTable, NodeTable
from controller.tables.distribution import Distribution
from relay.control.agent_events import (
    AlarmCleared,
    AlarmRaised,
    AnnouncementTurnedDown,
    BroadcastAnnounced,
    BroadcasterMoved,
    BroadcasterReturned,
    BroadcastSilent,
    ControllerConnected,
    ControllerLost,
    ControllerRefused,
    StoredTableUnusable,
    StoreTable,
    StreamIdsReplaced,
    TableInForce,
    TableNotStored,
    TableStored,
    TableTurnedDown,
)
from relay.control.table_keeper import STORE_RETRY_US
from relay.errors import RefusalCode
from relay.events import NeighbourUp, PathsWanted, ViewerStarted, ViewerTurnedAway
from relay.status import controller_status
from tests.relay.control.world import Controlled, ScriptedBrain, World, entry, id_of, mesh
from tests.relay.encoder import Encoder
from tests.relay.overlay import SMALL, demo_ingest


def three(brain: ScriptedBrain | None = None, tables: dict[str, NodeTable] | None = None) -> World:
    """a, b and c, which know each other by their tables alone; `demo` may start at a."""
    world = World(brain or ScriptedBrain())
    world.link_all("a", "b", "c")
    chosen = mesh("a", "b", "c") if tables is None else tables
    brain_of(world).distribution.set_tables(chosen, world.now_us)
    world.start_node("a", ingests=demo_ingest(id_of("a")))
    world.start_node("b")
    world.start_node("c")
    world.run_for(3_000_000)
    return world


def brain_of(world: World) -> ScriptedBrain:
    assert isinstance(world.brain, ScriptedBrain)
    return world.brain


def is_linked(each: Controlled) -> bool:
    node = each.running.node
    stats = [node.engine.link_stats(n.link) for n in node.neighbours.values()]
    return bool(stats) and all(link.is_up for link in stats)


def test_nodes_take_their_neighbours_from_the_brain() -> None:
    world = three()
    for name, each in world.agents.items():
        assert is_linked(each), name
        assert each.of(ControllerConnected) == [ControllerConnected(1, id_of(name))]
        assert each.of(TableInForce) == [TableInForce(each.version, 2, 0, from_disk=False)]
        assert each.of(TableStored) == [TableStored(each.version)]
        status = brain_of(world).distribution.status(name)
        assert status is not None
        assert status.is_current
        assert status.is_stored
    # Links are told as soon as their round trip is known.
    up = [link for report in brain_of(world).reports("a") for link in report.links]
    assert {link.neighbour for link in up} == {"b", "c"}
    assert all(link.is_up and 39_000 < link.rtt_us < 41_000 for link in up)


def test_a_viewer_gets_a_stream_along_the_path_that_the_brain_names() -> None:
    world = three()
    brain_of(world).ways["demo"] = (("b", "a"), ("a",))
    encoder = Encoder(world, "a")
    encoder.run_for(500_000)
    world.watch("c")
    encoder.run_for(1_000_000)
    c = world.agents["c"]
    assert brain_of(world).asked[0] == ("c", "demo")
    assert len(c.running.of(ViewerStarted)) == 1
    assert c.running.node.path_of("demo") == ("a", "b", "c")
    live = [s for s in brain_of(world).states("c") if s.state == "live"]
    assert (live[-1].ancestors, live[-1].viewers) == (("a", "b"), 1)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (RequestCode.NO_SUCH_STREAM, RefusalCode.NO_SUCH_STREAM),
        (RequestCode.NO_PATH, RefusalCode.NO_PATH),
        (RequestCode.FULL, RefusalCode.FULL),
        (RequestCode.NOT_READY, RefusalCode.TIME_OUT),
    ],
)
def test_a_viewer_hears_the_brains_words(code: RequestCode, expected: RefusalCode) -> None:
    world = three()
    brain_of(world).errors["demo"] = code, "as the brain says"
    viewer = world.watch("c")
    world.run_for(200_000)
    (turned_away,) = world.agents["c"].running.of(ViewerTurnedAway)
    assert turned_away == ViewerTurnedAway(viewer.id, expected, "as the brain says")


def test_without_a_brain_a_viewer_is_told_so() -> None:
    world = three()
    world.kill_brain()
    world.run_for(100_000)
    world.watch("c")
    world.run_for(4_100_000)
    (turned_away,) = world.agents["c"].running.of(ViewerTurnedAway)
    assert isinstance(turned_away, ViewerTurnedAway)
    assert turned_away.code is RefusalCode.TIME_OUT
    assert "the brain is away" in turned_away.text
    lost = world.agents["c"].of(ControllerLost)
    assert lost[0].was_registered
    assert lost[0].reason == "connection reset"


def test_paths_that_begin_at_no_neighbour_are_none() -> None:
    world = three()
    brain_of(world).ways["demo"] = (("d", "a"), ("b", "c", "a"), ())
    world.watch("c")
    world.run_for(200_000)
    (turned_away,) = world.agents["c"].running.of(ViewerTurnedAway)
    assert isinstance(turned_away, ViewerTurnedAway)
    assert turned_away.code is RefusalCode.NO_PATH
    assert "no path of the brain to demo" in turned_away.text


def test_a_node_restarts_without_its_brain_and_forwards_by_its_stored_table() -> None:
    pushed = {"demo": (Path(("a",), 1000),)}
    tables = mesh("a", "b", "c") | {"c": NodeTable.of([entry("c", "a"), entry("c", "b")], pushed)}
    world = three(tables=tables)
    encoder = Encoder(world, "a")
    encoder.run_for(500_000)
    held = world.agents["c"].version
    world.kill_brain()
    world.kill_node("c")
    encoder.run_for(500_000)
    c = world.start_node("c")
    encoder.run_for(2_000_000)
    assert c.of(TableInForce) == [TableInForce(held, 2, 1, from_disk=True)]
    assert c.agent.is_stored
    assert c.of(ControllerLost)
    assert is_linked(c)
    world.watch("c")
    encoder.run_for(1_000_000)
    assert len(c.running.of(ViewerStarted)) == 1
    # The brain is back with a higher term and the same table: no link is lost.
    link = c.running.node.neighbours["a"].link
    world.brain = brain = ScriptedBrain(term=2)
    brain.distribution.set_tables(tables, world.now_us)
    encoder.run_for(35_000_000)
    assert c.version.term == 2
    assert c.running.node.neighbours["a"].link == link
    assert c.running.node.state_of("demo").value == "live"


def test_an_older_table_changes_nothing_and_is_shown() -> None:
    world = three(ScriptedBrain(term=5))
    c = world.agents["c"]
    links = {name: n.link for name, n in c.running.node.neighbours.items()}
    older = NodeTable.of([]).as_message(TableVersion(4, 9))
    brain_of(world).say("c", older, world.now_us)
    world.run_for(100_000)
    (refused,) = brain_of(world).heard(TableRefused, "c")
    assert (refused.code, refused.held) == ("stale", c.version)
    (turned_down,) = c.of(TableTurnedDown)
    assert turned_down.reason == f"table 4.9 is older than {c.version}, which is in force"
    assert c.agent.last_problem == turned_down.reason
    assert {name: n.link for name, n in c.running.node.neighbours.items()} == links


HOSTILE = [
    (NodeTable.of([entry("a", "b", address="127.0.0.1:7000")]), "invalid", "this host alone"),
    (NodeTable.of([entry("a", "b", address="[2001:db8::1]:7000")]), "invalid", "IPv6"),
    (NodeTable.of([entry("a", "b", address="224.1.1.1:7000")]), "invalid", "no host"),
    (
        NodeTable.of([entry("c", "b")], {"demo": (Path(("b", "c", "a"), 1),)}),
        "invalid",
        "demo goes through c itself",
    ),
]


@pytest.mark.parametrize(("table", "code", "text"), HOSTILE)
def test_a_hostile_table_is_refused_whole(table: NodeTable, code: str, text: str) -> None:
    world = three()
    c = world.agents["c"]
    stored = c.stored
    brain_of(world).distribution.set_tables(mesh("a", "b") | {"c": table}, world.now_us)
    world.run_for(100_000)
    refused = brain_of(world).heard(TableRefused, "c")[0]
    assert refused.code == code
    assert text in refused.text
    assert refused.held == c.version
    assert is_linked(c)
    assert c.stored == stored
    assert c.agent.in_force == stored


def test_a_table_that_does_not_fit_is_refused_with_no_room() -> None:
    world = World(ScriptedBrain())
    brain_of(world).distribution.set_tables(mesh("a", "b", "c"), world.now_us)
    a = world.start_node("a", limits={**SMALL, "node_links": 1})
    world.run_for(1_000_000)
    refused = brain_of(world).heard(TableRefused, "a")[0]
    assert refused.code == "no_room"
    assert refused.held is None
    assert a.running.node.neighbours == {}
    assert a.stored is None


def test_a_stored_table_that_does_not_fit_any_more_is_told_and_forgotten() -> None:
    world = World(ScriptedBrain())
    brain_of(world).distribution.set_tables(mesh("a", "b"), world.now_us)
    hostile = NodeTable.of([entry("a", "c", address="127.0.0.1:7000")])
    world.disks["a"] = HeldTable(TableVersion(1, 1), hostile)
    a = world.start_node("a")
    world.run_for(1_000_000)
    (unusable,) = a.of(StoredTableUnusable)
    assert "this host alone" in unusable.reason
    # The brain does not take it for what this node has.
    assert set(a.running.node.neighbours) == {"b"}
    assert a.stored is not None
    assert set(a.stored.table.neighbours) == {"b"}


def test_a_full_disk_is_told_and_tried_again() -> None:
    world = World(ScriptedBrain())
    brain_of(world).distribution.set_tables(mesh("a", "b"), world.now_us)
    a = world.start_node("a")
    a.problem = "a.table cannot be written: No space left on device"
    world.run_for(1_000_000)
    (not_stored,) = a.of(TableNotStored)
    assert not_stored.problem == a.problem
    status = brain_of(world).distribution.status("a")
    assert status is not None
    assert (status.is_current, status.is_stored) == (True, False)
    a.problem = None
    world.run_for(STORE_RETRY_US)
    status = brain_of(world).distribution.status("a")
    assert status is not None
    assert status.is_stored
    assert len(a.of(StoreTable)) == 2
    assert a.of(TableStored) == [TableStored(a.version)]


def test_another_node_id_than_the_brains_is_a_clear_error() -> None:
    world = World(ScriptedBrain())
    brain_of(world).distribution.set_tables(mesh("a", "b"), world.now_us)
    a = world.start_node("a", node_id=7)
    world.run_for(5_000_000)
    text = "a has node_id 7 in its configuration, the brain says 100: make them equal"
    assert a.of(ControllerRefused) == [ControllerRefused("wrong_node_id", text)]
    assert a.of(ControllerLost)[0].reason == text
    assert a.session.state is SessionState.WAITING
    assert a.running.node.neighbours == {}
    assert a.of(ControllerConnected) == []


# -- broadcasts that start here


def test_a_broadcast_is_announced_ends_and_is_announced_again() -> None:
    world = three()
    brain = brain_of(world)
    a = world.agents["a"]
    assert brain.heard(AnnounceStream) == []
    encoder = Encoder(world, "a")
    encoder.run_for(40_000)
    (announced,) = brain.heard(AnnounceStream, "a")
    tracks = a.running.node.tracks_of("demo")
    assert announced.stream.stream_ids == tuple(track.stream_id for track in tracks)
    assert [t.media for t in announced.stream.tracks] == ["video", "audio"]
    assert a.of(BroadcastAnnounced) == [BroadcastAnnounced("demo")]
    world.run_for(14_900_000)
    assert brain.heard(EndStream) == []
    world.run_for(300_000)
    assert brain.heard(EndStream) == [EndStream("demo")]
    assert a.of(BroadcastSilent) == [BroadcastSilent("demo")]
    encoder.run_for(1_500_000)
    assert len(brain.heard(AnnounceStream, "a")) == 2
    assert a.agent.announced == ["demo"]


def test_other_ids_than_drawn_replace_the_streams_and_viewers_go_on() -> None:
    world = three()
    brain_of(world).ids["demo"] = (0xAAAA, 0xBBBB)
    encoder = Encoder(world, "a")
    world.watch("a")
    encoder.run_for(1_000_000)
    a = world.agents["a"]
    assert a.of(StreamIdsReplaced) == [StreamIdsReplaced("demo")]
    assert [track.stream_id for track in a.running.node.tracks_of("demo")] == [0xAAAA, 0xBBBB]
    world.received.clear()
    encoder.run_for(1_000_000)
    assert len(world.received) == 50
    # A new connection names them as they are now, and no other streams are made.
    world.kill_brain()
    world.brain = brain = ScriptedBrain(term=2)
    encoder.run_for(5_000_000)
    assert brain.heard(AnnounceStream, "a")[0].stream.stream_ids == (0xAAAA, 0xBBBB)
    assert a.of(StreamIdsReplaced) == [StreamIdsReplaced("demo")]


def test_a_refused_announcement_is_loud_once_and_local_viewers_are_served() -> None:
    world = three()
    brain_of(world).errors["demo"] = RequestCode.NAME_TAKEN, "demo starts at b"
    encoder = Encoder(world, "a")
    world.watch("a")
    encoder.run_for(31_000_000)
    a = world.agents["a"]
    told = AnnouncementTurnedDown("demo", "name_taken", "demo starts at b")
    assert a.of(AnnouncementTurnedDown) == [told]
    assert len(brain_of(world).heard(AnnounceStream)) == 2
    assert a.agent.announcement_problems == {"demo": "demo starts at b"}
    assert len(world.received) > 1400
    del brain_of(world).errors["demo"]
    encoder.run_for(30_000_000)
    assert a.agent.announcement_problems == {}


def test_a_broadcaster_moves_away_and_comes_back() -> None:
    world = World(ScriptedBrain())
    world.link_all("a", "b")
    brain_of(world).distribution.set_tables(mesh("a", "b"), world.now_us)
    a = world.start_node("a", ingests=demo_ingest(id_of("a")))
    b = world.start_node("b", ingests=demo_ingest(id_of("b")))
    world.run_for(2_000_000)
    at_a, at_b = Encoder(world, "a"), Encoder(world, "b", ssrc=0x9999)
    world.watch("a")
    at_a.run_for(2_000_000)
    at_b.run_for(500_000)
    advice = RehomeAdvice("demo", (Path(("b",), 1000),), "the broadcaster is at b")
    brain_of(world).say("a", advice, world.now_us)
    at_b.run_for(3_000_000)
    assert a.of(BroadcasterMoved) == [BroadcasterMoved("demo", "the broadcaster is at b")]
    assert a.running.node.path_of("demo") == ("b", "a")
    assert a.agent.announced == []
    world.received.clear()
    at_b.run_for(5_000_000)
    assert len(world.received) == 250
    # And back: with its encoder's first packets here, within the second between two looks.
    streams = a.running.engine.memory().streams[0]
    at_a.run_for(2_000_000)
    assert a.of(BroadcasterReturned) == [BroadcasterReturned("demo")]
    assert a.running.node.path_of("demo") == ("a",)
    assert a.agent.announced == ["demo"]
    assert a.running.engine.memory().streams[0] == streams - 2
    told = brain_of(world).states("a")
    assert (told[-1].broadcast, told[-1].state) == ("demo", "ended")  # it is no consumer any more
    world.received.clear()
    at_a.run_for(1_000_000)
    assert len(world.received) == 50
    assert b.of(BroadcasterMoved) == []


# -- reports


def test_a_nearly_full_link_is_told_at_once_and_when_it_has_room_again() -> None:
    tables = mesh("a", "b", "c")
    slow = [entry("a", "b", rate_bps=310_000), entry("a", "c")]
    world = three(tables=tables | {"a": NodeTable.of(slow)})
    brain = brain_of(world)
    brain.ways["demo"] = (("a",),)
    encoder = Encoder(world, "a")
    encoder.run_for(500_000)
    brain.forget()
    world.watch("b")
    encoder.run_for(6_000_000)
    a = world.agents["a"]
    (raised,) = a.of(AlarmRaised)
    assert raised.neighbour == "b"
    alarm = next(r for r in brain.reports("a") if r.is_alarm and r.links[0].utilisation_permille)
    assert [link.neighbour for link in alarm.links] == ["b"]
    assert a.agent.alarms == {"b"}
    world.run_for(5_000_000)  # the encoder is silent
    (cleared,) = a.of(AlarmCleared)
    assert cleared.neighbour == "b"
    assert cleared.permille < 750


def test_a_link_that_goes_down_is_told_at_once() -> None:
    world = three()
    brain = brain_of(world)
    world.run_for(3_000_000)
    brain.forget()
    world.cut(id_of("a"), id_of("b"))
    cut_us = world.now_us
    world.run_for(300_000)
    for one, other in (("a", "b"), ("b", "a")):
        (report,) = brain.reports(one)
        assert report.is_alarm
        assert [(link.neighbour, link.is_up) for link in report.links] == [(other, False)]
        assert report.links[0].rtt_us > 0
    world.mend(id_of("a"), id_of("b"))
    world.run_for(5_000_000)
    assert [link.is_up for r in brain.reports("a") for link in r.links] == [False, True]
    assert world.now_us > cut_us


def test_reports_come_as_often_as_the_brain_wants() -> None:
    world = three()
    brain_of(world).forget()
    world.run_for(120_000_000)
    reports = brain_of(world).reports("c")
    assert [report.window_us for report in reports] == [60_000_000, 60_000_000]
    assert all({link.neighbour for link in report.links} == {"a", "b"} for report in reports)


# -- status


def test_status_tells_how_the_node_stands_with_its_brain() -> None:
    world = three()
    c = world.agents["c"]
    status = controller_status(c.agent, world.now_us)
    assert status["state"] == "registered"
    assert (status["term"], status["node_id"]) == (1, id_of("c"))
    table = status["table"]
    assert isinstance(table, dict)
    assert (table["version"], table["is_stored"]) == (str(c.version), True)
    assert table["neighbours"] == 2
    assert 2 < table["age_s"] < 3
    assert status["last_problem"] == ""
    world.kill_brain()
    world.run_for(1_000_000)
    status = controller_status(c.agent, world.now_us)
    assert status["state"] != "registered"
    assert status["last_problem"] == "cannot connect: connection refused"


def test_paths_are_asked_for_once_by_a_crowd() -> None:
    world = three()
    brain_of(world).ways["demo"] = (("a",), ("b", "a"))
    Encoder(world, "a").run_for(100_000)
    for _ in range(6):
        world.watch("c")
    world.run_for(300_000)
    assert brain_of(world).asked == [("c", "demo")]
    assert len(world.agents["c"].running.of(ViewerStarted)) == 6
    assert len(world.agents["c"].running.of(PathsWanted)) == 1
    assert len(world.agents["c"].running.of(NeighbourUp)) == 2
    assert isinstance(brain_of(world).distribution, Distribution)
