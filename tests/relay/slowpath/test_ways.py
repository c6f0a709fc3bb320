"""The table's second ways, and messages that want to do harm: what is answered, and that nothing
else changes."""

from __future__ import annotations

from random import Random

import pytest

from relay.errors import RefusalCode
from relay.messages import End, Error, Message, Ok, Subscribe, Track, Unsubscribe, UpstreamLost
from relay.slowpath.subscription import SubscriptionTable
from relay.slowpath.subscription_events import (
    AddCursor,
    BroadcastState,
    PathsWanted,
    RemoveCursor,
    Send,
    SubscriptionEvent,
    Switched,
    TracksChanged,
    UpstreamChanged,
    ViewerRefused,
)
from relay.slowpath.upstream import NEXT_PATH_US
from relay.slowpath.ways import RING_MARGIN_PACKETS

VIDEO = Track(11, "video", "H264", 96, 90_000, 100)
BOTH = (("b", "a"), ("d", "a"))


def drain(table: SubscriptionTable) -> list[SubscriptionEvent]:
    events = []
    while (event := table.next_event()) is not None:
        events.append(event)
    return events


def told(events: list[SubscriptionEvent], peer: str) -> list[Message]:
    return [event.message for event in events if isinstance(event, Send) and event.peer == peer]


def new_table(**options: int) -> SubscriptionTable:
    table = SubscriptionTable("c", ["b", "d", "e"], Random(1))
    table.asks_for_paths = True
    table.max_hops = options.get("max_hops")
    return table


def ok_for(message: Message, peer: str, *ancestors: str, state: str = "live") -> Ok:
    assert isinstance(message, Subscribe)
    nodes = ancestors or ("a",)
    return Ok(message.transaction, "demo", (VIDEO,), (*nodes, peer), state)  # type: ignore[arg-type]


def standing() -> tuple[SubscriptionTable, Subscribe, Subscribe]:
    """One viewer; from a by way of b, and d stands by."""
    table = new_table()
    table.join_viewer(1, "demo", (), 0)
    assert drain(table) == [PathsWanted("demo")]
    table.on_paths("demo", BOTH, 30_000)
    (primary,) = told(drain(table), "b")
    assert isinstance(primary, Subscribe)
    table.on_message("b", ok_for(primary, "b"), 70_000)
    (standby,) = told(drain(table), "d")
    assert isinstance(standby, Subscribe)
    assert (standby.mode, standby.path) == ("standby", ("a",))
    table.on_message("d", ok_for(standby, "d"), 110_000)
    assert drain(table) == []
    return table, primary, standby


@pytest.mark.parametrize("why", ["link_down", "upstream_lost", "refused", "ended", "restarted"])
def test_a_switch_asks_the_standby_for_the_rest_and_leaves_the_old(why: str) -> None:
    table, primary, standby = standing()
    if why == "link_down":
        table.on_link_down("b", 1_000_000)
    elif why == "restarted":
        table.on_peer_restarted("b", 1_000_000)
    elif why == "refused":
        error = Error(primary.transaction, "demo", RefusalCode.FULL)
        table.on_message("b", error, 1_000_000)
    else:
        table.on_message("b", End((11,)) if why == "ended" else UpstreamLost((11,)), 1_000_000)
    events = drain(table)
    assert events[0] == UpstreamChanged("demo", "d")
    (active,) = told(events, "d")
    assert isinstance(active, Subscribe)
    assert (active.transaction, active.mode, active.start) == (
        standby.transaction, "active", "seq",
    )  # fmt: skip
    assert told(events, "b") == [Unsubscribe(primary.transaction, "demo")]
    table.on_upstream_flows("demo", 123_456, 1_100_000)
    assert drain(table) == [Switched("demo", why, "b", "d", 123_456)]


