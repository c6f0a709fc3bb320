"""The table of subscriptions: who is asked, answered, refused and let go, and when."""

from __future__ import annotations

from random import Random

import msgspec

from relay.errors import RefusalCode
from relay.messages import (
    MAX_ANCESTORS,
    End,
    Error,
    Message,
    Ok,
    Subscribe,
    Track,
    Unsubscribe,
    UpstreamLost,
)
from relay.slowpath.broadcast import LINGER_US
from relay.slowpath.subscription import SubscriptionTable
from relay.slowpath.subscription_events import (
    AddCursor,
    BroadcastRemoved,
    BroadcastState,
    RemoveCursor,
    Send,
    StateChanged,
    SubscriptionEvent,
    TracksChanged,
    ViewerReady,
    ViewerRefused,
)
from relay.slowpath.upstream import EXPIRY_US, GIVE_UP_US

VIDEO = Track(11, "video", "H264", 96, 90_000, 100)
AUDIO = Track(12, "audio", "opus", 111, 48_000, 200)
NEXT_VIDEO = Track(21, "video", "H264", 96, 90_000, 5)
VIEWER = 1


def new_table(name: str = "c") -> SubscriptionTable:
    """Node `c` of a line a - b - c - d."""
    return SubscriptionTable(name, ["b", "d", "e"], Random(1))


def drain(table: SubscriptionTable) -> list[SubscriptionEvent]:
    events = []
    while (event := table.next_event()) is not None:
        events.append(event)
    return events


def sent(events: list[SubscriptionEvent]) -> list[tuple[str, Message]]:
    return [(event.peer, event.message) for event in events if isinstance(event, Send)]


def asking(now_us: int = 0) -> tuple[SubscriptionTable, Subscribe]:
    table = new_table()
    table.join_viewer(VIEWER, "demo", (("b", "a"),), now_us)
    ((peer, message),) = sent(drain(table))
    assert peer == "b"
    assert isinstance(message, Subscribe)
    return table, message


def again(message: Subscribe) -> Subscribe:
    """What asks for the rest of what was here already."""
    return msgspec.structs.replace(message, start="seq")


def ok_for(message: Subscribe, *tracks: Track) -> Ok:
    return Ok(message.transaction, "demo", tracks or (VIDEO, AUDIO), ("a", "b"))


def live() -> tuple[SubscriptionTable, Subscribe]:
    """With one viewer, from `a` by way of `b`, since 40 ms."""
    table, message = asking()
    table.on_message("b", ok_for(message), 40_000)
    drain(table)
    return table, message


def subscribe(
    peer: str = "d", transaction: int = 5, path: tuple[str, ...] = ("b", "a")
) -> Subscribe:
    return Subscribe(transaction, "demo", path, (peer,))


def with_node(table: SubscriptionTable, now_us: int = 50_000) -> None:
    """Neighbour d is being sent both tracks."""
    table.on_message("d", subscribe(), now_us)
    table.on_cursor_started("d", 11, 150)
    table.on_cursor_started("d", 12, 250)
    drain(table)


def run_until(table: SubscriptionTable, end_us: int) -> list[tuple[int, SubscriptionEvent]]:
    happened = []
    while (now_us := table.next_timer_us()) is not None and now_us <= end_us:
        table.handle_timer(now_us)
        happened += [(now_us, event) for event in drain(table)]
    return happened


# -- a viewer here, the stream elsewhere


def test_a_viewer_makes_the_node_subscribe() -> None:
    table, message = asking()
    assert (message.path, message.visited) == (("a",), ("c",))
    table.on_message("b", ok_for(message), 40_000)
    assert drain(table) == [
        TracksChanged("demo", "b", (VIDEO, AUDIO)),
        StateChanged("demo", BroadcastState.LIVE),
        ViewerReady(VIEWER, "demo"),
    ]


def test_a_second_viewer_shares_the_subscription() -> None:
    table, message = live()
    table.join_viewer(2, "demo", (("b", "a"),), 50_000)
    assert drain(table) == [ViewerReady(2, "demo")]
    table.on_message("b", ok_for(message), 60_000)
    assert drain(table) == []


def test_nobody_answers() -> None:
    table, message = asking()
    happened = run_until(table, 60_000_000)
    retries = [now_us for now_us, event in happened if event == Send("b", message)]
    assert retries == [300_000, 900_000, 2_100_000]
    assert [event for _, event in happened[-3:]] == [
        Send("b", Unsubscribe(message.transaction, "demo")),
        ViewerRefused(VIEWER, RefusalCode.TIME_OUT, "b did not answer", "demo"),
        BroadcastRemoved("demo"),
    ]
    assert happened[-1][0] == GIVE_UP_US
    assert table.next_timer_us() is None


