"""One subscription of a broadcast at the next node upstream: when to ask, ask again, and give up.

A transaction is asked for until it is answered (after 1.5 round trips, then doubling), and then
again each 5 s as a refresh. What was live once is asked for as long as somebody wants it. A standby
is asked for in the same way; activating it keeps its transaction, so each node along it only moves
on from "paused" to "active", and a refresh that was under way meanwhile cannot undo that.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Literal, TypeAlias

from relay.messages import Subscribe, Track
from relay.slowpath.routes import Route
from relay.slowpath.subscription_events import BroadcastState

Mode: TypeAlias = Literal["active", "standby", "duplicate"]

UNKNOWN_RTT_RETRY_US = 300_000  # chosen: 1.5 times the longest round trip between two nodes
SHORTEST_RETRY_US = 50_000  # chosen: a busy neighbour's turn of asyncio
LONGEST_RETRY_US = 5_000_000
# chosen: viewers see nothing, and of several nodes that wait for each other one is served after
# the other, each when it asks
LOST_RETRY_US = 1_000_000
REFRESH_US = 5_000_000  # soft state: three may be lost before `EXPIRY_US`
EXPIRY_US = 15_000_000
GIVE_UP_US = 4_500_000  # chosen: before a viewer's request of 5 s does
NEXT_PATH_US = 1_500_000  # chosen: three asks over the longest path, if there is another to try


class AskOutcome(Enum):
    """What time has brought."""

    NOTHING = "nothing"
    ASK = "ask"
    GIVE_UP = "give up"
    LOSE = "lose"


class RoundTrip:
    """To a neighbour, as measured last; 0: not known. Its subscriptions share it, so that news of
    it costs the same however many there are."""

    def __init__(self, us: int = 0) -> None:
        self.us = us


class UpstreamSubscription:
    """The subscribing side of one way to one broadcast.

    goes_on: what is here already is not to be sent again (start: seq). starts: by stream id, the
    first packet wanted; empty: whoever sends the message knows what the rings lack.
    """

    def __init__(
        self,
        broadcast: str,
        route: Route,
        transaction: int,
        rtt: RoundTrip,
        now_us: int,
        *,
        mode: Mode = "active",
        goes_on: bool = False,
        starts: Mapping[int, int] | None = None,
        give_up_us: int = GIVE_UP_US,
    ) -> None:
        self.broadcast = broadcast
        self.route = route
        self.transaction = transaction
        self.mode: Mode = mode
        self.goes_on = goes_on
        self.starts: dict[int, int] = dict(starts or {})
        self.state = BroadcastState.ASKING
        self.tracks: tuple[Track, ...] = ()
        self.ancestors: tuple[str, ...] = ()
        self.asked = 0
        self._rtt = rtt
        self._retry_us = self._first_retry_us
        self._ask_at_us = now_us
        self._answer_by_us: int | None = now_us + give_up_us

    @property
    def peer(self) -> str:
        """The next node upstream."""
        return self.route.peer

    @property
    def is_paused(self) -> bool:
        """A standby: nothing flows."""
        return self.mode == "standby"

    @property
    def is_copy(self) -> bool:
        """It flows beside another way."""
        return self.mode == "duplicate"

    def message(self) -> Subscribe:
        """What asks for it."""
        goes_on = self.goes_on and not self.is_paused
        return Subscribe(
            transaction=self.transaction,
            broadcast=self.broadcast,
            path=self.route.path,
            visited=self.route.visited,
            start="seq" if goes_on else "live",
            mode=self.mode,
            starts=dict(self.starts) if goes_on else {},
        )

    def become_only(self, now_us: int) -> None:
        """The copy is all there is now. It flows as before; the next node hears of it."""
        self.mode = "active"
        self.ask_soon(now_us)

    def activate(
        self,
        now_us: int,
        *,
        goes_on: bool,
        starts: Mapping[int, int],
        give_up_us: int,
        mode: Mode = "active",
    ) -> None:
        """The standby is needed: ask for the stream itself."""
        self.mode, self.goes_on, self.starts = mode, goes_on, dict(starts)
        self.state = BroadcastState.ASKING
        self.asked = 0
        self.ask_soon(now_us)
        self._answer_by_us = now_us + give_up_us

    def next_timer_us(self) -> int:
        """When `handle_timer` is due."""
        return min(self._ask_at_us, self._answer_by_us or self._ask_at_us)

    def handle_timer(self, now_us: int) -> AskOutcome:
        """Call until it returns NOTHING; ASK: send `message()`."""
        if self._answer_by_us is not None and now_us >= self._answer_by_us:
            self._answer_by_us = None
            if self.state is BroadcastState.ASKING:
                return AskOutcome.GIVE_UP
            if self.state is BroadcastState.LIVE:
                return AskOutcome.LOSE
        if now_us < self._ask_at_us:
            return AskOutcome.NOTHING
        if self.state is BroadcastState.LIVE and self._answer_by_us is None:
            self._answer_by_us = now_us + EXPIRY_US - REFRESH_US
        self.asked += 1
        self._ask_at_us = now_us + self._retry_us
        is_lost = self.state is BroadcastState.LOST
        self._retry_us = min(2 * self._retry_us, LOST_RETRY_US if is_lost else LONGEST_RETRY_US)
        return AskOutcome.ASK

    def on_answer(
        self, tracks: tuple[Track, ...], ancestors: tuple[str, ...], is_live: bool, now_us: int
    ) -> None:
        """An OK. is_live: False if the node upstream has itself lost it. When it is back it says so
        once, which may get lost: asking goes on, ever less often."""
        self.tracks, self.ancestors = tracks, ancestors
        self.state = BroadcastState.LIVE if is_live else BroadcastState.LOST
        self._answer_by_us = None
        if is_live:
            self.goes_on, self.starts = False, {}
            self._retry_us = self._first_retry_us
            self._ask_at_us = now_us + REFRESH_US

    def on_lost(self, now_us: int) -> None:
        """The link or the node upstream is down. Ask at once, then ever less often."""
        self.state = BroadcastState.LOST
        self.goes_on = True
        self.ask_soon(now_us)

    def on_refused(self) -> None:
        """An ERROR for what was here once: ask again when that is due anyway."""
        self.state = BroadcastState.LOST
        self.goes_on = True
        self._answer_by_us = None

    def on_ended(self, now_us: int) -> None:
        """The broadcast is over. Somebody may start it again, so ask now and then."""
        self.state = BroadcastState.ENDED
        self.goes_on = False
        self._answer_by_us = None
        self._retry_us = REFRESH_US
        self._ask_at_us = now_us + REFRESH_US

    def ask_soon(self, now_us: int) -> None:
        """The chance of an answer has just become better."""
        self._retry_us = self._first_retry_us
        self._ask_at_us = now_us
        if self.state is not BroadcastState.ASKING:
            self._answer_by_us = None

    @property
    def _first_retry_us(self) -> int:
        return first_retry_us(self._rtt.us)


def first_retry_us(rtt_us: int) -> int:
    """1.5 round trips."""
    return max(SHORTEST_RETRY_US, rtt_us * 3 // 2) if rtt_us else UNKNOWN_RTT_RETRY_US
