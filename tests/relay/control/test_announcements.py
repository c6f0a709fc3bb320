"""Which broadcasts start here, as encoders come and go."""

from __future__ import annotations

from control_client.errors import RequestCode
from relay.control.announcements import (
    MOVE_HOLD_US,
    NOT_READY_RETRY_US,
    RETRY_US,
    SILENCE_US,
    Announce,
    AnnouncementEvent,
    Announcements,
    End,
    Reclaim,
)


def taken(announcements: Announcements) -> list[AnnouncementEvent]:
    found = []
    while (event := announcements.next_event()) is not None:
        found.append(event)
    return found


def announced() -> Announcements:
    """One broadcast, since time 0."""
    announcements = Announcements(["demo"])
    announcements.on_packet("demo", 0, 0)
    assert taken(announcements) == [Announce("demo", is_news=True)]
    return announcements


def test_it_is_announced_once_with_the_first_packet() -> None:
    announcements = Announcements(["demo"])
    assert announcements.next_timer_us() is None
    announcements.on_packet("other", 5, 5)
    assert taken(announcements) == []
    announcements.on_packet("demo", 5, 5)
    announcements.on_packet("demo", 6, 7)
    assert taken(announcements) == [Announce("demo", is_news=True)]
    assert announcements.announced == ["demo"]


def test_it_is_over_after_fifteen_seconds_and_begins_again() -> None:
    announcements = announced()
    announcements.on_packet("demo", 1_000_000, 1_000_000)
    end_us = 1_000_000 + SILENCE_US
    assert announcements.next_timer_us() == end_us
    announcements.handle_timer(end_us - 1)
    assert taken(announcements) == []
    announcements.handle_timer(end_us)
    announcements.on_packet("demo", 1_000_000, end_us)  # the same packet as before
    assert taken(announcements) == [End("demo")]
    assert announcements.announced == []
    announcements.on_packet("demo", end_us + 5, end_us + 9)
    assert taken(announcements) == [Announce("demo", is_news=True)]


def test_what_is_refused_is_said_again_and_is_news_once() -> None:
    announcements = announced()
    assert announcements.on_refused("demo", RequestCode.NAME_TAKEN, "it is at tokyo", 0)
    assert announcements.problems == {"demo": "it is at tokyo"}
    for now_us in range(0, RETRY_US, 5_000_000):
        announcements.on_packet("demo", now_us, now_us)
    announcements.handle_timer(RETRY_US - 1)
    assert taken(announcements) == []
    announcements.handle_timer(RETRY_US)
    assert taken(announcements) == [Announce("demo", is_news=False)]
    assert not announcements.on_refused("demo", RequestCode.NAME_TAKEN, "it is at tokyo", RETRY_US)
    assert announcements.on_refused("demo", RequestCode.NOT_READY, "soon", RETRY_US)
    announcements.handle_timer(RETRY_US + NOT_READY_RETRY_US)
    assert taken(announcements) == [Announce("demo", is_news=False)]
    announcements.on_taken("demo")
    assert announcements.problems == {}
    assert not announcements.on_refused("other", RequestCode.FULL, "", 0)


def test_a_new_connection_hears_all_again() -> None:
    announcements = Announcements(["demo", "silent"])
    announcements.on_packet("demo", 0, 0)
    taken(announcements)
    announcements.on_registered()
    assert taken(announcements) == [Announce("demo", is_news=False)]


def test_a_broadcaster_that_moved_is_back_when_its_encoder_sends_here_again() -> None:
    announcements = announced()
    assert announcements.on_moved("demo", 1_000_000)
    assert not announcements.on_moved("demo", 1_000_001)  # a better path, no move
    assert not announcements.on_moved("other", 0)
    assert announcements.is_moved("demo")
    assert announcements.announced == []
    last_us = 1_000_000 + MOVE_HOLD_US - 1
    announcements.on_packet("demo", last_us, last_us)  # not silent yet
    assert taken(announcements) == []
    back_us = last_us + MOVE_HOLD_US
    announcements.on_packet("demo", back_us, back_us)
    assert taken(announcements) == [Reclaim("demo"), Announce("demo", is_news=True)]
    assert not announcements.is_moved("demo")