def test_a_link_that_comes_up_is_asked_at_once() -> None:
    table, message = asking()
    table.on_link_up("b", 123_000)
    assert drain(table) == [Send("b", message)]


def test_an_error_reaches_the_viewer() -> None:
    table, message = asking()
    error = Error(message.transaction, "demo", RefusalCode.NO_SUCH_STREAM, "a has no demo")
    table.on_message("b", error, 40_000)
    assert drain(table) == [
        ViewerRefused(VIEWER, RefusalCode.NO_SUCH_STREAM, "a has no demo", "demo"),
        BroadcastRemoved("demo"),
    ]
    table.on_message("b", error, 41_000)
    assert table.rejected == 1


def test_no_path() -> None:
    table = new_table()
    table.join_viewer(VIEWER, "demo", (), 0)
    (event,) = drain(table)
    assert isinstance(event, ViewerRefused)
    assert event.code is RefusalCode.NO_PATH


def test_the_last_viewer_leaves_after_a_linger() -> None:
    table, message = live()
    table.leave_viewer(VIEWER, "demo", 1_000_000)
    table.leave_viewer(VIEWER, "demo", 1_500_000)
    assert run_until(table, 60_000_000) == [
        (1_000_000 + LINGER_US, Send("b", Unsubscribe(message.transaction, "demo"))),
        (1_000_000 + LINGER_US, BroadcastRemoved("demo")),
    ]


def test_who_comes_back_during_the_linger_finds_it() -> None:
    table, message = live()
    table.leave_viewer(VIEWER, "demo", 1_000_000)
    table.join_viewer(2, "demo", (("b", "a"),), 2_999_999)
    assert drain(table) == [ViewerReady(2, "demo")]
    assert run_until(table, 5_040_000) == [(5_040_000, Send("b", message))]


def test_an_ok_nobody_wants_is_answered_with_unsubscribe() -> None:
    table = new_table()
    table.on_message("b", Ok(3, "demo", (VIDEO,), ("a", "b")), 0)
    assert drain(table) == [Send("b", Unsubscribe(3, "demo"))]
    table, message = live()
    table.on_message("b", Ok(message.transaction + 1, "demo", (NEXT_VIDEO,), ("a", "b")), 50_000)
    assert drain(table) == []
    assert table.rejected == 1


def test_a_stream_id_of_another_broadcast_is_not_taken() -> None:
    table, _ = live()
    table.join_viewer(2, "other", (("b", "a"),), 50_000)
    ((_, message),) = sent(drain(table))
    assert isinstance(message, Subscribe)
    table.on_message("b", Ok(message.transaction, "other", (VIDEO,), ("a", "b")), 60_000)
    assert drain(table) == []
    assert table.rejected == 1


# -- neighbours here


def test_cache_hit() -> None:
    table, _ = live()
    table.on_message("d", subscribe(), 50_000)
    assert drain(table) == [AddCursor("d", 11), AddCursor("d", 12)]
    table.on_cursor_started("d", 11, 150)
    assert drain(table) == []
    table.on_cursor_started("d", 12, 250)
    ((peer, ok),) = sent(drain(table))
    assert peer == "d"
    assert isinstance(ok, Ok)
    assert ok.transaction == 5
    assert ok.ancestors == ("a", "b", "c")
    assert [track.first_stream_seq for track in ok.tracks] == [150, 250]
    assert ok.state == "live"


def test_a_neighbour_waits_for_what_is_under_way() -> None:
    table = new_table()
    table.on_message("d", subscribe(), 0)
    ((peer, message),) = sent(drain(table))
    assert peer == "b"
    assert isinstance(message, Subscribe)
    assert (message.path, message.visited) == (("a",), ("d", "c"))
    table.on_message("e", subscribe("e", 6), 10_000)
    table.on_message("d", subscribe(), 20_000)
    assert drain(table) == []
    table.on_message("b", ok_for(message, VIDEO), 40_000)
    assert drain(table)[-2:] == [AddCursor("d", 11), AddCursor("e", 11)]


def test_a_retry_or_refresh_is_answered_without_a_new_cursor() -> None:
    table, _ = live()
    with_node(table)
    for now_us in (60_000, 5_000_000, 10_000_000):
        table.on_message("d", subscribe(), now_us)
        ((peer, ok),) = sent(drain(table))
        assert (peer, type(ok)) == ("d", Ok)
    removed = [(t, e) for t, e in run_until(table, 60_000_000) if isinstance(e, RemoveCursor)]
    at_us = 10_000_000 + EXPIRY_US
    assert removed == [(at_us, RemoveCursor("d", 11)), (at_us, RemoveCursor("d", 12))]