def test_neighbours_are_told_only_if_the_standby_does_not_answer_in_time() -> None:
    table, _, _ = standing()
    table.on_message("e", Subscribe(9, "demo", ("b", "a"), ("e",)), 200_000)
    table.on_cursor_started("e", 11, 150)
    drain(table)
    table.on_link_down("b", 1_000_000)
    assert told(drain(table), "e") == []
    table.handle_timer(1_300_000)
    assert told(drain(table), "e") == []
    table.handle_timer(1_900_000)
    events = drain(table)
    assert told(events, "e") == [UpstreamLost((11,))]
    table.handle_timer(1_000_000 + NEXT_PATH_US)
    table.handle_timer(1_000_000 + NEXT_PATH_US)
    broadcast = table.find("demo")
    assert broadcast is not None
    assert broadcast.state is BroadcastState.LOST
    assert PathsWanted("demo") in drain(table)


def test_an_unsubscribe_into_a_dead_link_is_said_again() -> None:
    table, primary, _ = standing()
    table.on_link_down("b", 1_000_000)
    drain(table)
    table.on_link_up("b", 2_000_000)
    assert told(drain(table), "b") == [Unsubscribe(primary.transaction, "demo")]
    table.on_link_up("b", 3_000_000)
    assert told(drain(table), "b") == []


@pytest.mark.parametrize("answer", ["error", "loop", "lost", "end"])
def test_a_standby_that_is_none_is_replaced(answer: str) -> None:
    table, _, standby = standing()
    broadcast = table.find("demo")
    assert broadcast is not None
    broadcast.paths = (*BOTH, ("e", "a"))
    if answer == "error":
        table.on_message("d", Error(standby.transaction, "demo", RefusalCode.LOOP), 1_000_000)
    elif answer == "end":
        table.on_message("d", End((11,)), 1_000_000)
    elif answer == "loop":
        table.on_message("d", ok_for(standby, "d", "a", "c"), 1_000_000)
    else:
        table.on_message("d", ok_for(standby, "d", state="lost"), 1_000_000)
    (another,) = told(drain(table), "e")
    assert isinstance(another, Subscribe)
    assert another.mode == "standby"
    assert broadcast.state is BroadcastState.LIVE


def test_a_paused_node_passes_the_start_on_at_once_and_leaves_room_before_it() -> None:
    table = new_table()
    table.on_message("e", Subscribe(5, "demo", ("b", "a"), ("e",), mode="standby"), 0)
    (asked,) = told(drain(table), "b")
    assert isinstance(asked, Subscribe)
    assert (asked.mode, asked.visited) == ("standby", ("e", "c"))
    table.on_message("b", ok_for(asked, "b"), 20_000)
    (ok,) = told(drain(table), "e")
    assert isinstance(ok, Ok)
    assert ok.ancestors == ("a", "b", "c")
    start = {11: 5}  # just past the wrap
    activation = Subscribe(5, "demo", ("b", "a"), ("e",), "seq", "active", start)
    table.on_message("e", activation, 1_000_000)
    events = drain(table)
    (changed,) = [event for event in events if isinstance(event, TracksChanged)]
    assert changed.tracks[0].first_stream_seq == (5 - RING_MARGIN_PACKETS) & 0xFFFFFFFF
    (passed_on,) = told(events, "b")
    assert isinstance(passed_on, Subscribe)
    assert (passed_on.mode, passed_on.start, passed_on.starts) == ("active", "seq", start)
    assert passed_on.transaction == asked.transaction
    assert AddCursor("e", 11, 5) in events
    table.on_message("e", activation, 1_010_000)  # the second copy
    assert drain(table) == []
    table.on_cursor_started("e", 11, 5)
    assert drain(table) == []  # not before it is true
    table.on_message("b", ok_for(asked, "b"), 1_040_000)
    (ok,) = told(drain(table), "e")
    assert isinstance(ok, Ok)
    assert ok.state == "live"
    # A refresh that was under way when it was activated pauses nothing.
    late = Subscribe(5, "demo", ("b", "a"), ("e",), mode="standby")
    table.on_message("e", late, 1_050_000)
    assert not [event for event in drain(table) if isinstance(event, RemoveCursor)]


