"""The budget of a link whose rate is controlled; see fastpath/pacing.

The controller is the native one (fastpath/rate): what is compared here is what it hears, when, and
what is made of what it says.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fastpath.rate import Controller, PacketResult, Probe, RateConfig, RateKind
from fastpath.reference.cursor import GOES_ON
from fastpath.reference.wire import PacketType

if TYPE_CHECKING:
    from fastpath.reference.link import Link
    from fastpath.reference.worker import Worker

TICK_US = 25_000
CLUSTERS = 8
PADDING_BYTES = 1200
LEAST_PADDING_BYTES = 64
LEG_BYTES = 32
PROBE_PATIENCE_US = 100_000
HELD_US = 2_500_000
MORE_THAN_MEAN = 8
FIGURES_US = 1_000_000
NODE_LATE_US, VIEWER_LATE_US = (
    150_000,
    350_000,
)  # beyond a round trip: report's interval and a queue
BASE_PERIOD_US = 10_000_000


USAGES = {"over": 1, "under": 2}


def open_pacer(link: Link, kind: RateKind | None, rate: RateConfig | None, now_us: int) -> None:
    """None: the rate stays fixed."""
    if kind is None or rate is None:
        return
    config = replace(
        rate,
        min_bps=max(rate.min_bps, 1),
        max_bps=link.rate_bps,
        streams=0,
        is_node_link=not link.is_viewer,
    )
    link.pacer = Pacer(kind, config, Controller(kind, config, now_us), now_us, now_us)
    link.pacer.needed_bps = config.needed_bps
    link.pacer.has_numbers = link.is_viewer and kind != RateKind.LOSS_ONLY
    link.pacer.refresh(link)


@dataclass(slots=True)
class Cluster:
    """What left under these numbers belongs to one probe."""

    id: int
    first: int
    last: int | None = None  # None: it is under way


@dataclass(eq=False, slots=True)
class Pacer:
    kind: RateKind
    config: RateConfig
    controller: Controller
    next_tick_us: int
    figures_us: int
    has_numbers: bool = False  # of its own, for a viewer's feedback
    transport_number: int = 0  # last used
    frames_numbered: int = 0  # packets with the marker among these
    noted_bytes: int = 0
    is_heard: bool = False  # somebody tells of what is sent
    numbers_before: int = 0  # of what is told of, when this draining began
    newest_sent_us: int = 0  # of media
    untold_since_us: int | None = None  # media sent then, or soon after, is the oldest without news
    base_rtt_us: tuple[int, int] = (0, 0)  # least of this period and of the one before
    base_until_us: int = 0
    is_late: bool = False  # news is overdue
    withheld_us: int = 0  # something waited then because it was
    probe: Probe | None = None  # under way
    probe_until_us: int = 0
    held: Probe | None = None  # a viewer's, until there is what it can be made of
    held_until_us: int = 0
    needed_bps: int = 0  # what there would be to send, by who decides what is
    left_out_us: int | None = None  # last time that frames were left out for the viewer
    probe_from: tuple[int, int] = (0, 0)  # bytes that the link had sent, last number used
    clusters: list[Cluster] = field(default_factory=list)  # newest last
    acked_bytes: int = 0
    told_packets: int = 0
    told_lost: int = 0
    acked_bps: int = 0
    loss_millionths: int = 0
    feedbacks: int = 0

    def refresh(self, link: Link) -> None:
        """Take over what the controller says."""
        target_bps = max(min(self.controller.target_bps, link.rate_bps), 1)
        pacing_bps = max(self.controller.pacing_bps, target_bps)
        if self.probe is not None:
            pacing_bps = max(pacing_bps, self.probe.bps)
        key_bps = max(target_bps + target_bps // 2, pacing_bps)
        if self.is_late and self.config.min_bps < pacing_bps:
            pacing_bps = key_bps = self.config.min_bps
        link.target_bps = target_bps
        link.pacing_bps = min(pacing_bps, link.rate_bps)
        link.key_pacing_bps = min(key_bps, link.rate_bps)

    def set_rate(self, link: Link, rate_bps: int, start_bps: int, now_us: int) -> None:
        """Another ceiling. start_bps: on another path it begins there; 0: where it did."""
        link.rate_bps = rate_bps
        start_bps = start_bps or self.config.start_bps
        self.config = replace(self.config, max_bps=rate_bps, start_bps=start_bps)
        self.controller.set_config(self.config, now_us)
        self.refresh(link)

    def set_needed(self, link: Link, bps: int, now_us: int) -> None:
        """What there would be to send, were there room."""
        self.needed_bps = bps
        self._take_need(bps, now_us)
        self.refresh(link)

    def _take_need(self, bps: int, now_us: int) -> None:
        if bps != self.config.needed_bps:
            self.config = replace(self.config, needed_bps=bps)
            self.controller.set_config(self.config, now_us)

    def _note_left_out(self, link: Link, left_out_us: int, now_us: int) -> None:
        """Who was not sent all of its video lately needs what there is of it."""
        if now_us - left_out_us >= HELD_US:
            self.left_out_us = None
            self._take_need(self.needed_bps, now_us)
            return
        bps = sum(cursor.stream.ring.bps() for cursor in link.cursors)
        self._take_need(max(bps + bps // MORE_THAN_MEAN, self.needed_bps), now_us)

    def on_route_change(self, link: Link, now_us: int) -> None:
        self.probe = self.held = None
        self.clusters.clear()
        self.untold_since_us, self.is_late, self.base_rtt_us = None, False, (0, 0)
        self.is_heard = False
        self.controller.on_route_change(self.config.start_bps, now_us)
        self.refresh(link)

    def on_results(self, link: Link, results: list[PacketResult], rtt_us: int, now_us: int) -> None:
        arrived = [result for result in results if result.arrival_us >= 0]
        self.feedbacks += 1
        self.is_heard = True
        self.told_packets += len(results)
        self.told_lost += len(results) - len(arrived)
        self.acked_bytes += sum(result.size for result in arrived)
        told_us = results[-1].sent_us if arrived else -1  # a loss is news as well
        if self.untold_since_us is not None and told_us >= self.untold_since_us:
            self.untold_since_us = told_us if told_us < self.newest_sent_us else None
        self.is_late = self._is_overdue(link, now_us)
        self._note_rtt(rtt_us, now_us)
        self._roll_figures(now_us)
        self.controller.on_feedback(results, rtt_us, now_us)
        self.refresh(link)

    def cluster_of(self, number: int) -> int:
        """The probe that a number left for, or 0."""
        for cluster in self.clusters:
            if cluster.first <= number and (cluster.last is None or number <= cluster.last):
                return cluster.id
        return 0

    def figures(self) -> dict[str, float]:
        return {
            "acked_bps": self.acked_bps,
            "feedback_loss": self.loss_millionths / 1e6,
            "feedbacks": self.feedbacks,
            "usage": USAGES.get(self.controller.state().usage or "", 0),
        }

    def before_drain(self, link: Link, now_us: int) -> None:
        """The controller's tick, if it is due; and the probe that it may want."""
        self.numbers_before = self._told_of(link)
        if self._is_overdue(link, now_us) != self.is_late:
            self.is_late = not self.is_late
            self.refresh(link)
        if now_us < self.next_tick_us:
            return
        self.next_tick_us = now_us + TICK_US
        self._roll_figures(now_us)
        if len(link.cursors) != self.config.streams:
            self.config = replace(self.config, streams=len(link.cursors))
            self.controller.set_config(self.config, now_us)
        if self.left_out_us is not None and self.kind is RateKind.GCC:
            self._note_left_out(link, self.left_out_us, now_us)
        self.controller.on_tick(now_us)
        if self.probe is None and link.cursors and (link.is_viewer or link.is_up):
            probe = self._take_probe(link, now_us)
            if probe is not None:
                self._begin(link, probe, now_us)
        self.refresh(link)

    def _take_probe(self, link: Link, now_us: int) -> Probe | None:
        """A viewer's is held until there is what it can be made of; RTX is not simulated here."""
        if not link.is_viewer:
            return self.controller.take_probe(now_us)
        if self.held is None or now_us >= self.held_until_us:
            self.held = self.controller.take_probe(now_us)
            self.held_until_us = now_us + HELD_US
        if self.held is None or not lags_by(link, self.held):
            return None
        probe, self.held = self.held, None
        return probe

    def after_drain(self, worker: Worker, link: Link, now_us: int) -> None:
        """Go on with a probe, and tell the controller what has been sent."""
        if self.probe is not None:
            self._go_on(worker, link, self.probe, now_us)
        is_awaited = not self.has_numbers  # of all, or of what has a number
        if self._told_of(link) != self.numbers_before:
            is_awaited = True
            self.newest_sent_us = now_us
            if self.untold_since_us is None:
                self.untold_since_us = now_us
        if self.is_late and link.backlog():
            self.withheld_us = now_us
        if link.sent_bytes != self.noted_bytes:
            if self.is_heard or self.has_numbers:
                sent_bytes = link.sent_bytes - self.noted_bytes
                self.controller.on_sent(sent_bytes, now_us, is_awaited)
            self.noted_bytes = link.sent_bytes

    def _note_rtt(self, rtt_us: int, now_us: int) -> None:
        """The least round trip lately: what the path takes without a queue."""
        newest, before = self.base_rtt_us
        if now_us >= self.base_until_us:
            self.base_until_us = now_us + BASE_PERIOD_US
            newest, before = 0, newest
        self.base_rtt_us = least_known(newest, rtt_us), before

    def _is_overdue(self, link: Link, now_us: int) -> bool:
        """Has nothing been heard of what left so long ago? Not before there was a first report, nor
        if all of it is so long ago, and nothing waits for the news."""
        if self.untold_since_us is None or self.feedbacks == 0 or not self.is_heard:
            return False
        late_us = VIEWER_LATE_US if link.is_viewer else NODE_LATE_US
        late_us += least_known(*self.base_rtt_us)
        if now_us - max(self.newest_sent_us, self.withheld_us) > late_us:
            self.untold_since_us = None
            return False
        return now_us - self.untold_since_us > late_us

    def _roll_figures(self, now_us: int) -> None:
        passed_us = now_us - self.figures_us
        if passed_us < FIGURES_US:
            return
        self.acked_bps = self.acked_bytes * 8_000_000 // passed_us
        told = self.told_packets
        self.loss_millionths = self.told_lost * 1_000_000 // told if told else 0
        self.acked_bytes = self.told_packets = self.told_lost = 0
        self.figures_us = now_us

    def _last_number(self, link: Link) -> int:
        return self.transport_number if link.is_viewer else link.hop_seq

    def _told_of(self, link: Link) -> int:
        """How much has left of which news will come soon: of a viewer, ends of frames."""
        return self.frames_numbered if link.is_viewer else link.sent_packets

    def _begin(self, link: Link, probe: Probe, now_us: int) -> None:
        self.probe = probe
        self.clusters.append(Cluster(probe.cluster, self._last_number(link) + 1))
        del self.clusters[:-CLUSTERS]
        longest = max(probe.packets * PADDING_BYTES, probe.size)
        longest_us = longest * 8_000_000 // probe.bps if probe.bps else 0
        self.probe_until_us = now_us + PROBE_PATIENCE_US + longest_us
        self.probe_from = link.sent_bytes, self._last_number(link)
        # Neither credit nor debt: its first packets too leave at its rate.
        link.free_at_ns = now_us * 1000

    def _go_on(self, worker: Worker, link: Link, probe: Probe, now_us: int) -> None:
        from fastpath.reference.send import send_message

        size = probe.size // probe.packets + 1 if probe.packets else PADDING_BYTES
        size = min(max(size, LEAST_PADDING_BYTES), PADDING_BYTES)
        while (
            not link.is_viewer
            and not self._is_whole(link, probe)
            and not link.backlog()
            and link.may_send(now_us)
        ):
            send_message(worker, link, PacketType.PADDING, bytes(size - LEG_BYTES), now_us)
        has_run_dry = link.is_viewer and not link.backlog()
        if self._is_whole(link, probe) or now_us >= self.probe_until_us or has_run_dry:
            self.clusters[-1].last = self._last_number(link)
            self.probe = None
            self.refresh(link)

    def _is_whole(self, link: Link, probe: Probe) -> bool:
        sent_bytes, number = self.probe_from
        return (
            link.sent_bytes - sent_bytes >= probe.size
            and self._last_number(link) - number >= probe.packets
        )


def least_known(a: int, b: int) -> int:
    """0: not known."""
    return min(a, b) if a and b else a or b


def lags_by(link: Link, probe: Probe) -> bool:
    """Is so much waiting for its turn on this link?"""
    waiting = [
        len(cursor.stream.ring.packets[number].payload)
        for cursor in link.cursors
        if cursor.state in GOES_ON
        for number in range(max(cursor.next, cursor.stream.ring.tail), cursor.stream.ring.head)
        if number in cursor.stream.ring.packets
    ]
    return len(waiting) >= probe.packets and sum(waiting) >= probe.size
