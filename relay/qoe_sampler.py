"""When which view is looked at: each about once a second, a bounded number at a time."""

from __future__ import annotations

from collections import deque

from relay.edge.plain_rtp import PlainRtpEdge, Viewer
from relay.qoe import Qoe, Sample
from relay.workers import Workers

ROUND_US = 1_000_000
# chosen: some 2 ms of the event loop; with more viewers than 5,000 a round takes longer
MOST_AT_ONCE = 128
SHORTEST_US = 25_000


class QoeSampler:
    """edge: whose viewers. `on_...` as they come and go."""

    def __init__(self, workers: Workers, edge: PlainRtpEdge) -> None:
        self.qoe = Qoe()
        self._workers = workers
        self._edge = edge
        self._waiting: deque[int] = deque()
        """Whose turn comes, in this order; those who have left among them."""
        self._next_us: int | None = None

    def on_joined(self, viewer: Viewer) -> None:
        self.qoe.begin(viewer.number, viewer.asked_us)
        self._waiting.append(viewer.number)
        if self._next_us is None:
            self._next_us = viewer.asked_us + ROUND_US

    def on_leaving(self, viewer: Viewer, now_us: int) -> None:
        """While its legs are there."""
        if self.qoe.find(viewer.number) is not None:
            self._look_at(viewer, now_us, {}, self._time_in_node_us())
            self.qoe.end(viewer.number, now_us)

    def next_timer_us(self) -> int | None:
        """When `handle_timer` is due."""
        return self._next_us

    def handle_timer(self, now_us: int) -> None:
        """Look at those whose turn it is."""
        if self._next_us is None or now_us < self._next_us:
            return
        delays_us: dict[int, int] = {}
        time_in_node_us = self._time_in_node_us()
        for _ in range(min(MOST_AT_ONCE, len(self._waiting))):
            number = self._waiting.popleft()
            if (viewer := self._edge.find(number)) is not None:
                self._waiting.append(number)
                self._look_at(viewer, now_us, delays_us, time_in_node_us)
        self._next_us = None
        if self._waiting:
            share = min(1.0, MOST_AT_ONCE / len(self._waiting))
            self._next_us = now_us + max(SHORTEST_US, round(ROUND_US * share))

    def _look_at(
        self, viewer: Viewer, now_us: int, delays_us: dict[int, int], time_in_node_us: int
    ) -> None:
        """delays_us: of streams that were looked at already."""
        leg = viewer.legs.get("video") or next(iter(viewer.legs.values()), None)
        if leg is None:
            self.qoe.wait(viewer.number, now_us)
            return
        main = self._workers.cursor_stats(leg.cursor)
        first_sent_us = main.first_sent_us
        view = self.qoe.find(viewer.number)
        if view is not None and view.first_packet_us is None:
            sent = (self._workers.cursor_stats(each.cursor) for each in viewer.legs.values())
            first_sent_us = min((s.first_sent_us for s in sent if s.first_sent_us), default=0)
        stream = leg.stream.handle
        if stream not in delays_us:
            delays_us[stream] = self._workers.stream_stats(stream).delay_us
        sample = Sample(main, first_sent_us, delays_us[stream], time_in_node_us)
        self.qoe.note(viewer.number, sample, now_us)

    def _time_in_node_us(self) -> int:
        """Of all viewers' packets so far, on average."""
        delays = self._workers.delays()
        count = delays.count
        return delays.sum_us // count if count else 0
