"""When the subscribing side asks, asks again, and gives up: exact microseconds."""

from relay.messages import Track
from relay.slowpath.routes import Route
from relay.slowpath.subscription_events import BroadcastState
from relay.slowpath.upstream import (
    GIVE_UP_US,
    LOST_RETRY_US,
    REFRESH_US,
    AskOutcome,
    RoundTrip,
    UpstreamSubscription,
)

TRACKS = (Track(9, "video", "H264", 96, 90_000, 100),)


def upstream(rtt_us: int = 0, now_us: int = 0) -> UpstreamSubscription:
    return UpstreamSubscription("demo", Route("b", ("a",), ("c",)), 7, RoundTrip(rtt_us), now_us)


def run(subscription: UpstreamSubscription, end_us: int) -> list[tuple[int, AskOutcome]]:
    """Everything that happens by a time, ended by GIVE_UP."""
    happened: list[tuple[int, AskOutcome]] = []
    while (now_us := subscription.next_timer_us()) <= end_us:
        while (outcome := subscription.handle_timer(now_us)) is not AskOutcome.NOTHING:
            happened.append((now_us, outcome))
            if outcome is AskOutcome.GIVE_UP:
                return happened
    return happened


def asked(happened: list[tuple[int, AskOutcome]]) -> list[int]:
    return [now_us for now_us, outcome in happened if outcome is AskOutcome.ASK]


def test_retries_double_and_give_up() -> None:
    happened = run(upstream(now_us=1_000), 10_000_000)
    assert asked(happened) == [1_000, 301_000, 901_000, 2_101_000]
    assert happened[-1] == (1_000 + GIVE_UP_US, AskOutcome.GIVE_UP)


def test_first_retry_after_one_and_a_half_round_trips() -> None:
    assert asked(run(upstream(rtt_us=100_000), 500_000)) == [0, 150_000, 450_000]
    assert asked(run(upstream(rtt_us=10_000), 150_000)) == [0, 50_000, 150_000]


def test_ways_over_one_neighbour_share_its_round_trip() -> None:
    rtt = RoundTrip()
    ways = [
        UpstreamSubscription(name, Route("b", ("a",), ("c",)), 7, rtt, 0) for name in ("x", "y")
    ]
    rtt.us = 100_000
    for way in ways:
        way.ask_soon(0)
        assert asked(run(way, 500_000)) == [0, 150_000, 450_000]


def test_refreshes_while_live() -> None:
    one = upstream()
    assert asked(run(one, 0)) == [0]
    one.on_answer(TRACKS, ("a", "b"), True, 40_000)
    assert one.next_timer_us() == 40_000 + REFRESH_US
    for number in range(1, 4):
        now_us = 40_000 + number * REFRESH_US
        assert asked(run(one, now_us)) == [now_us]
        one.on_answer(TRACKS, ("a", "b"), True, now_us)
    assert one.state is BroadcastState.LIVE


def test_unanswered_refreshes_lose_it_after_fifteen_seconds() -> None:
    one = upstream(rtt_us=40_000)
    run(one, 0)
    one.on_answer(TRACKS, ("a",), True, 0)
    happened = run(one, 15_000_000)
    assert asked(happened)[:4] == [5_000_000, 5_060_000, 5_180_000, 5_420_000]
    assert (15_000_000, AskOutcome.LOSE) in happened


def test_lost_is_asked_for_at_once_and_for_ever() -> None:
    one = upstream(rtt_us=40_000)
    run(one, 0)
    one.on_answer(TRACKS, ("a",), True, 0)
    one.on_lost(1_000_000)
    times = asked(run(one, 60_000_000))
    assert times[:3] == [1_000_000, 1_060_000, 1_180_000]
    assert times[-1] - times[-2] == LOST_RETRY_US
    one.on_answer(TRACKS, ("a",), True, 60_000_000)
    assert one.state is BroadcastState.LIVE
    assert one.next_timer_us() == 65_000_000


def test_an_answer_that_it_is_lost_upstream_too_ends_no_asking() -> None:
    """The message that says it is back may be lost; nobody is to wait for a refresh then."""
    one = upstream(rtt_us=40_000)
    run(one, 0)
    one.on_answer(TRACKS, ("a",), True, 0)
    one.on_lost(1_000_000)
    times = []
    for _ in range(4):
        now_us = one.next_timer_us()
        times += asked(run(one, now_us))
        one.on_answer(TRACKS, ("a",), False, now_us + 40_000)
    assert times == [1_000_000, 1_060_000, 1_180_000, 1_420_000]
    assert one.state is BroadcastState.LOST


def test_ended_is_asked_for_each_five_seconds() -> None:
    one = upstream()
    run(one, 0)
    one.on_answer(TRACKS, ("a",), True, 0)
    one.on_ended(1_000_000)
    assert asked(run(one, 17_000_000)) == [6_000_000, 11_000_000, 16_000_000]


def test_asking_soon_does_not_postpone_giving_up() -> None:
    one = upstream()
    run(one, 2_000_000)
    one.ask_soon(2_050_000)
    happened = run(one, 10_000_000)
    assert asked(happened)[:2] == [2_050_000, 2_350_000]
    assert happened[-1] == (GIVE_UP_US, AskOutcome.GIVE_UP)