def test_a_new_transaction_gets_new_cursors() -> None:
    table, _ = live()
    with_node(table)
    table.on_message("d", subscribe(transaction=6), 60_000)
    assert drain(table) == [
        RemoveCursor("d", 11),
        RemoveCursor("d", 12),
        AddCursor("d", 11),
        AddCursor("d", 12),
    ]


def test_unsubscribe() -> None:
    table, _ = live()
    with_node(table)
    table.on_message("d", Unsubscribe(4, "demo"), 60_000)
    assert drain(table) == []
    table.on_message("d", Unsubscribe(5, "demo"), 70_000)
    assert drain(table) == [RemoveCursor("d", 11), RemoveCursor("d", 12)]


def test_a_local_broadcast_is_served_and_stays() -> None:
    table = new_table("a")
    table.add_local("demo", (VIDEO,))
    table.on_message("b", Subscribe(1, "demo", (), ("c", "b")), 0)
    table.on_cursor_started("b", 11, 103)
    ((_, ok),) = sent(drain(table))
    assert isinstance(ok, Ok)
    assert ok.ancestors == ("a",)
    table.on_message("b", Unsubscribe(1, "demo"), 100)
    drain(table)
    assert table.next_timer_us() is None
    assert table.find("demo") is not None


def refusal(table: SubscriptionTable, peer: str, message: Subscribe) -> RefusalCode:
    table.on_message(peer, message, 60_000)
    ((to, error),) = sent(drain(table))
    assert to == peer
    assert isinstance(error, Error)
    assert error.transaction == message.transaction
    return error.code


def test_refusals() -> None:
    table = new_table()
    assert refusal(table, "d", subscribe(path=())) is RefusalCode.NO_SUCH_STREAM
    assert refusal(table, "d", subscribe(path=("x", "a"))) is RefusalCode.NO_PATH
    assert table.next_timer_us() is None


def test_loops_are_refused() -> None:
    table, _ = live()
    loop = RefusalCode.LOOP
    assert refusal(table, "d", subscribe(path=("b", "c", "a"))) is loop  # through this node
    assert refusal(table, "d", subscribe(path=("b", "d", "a"))) is loop  # back to the asker
    assert refusal(table, "d", Subscribe(1, "demo", ("b",), ("x",))) is loop  # not who it says
    assert refusal(table, "b", subscribe("b", path=("e", "a"))) is loop  # it is our upstream
    assert refusal(table, "d", Subscribe(1, "demo", ("e",), ("b", "d"))) is loop  # on its behalf


def test_two_nodes_asking_each_other_do_not_wait_for_each_other() -> None:
    table, _ = asking()
    assert refusal(table, "b", subscribe("b", path=("e", "a"))) is RefusalCode.LOOP


def test_a_stream_that_came_through_here_is_not_taken_back() -> None:
    table, message = asking()
    table.on_message("b", Ok(message.transaction, "demo", (VIDEO,), ("a", "c", "b")), 40_000)
    assert drain(table) == [
        Send("b", Unsubscribe(message.transaction, "demo")),
        ViewerRefused(VIEWER, RefusalCode.LOOP, "it comes from this node: b", "demo"),
        BroadcastRemoved("demo"),
    ]


def test_a_path_has_an_end() -> None:
    table, message = asking()
    nodes = ("a", *(f"n{n}" for n in range(MAX_ANCESTORS - 2)), "b")
    table.on_message("b", Ok(message.transaction, "demo", (VIDEO,), nodes), 40_000)
    assert ViewerReady(VIEWER, "demo") in drain(table)
    assert refusal(table, "d", subscribe()) is RefusalCode.NO_PATH


def test_full_is_said_to_those_who_asked() -> None:
    table, _ = live()
    table.on_message("d", subscribe(), 50_000)
    drain(table)
    table.on_cursor_refused("d", 12, "no more cursors", 50_000)
    events = drain(table)
    assert events[-1] == Send("d", Error(5, "demo", RefusalCode.FULL, "no more cursors"))
    table.on_streams_refused("demo", "no more streams")
    assert ViewerRefused(VIEWER, RefusalCode.FULL, "no more streams", "demo") in drain(table)


# -- what goes wrong later


def test_a_lost_link_is_told_downstream_and_asked_for_when_it_is_back() -> None:
    table, message = live()
    with_node(table)
    table.on_link_down("b", 1_000_000)
    assert drain(table) == [
        StateChanged("demo", BroadcastState.LOST),
        Send("d", UpstreamLost((11, 12))),
        Send("b", again(message)),
    ]
    table.on_link_down("b", 1_000_001)
    assert drain(table) == []
    table.on_link_up("b", 1_100_000)
    assert drain(table) == [Send("b", again(message))]
    table.on_message("b", ok_for(message), 1_140_000)
    events = drain(table)
    assert events[0] == StateChanged("demo", BroadcastState.LIVE)
    ((peer, ok),) = sent(events)
    assert (peer, type(ok)) == ("d", Ok)