def test_a_path_too_deep_is_left_for_another_or_for_advice() -> None:
    table = new_table(max_hops=3)
    table.join_viewer(1, "demo", BOTH, 0)
    (first,) = told(drain(table), "b")
    table.on_message("b", ok_for(first, "b", "a", "x", "y", "z"), 20_000)
    events = drain(table)
    (second,) = told(events, "d")
    assert told(events, "b") == [Unsubscribe(first.transaction, "demo")]  # type: ignore[union-attr]
    table.on_message("d", ok_for(second, "d", "a", "x", "y", "z"), 40_000)
    drain(table)  # better than nothing
    table.handle_timer(40_000)
    assert PathsWanted("demo") in drain(table)
    table.on_paths("demo", (("e", "a"),), 60_000)
    assert UpstreamChanged("demo", "d", "e") in drain(table)


@pytest.mark.parametrize(
    "message",
    [
        Subscribe(5, "demo", (), ("d",), mode="standby"),  # our standby's node asks us to stand by
        Subscribe(5, "demo", ("b",), ("x",), mode="standby"),  # not who it says
        Subscribe(5, "demo", ("c", "a"), ("e",), "seq", "standby", {11: 1}),
        Subscribe(5, "demo", (), ("b",), "seq", "active", {11: 1}),  # our upstream
        Subscribe(5, "demo", (), ("b", "e"), "seq", "active", {11: 1}),
        Ok(5, "demo", (VIDEO,), ("a", "e")),
        Error(5, "demo", RefusalCode.LOOP),
        End((11,)),
        UpstreamLost((11, 0xFFFFFFFF)),
        Unsubscribe(5, "demo"),
    ],
)
def test_what_does_not_fit_changes_nothing(message: Message) -> None:
    """From e, who has nothing to do with it, or in another's name."""
    table, _, _ = standing()
    before = repr(table.find("demo")).replace("monitor", "")
    table.on_message("e", message, 1_000_000)
    for event in drain(table):
        assert isinstance(event, Send)
        assert event.peer == "e"
        assert isinstance(event.message, Error | Unsubscribe | Ok)
    broadcast = table.find("demo")
    assert broadcast is not None
    broadcast.nodes.pop("e", None)
    assert repr(broadcast).replace("monitor", "") == before


def test_starts_of_unknown_streams_are_not_used() -> None:
    table, _, _ = standing()
    strange = {number: 0xFFFFFFFF for number in range(1, 9)}
    table.on_message("e", Subscribe(5, "demo", (), ("e",), "seq", "active", strange), 1_000_000)
    assert drain(table) == [AddCursor("e", 11, None)]


def test_no_neighbour_begins_the_path() -> None:
    table = new_table()
    table.join_viewer(1, "demo", (), 0)
    drain(table)
    table.on_paths("demo", (("x", "a"), ("c", "a")), 30_000)
    (refused,) = [event for event in drain(table) if isinstance(event, ViewerRefused)]
    assert refused.code is RefusalCode.NO_PATH


@pytest.mark.parametrize("newest", [1, 0x8000])
def test_an_overtaken_subscribe_does_not_replace_the_one_that_replaced_it(newest: int) -> None:
    """A refresh of a standby is still under way when its place is taken, across the wrap too."""
    table, _, _ = standing()
    old = (newest - 2) & 0xFFFFFFFF
    table.on_message("e", Subscribe(old, "demo", ("b", "a"), ("e",), mode="standby"), 200_000)
    table.on_message("e", Subscribe(newest, "demo", ("b", "a"), ("e",)), 300_000)
    table.on_cursor_started("e", 11, 150)
    drain(table)
    table.on_message("e", Subscribe(old, "demo", ("b", "a"), ("e",), mode="standby"), 310_000)
    assert drain(table) == []
    broadcast = table.find("demo")
    assert broadcast is not None
    assert not broadcast.nodes["e"].is_paused
    assert table.rejected == 1


def relaying() -> tuple[SubscriptionTable, Subscribe]:
    """e gets it from here, and it comes from b."""
    table = new_table()
    table.on_message("e", Subscribe(9, "demo", ("b", "a"), ("e",)), 0)
    (primary,) = told(drain(table), "b")
    assert isinstance(primary, Subscribe)
    table.on_message("b", ok_for(primary, "b"), 40_000)
    table.on_cursor_started("e", 11, 150)
    drain(table)
    return table, primary


