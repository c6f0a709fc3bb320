"""What is sent to whom, and when again. Random orders are tested with the whole channel."""

from __future__ import annotations

from control_client.errors import TableRefusalCode
from control_client.messages import Table, TableApplied, TableRefused, TableVersion
from control_client.table import NodeTable
from controller.tables.distribution import ANSWER_TIME_OUT_US, Distribution, SendTable
from tests.support.control_channel import neighbour

A = NodeTable.of([neighbour(1), neighbour(2)])
B = NodeTable.of([neighbour(2), neighbour(3)])
C = NodeTable.of([neighbour(2)])


def version(number: int, term: int = 5) -> TableVersion:
    return TableVersion(term, number)


def sent(distribution: Distribution) -> list[SendTable]:
    events = []
    while (event := distribution.next_event()) is not None:
        events.append(event)
    return events


def with_tokyo_at(table: NodeTable) -> Distribution:
    """It has acknowledged version 1."""
    distribution = Distribution(5)
    distribution.set_tables({"tokyo": table}, 0)
    distribution.on_joined("tokyo", None, 0)
    assert sent(distribution) == [SendTable("tokyo", table.as_message(version(1)))]
    distribution.on_applied("tokyo", TableApplied(version(1)), 0)
    assert sent(distribution) == []
    return distribution


def test_a_change_is_all_that_is_sent() -> None:
    distribution = with_tokyo_at(A)
    distribution.set_tables({"tokyo": A}, 0)
    assert sent(distribution) == []
    distribution.set_tables({"tokyo": B}, 0)
    change = Table(version(2), version(1), (neighbour(3),), ("n1",))
    assert sent(distribution) == [SendTable("tokyo", change)]


def test_what_changes_meanwhile_is_one_change_later() -> None:
    distribution = with_tokyo_at(A)
    for table in (B, A, C):
        distribution.set_tables({"tokyo": table}, 0)
    assert len(sent(distribution)) == 1
    distribution.on_applied("tokyo", TableApplied(version(2)), 0)
    change = Table(version(4), version(2), removed_neighbours=("n3",))
    assert sent(distribution) == [SendTable("tokyo", change)]


def test_no_answer_sends_it_again_as_a_whole() -> None:
    distribution = with_tokyo_at(A)
    distribution.set_tables({"tokyo": B}, 1_000_000)
    sent(distribution)
    assert distribution.next_timer_us() == 1_000_000 + ANSWER_TIME_OUT_US
    distribution.handle_timer(1_000_000 + ANSWER_TIME_OUT_US - 1)
    assert sent(distribution) == []
    distribution.handle_timer(1_000_000 + ANSWER_TIME_OUT_US)
    assert sent(distribution) == [SendTable("tokyo", B.as_message(version(2)))]
    distribution.on_applied("tokyo", TableApplied(version(2)), 20_000_000)
    distribution.on_applied("tokyo", TableApplied(version(2)), 20_000_000)  # of the first one
    status = distribution.status("tokyo")
    assert status is not None
    assert status.is_current
    assert distribution.next_timer_us() is None


def test_a_node_that_comes_back_gets_what_it_lacks() -> None:
    distribution = with_tokyo_at(A)
    distribution.on_left("tokyo")
    distribution.set_tables({"tokyo": B}, 0)
    assert sent(distribution) == []
    assert distribution.next_timer_us() is None
    distribution.on_joined("tokyo", version(1), 0)  # a change
    assert [event.message.base for event in sent(distribution)] == [version(1)]
    distribution.on_left("tokyo")
    distribution.on_joined("tokyo", version(2), 0)  # it was applied, the answer was lost
    assert sent(distribution) == []
    distribution.on_left("tokyo")
    distribution.set_tables({"tokyo": C}, 0)
    distribution.on_joined("tokyo", version(2), 0)  # and its content is known
    assert [event.message.base for event in sent(distribution)] == [version(2)]
    distribution.on_left("tokyo")
    distribution.on_joined("tokyo", version(9, term=4), 0)  # its disk was put back
    assert sent(distribution) == [SendTable("tokyo", C.as_message(version(3)))]


def test_a_missing_base_brings_the_whole_table() -> None:
    distribution = with_tokyo_at(A)
    distribution.set_tables({"tokyo": B}, 0)
    sent(distribution)
    refused = TableRefused(version(2), TableRefusalCode.WRONG_BASE, "no", None)
    distribution.on_refused("tokyo", refused, 0)
    assert sent(distribution) == [SendTable("tokyo", B.as_message(version(2)))]
    distribution.on_refused("tokyo", refused, 0)  # which has no base: it makes no sense
    assert sent(distribution) == []
    status = distribution.status("tokyo")
    assert status is not None
    assert status.problem == "no (wrong_base)"


def test_a_useless_table_waits_for_another_or_for_the_node_to_come_back() -> None:
    distribution = with_tokyo_at(A)
    distribution.set_tables({"tokyo": B}, 0)
    sent(distribution)
    refused = TableRefused(version(2), TableRefusalCode.NO_ROOM, "64 links", version(1))
    distribution.on_refused("tokyo", refused, 0)
    distribution.set_tables({"tokyo": B}, 0)
    distribution.handle_timer(ANSWER_TIME_OUT_US)
    assert sent(distribution) == []
    distribution.set_tables({"tokyo": C}, 0)
    change = Table(version(3), version(1), removed_neighbours=("n1",))
    assert sent(distribution) == [SendTable("tokyo", change)]
    distribution.on_refused(
        "tokyo", TableRefused(version(3), TableRefusalCode.NO_ROOM, "", version(1)), 0
    )
    distribution.on_left("tokyo")
    distribution.on_joined("tokyo", version(1), 0)
    assert sent(distribution) == [SendTable("tokyo", change)]


def test_late_answers_count_and_change_nothing() -> None:
    distribution = with_tokyo_at(A)
    distribution.on_refused("tokyo", TableRefused(version(1), TableRefusalCode.STALE, ""), 0)
    distribution.on_applied("tokyo", TableApplied(version(7)), 0)
    distribution.on_applied("osaka", TableApplied(version(1)), 0)
    status = distribution.status("tokyo")
    assert status is not None
    assert status.is_current
    assert distribution.counters["answers_late"] == 2


def test_a_number_is_never_used_twice() -> None:
    """Also not for a node whose table was not wanted for a while, with an answer under way."""
    distribution = with_tokyo_at(A)
    distribution.set_tables({"tokyo": B}, 0)
    sent(distribution)
    distribution.set_tables({}, 0)
    distribution.set_tables({"tokyo": C}, 0)
    assert sent(distribution) == [SendTable("tokyo", C.as_message(version(3)))]
    distribution.on_applied("tokyo", TableApplied(version(2)), 0)
    distribution.on_applied("tokyo", TableApplied(version(3)), 0)
    status = distribution.status("tokyo")
    assert status is not None
    assert status.is_current


def test_nodes_are_served_apart() -> None:
    distribution = with_tokyo_at(A)
    distribution.on_joined("paris", None, 0)
    distribution.set_tables({"tokyo": A, "paris": B, "london": C}, 0)
    assert sent(distribution) == [SendTable("paris", B.as_message(version(2)))]
    distribution.on_left("osaka")
    london = distribution.status("london")
    assert london is not None
    assert (london.applied, london.problem) == (None, "the node is away")
    assert distribution.status("osaka") is None
