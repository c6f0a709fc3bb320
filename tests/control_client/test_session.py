"""A node's session against the brain's, in exact times."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from control_client.back_off import (
    FIRST_LIMIT_US,
    LONGEST_LIMIT_US,
    REFUSED_LIMIT_US,
    SHORTEST_US,
    BackOff,
)
from control_client.codec import MAX_MESSAGE_BYTES, decode_from_node, encode
from control_client.errors import RequestCode, TableRefusalCode
from control_client.liveness import DEAD_AFTER_US, HEARTBEAT_US, OPENING_US
from control_client.messages import (
    AnnounceStream,
    AskPath,
    EndStream,
    Heartbeat,
    Hello,
    Path,
    Paths,
    Refusal,
    RehomeAdvice,
    Report,
    RequestError,
    StreamIds,
    SubscriptionState,
    Table,
    TableRefused,
    TableVersion,
    Welcome,
)
from control_client.outbox import MAX_MESSAGES
from control_client.requests import ASK_TIME_OUT_US, MAX_REQUESTS
from control_client.session import SessionState
from control_client.session_events import (
    AnnouncementRefused,
    ConnectionLost,
    Disconnect,
    PathNotFound,
    PathsFound,
    RefusedByBrain,
    RehomeAdvised,
    StreamIdsGiven,
    TableDeclined,
)
from control_client.table import HeldTable, NodeTable
from controller.tables.node_session import NodeJoined, NodeLeft, NodeTurnedAway, RefusedByNode
from tests.control_client.test_messages import FROM_BRAIN, FROM_NODE
from tests.support.control_channel import (
    DEMO,
    REPORT,
    Brain,
    Channel,
    ChannelNode,
    neighbour,
    random_table,
)

WAY = Path(("paris", "london"), 81_000)
TABLE = NodeTable.of([neighbour(1), neighbour(2)], {"demo": (Path(("n1", "x"), 5),)})
OTHER = NodeTable.of([neighbour(2), neighbour(3)])


def channel(node: ChannelNode | None = None, brain: Brain | None = None) -> Channel:
    made = Channel(node or ChannelNode(), brain or Brain())
    made.run_until(0)
    return made


def to_node(c: Channel, data: bytes) -> None:
    """As if the brain had said it."""
    c.to_node.append(data)
    c.settle()


def test_a_node_enters_reports_and_shows_life() -> None:
    c = channel()
    assert c.node.session.is_registered
    joined = [event for event in c.brain.events if isinstance(event, NodeJoined)]
    assert [event.node.name for event in joined] == ["tokyo"]
    assert joined[0].inventory.address == "192.0.2.200:7000"
    assert c.brain.said() == [REPORT]
    welcome = c.node.session.welcome
    assert welcome is not None
    assert (welcome.term, welcome.node_id, welcome.alarm_permille) == (1, 100, 800)
    c.run_until(59_999_999)
    assert c.brain.said() == [REPORT]
    c.run_until(60_000_000)
    assert c.brain.said() == [REPORT] * 2
    # Both sides speak each 5 s, and nobody gives up.
    c.run_until(600_000_000)
    assert c.node.session.is_registered
    assert c.node.of(ConnectionLost) == []
    sent = c.node.session.counters["sent_heartbeat"] + c.node.session.counters["sent_report"] - 1
    assert sent == 600_000_000 // HEARTBEAT_US
    assert c.node.session.counters["received_heartbeat"] == 600_000_000 // HEARTBEAT_US


def test_an_alarm_goes_out_at_once() -> None:
    c = channel()
    alarm = msgspec.structs.replace(REPORT, is_alarm=True)
    c.node.session.report(alarm, c.now_us)
    c.settle()
    assert c.brain.said() == [REPORT, alarm]


def test_a_silent_brain_is_given_up_and_found_again() -> None:
    c = channel()
    c.run_until(1_000_000)
    silent_since_us = c.now_us
    frozen = c.brain
    c.brain = Brain()  # its process hangs: the connection stays, nobody answers
    c.brain.sessions[c.connection or 0] = frozen.sessions[c.connection or 0]
    while c.node.session.is_registered:
        due_us = c.node.session.next_timer_us()
        assert due_us is not None
        c.now_us = due_us
        c.node.session.handle_timer(c.now_us)
        c.node.handle(c.now_us)
    assert c.now_us == silent_since_us - 1_000_000 + DEAD_AFTER_US
    assert c.node.session.last_problem == "nothing from the brain for 15 s"
    assert isinstance(c.node.events[-1], Disconnect)


def test_a_silent_node_is_given_up() -> None:
    c = channel()
    c.run_until(1_000_000)
    session = c.brain.sessions[1]
    session.handle_timer(DEAD_AFTER_US - 1)
    assert c.brain.distribution.counters == {}
    session.handle_timer(DEAD_AFTER_US)
    c.brain.handle(DEAD_AFTER_US)
    left = [event for event in c.brain.events if isinstance(event, NodeLeft)]
    assert left == [NodeLeft("tokyo", "nothing from the node for 15 s (time_out)", False)]
    assert c.brain.registry.connected == {}


def test_no_answer_to_hello_ends_in_time() -> None:
    node = ChannelNode()
    node.session.handle_timer(0)
    node.handle(0)
    assert node.session.next_timer_us() == OPENING_US
    node.session.on_connected(1_000_000)
    assert node.session.next_timer_us() == 1_000_000 + OPENING_US
    node.session.handle_timer(1_000_000 + OPENING_US)
    assert node.session.state is SessionState.CLOSING
    assert node.session.last_problem == "the brain did not answer within 10 s"
    hello = node.session.next_message()
    assert hello is not None
    assert isinstance(decode_from_node(hello), Hello)
    refusal = node.session.next_message()
    assert refusal is not None
    assert decode_from_node(refusal) == Refusal("time_out", node.session.last_problem)


def test_back_off_has_full_jitter_and_a_limit() -> None:
    """Of many nodes: no wait is below the least or above the limit, and each range is used."""
    waits: list[list[int]] = [[] for _ in range(9)]
    for seed in range(200):
        c = Channel(ChannelNode(seed=seed), Brain())
        c.is_reachable = False
        for attempt in waits:
            due_us = c.node.session.next_timer_us()
            assert due_us is not None
            c.now_us = due_us
            c.tick()
            lost = c.node.events[-1]
            assert isinstance(lost, ConnectionLost)
            assert (lost.reason, lost.was_registered) == ("no route", False)
            attempt.append(lost.retry_us)
    for n, attempt in enumerate(waits):
        limit_us = min(FIRST_LIMIT_US << n, LONGEST_LIMIT_US)
        assert SHORTEST_US <= min(attempt) < limit_us // 5 + SHORTEST_US
        assert 0.9 * limit_us < max(attempt) < limit_us


def test_back_off_starts_anew_only_after_a_connection_that_lasted() -> None:
    def limit_after(lasting_us: int) -> int:
        longest = 0
        for seed in range(100):
            c = Channel(ChannelNode(seed=seed), Brain())
            c.is_reachable = False
            while len(c.node.of(ConnectionLost)) < 5:
                c.now_us = c.node.session.next_timer_us() or 0
                c.tick()
            c.is_reachable = True
            c.now_us = c.node.session.next_timer_us() or 0
            c.tick()
            c.settle()
            assert c.node.session.is_registered
            c.run_for(lasting_us)
            c.cut()
            lost = c.node.events[-1]
            assert isinstance(lost, ConnectionLost)
            assert lost.was_registered
            longest = max(longest, lost.retry_us)
        return longest

    assert limit_after(DEAD_AFTER_US) < FIRST_LIMIT_US
    assert limit_after(DEAD_AFTER_US - 1_000_000) > LONGEST_LIMIT_US // 2


def test_after_a_refusal_it_waits_longer_once() -> None:
    refused, lost = [], []
    for seed in range(200):
        back_off = BackOff(Random(seed))
        back_off.slow_down()
        refused.append(back_off.next_delay_us())
        lost.append(back_off.next_delay_us())
    assert LONGEST_LIMIT_US < 0.9 * REFUSED_LIMIT_US < max(refused) < REFUSED_LIMIT_US
    assert 0.9 * LONGEST_LIMIT_US < max(lost) < LONGEST_LIMIT_US


# -- requests


def test_a_path_is_asked_for_once_and_answered() -> None:
    c = channel()
    c.node.session.ask_path("demo", c.now_us)
    c.node.session.ask_path("demo", c.now_us)
    c.settle()
    (ask,) = c.brain.said()[1:]
    assert isinstance(ask, AskPath)
    c.brain.sessions[1].send(Paths(ask.transaction, "demo", (WAY,)), c.now_us)
    c.settle()
    assert c.node.events[-1] == PathsFound("demo", (WAY,))
    # The same answer again, one for another stream, one for nothing that was asked.
    for transaction, name in ((ask.transaction, "demo"), (ask.transaction, "x"), (1, "demo")):
        to_node(c, encode(Paths(transaction, name, (WAY,))))
    assert c.node.events[-1] == PathsFound("demo", (WAY,))
    assert len(c.node.of(PathsFound)) == 1
    assert c.node.session.counters["answers_late"] == 3
    assert c.node.session.is_registered


def test_a_path_that_is_not_found_says_why() -> None:
    c = channel()
    c.node.session.ask_path("demo", c.now_us)
    c.settle()
    ask = c.brain.said()[-1]
    assert isinstance(ask, AskPath)
    error = RequestError(ask.transaction, RequestCode.NO_SUCH_STREAM, "nobody sends demo")
    c.brain.sessions[1].send(error, c.now_us)
    c.settle()
    assert c.node.events[-1] == PathNotFound(
        "demo", RequestCode.NO_SUCH_STREAM, "nobody sends demo"
    )


@pytest.mark.parametrize(
    ("is_reachable", "text"), [(True, "the brain did not answer"), (False, "the brain is away")]
)
def test_asking_ends_in_time(is_reachable: bool, text: str) -> None:
    c = channel()
    if not is_reachable:
        c.is_reachable = False
        c.cut()
    asked_us = c.now_us
    c.node.session.ask_path("demo", asked_us)
    c.run_until(asked_us + ASK_TIME_OUT_US - 1)
    assert c.node.of(PathNotFound) == []
    c.run_until(asked_us + ASK_TIME_OUT_US)
    assert c.node.of(PathNotFound) == [PathNotFound("demo", RequestCode.TIME_OUT, text)]


def test_what_is_not_answered_is_asked_again_on_the_next_connection() -> None:
    c = channel()
    c.is_reachable = False
    c.cut()
    c.node.session.announce(DEMO, c.now_us)
    c.node.session.ask_path("other", c.now_us)
    c.node.session.subscription_changed(SubscriptionState("x", "live"), c.now_us)  # Inventory's
    c.run_for(500_000)
    c.is_reachable = True
    c.run_for(3_000_000)
    said = c.brain.said()
    assert [type(message) for message in said] == [Report, AnnounceStream, AskPath, Report]
    announce = said[1]
    assert isinstance(announce, AnnounceStream)
    # Broken before the answer: the very same message again.
    c.cut()
    c.run_for(3_000_000)
    assert c.brain.said().count(announce) == 2
    number = max(c.brain.sessions)
    c.brain.sessions[number].send(StreamIds(announce.transaction, "demo", (8, 9)), c.now_us)
    c.settle()
    assert c.node.of(StreamIdsGiven) == [StreamIdsGiven("demo", (8, 9))]
    c.cut()
    c.run_for(3_000_000)
    assert c.brain.said().count(announce) == 2


def test_an_announcement_has_no_time_limit_but_an_end() -> None:
    c = channel()
    c.is_reachable = False
    c.cut()
    c.node.session.announce(DEMO, c.now_us)
    c.run_for(3_600_000_000)
    c.node.session.end("demo", c.now_us)
    c.is_reachable = True
    c.run_for(LONGEST_LIMIT_US)
    assert not any(isinstance(message, AnnounceStream | EndStream) for message in c.brain.said())
    c.node.session.announce(DEMO, c.now_us)
    c.node.session.end("demo", c.now_us)
    c.settle()
    assert c.brain.said()[-1] == EndStream("demo")


def test_a_refused_announcement_and_one_with_wrong_ids() -> None:
    c = channel()
    c.node.session.announce(DEMO, c.now_us)
    c.settle()
    announce = c.brain.said()[-1]
    assert isinstance(announce, AnnounceStream)
    error = RequestError(announce.transaction, RequestCode.NAME_TAKEN, "london sends demo")
    to_node(c, encode(error))
    assert c.node.events[-1] == AnnouncementRefused(
        "demo", RequestCode.NAME_TAKEN, "london sends demo"
    )
    c.node.session.announce(DEMO, c.now_us)
    c.settle()
    again = c.brain.said()[-1]
    assert isinstance(again, AnnounceStream)
    to_node(c, encode(StreamIds(again.transaction, "demo", (8,))))
    assert c.node.of(StreamIdsGiven) == []
    text = "StreamIds.stream_ids: 1 for 2 tracks"
    assert RefusedByNode("tokyo", "malformed", text) in c.brain.events


def test_requests_are_bounded_while_the_brain_is_away() -> None:
    c = channel()
    c.is_reachable = False
    c.cut()
    for n in range(MAX_REQUESTS):
        c.node.session.ask_path(f"s{n}", c.now_us)
    c.node.handle(c.now_us)
    assert c.node.of(PathNotFound) == []
    c.node.session.ask_path("one-more", c.now_us)
    c.node.session.announce(DEMO, c.now_us)
    c.node.handle(c.now_us)
    (refused,) = c.node.of(PathNotFound)
    assert isinstance(refused, PathNotFound)
    assert (refused.broadcast, refused.code) == ("one-more", RequestCode.FULL)
    assert len(c.node.of(AnnouncementRefused)) == 1
    for _ in range(1000):
        c.node.session.report(REPORT, c.now_us)
    assert c.node.session.next_message() is None
    assert c.node.session.counters["reports_dropped"] == 1000
    # And all of them are asked when it is back, in one go, with a fresh report.
    c.is_reachable = True
    c.run_until(ASK_TIME_OUT_US - 1)
    assert sum(isinstance(message, AskPath) for message in c.brain.said()) == MAX_REQUESTS
    assert c.node.session.is_registered


def test_a_brain_that_does_not_read_is_given_up() -> None:
    c = channel()
    for _ in range(MAX_MESSAGES + 1):
        c.node.session.report(REPORT, c.now_us)
    assert c.node.session.state is SessionState.CLOSING
    assert c.node.session.last_problem == "the brain does not read"


def test_advice_is_passed_on() -> None:
    c = channel()
    to_node(c, encode(RehomeAdvice("demo", (WAY,), "shorter")))
    assert c.node.events[-1] == RehomeAdvised("demo", (WAY,), "shorter")


# -- tables


def with_table(table: NodeTable = TABLE) -> Channel:
    c = channel()
    c.brain.distribution.set_tables({"tokyo": table}, c.now_us)
    c.settle()
    held = c.node.session.held
    assert held is not None
    assert held.table == table
    return c


def test_a_table_then_its_change() -> None:
    c = with_table()
    c.brain.distribution.set_tables({"tokyo": OTHER}, c.now_us)
    c.settle()
    assert c.node.applied == [TableVersion(1, 1), TableVersion(1, 2)]
    assert c.node.session.held == HeldTable(TableVersion(1, 2), OTHER)
    assert c.brain.distribution.counters == {"sent_whole": 1, "sent_change": 1}
    status = c.brain.distribution.status("tokyo")
    assert status is not None
    assert status.is_current
    assert status.is_stored


def refusals_of(c: Channel, *tables: Table) -> list[TableRefused]:
    """What the node answers to each. Nothing may change."""
    before = c.node.session.held, c.node.stored, list(c.node.applied)
    answers = []
    for table in tables:
        c.node.session.receive(encode(table), c.now_us)
        c.node.handle(c.now_us)
        data = c.node.session.next_message()
        assert data is not None
        answer = decode_from_node(data)
        assert isinstance(answer, TableRefused)
        answers.append(answer)
    assert (c.node.session.held, c.node.stored, list(c.node.applied)) == before
    assert c.node.session.is_registered
    assert len(c.node.of(TableDeclined)) == len(tables)
    return answers


def test_stale_and_misfitting_tables_change_nothing() -> None:
    c = with_table()
    c.brain.distribution.set_tables({"tokyo": OTHER}, c.now_us)
    c.settle()
    v, held = TableVersion, TableVersion(1, 2)
    answers = refusals_of(
        c,
        TABLE.as_message(v(1, 1)),
        OTHER.as_message(v(2, 1)),
        TABLE.change_from(OTHER, v(1, 1), v(1, 3)),
        Table(v(1, 3), held, removed_neighbours=("n7",)),
        Table(
            v(1, 3),
            held,
            neighbours=(neighbour(9), msgspec.structs.replace(neighbour(9), name="z")),
        ),
        Table(v(1, 3), neighbours=(msgspec.structs.replace(neighbour(9), name="tokyo"),)),
    )
    assert {answer.held for answer in answers} == {held}
    assert [(answer.code.value, answer.text) for answer in answers] == [
        ("stale", "table 1.1 is older than 1.2, which is in force"),
        ("invalid", "table 2.1 is not of the brain's term 1"),
        ("wrong_base", "table 1.3 changes 1.1, but 1.2 is in force"),
        ("invalid", "removed_neighbours: n7 is no neighbour"),
        ("invalid", "neighbours: n9 and z both have id 9"),
        ("invalid", "neighbours: tokyo is this node itself"),
    ]


def test_a_table_of_an_earlier_term_that_comes_late_is_stale() -> None:
    c = channel(ChannelNode(stored=HeldTable(TableVersion(1, 1), TABLE)), Brain(term=2))
    (answer,) = refusals_of(c, OTHER.as_message(TableVersion(1, 2)))
    assert answer.code is TableRefusalCode.STALE
    assert answer.text == "table 1.2 is not of the brain's term 2"


def test_a_table_that_came_twice_is_acknowledged_twice() -> None:
    c = with_table()
    to_node(c, encode(TABLE.as_message(TableVersion(1, 1))))
    assert c.node.applied == [TableVersion(1, 1)]
    assert c.brain.sessions[1].counters["received_table_applied"] == 2


def test_a_full_disk_is_told_and_the_table_in_force() -> None:
    c = channel(ChannelNode(is_disk_full=True))
    c.brain.distribution.set_tables({"tokyo": TABLE}, c.now_us)
    c.settle()
    assert c.node.session.held == HeldTable(TableVersion(1, 1), TABLE)
    status = c.brain.distribution.status("tokyo")
    assert status is not None
    assert status.is_current
    assert not status.is_stored


def test_the_table_outlasts_the_brain_and_the_node() -> None:
    c = with_table()
    c.is_reachable = False
    c.cut()
    c.run_for(600_000_000)
    assert c.node.session.held is not None
    c.node.restart(c.now_us)
    c.run_for(600_000_000)
    held = c.node.session.held
    assert held is not None
    assert (held.version, held.table) == (TableVersion(1, 1), TABLE)
    # A brain of a later term knows nothing of it, and says it all.
    c.brain = Brain(term=2)
    c.is_reachable = True
    c.brain.distribution.set_tables({"tokyo": OTHER}, c.now_us)
    c.run_for(LONGEST_LIMIT_US)
    assert c.node.session.held == HeldTable(TableVersion(2, 1), OTHER)


def test_a_brain_of_an_older_term_is_not_followed() -> None:
    c = channel(ChannelNode(stored=HeldTable(TableVersion(7, 3), TABLE)), Brain(term=6))
    assert not c.node.session.is_registered
    text = (
        "tokyo has followed a brain of term 7; this one's is 6: it is an older one, or has lost "
        "its state"
    )
    assert c.node.session.last_problem == text
    assert RefusedByNode("tokyo", "term_behind", text) in c.brain.events
    assert c.node.session.held == HeldTable(TableVersion(7, 3), TABLE)
    assert c.brain.registry.connected == {}


def test_what_the_node_cannot_use_is_not_sent_again_and_again() -> None:
    c = channel(ChannelNode(refuses=TableRefusalCode.NO_ROOM))
    c.brain.distribution.set_tables({"tokyo": TABLE}, c.now_us)
    c.run_for(120_000_000)
    status = c.brain.distribution.status("tokyo")
    assert status is not None
    assert status.problem == "as the test says (no_room)"
    assert c.brain.distribution.counters == {"sent_whole": 1, "refused_no_room": 1}
    assert c.node.session.held is None
    c.node.refuses = None
    c.brain.distribution.set_tables({"tokyo": OTHER}, c.now_us)
    c.settle()
    assert c.node.session.held == HeldTable(TableVersion(1, 2), OTHER)


# -- what does not belong


GARBAGE = [
    (b"\xc1garbage", "malformed", "a msgpack array of schema and message is expected"),
    (bytes(MAX_MESSAGE_BYTES + 1), "too_large", f"a message has at most {MAX_MESSAGE_BYTES}"),
    (msgspec.msgpack.encode((2, {"type": "x"})), "schema_too_new", "control schema 2 is newer"),
    (msgspec.msgpack.encode((1, {"type": "reboot"})), "malformed", "'reboot' is not a message"),
    (encode(Welcome(1, 1, 5_000_000, 15_000_000, 60_000_000, 800)), "unexpected", "Welcome while"),
]


@pytest.mark.parametrize(("data", "code", "text"), GARBAGE)
def test_garbage_from_the_brain(data: bytes, code: str, text: str) -> None:
    c = with_table()
    held, stored = c.node.session.held, c.node.stored
    to_node(c, data)
    assert text in c.node.session.last_problem
    (refused,) = [event for event in c.brain.events if isinstance(event, RefusedByNode)]
    assert (refused.node, refused.code) == ("tokyo", code)
    assert text in refused.text
    assert (c.node.session.held, c.node.stored) == (held, stored)
    # It comes back by itself, and nothing has to be sent again.
    c.run_for(REFUSED_LIMIT_US)
    assert c.node.session.is_registered
    assert c.brain.distribution.counters == {"sent_whole": 1}


GARBAGE_TO_BRAIN = [
    *GARBAGE[:4],
    (encode(Hello(1, 1, "tokyo", "t", 1)), "unexpected", "Hello while joined"),
    (encode(TABLE.as_message(TableVersion(1, 1))), "malformed", "'table' is not a message"),
]


@pytest.mark.parametrize(("data", "code", "text"), GARBAGE_TO_BRAIN)
def test_garbage_from_a_node(data: bytes, code: str, text: str) -> None:
    c = with_table()
    c.to_brain.append(data)
    c.settle()
    (away,) = [event for event in c.brain.events if isinstance(event, NodeTurnedAway)]
    assert (away.node, away.code) == ("tokyo", code)
    assert text in away.text
    (refused,) = c.node.of(RefusedByBrain)
    assert isinstance(refused, RefusedByBrain)
    assert (refused.code, refused.text) == (code, away.text)
    assert c.node.session.held == HeldTable(TableVersion(1, 1), TABLE)
    status = c.brain.distribution.status("tokyo")
    assert status is not None
    assert status.applied == TableVersion(1, 1)
    c.run_for(REFUSED_LIMIT_US)
    assert c.node.session.is_registered
    assert c.brain.distribution.counters == {"sent_whole": 1}


def test_a_table_before_welcome_is_unexpected() -> None:
    node = ChannelNode()
    node.session.handle_timer(0)
    node.handle(0)
    node.session.on_connected(0)
    node.session.receive(encode(TABLE.as_message(TableVersion(1, 1))), 0)
    assert node.session.last_problem == "Table while opening"
    assert node.session.held is None


def test_nothing_is_heard_after_the_end() -> None:
    c = with_table()
    c.node.session.stop(c.now_us)
    wishes = c.node.handle(c.now_us)
    assert wishes == [Disconnect(1001, "tokyo stops")]
    c.node.session.receive(encode(OTHER.as_message(TableVersion(1, 9))), c.now_us)
    c.node.session.on_closed("closed", c.now_us)
    c.node.session.ask_path("demo", c.now_us)
    assert c.node.session.next_message() is None
    assert c.node.handle(c.now_us) == []
    assert c.node.session.state is SessionState.STOPPED


@pytest.mark.parametrize("seed", range(40))
def test_no_order_of_events_turns_a_table_back_or_misapplies_a_change(seed: int) -> None:
    """Cuts, restarts of both, disks put back, late, double and reordered tables: versions only
    rise, what is in force is what the brain called so, and in the end it is what is wanted."""
    rng = Random(seed)
    c = Channel(ChannelNode(seed=seed), Brain())
    c.run_until(0)
    contents: dict[TableVersion, NodeTable] = {}
    highest: TableVersion | None = None
    everything: list[bytes] = []
    wanted = random_table(rng)

    def check() -> None:
        nonlocal highest
        distribution = c.brain.distribution
        status = distribution.status("tokyo")
        if status is not None:
            assert contents.setdefault(status.wanted, wanted) == wanted, "a number given twice"
        held = c.node.session.held
        if held is not None:
            assert highest is None or held.version >= highest, "turned back"
            highest = held.version
            assert held.table == contents[held.version], "a change on the wrong base"
        assert c.node.applied == sorted(set(c.node.applied))

    for _ in range(300):
        everything += c.sent_to_node
        c.sent_to_node.clear()
        match rng.randrange(18):
            case 0 | 1 | 2:
                wanted = random_table(rng)
                c.brain.distribution.set_tables({"tokyo": wanted}, c.now_us)
                c.pump()
            case 3 | 4:
                c.deliver_to_node()
            case 5 | 6:
                c.deliver_to_brain()
            case 7:
                c.cut()
            case 8 if everything:  # late, or twice, or from an earlier connection or term
                c.to_node.insert(rng.randrange(len(c.to_node) + 1), rng.choice(everything))
            case 9 if len(c.to_node) > 1:
                c.to_node.rotate(1)
            case 10:
                c.cut()
                c.node.restart(c.now_us)
            case 11 if rng.random() < 0.3:
                c.cut()
                c.brain = Brain(term=c.brain.term + 1)
                c.brain.distribution.set_tables({"tokyo": wanted}, c.now_us)
            case 12 if rng.random() < 0.5:  # its disk is an older copy, or empty
                c.cut()
                old = [version for version in contents if rng.random() < 0.2]
                c.node.stored = HeldTable(old[0], contents[old[0]]) if old else None
                c.node.restart(c.now_us)
                c.node.applied.clear()
                highest = None
                c.step()
                c.deliver_to_brain()
                c.deliver_to_node()
                if everything:  # before the brain has seen the inventory
                    c.to_node.appendleft(rng.choice(everything))
                    c.deliver_to_node()
            case 13 | 14 | 15 | 16:
                c.step()
            case _:
                c.run_for(rng.choice((1_000_000, 12_000_000)))
        check()
    c.cut()
    c.brain.distribution.set_tables({"tokyo": wanted}, c.now_us)
    c.run_for(100_000_000)
    check()
    assert c.node.session.held is not None
    assert c.node.session.held.table == wanted
    status = c.brain.distribution.status("tokyo")
    assert status is not None
    assert status.is_current


@pytest.mark.parametrize("seed", range(20))
def test_no_message_in_any_state_raises(seed: int) -> None:
    """Each side hears anything the schema has, true or not, at any time, and goes on."""
    rng = Random(seed)
    c = Channel(ChannelNode(seed=seed), Brain())
    c.brain.distribution.set_tables({"tokyo": TABLE}, 0)
    for _ in range(200):
        match rng.randrange(6):
            case 0:
                c.to_node.append(encode(rng.choice(FROM_BRAIN)))
            case 1:
                c.to_brain.append(encode(rng.choice(FROM_NODE)))
            case 2:
                c.node.session.ask_path(rng.choice(("demo", "other")), c.now_us)
                c.node.session.announce(DEMO, c.now_us)
            case 3:
                c.step()
            case _:
                c.settle()
        held = c.node.session.held
        assert held is None or held.table == TABLE or held.version.term == 3  # the samples' term
    c.cut()
    c.node.stored = None
    c.node.restart(c.now_us)
    c.run_for(100_000_000)
    assert c.node.session.is_registered


def test_heartbeats_alone_register_nobody() -> None:
    brain = Brain()
    number = brain.accept(0)
    brain.sessions[number].receive(encode(Heartbeat()), 0)
    brain.handle(0)
    assert isinstance(brain.events[0], NodeTurnedAway)
    assert brain.events[0].code == "unexpected"
