"""From what native viewers and nodes counted to a scenario's report."""

from __future__ import annotations

from lab.scenario.qoe import qoe_of
from lab.scenario.report import (
    IN_TIME_US,
    AccessReport,
    Delay,
    EventGap,
    EventReport,
    HopReport,
    PathLoad,
    Range,
    ScenarioReport,
    StreamChange,
    VersionChange,
    ViewerReport,
)
from lab.scenario.words import describe
from lab.virtual.audience import Watcher
from lab.virtual.figures import ViewerFigures
from lab.virtual.run import VirtualOverlay
from lab.virtual.settings import START_US
from relay.node import Node
from relay.qoe import PLAYER_BUFFER_US, Histogram

CAUSE_US = 1_000_000  # chosen: how long after an event a silence may begin because of it


def report_of(overlay: VirtualOverlay) -> ScenarioReport:
    """Without expectations."""
    viewers = [_viewer(overlay, watcher) for watcher in overlay.audience.watchers]
    return ScenarioReport(
        name=overlay.scenario.name,
        mode="virtual",
        seed=overlay.scenario.seed,
        duration_s=overlay.scenario.duration_s,
        viewers=viewers,
        hops=_hops(overlay),
        access=[_access(overlay, number) for number in range(len(overlay.access))],
        flows=[flow.report(overlay.scenario.duration_s) for flow in overlay.flows],
        qoe=qoe_of(
            viewers,
            cdn_path_delay_ms=_cdn_path_delay_ms(overlay),
            covered_by_other_path=_covered(overlay),
        ),
        brain=overlay.brain.report() if overlay.brain else None,
        events=[_event(overlay, index, viewers) for index in range(len(overlay.happened))],
        trace_digest=overlay.world.digest,
        datagrams=overlay.world.datagrams,
    )


def _viewer(overlay: VirtualOverlay, watcher: Watcher) -> ViewerReport:
    found = overlay.world.viewer(watcher.number)
    on_time, late = _in_time(found)
    intact = found.whole_early + on_time
    host = watcher.host.name if watcher.host else (watcher.path[-1:] or (watcher.entry.node,))[0]
    gaps = [
        EventGap(event=cause, gap_ms=(end_us - start_us) / 1_000)
        for start_us, end_us in found.gaps
        if (cause := _cause(overlay, start_us, end_us)) is not None
    ]
    joined_us = watcher.joined_us
    return ViewerReport(
        name=watcher.name,
        stream=watcher.broadcast.name,
        node=host,
        path=list(watcher.path),
        joined_s=None if joined_us is None else (joined_us - START_US) / 1_000_000,
        left_s=None if watcher.left_us is None else (watcher.left_us - START_US) / 1_000_000,
        refused=watcher.refused,
        frames_expected=found.expected,
        frames_intact=intact,
        frames_late=late,
        frames_damaged=found.damaged,
        frames_missing=max(0, found.expected - found.whole - found.damaged),
        frames_undecodable=found.undecodable,
        frames_duplicate=found.duplicate_frames,
        intact_ratio=min(1.0, intact / found.expected) if found.expected else None,
        packets=found.packets,
        rate_bps=_rate_bps(overlay, watcher, found),
        packets_duplicate=found.duplicates,
        packets_corrupt=found.corrupt,
        rtx_packets=found.rtx_packets,
        rtx_repaired=found.rtx_repaired,
        sequence_breaks=found.breaks,
        version_frames=list(found.of_version[: len(watcher.broadcast.bitrates)]),
        version_changes=[
            VersionChange(at_s=(at_us - START_US) / 1_000_000, version=version)
            for at_us, version in found.changes
        ],
        stream_changes=[
            StreamChange(
                at_s=(at_us - START_US) / 1_000_000,
                stream=overlay.scenario.broadcasts[encoder].name,
            )
            for at_us, encoder in found.switches
        ],
        audio_packets=found.audio_packets,
        audio_missing=found.audio_missing,
        is_cache_hit=watcher.is_cache_hit,
        first_packet_ms=_since(joined_us, found.first_packet_us),
        first_frame_ms=_since(joined_us, found.first_intact_us),
        longest_gap_ms=found.longest_gap_us / 1_000 if found.whole else None,
        stalls=_stalls(watcher, found) if found.whole else None,
        gaps=gaps,
        delay_ms=Delay(p50=_rank(found.delays, 0.5), p99=_rank(found.delays, 0.99)),
        target_bps=overlay.targets.of_viewer.get(watcher.number, Range()),
        least_delay_ms=None if found.least_delay_us < 0 else found.least_delay_us / 1_000,
    )


def _rate_bps(overlay: VirtualOverlay, watcher: Watcher, found: ViewerFigures) -> float | None:
    """From joining to leaving or the scenario's end, absences included."""
    if watcher.joined_us is None:
        return None
    until_us = watcher.left_us or overlay.end_us
    return (
        8e6 * found.bytes / (until_us - watcher.joined_us) if until_us > watcher.joined_us else 0.0
    )