def test_who_subscribes_while_it_is_lost_is_told_so() -> None:
    table, _ = live()
    table.on_message("b", UpstreamLost((11, 12)), 1_000_000)
    drain(table)
    table.on_message("d", subscribe(), 1_100_000)
    table.on_cursor_started("d", 11, 1)
    table.on_cursor_started("d", 12, 1)
    ((_, ok),) = sent(drain(table))
    assert isinstance(ok, Ok)
    assert ok.state == "lost"


def test_only_the_upstream_can_say_that_it_is_lost_or_over() -> None:
    table, _ = live()
    for message in (UpstreamLost((11,)), End((11, 12))):
        table.on_message("d", message, 1_000_000)
        assert drain(table) == []


def test_a_restarted_upstream_is_asked_at_once() -> None:
    table, message = live()
    table.on_peer_restarted("b", 1_000_000)
    assert drain(table) == [StateChanged("demo", BroadcastState.LOST), Send("b", again(message))]


def test_a_restarted_subscriber_loses_its_cursors() -> None:
    table, _ = live()
    with_node(table)
    table.on_peer_restarted("d", 1_000_000)
    assert drain(table) == [RemoveCursor("d", 11), RemoveCursor("d", 12)]


def test_other_stream_ids_replace_the_old_ones_downstream_too() -> None:
    table, message = live()
    with_node(table)
    table.on_message("b", ok_for(message, NEXT_VIDEO), 2_000_000)
    assert drain(table) == [
        TracksChanged("demo", "b", (NEXT_VIDEO,)),
        AddCursor("d", 21),
    ]
    table.on_cursor_started("d", 11, 7)
    table.on_cursor_started("d", 21, 6)
    ((peer, ok),) = sent(drain(table))
    assert peer == "d"
    assert isinstance(ok, Ok)
    assert [track.stream_id for track in ok.tracks] == [21]


def test_the_end_and_a_new_beginning() -> None:
    table, message = live()
    with_node(table)
    table.on_message("b", End((11, 12)), 2_000_000)
    assert drain(table) == [
        StateChanged("demo", BroadcastState.ENDED),
        Send("d", End((11, 12))),
    ]
    table.on_message("d", subscribe(), 3_000_000)
    ((_, error),) = sent(drain(table))
    assert isinstance(error, Error)
    assert error.code is RefusalCode.NO_SUCH_STREAM
    assert run_until(table, 7_000_000) == [(7_000_000, Send("b", message))]
    table.on_message("b", ok_for(message, NEXT_VIDEO), 7_040_000)
    assert drain(table) == [
        TracksChanged("demo", "b", (NEXT_VIDEO,)),
        StateChanged("demo", BroadcastState.LIVE),
        AddCursor("d", 21),
    ]


def test_who_comes_after_the_end_is_asked_for_and_refused() -> None:
    table, message = live()
    table.on_message("b", End((11, 12)), 2_000_000)
    drain(table)
    table.join_viewer(2, "demo", (("b", "a"),), 3_000_000)
    assert drain(table) == [Send("b", message)]
    error = Error(message.transaction, "demo", RefusalCode.NO_SUCH_STREAM, "it ended")
    table.on_message("b", error, 3_040_000)
    assert drain(table) == [ViewerRefused(2, RefusalCode.NO_SUCH_STREAM, "demo has ended", "demo")]


def test_other_errors_for_what_was_here_lose_it() -> None:
    table, message = live()
    with_node(table)
    error = Error(message.transaction, "demo", RefusalCode.FULL, "no more cursors")
    table.on_message("b", error, 2_000_000)
    assert drain(table) == [
        StateChanged("demo", BroadcastState.LOST),
        Send("d", UpstreamLost((11, 12))),
    ]
    table.on_message("b", error, 2_100_000)
    assert drain(table) == []


def test_stopping_tells_both_sides() -> None:
    table, message = live()
    with_node(table)
    table.add_local("own", (NEXT_VIDEO,))
    table.on_message("d", Subscribe(8, "own", (), ("d",)), 60_000)
    table.on_cursor_started("d", 21, 5)
    drain(table)
    table.stop()
    assert drain(table) == [
        Send("b", Unsubscribe(message.transaction, "demo")),
        Send("d", UpstreamLost((11, 12))),
        Send("d", End((21,))),
    ]
