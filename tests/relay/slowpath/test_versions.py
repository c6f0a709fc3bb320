"""At which bitrate a viewer is sent a broadcast, by what is heard of its queue."""

from __future__ import annotations

import itertools
from dataclasses import replace

from relay.slowpath.versions import SOON_US, TICK_US, Limits, Standing, VersionPolicy

LIMITS = Limits(patience_us=500_000, calm_us=2_000_000, room=1.15, longest_wait_us=10_000_000)
BITRATES = (4_000_000, 1_500_000, 500_000)
VIEWER = 7
SECOND = 1_000_000


class Case:
    """One viewer, a tick each TICK_US. changes: when, and to which version."""

    def __init__(self, link_bps: int = 20_000_000) -> None:
        self.policy = VersionPolicy(LIMITS)
        self.standing = Standing(0, BITRATES, link_bps)
        self.now_us = 5_000_000
        self.changes: list[tuple[int, int]] = []

    def run(self, duration_us: int, *, lags: bool) -> None:
        end_us = self.now_us + duration_us
        while self.now_us < end_us:
            if lags:
                self.policy.on_lags(VIEWER, self.now_us)
            self.standing = replace(self.standing, lag_us=100_000 if lags else 0)
            version = self.policy.on_tick(VIEWER, self.standing, self.now_us)
            if version is not None:
                self.changes.append((self.now_us, version))
                self.standing = replace(self.standing, version=version)
            self.now_us += TICK_US

    def set_link(self, link_bps: int) -> None:
        self.standing = replace(self.standing, link_bps=link_bps)


def test_one_late_key_frame_is_no_reason() -> None:
    case = Case(link_bps=1_000_000)
    case.run(TICK_US, lags=True)
    case.run(3 * SECOND, lags=False)
    assert case.changes == []
    assert case.policy.watched == []  # nobody is looked at for nothing


def test_a_queue_that_keeps_building_sends_it_to_what_its_link_carries() -> None:
    case = Case(link_bps=1_000_000)
    case.run(SECOND, lags=True)
    assert case.changes == [(5_500_000, 2)]


def test_where_nothing_is_known_of_the_link_it_goes_one_step_after_the_other() -> None:
    case = Case()
    case.run(2 * SECOND, lags=True)
    assert case.changes == [(5_500_000, 1), (6_000_000, 2)]
    case.run(5 * SECOND, lags=True)
    assert len(case.changes) == 2  # there is nothing below


def test_it_comes_back_when_there_is_room_within_a_tick() -> None:
    case = Case(link_bps=1_000_000)
    case.run(SECOND, lags=True)
    case.run(10 * SECOND, lags=False)
    assert [version for _, version in case.changes] == [2]
    case.set_link(4_700_000)
    at_us = case.now_us
    case.run(SECOND, lags=False)
    assert case.changes[1:] == [(at_us, 0)]
    case.run(SOON_US + SECOND, lags=False)
    assert case.policy.watched == []


def test_there_must_be_more_room_than_its_bitrate() -> None:
    case = Case(link_bps=1_000_000)
    case.run(SECOND, lags=True)
    case.set_link(4_100_000)
    case.run(5 * SECOND, lags=False)
    assert [version for _, version in case.changes] == [2, 1]


def test_it_waits_for_calm_first() -> None:
    case = Case(link_bps=1_000_000)
    case.run(SECOND, lags=True)
    case.set_link(20_000_000)
    quiet_us = case.now_us - TICK_US
    case.run(4 * SECOND, lags=False)
    assert case.changes[1:] == [(quiet_us + LIMITS.calm_us, 0)]


def test_what_proved_too_much_is_tried_again_later_and_later() -> None:
    """The link is said to carry anything, and carries only the lowest version."""
    case = Case()
    tries: list[int] = []
    case.run(SECOND, lags=True)
    for _ in range(240):
        before = len(case.changes)
        case.run(TICK_US, lags=case.standing.version == 0)
        if len(case.changes) > before and case.changes[-1][1] == 0:
            tries.append(case.now_us)
    waits = [b - a for a, b in itertools.pairwise(tries)]
    assert len(waits) >= 3
    assert waits == sorted(waits)
    assert waits[1] > waits[0] + SECOND
    assert waits[-1] >= LIMITS.longest_wait_us


def test_what_is_not_to_be_had_is_asked_for_later_and_later() -> None:
    case = Case(link_bps=1_000_000)
    tries: list[int] = []
    for _ in range(160):
        case.run(TICK_US, lags=True)
        if case.standing.version == 2:
            tries.append(case.now_us)
            case.standing = replace(case.standing, version=0)
            case.policy.on_refused(VIEWER, 2, case.now_us)
    assert {version for _, version in case.changes} == {1, 2}
    assert len(tries) <= 6


def test_a_refusal_of_a_better_one_leaves_it_where_it_is_for_a_while() -> None:
    case = Case(link_bps=1_000_000)
    case.run(SECOND, lags=True)
    case.set_link(20_000_000)
    for _ in range(60):
        case.run(TICK_US, lags=False)
        if case.standing.version == 0:
            case.standing = replace(case.standing, version=2)
            case.policy.on_refused(VIEWER, 0, case.now_us)
    assert [version for _, version in case.changes][:3] == [2, 0, 1]


def test_nothing_is_decided_while_it_is_on_its_way() -> None:
    case = Case(link_bps=1_000_000)
    case.standing = replace(case.standing, is_changing=True)
    case.run(3 * SECOND, lags=True)
    assert case.changes == []


def test_who_left_is_forgotten() -> None:
    case = Case()
    case.policy.on_lags(VIEWER, 0)
    case.policy.forget(VIEWER)
    case.policy.forget(VIEWER)
    assert case.policy.watched == []
    assert case.policy.on_tick(VIEWER, case.standing, 0) is None


def test_the_next_better_version_is_wished_for_while_nothing_lags() -> None:
    case = Case(link_bps=600_000)

    def wished() -> int:
        return case.policy.wished_bps(VIEWER, case.standing, case.now_us)

    assert wished() == 0
    case.run(SECOND, lags=True)
    assert (case.standing.version, wished()) == (2, 0)
    case.run(SECOND, lags=False)
    assert wished() == 1_725_000
    case.set_link(1_725_000)  # its link has been found to carry that
    case.run(2 * SECOND, lags=False)
    assert (case.standing.version, wished()) == (1, 4_600_000)
    case.set_link(5_000_000)
    case.run(TICK_US, lags=False)
    assert (case.standing.version, wished()) == (0, 0)


def test_what_proved_too_much_is_not_wished_for_as_long_as_it_is_put_off() -> None:
    case = Case(link_bps=1_750_000)
    case.run(SECOND, lags=True)
    case.set_link(5_000_000)
    case.run(3 * SECOND, lags=False)
    case.set_link(1_000_000)
    case.run(SECOND, lags=True)
    assert [version for _, version in case.changes] == [1, 0, 2]
    case.run(SECOND, lags=False)
    wishes = []
    for _ in range(20):
        case.run(TICK_US, lags=False)
        wishes.append(case.policy.wished_bps(VIEWER, case.standing, case.now_us))
    assert set(wishes) == {1_725_000}  # that was not too much
    case.set_link(2_000_000)
    case.run(TICK_US, lags=False)
    assert case.standing.version == 1
    case.run(2 * SECOND, lags=False)
    assert case.policy.wished_bps(VIEWER, case.standing, case.now_us) == 4_600_000
