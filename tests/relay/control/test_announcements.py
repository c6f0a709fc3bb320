"""Which broadcasts start here, as encoders come and go."""

from __future__ import annotations

from control_client.errors import RequestCode
from relay.control.announcements import (
    DISPUTED,
    LONGEST_HOLD_US,
    MOVE_HOLD_US,
    NOT_READY_RETRY_US,
    RETRY_US,
    SENDING_US,
    SILENCE_US,
    Announce,
    AnnouncementEvent,
    Announcements,
    Dispute,
    End,
    Reclaim,
)

FRAME_US = 20_000


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
    for now_us in range(0, RETRY_US, 1_000_000):
        announcements.on_packet("demo", now_us, now_us)
    announcements.handle_timer(RETRY_US - 1)
    assert taken(announcements) == []
    announcements.handle_timer(RETRY_US)
    assert taken(announcements) == [Announce("demo", is_news=False)]
    assert not announcements.on_refused("demo", RequestCode.NAME_TAKEN, "it is at tokyo", RETRY_US)
    assert announcements.on_refused("demo", RequestCode.NOT_READY, "soon", RETRY_US)
    announcements.on_packet("demo", RETRY_US + 1, RETRY_US + 1)
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


def test_a_new_connection_hears_nothing_of_an_encoder_that_is_silent() -> None:
    """It may have moved meanwhile, and the brain takes a broadcast from who announced it before."""
    announcements = announced()
    announcements.on_connected(SENDING_US - 1)
    assert taken(announcements) == []
    assert announcements.announced == ["demo"]
    announcements.on_connected(SENDING_US)
    announcements.on_registered()
    assert taken(announcements) == [End("demo")]
    assert announcements.announced == []
    announcements.on_packet("demo", SENDING_US + 1, SENDING_US + 1)
    assert taken(announcements) == [Announce("demo", is_news=True)]


def test_what_was_refused_is_not_said_again_for_an_encoder_that_is_silent() -> None:
    announcements = announced()
    announcements.on_refused("demo", RequestCode.NOT_READY, "soon", 0)
    announcements.handle_timer(NOT_READY_RETRY_US)
    assert taken(announcements) == [End("demo")]
    assert announcements.problems == {}


def send(
    announcements: Announcements, from_us: int, to_us: int, *, elsewhere: bool = False
) -> list[tuple[int, AnnouncementEvent]]:
    """An encoder that never stops; elsewhere: another one sends where the broadcast is now."""
    found = []
    for now_us in range(from_us, to_us, FRAME_US):
        if elsewhere:
            announcements.on_packet_from_elsewhere("demo", now_us)
        announcements.on_packet("demo", now_us, now_us)
        announcements.handle_timer(now_us)
        found += [(now_us, event) for event in taken(announcements)]
    return found


def test_a_broadcaster_that_moved_is_back_when_its_encoder_begins_here_again() -> None:
    announcements = announced()
    assert announcements.on_moved("demo", 1_000_000)
    assert not announcements.on_moved("demo", 1_000_001)  # a better path, no move
    assert not announcements.on_moved("other", 0)
    assert announcements.is_moved("demo")
    assert announcements.announced == []
    last_us = MOVE_HOLD_US - 1
    announcements.on_packet("demo", last_us, last_us)  # one of its last
    assert taken(announcements) == []
    back_us = last_us + MOVE_HOLD_US
    announcements.on_packet_from_elsewhere("demo", back_us)
    announcements.on_packet("demo", back_us, back_us)
    assert taken(announcements) == [Reclaim("demo"), Announce("demo", is_news=True)]
    assert not announcements.is_moved("demo")


def test_an_encoder_that_never_stopped_is_back_when_nothing_comes_from_elsewhere() -> None:
    announcements = announced()
    announcements.on_moved("demo", 0)
    assert send(announcements, FRAME_US, MOVE_HOLD_US + FRAME_US) == [
        (MOVE_HOLD_US, Dispute("demo")),
        (MOVE_HOLD_US, Reclaim("demo")),
        (MOVE_HOLD_US, Announce("demo", is_news=True)),
    ]
    assert announcements.problems == {}


def test_of_two_encoders_the_last_to_begin_is_served_as_long_as_it_sends() -> None:
    announcements = announced()
    announcements.on_moved("demo", 0)
    minute_us = 60_000_000
    told = send(announcements, FRAME_US, minute_us, elsewhere=True)
    assert told == [(MOVE_HOLD_US, Dispute("demo"))]
    assert announcements.problems == {"demo": DISPUTED}
    told = send(announcements, minute_us, minute_us + 2 * MOVE_HOLD_US)
    back_us = minute_us - FRAME_US + MOVE_HOLD_US
    assert told == [(back_us, Reclaim("demo")), (back_us, Announce("demo", is_news=True))]
    assert announcements.problems == {}


def test_a_dispute_is_over_when_the_encoder_here_stops() -> None:
    announcements = announced()
    announcements.on_moved("demo", 0)
    send(announcements, FRAME_US, 10_000_000, elsewhere=True)
    announcements.handle_timer(10_000_000 + SENDING_US)
    assert announcements.problems == {}
    assert taken(announcements) == []


def test_a_broadcast_that_is_lost_again_and_again_is_held_longer_each_time() -> None:
    """Two encoders, and nobody watches: neither node sees what the other sends."""

    def wait_us(moved_us: int) -> int:
        """From the brain's word to the way back."""
        announcements.on_moved("demo", moved_us)
        now_us = moved_us
        while announcements.is_moved("demo"):
            now_us += FRAME_US
            announcements.on_packet("demo", now_us, now_us)
        return now_us - moved_us

    announcements = announced()
    now_us, waits = 0, []
    for _ in range(7):
        waits.append(wait_us(now_us))
        now_us += waits[-1] + LONGEST_HOLD_US  # as long as the other side waits
        send(announcements, now_us - LONGEST_HOLD_US, now_us)
    doubled = [MOVE_HOLD_US << n for n in range(5)]
    assert waits == [-(-wait // FRAME_US) * FRAME_US for wait in doubled] + [LONGEST_HOLD_US] * 2
    calm_us = now_us + 2 * LONGEST_HOLD_US
    send(announcements, now_us, calm_us)
    assert wait_us(calm_us) == MOVE_HOLD_US
