"""Which broadcasts start here now, as the brain is to know it.

A broadcast is announced with its encoder's first packet, is over after 15 s without one, and is
announced again when its encoder sends again. The ids drawn here are used at once; if the brain says
that another broadcast has them, it gives others, and the streams are replaced.

Who begins to send last has the broadcast, and who does not send does not claim it: with a new
connection only what an encoder sends now is announced, for the brain takes a broadcast away from
whoever announced it before. One that has moved to another node is reclaimed when an encoder begins
to send here. If the encoder here has never stopped, either the brain is mistaken or two encoders
send: after a hold it is reclaimed unless it flows from elsewhere, and that is told either way. A
broadcast that is lost again and again is held longer each time.

In: the encoder's signs of life, the brain's answers, time. Out: values for `agent` to carry out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from control_client.errors import RequestCode

SILENCE_US = 15_000_000  # chosen: an encoder that was restarted by hand is back by then
RETRY_US = 30_000_000  # chosen: the brain refuses for reasons that somebody has to mend
NOT_READY_RETRY_US = 2_000_000  # chosen: a brain that has just started
SENDING_US = 2_000_000  # chosen: streams are looked at each second
MOVE_HOLD_US = 3_000_000  # chosen: the last packets of an encoder that has moved claim nothing
LONGEST_HOLD_US = 60_000_000  # chosen: two encoders that nobody watches cost little

DISPUTED = "an encoder sends it here, and another one to another node, from where it is served"


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the brain that it starts here. is_news: it was not announced before."""

    stream: str
    is_news: bool


@dataclass(frozen=True, slots=True)
class End:
    """Tell the brain that it is over."""

    stream: str


@dataclass(frozen=True, slots=True)
class Reclaim:
    """Make it start here again, under new ids; Announce follows."""

    stream: str


@dataclass(frozen=True, slots=True)
class Dispute:
    """Its encoder goes on sending here, though it is said to have moved. Reclaim may follow."""

    stream: str


AnnouncementEvent: TypeAlias = Announce | End | Reclaim | Dispute


@dataclass(slots=True)
class _Broadcast:
    """last_packet_us: of its encoder, here. moved_us: when it became a subscription elsewhere.
    elsewhere_us: when the newest packet came from there. hold_us: what is waited before it is
    reclaimed from there though it never stopped here; reclaimed_us: when that was done last."""

    last_packet_us: int | None = None
    is_announced: bool = False
    moved_us: int | None = None
    elsewhere_us: int | None = None
    hold_us: int = MOVE_HOLD_US
    reclaimed_us: int | None = None
    is_disputed: bool = False
    retry_us: int | None = None
    refused: tuple[RequestCode, str] | None = None


