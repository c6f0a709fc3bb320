"""Quality of experience of the views at one node, in LiveNet's terms. Sans-IO.

Source: LiveNet (SIGCOMM 2022), 6.1 "Evaluation Data". There, clients log most of it. A plain RTP
player tells nothing but loss and jitter, so that what is known of it is worked out from what leaves
this node:

first-packet delay   from the request to the first packet that leaves. As in the paper.
fast start-up        the first whole frame, a key frame, has left within 1 s of the request. The
                     paper's is played by then: half a round trip and decoding are not in ours.
CDN path delay       the header's delay field on arrival (links and nodes on the way) and the time
                     in this node. As in the paper.
streaming delay      CDN path delay, half the round trip to the viewer if it reports one, and a
                     player's buffer of 300 ms (6.2). The encoder and its link are not in it.
stall                a player with that buffer would have found it empty (fastpath/view_qoe), or the
                     video has been silent for 1 s. What is lost behind this node is not seen.
0-stall ratio        of the views that have begun: those without a stall.
fast start-up ratio  of those that have begun, or waited for 1 s: those that began within it.

Samples of a view are taken about once a second; nothing here is done per packet.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from fastpath.stats import CursorStats

FAST_START_US = 1_000_000  # LiveNet 6.1
PLAYER_BUFFER_US = 300_000  # LiveNet 6.2; as in fastpath/view_qoe
SILENT_US = 1_000_000  # chosen: no frame rate of live video is so low
# Chosen: so close that a median within a bucket is wrong by a tenth or so.
BOUNDS_US = tuple(
    1_000 * bound_ms
    for bound_ms in (
        *(1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 60, 75, 90, 110, 130, 150, 175, 200, 250),
        *(300, 350, 400, 500, 600, 700, 850, 1_000, 1_500, 2_000, 3_000, 5_000),
    )
)
STREAMING_BOUNDS_US = tuple(PLAYER_BUFFER_US + bound_us for bound_us in BOUNDS_US)


class Histogram:
    """Of durations. counts[i]: at most bounds_us[i], and more than the bound before; the last one:
    all above."""

    def __init__(self, bounds_us: tuple[int, ...] = BOUNDS_US) -> None:
        self.bounds_us = bounds_us
        self.counts = [0] * (len(bounds_us) + 1)
        self.sum_us = 0

    @property
    def count(self) -> int:
        return sum(self.counts)

    def note(self, duration_us: int) -> None:
        self.counts[bisect_left(self.bounds_us, duration_us)] += 1
        self.sum_us += duration_us

    def add(self, other: Histogram) -> None:
        """Of both together: of the same bounds."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.sum_us += other.sum_us

    def quantile_us(self, quantile: float) -> int | None:
        """By proportion within a bucket; None while there is nothing. At most the last bound."""
        left = quantile * self.count
        for index, number in enumerate(self.counts):
            if number and left <= number:
                low = self.bounds_us[index - 1] if index else 0
                high = self.bounds_us[index] if index < len(self.bounds_us) else low
                return round(low + left / number * (high - low))
            left -= number
        return None

    @property
    def mean_us(self) -> int | None:
        count = self.count
        return self.sum_us // count if count else None


@dataclass(slots=True)
class View:
    """One viewer's. Durations are from its request on; None: not yet. path_delay_us,
    streaming_delay_us: means over its samples."""

    asked_us: int
    first_packet_us: int | None = None
    start_us: int | None = None
    is_fast: bool | None = None
    stalls: int = 0
    stalled_us: int = 0
    samples: int = 0
    path_delay_sum_us: int = 0
    streaming_delay_sum_us: int = 0

    @property
    def path_delay_us(self) -> int | None:
        return self.path_delay_sum_us // self.samples if self.samples else None

    @property
    def streaming_delay_us(self) -> int | None:
        return self.streaming_delay_sum_us // self.samples if self.samples else None


