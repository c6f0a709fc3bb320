"""When the brain is told at once."""

from __future__ import annotations

from itertools import pairwise

from relay.control.alarm import HOLD_US, UP_SETTLE_US, Crossing, LinkWatch, LoadAlarm


def crossings(alarm: LoadAlarm, *levels: int, name: str | None = "b") -> list[list[Crossing]]:
    return [alarm.sample({name: level}) for level in levels]


def test_an_alarm_is_a_mean_of_three_seconds_with_hysteresis() -> None:
    alarm = LoadAlarm()
    assert crossings(alarm, 1000, 1000) == [[], []]
    assert crossings(alarm, 400) == [[Crossing("b", 800, is_raised=True)]]
    assert crossings(alarm, 860, 990) == [[], []]  # means 753 and 750
    assert crossings(alarm, 399) == [[Crossing("b", 749, is_raised=False)]]
    assert crossings(alarm, 1009, 991) == [[], []]  # means 799
    assert crossings(alarm, 400) == [[Crossing("b", 800, is_raised=True)]]


def test_an_alarm_comes_within_three_seconds_of_a_full_link() -> None:
    alarm = LoadAlarm()
    crossings(alarm, 0, 0, 0)
    assert crossings(alarm, 1000, 1000) == [[], []]
    assert crossings(alarm, 1000) == [[Crossing("b", 1000, is_raised=True)]]


def test_the_threshold_is_the_brains() -> None:
    alarm = LoadAlarm(500)
    assert crossings(alarm, 500, 500, 500, name=None)[2] == [Crossing(None, 500, is_raised=True)]
    assert crossings(alarm, 449, 449, 449, name=None)[0] == []
    assert alarm.raised == set()


def test_what_is_gone_is_forgotten() -> None:
    alarm = LoadAlarm()
    crossings(alarm, 1000, 1000, 1000)
    assert alarm.sample({}) == []
    assert alarm.raised == set()
    assert crossings(alarm, 1000, 1000) == [[], []]


def test_a_link_is_told_up_when_it_has_settled_and_down_at_once() -> None:
    watch = LinkWatch()
    watch.on_change("b", True, 0)
    assert watch.next_timer_us() == UP_SETTLE_US
    assert watch.take_due(UP_SETTLE_US - 1) == []
    assert watch.take_due(UP_SETTLE_US) == ["b"]
    watch.on_told(["b"], UP_SETTLE_US)
    assert watch.next_timer_us() is None
    watch.on_change("b", False, 10 * HOLD_US)
    assert watch.take_due(10 * HOLD_US) == ["b"]


def test_a_flapping_link_is_told_of_each_two_seconds() -> None:
    watch = LinkWatch()
    told = []
    for now_us in range(0, 10_000_000, 100_000):
        watch.on_change("b", now_us // 100_000 % 7 < 4, now_us)
        if due := watch.take_due(now_us):
            told.append(now_us)
            watch.on_told(due, now_us)
    assert 3 <= len(told) <= 6
    assert all(later - sooner >= HOLD_US for sooner, later in pairwise(told))


def test_a_link_that_is_back_before_it_was_told_is_not_told() -> None:
    watch = LinkWatch()
    watch.on_change("b", True, 0)
    watch.on_told(watch.take_due(UP_SETTLE_US), UP_SETTLE_US)
    watch.on_change("b", False, UP_SETTLE_US + 1)  # held back: it was told a moment ago
    assert watch.take_due(UP_SETTLE_US + 1) == []
    watch.on_change("b", True, UP_SETTLE_US + 2)
    assert watch.next_timer_us() is None


def test_a_link_that_was_never_up_is_not_told_to_be_down() -> None:
    watch = LinkWatch()
    watch.on_change("b", False, 0)
    assert watch.next_timer_us() is None
    watch.forget("b")
    watch.forget("never there")