class Announcements:
    """Of the broadcasts that may start here: the ingests."""

    def __init__(self, streams: Iterable[str]) -> None:
        self._broadcasts = {stream: _Broadcast() for stream in streams}
        self._events: deque[AnnouncementEvent] = deque()

    @property
    def announced(self) -> list[str]:
        """What the brain has been told of and is not over."""
        return [name for name, found in self._broadcasts.items() if found.is_announced]

    @property
    def problems(self) -> dict[str, str]:
        """Why what an encoder sends here is not the broadcast, for those of which it is not."""
        found = self._broadcasts.items()
        texts = {name: each.refused[1] for name, each in found if each.refused is not None}
        return texts | {name: DISPUTED for name, each in found if each.is_disputed}

    def is_moved(self, stream: str) -> bool:
        """Whether it starts elsewhere now."""
        found = self._broadcasts.get(stream)
        return found is not None and found.moved_us is not None

    def next_event(self) -> AnnouncementEvent | None:
        """Take the oldest output."""
        return self._events.popleft() if self._events else None

    def on_packet(self, stream: str, at_us: int, now_us: int) -> None:
        """Its encoder's newest packet so far came at `at_us`; the same one again is no news."""
        found = self._broadcasts.get(stream)
        if found is None or (found.last_packet_us is not None and at_us <= found.last_packet_us):
            return
        begins = found.last_packet_us is None or at_us - found.last_packet_us >= MOVE_HOLD_US
        found.last_packet_us = at_us
        if found.is_announced or now_us - at_us >= SENDING_US:
            return
        if found.moved_us is not None:
            if not begins and not self._may_go_on(stream, found, now_us):
                return
            found.moved_us = None
            found.is_disputed = False
            self._events.append(Reclaim(stream))
        self._announce(stream, found, is_news=True)

    def on_packet_from_elsewhere(self, stream: str, at_us: int) -> None:
        """The newest packet so far of one that has moved; to be told before `on_packet`."""
        if (found := self._broadcasts.get(stream)) is not None:
            found.elsewhere_us = at_us

    def on_moved(self, stream: str, now_us: int) -> bool:
        """The brain says that it starts elsewhere now. Returns whether it started here before."""
        found = self._broadcasts.get(stream)
        if found is None or found.moved_us is not None:
            return False
        found.moved_us, found.elsewhere_us = now_us, None
        found.is_announced = False
        found.retry_us = found.refused = None
        return True

    def on_taken(self, stream: str) -> None:
        """The brain has taken an announcement."""
        if (found := self._broadcasts.get(stream)) is not None:
            found.retry_us = found.refused = None

    def on_refused(self, stream: str, code: RequestCode, text: str, now_us: int) -> bool:
        """It has not; it is told again later. Returns whether that is news."""
        found = self._broadcasts.get(stream)
        if found is None or not found.is_announced:
            return False
        is_news = found.refused != (code, text)
        found.refused = code, text
        delay_us = NOT_READY_RETRY_US if code is RequestCode.NOT_READY else RETRY_US
        found.retry_us = now_us + delay_us
        return is_news

    def on_connected(self, now_us: int) -> None:
        """A new connection is about to hear what is announced. Every newest packet is known by now.

        The brain may have been told of another producer meanwhile: an encoder that is silent does
        not take the broadcast from there.
        """
        for stream, found in self._broadcasts.items():
            if found.is_announced and not _is_sending(found, now_us):
                self._end(stream, found)

    def on_registered(self) -> None:
        """The answers of the connection before may be lost, so all is said again."""
        for stream, found in self._broadcasts.items():
            if found.is_announced:
                self._announce(stream, found, is_news=False)

    def next_timer_us(self) -> int | None:
        """When `handle_timer` is due."""
        times = []
        for found in self._broadcasts.values():
            if found.is_announced and found.last_packet_us is not None:
                times.append(found.last_packet_us + SILENCE_US)
                if found.retry_us is not None:
                    times.append(found.retry_us)
        return min(times, default=None)

    def handle_timer(self, now_us: int) -> None:
        """End what is silent, say again what was refused. Every newest packet is known by now."""
        for stream, found in self._broadcasts.items():
            if found.is_disputed and not _is_sending(found, now_us):
                found.is_disputed = False
            if not found.is_announced or found.last_packet_us is None:
                continue
            if now_us >= found.last_packet_us + SILENCE_US:
                self._end(stream, found)
            elif found.retry_us is not None and now_us >= found.retry_us:
                if _is_sending(found, now_us):
                    self._announce(stream, found, is_news=False)
                else:
                    self._end(stream, found)

    def _may_go_on(self, stream: str, found: _Broadcast, now_us: int) -> bool:
        """Whether to reclaim what an encoder has never stopped sending here."""
        assert found.moved_us is not None
        recent_us = 2 * LONGEST_HOLD_US  # longer than either side of a dispute ever waits
        if found.reclaimed_us is None or found.moved_us - found.reclaimed_us >= recent_us:
            found.hold_us = MOVE_HOLD_US
        if now_us < found.moved_us + found.hold_us:
            return False
        if not found.is_disputed:
            found.is_disputed = True
            self._events.append(Dispute(stream))
        if found.elsewhere_us is not None and now_us - found.elsewhere_us < MOVE_HOLD_US:
            return False
        found.hold_us = min(2 * found.hold_us, LONGEST_HOLD_US)
        found.reclaimed_us = now_us
        return True

    def _end(self, stream: str, found: _Broadcast) -> None:
        found.is_announced = False
        found.retry_us = found.refused = None
        self._events.append(End(stream))

    def _announce(self, stream: str, found: _Broadcast, *, is_news: bool) -> None:
        found.is_announced = True
        found.retry_us = None
        self._events.append(Announce(stream, is_news))


def _is_sending(found: _Broadcast, now_us: int) -> bool:
    return found.last_packet_us is not None and now_us - found.last_packet_us < SENDING_US