@dataclass(frozen=True, slots=True)
class Sample:
    """What the engine says of one viewer. main: its video, or only track. first_sent_us: of any of
    its tracks, 0 for never. path_delay_us: of the stream on arrival."""

    main: CursorStats
    first_sent_us: int
    path_delay_us: int
    time_in_node_us: int


@dataclass(slots=True)
class Qoe:
    """All views of a node since its start."""

    views: int = 0
    begun: int = 0
    fast: int = 0
    slow: int = 0
    stalled: int = 0
    stalls: int = 0
    stalled_us: int = 0
    first_packet: Histogram = field(default_factory=Histogram)
    start_up: Histogram = field(default_factory=Histogram)
    path_delay: Histogram = field(default_factory=Histogram)
    streaming_delay: Histogram = field(default_factory=lambda: Histogram(STREAMING_BOUNDS_US))
    present: dict[int, View] = field(default_factory=dict)

    @property
    def zero_stall_ratio(self) -> float | None:
        return (self.begun - self.stalled) / self.begun if self.begun else None

    @property
    def fast_start_up_ratio(self) -> float | None:
        return self.fast / (self.fast + self.slow) if self.fast + self.slow else None

    def begin(self, viewer: int, asked_us: int) -> None:
        """It has asked."""
        self.views += 1
        self.present[viewer] = View(asked_us)

    def end(self, viewer: int, now_us: int) -> None:
        """It has left; take a last sample before."""
        view = self.present.pop(viewer, None)
        if view is not None:
            self._judge_wait(view, now_us)

    def find(self, viewer: int) -> View | None:
        """None if it has left."""
        return self.present.get(viewer)

    def wait(self, viewer: int, now_us: int) -> None:
        """Nothing is sent to it yet."""
        if (view := self.present.get(viewer)) is not None:
            self._judge_wait(view, now_us)

    def note(self, viewer: int, sample: Sample, now_us: int) -> None:
        """How it fares."""
        view = self.present.get(viewer)
        if view is None:
            return
        main = sample.main
        if view.first_packet_us is None and sample.first_sent_us:
            view.first_packet_us = max(0, sample.first_sent_us - view.asked_us)
            self.first_packet.note(view.first_packet_us)
        if view.start_us is None and main.first_frame_us:
            self._note_start(view, max(0, main.first_frame_us - view.asked_us))
        self._judge_wait(view, now_us)
        if view.start_us is None:
            return
        self._note_stalls(view, main, now_us)
        view.samples += 1
        path_us = sample.path_delay_us + sample.time_in_node_us
        streaming_us = path_us + main.rtt_us // 2 + PLAYER_BUFFER_US
        view.path_delay_sum_us += path_us
        view.streaming_delay_sum_us += streaming_us
        self.path_delay.note(path_us)
        self.streaming_delay.note(streaming_us)

    def _note_start(self, view: View, start_us: int) -> None:
        view.start_us = start_us
        self.begun += 1
        self.start_up.note(start_us)
        if view.is_fast is None:
            view.is_fast = start_us <= FAST_START_US
            self.fast += view.is_fast
            self.slow += not view.is_fast

    def _judge_wait(self, view: View, now_us: int) -> None:
        if view.is_fast is None and now_us - view.asked_us > FAST_START_US:
            view.is_fast = False
            self.slow += 1

    def _note_stalls(self, view: View, main: CursorStats, now_us: int) -> None:
        """One under way counts, and is not counted again when the engine sees its end."""
        silent_us = now_us - main.newest_frame_us
        is_silent = main.newest_frame_us > 0 and silent_us > SILENT_US
        stalls = max(view.stalls, main.stalls + is_silent)
        if stalls and not view.stalls:
            self.stalled += 1
        self.stalls += stalls - view.stalls
        view.stalls = stalls
        lasted_us = main.stalled_us + (silent_us - PLAYER_BUFFER_US if is_silent else 0)
        lasted_us = max(view.stalled_us, lasted_us)
        self.stalled_us += lasted_us - view.stalled_us
        view.stalled_us = lasted_us