def _stalls(watcher: Watcher, found: ViewerFigures) -> int:
    longest_us = 1_000_000 // watcher.broadcast.fps + PLAYER_BUFFER_US
    return sum(end_us - start_us > longest_us for start_us, end_us in found.gaps)


def _running(overlay: VirtualOverlay) -> list[Node]:
    return [host.node for host in overlay.nodes.values() if host.is_running]


def _cdn_path_delay_ms(overlay: VirtualOverlay) -> float | None:
    """As the nodes that run at the end have sampled it, once a second of each view."""
    total = Histogram()
    for node in _running(overlay):
        total.add(node.qoe.path_delay)
    middle_us = total.quantile_us(0.5)
    return None if middle_us is None else middle_us / 1_000


def _covered(overlay: VirtualOverlay) -> int:
    return sum(
        node.engine.stream_stats(stream.handle).covered_by_other_path
        for node in _running(overlay)
        for stream in node.streams.all
    )


def _since(joined_us: int | None, at_us: int) -> float | None:
    return None if joined_us is None or at_us < 0 else (at_us - joined_us) / 1_000


def _in_time(found: ViewerFigures) -> tuple[int, int]:
    """Whole frames after the catching up, in time and late. Delays are known to a millisecond."""
    limit_ms = (found.least_delay_us + IN_TIME_US) // 1_000
    on_time = sum(count for ms, count in found.delays if ms <= limit_ms)
    return on_time, sum(count for _, count in found.delays) - on_time


def _rank(counted: tuple[tuple[int, int], ...], share: float) -> float | None:
    """Nearest rank, rounded down to a millisecond."""
    left = share * sum(count for _, count in counted)
    for ms, count in counted:
        left -= count
        if left <= 0:
            return float(ms)
    return None


def _cause(overlay: VirtualOverlay, start_us: int, end_us: int) -> int | None:
    """The newest event before the silence's end that is not too long before its beginning."""
    causes = [
        index
        for index, happened in enumerate(overlay.happened)
        if start_us - CAUSE_US <= happened.at_us <= end_us
    ]
    return causes[-1] if causes else None


def _hops(overlay: VirtualOverlay) -> list[HopReport]:
    found = []
    for receiver, host in overlay.nodes.items():
        for sender, (counts, rtt_us) in sorted(host.link_counts().items()):
            a, b = overlay.numbers[sender], overlay.numbers[receiver]
            sent, _, _ = overlay.world.path_counts(a, b)
            link = overlay.links.get((min(sender, receiver), max(sender, receiver)))
            found.append(
                HopReport(
                    sender=sender,
                    receiver=receiver,
                    packets=counts["received_packets"],
                    lost=counts["lost"],
                    repaired=counts["repaired"],
                    gone=counts["gone"],
                    given_up=counts["given_up"],
                    loss=counts["lost"] / sent if sent else 0.0,
                    rtt_ms=rtt_us / 1_000 or None,
                    delay_ms=link.delay_us / 1_000 if link else None,
                    target_bps=overlay.targets.of_link.get((sender, receiver), Range()),
                )
            )
    return sorted(found, key=lambda hop: (hop.sender, hop.receiver))


def _access(overlay: VirtualOverlay, number: int) -> AccessReport:
    there, back = overlay.world.access_counts(number)
    load_there, load_back = overlay.access_loads[number]
    return AccessReport(
        name=overlay.access[number].short_name,
        forward=_load(there, *load_there),
        back=_load(back, *load_back),
    )


def _load(
    counts: tuple[int, int, int],
    could_bits: float,
    served_bytes: int,
    waits: tuple[tuple[int, int], ...],
) -> PathLoad:
    packets, lost, dropped = counts
    return PathLoad(
        packets=packets,
        lost=lost,
        dropped=dropped,
        use=8 * served_bytes / could_bits if could_bits else None,
        queue_ms=Delay(p50=_rank(waits, 0.5), p99=_rank(waits, 0.99)),
        queue_ms_p95=_rank(waits, 0.95),
    )


def _event(overlay: VirtualOverlay, index: int, viewers: list[ViewerReport]) -> EventReport:
    happened = overlay.happened[index]
    gaps = [
        max(gap.gap_ms for gap in of_it)
        for viewer in viewers
        if (of_it := [gap for gap in viewer.gaps if gap.event == index])
    ]
    return EventReport(
        at_s=(happened.at_us - START_US) / 1_000_000,
        do=happened.event.do,
        what=describe(happened.event),
        viewers_with_gap=len(gaps),
        longest_gap_ms=max(gaps, default=0.0),
        switches=happened.switches,
    )
