"""The table's side of premium viewers: what is asked of whom, and what others are told of it."""

from __future__ import annotations

from relay.messages import Ok, Subscribe, Unsubscribe
from relay.slowpath.subscription import SubscriptionTable
from relay.slowpath.subscription_events import (
    CopiesChanged,
    MarkCopy,
    Switched,
    UpstreamChanged,
)
from tests.relay.slowpath.test_ways import BOTH, drain, new_table, ok_for, told


def with_copies() -> tuple[SubscriptionTable, Subscribe, Subscribe]:
    """One premium viewer; from a by way of b, and copies by way of d."""
    table = new_table()
    table.join_viewer(1, "demo", (), 0, is_premium=True)
    table.on_paths("demo", BOTH, 30_000)
    (primary,) = told(drain(table), "b")
    table.on_message("b", ok_for(primary, "b"), 70_000)
    events = drain(table)
    (copies,) = told(events, "d")
    assert isinstance(primary, Subscribe)
    assert isinstance(copies, Subscribe)
    assert (copies.mode, copies.start) == ("duplicate", "seq")
    assert UpstreamChanged("demo", "b", "d") in events
    table.on_message("d", ok_for(copies, "d"), 110_000)
    assert drain(table) == [CopiesChanged("demo", ("a", "d"), True)]
    return table, primary, copies


def test_who_gets_it_from_here_hears_where_it_comes_from_when_only_copies_are_left() -> None:
    """Else two nodes that live on each other's copies would never learn it."""
    table, primary, copies = with_copies()
    table.on_message("e", Subscribe(9, "demo", ("b", "a"), ("e",)), 200_000)
    table.on_cursor_started("e", 11, 150)
    (before,) = told(drain(table), "e")
    assert isinstance(before, Ok)
    assert before.ancestors == ("a", "b", "c")
    table.on_link_down("b", 1_000_000)
    events = drain(table)
    (active,) = told(events, "d")
    assert isinstance(active, Subscribe)
    assert (active.transaction, active.mode) == (copies.transaction, "active")
    assert Switched("demo", "link_down", "b", "d", 0) in events
    assert CopiesChanged("demo", (), False) in events
    (after,) = told(events, "e")
    assert isinstance(after, Ok)
    assert (after.ancestors, after.state) == (("a", "d", "c"), "live")
    assert told(events, "b") == [Unsubscribe(primary.transaction, "demo")]


def test_what_comes_as_a_copy_is_marked_until_it_is_all_there_is() -> None:
    table = with_copies()[0]
    table.on_message("e", Subscribe(5, "demo", ("b",), ("e",), "seq", "duplicate"), 200_000)
    assert drain(table)[0] == MarkCopy("e", 11, is_copy=True)
    table.on_cursor_started("e", 11, 150)
    drain(table)
    table.on_message("e", Subscribe(5, "demo", ("b",), ("e",), mode="active"), 300_000)
    assert drain(table)[0] == MarkCopy("e", 11, is_copy=False)
    # A refresh that was under way meanwhile does not undo it.
    table.on_message("e", Subscribe(5, "demo", ("b",), ("e",), mode="duplicate"), 300_000)
    assert not [event for event in drain(table) if isinstance(event, MarkCopy)]


def test_a_node_that_feeds_this_one_cannot_make_it_its_only_source() -> None:
    """d sends copies here, and gets its own from here; when these are to be all it has, it is told
    of the loop, unless it is no ancestor."""
    table, _, _ = with_copies()
    table.on_message("d", Subscribe(5, "demo", ("b",), ("d",), "seq", "duplicate"), 200_000)
    table.on_cursor_started("d", 11, 150)
    drain(table)
    table.on_link_down("b", 1_000_000)  # now d is where it comes from
    drain(table)
    table.on_message("d", Subscribe(5, "demo", ("b",), ("d",), mode="active"), 1_100_000)
    broadcast = table.find("demo")
    assert broadcast is not None
    assert "d" not in broadcast.nodes