def test_who_is_fed_from_here_is_not_asked() -> None:
    table, _ = relaying()
    table.join_viewer(1, "demo", (), 100_000)
    table.on_paths("demo", (("b", "a"), ("e", "a")), 130_000)
    drain(table)
    table.on_link_down("b", 1_000_000)
    messages = told(drain(table), "e")
    assert messages
    assert set(map(type, messages)) == {UpstreamLost}


def test_a_relay_goes_back_to_the_way_it_left() -> None:
    """The other way was a loop, and its subscriber may know no path but this relay's."""
    table, primary = relaying()
    table.on_message("e", Subscribe(10, "demo", ("d", "a"), ("e",)), 100_000)
    table.on_message("b", UpstreamLost((11,)), 1_000_000)
    table.on_message("e", Subscribe(11, "demo", ("d", "a"), ("e",)), 1_100_000)
    (other,) = {m.transaction: m for m in told(drain(table), "d")}.values()  # type: ignore[union-attr]
    assert isinstance(other, Subscribe)
    table.on_message("d", Error(other.transaction, "demo", RefusalCode.LOOP), 1_200_000)
    drain(table)
    table.handle_timer(2_300_000)
    events = drain(table)
    again = [m for m in told(events, "b") if isinstance(m, Subscribe)]
    assert [m.path for m in again] == [primary.path]
    assert PathsWanted("demo") not in events
    table.on_message("b", ok_for(again[0], "b"), 2_400_000)
    broadcast = table.find("demo")
    assert broadcast is not None
    assert broadcast.state is BroadcastState.LIVE


def test_a_path_told_twice_is_known_once() -> None:
    table, _ = relaying()
    table.on_link_down("d", 900_000)
    table.on_message("b", UpstreamLost((11,)), 1_000_000)
    for transaction in range(10, 14):
        message = Subscribe(transaction, "demo", ("d", "a"), ("e",))
        table.on_message("e", message, 1_000_000 + transaction * 100_000)
    broadcast = table.find("demo")
    assert broadcast is not None
    assert broadcast.paths == (("b", "a"), ("d", "a"))


def test_who_comes_to_a_relay_that_has_lost_it_asks_for_paths() -> None:
    table = new_table()
    table.join_viewer(1, "demo", (), 0)
    table.on_paths("demo", BOTH[:1], 30_000)
    (primary,) = told(drain(table), "b")
    table.on_message("b", ok_for(primary, "b", state="lost"), 70_000)
    table.handle_timer(1_100_000)
    assert PathsWanted("demo") in drain(table)


def moving() -> tuple[SubscriptionTable, Subscribe]:
    """From b to d, which has said OK and delivered nothing yet."""
    table, primary, _ = standing()
    table.rehome("demo", BOTH[::-1], 1_000_000)
    (better,) = told(drain(table), "d")
    table.on_message("d", ok_for(better, "d"), 1_050_000)
    assert drain(table) == []
    return table, primary


def test_the_first_packet_of_all_is_not_the_new_way_s() -> None:
    table, primary = moving()
    table.on_upstream_flows("demo", None, 1_100_000)
    assert drain(table) == []
    table.on_upstream_flows("demo", 0, 1_200_000)
    assert Unsubscribe(primary.transaction, "demo") in told(drain(table), "b")


def test_other_streams_end_a_move_to_a_way_of_the_old_ones() -> None:
    table, primary = moving()
    later = Track(12, "video", "H264", 96, 90_000, 0xFFFFFFF0)
    ok = Ok(primary.transaction, "demo", (later,), ("e", "a", "b"), "live")
    table.on_message("b", ok, 2_000_000)
    events = drain(table)
    assert TracksChanged("demo", "b", (later,)) in events
    assert any(isinstance(message, Unsubscribe) for message in told(events, "d"))
    table.on_upstream_flows("demo", None, 2_000_000)
    broadcast = table.find("demo")
    assert broadcast is not None
    assert broadcast.upstream is not None
    assert (broadcast.upstream.peer, broadcast.tracks) == ("b", (later,))
