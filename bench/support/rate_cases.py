"""The test cases of RFC 8867, section 5, as flows over bottlenecks, and what is measured of them.

Capacities and times as the authors of ns3-rmcat have them, with 2^20 bit/s for a Mbit/s; one-way
delay 50 ms, queue 300 ms, unless a case says otherwise. The RFC's jitter, at most 30 ms, is an
option: ns3-rmcat has none, nor has what is published of these controllers.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from bench.support.flow_network import Bottleneck, Timeline
from bench.support.media_flow import MediaFlow, Path
from bench.support.tcp_flow import MEAN_PAUSE_S, TcpFlow
from fastpath.rate import Controller, RateConfig, RateKind

M = float(1 << 20)
SECOND_US = 1_000_000
# RFC 8867 4.3 and the RFCs of both controllers leave the limits open: from poor video to 4 M, the
# highest capacity of any case.
LIMITS = RateConfig(min_bps=150_000, start_bps=300_000, max_bps=int(4 * M))
FIXED_BPS = 1_000_000  # what `fixed` sends, as a measure of the cases themselves
SETTLE_US = 20 * SECOND_US  # fairness is measured so long after the last flow began
MEDIA_START_US = 5 * SECOND_US  # RFC 8867 5.6, 5.7: TCP is there before

JITTER_US = 30_000  # RFC 8867 4.2: the most that the path adds


@dataclass(frozen=True, slots=True)
class Make:
    """Flows of one controller. jitter_us: of their paths."""

    kind: RateKind
    limits: RateConfig
    jitter_us: int = 0

    def __call__(
        self,
        timeline: Timeline,
        path: Path,
        *,
        start_us: int = 0,
        seed: int,
        pauses: tuple[tuple[int, int], ...] = (),
    ) -> MediaFlow:
        return MediaFlow(
            timeline,
            Controller(self.kind, self.limits, start_us),
            replace(path, jitter_us=self.jitter_us),
            start_us=start_us,
            pauses=pauses,
            has_packet_feedback=self.kind is not RateKind.LOSS_ONLY,
            seed=seed,
        )


@dataclass(slots=True)
class Case:
    """A running case: its flows over `bottleneck`. Jain's index and rates: from fair_from_us on."""

    name: str
    title: str
    seconds: int
    bottleneck: Bottleneck
    flows: list[MediaFlow]
    tcp: list[TcpFlow] = field(default_factory=list)
    fair_from_us: int = SETTLE_US
    back: Case | None = None  # the other direction, if that is measured too


def flows_of(kind: RateKind, jitter_us: int = 0) -> Make:
    if kind is RateKind.FIXED:
        fixed = RateConfig(min_bps=LIMITS.min_bps, start_bps=FIXED_BPS, max_bps=LIMITS.max_bps)
        return Make(kind, fixed, jitter_us)
    return Make(kind, LIMITS, jitter_us)


def variable_one(timeline: Timeline, make: Make, seed: int) -> Case:
    bottleneck = Bottleneck([(0, M), (40, 2.5 * M), (60, 0.6 * M), (80, M)])
    flow = make(timeline, Path(bottleneck), seed=seed)
    return Case("5.1", "variable capacity, one flow", 100, bottleneck, [flow])


def variable_several(timeline: Timeline, make: Make, seed: int) -> Case:
    bottleneck = Bottleneck([(0, 4 * M), (25, 2 * M), (50, 3.5 * M), (75, M), (100, 2 * M)])
    flows = [make(timeline, Path(bottleneck), seed=seed + i) for i in range(2)]
    return Case("5.2", "variable capacity, two flows", 125, bottleneck, flows)


def congested_feedback(timeline: Timeline, make: Make, seed: int) -> Case:
    forward = Bottleneck([(0, 2 * M), (20, M), (40, 0.5 * M), (60, 2 * M)])
    back = Bottleneck([(0, 2 * M), (35, 0.8 * M), (70, 2 * M)])
    there = make(timeline, Path(forward, back=back), seed=seed)
    here = make(timeline, Path(back, back=forward), seed=seed + 1)
    title = "congested feedback path"
    return Case(
        "5.3", title, 100, forward, [there], back=Case("5.3", f"{title}, back", 100, back, [here])
    )


def competing(timeline: Timeline, make: Make, seed: int) -> Case:
    bottleneck = Bottleneck([(0, 3.5 * M)])
    starts = [0, 20 * SECOND_US, 40 * SECOND_US]
    flows = [
        make(timeline, Path(bottleneck), start_us=at, seed=seed + i) for i, at in enumerate(starts)
    ]
    return Case(
        "5.4", "same controller competing", 120, bottleneck, flows, fair_from_us=60 * SECOND_US
    )


def round_trips(timeline: Timeline, make: Make, seed: int) -> Case:
    bottleneck = Bottleneck([(0, 4 * M)])
    delays_us = [10_000, 25_000, 50_000, 100_000, 150_000]
    flows = [
        make(timeline, Path(bottleneck, delay_us), start_us=i * 10 * SECOND_US, seed=seed + i)
        for i, delay_us in enumerate(delays_us)
    ]
    return Case("5.5", "round trip fairness", 300, bottleneck, flows, fair_from_us=60 * SECOND_US)


def long_tcp(timeline: Timeline, make: Make, seed: int) -> Case:
    """The media flow comes to a queue that TCP has filled."""
    bottleneck = Bottleneck([(0, 2 * M)])
    tcp = TcpFlow(timeline, bottleneck)
    flow = make(timeline, Path(bottleneck), start_us=MEDIA_START_US, seed=seed)
    fair_us = MEDIA_START_US + SETTLE_US
    return Case(
        "5.6", "beside a long TCP flow", 120, bottleneck, [flow], [tcp], fair_from_us=fair_us
    )


def short_tcp(timeline: Timeline, make: Make, seed: int) -> Case:
    """Two of the ten are downloading at the start, the others pause."""
    bottleneck = Bottleneck([(0, 2 * M)])
    draws = random.Random(seed)
    tcp = [
        TcpFlow(
            timeline,
            bottleneck,
            start_us=0 if i < 2 else round(draws.expovariate(1 / MEAN_PAUSE_S) * SECOND_US),
            short=draws,
        )
        for i in range(10)
    ]
    flows = [
        make(timeline, Path(bottleneck), start_us=MEDIA_START_US, seed=seed + i) for i in range(2)
    ]
    fair_us = MEDIA_START_US + SETTLE_US
    return Case(
        "5.7", "beside ten short TCP flows", 300, bottleneck, flows, tcp, fair_from_us=fair_us
    )


def pausing(timeline: Timeline, make: Make, seed: int) -> Case:
    bottleneck = Bottleneck([(0, 3.5 * M)])
    pauses = ((40 * SECOND_US, 60 * SECOND_US),)
    flows = [
        make(timeline, Path(bottleneck), pauses=pauses if i == 0 else (), seed=seed + i)
        for i in range(3)
    ]
    return Case("5.8", "one of three pauses", 120, bottleneck, flows, fair_from_us=80 * SECOND_US)


CASES: dict[str, Callable[[Timeline, Make, int], Case]] = {
    "5.1": variable_one,
    "5.2": variable_several,
    "5.3": congested_feedback,
    "5.4": competing,
    "5.5": round_trips,
    "5.6": long_tcp,
    "5.7": short_tcp,
    "5.8": pausing,
}


def run_case(name: str, make: Make, seed: int = 1) -> Case:
    timeline = Timeline()
    case = CASES[name](timeline, make, seed)
    timeline.run(case.seconds * SECOND_US)
    return case


# What is measured


def delivered_bits(points: list[tuple[int, int]], begin_us: int, end_us: int) -> float:
    return 8.0 * sum(size for at_us, size in points if begin_us <= at_us < end_us)


def jain(shares: list[float]) -> float:
    """1: all the same; 1 / n: one has everything."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def percentile(values: list[int], share: float) -> int:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)] if values else 0


def mean_use(case: Case, begin_us: int = 0) -> float:
    """Media that arrived, and TCP, over what the link could carry."""
    end_us = case.seconds * SECOND_US
    points = [f.record.arrived for f in case.flows] + [t.arrived for t in case.tcp]
    bits = sum(delivered_bits(each, begin_us, end_us) for each in points)
    return bits / case.bottleneck.bits(begin_us, end_us)


def followed_us(case: Case) -> list[int]:
    """How long after each fall of the capacity the targets were within it together; -1: never."""
    trace = case.bottleneck.trace
    found = []
    for i, (before, after) in enumerate(pairwise(trace)):
        if after[1] >= before[1]:
            continue
        begin_us = round(after[0] * 1e6)
        end_us = round(trace[i + 2][0] * 1e6) if i + 2 < len(trace) else case.seconds * SECOND_US
        totals: dict[int, int] = {}
        for flow in case.flows:
            for at_us, bps in flow.record.targets:
                if begin_us <= at_us < end_us:
                    totals[at_us // 100_000] = totals.get(at_us // 100_000, 0) + bps // 4
        within = [at for at, total in sorted(totals.items()) if total <= after[1] * 1.05]
        found.append(within[0] * 100_000 - begin_us if within else -1)
    return found


def figures(case: Case) -> dict[str, object]:
    """Of the flows over the bottleneck; rates of the time in which fairness is measured."""
    end_us = case.seconds * SECOND_US
    waits = [wait for flow in case.flows for _, wait in flow.record.waits]
    sent = sum(len(flow.record.sent) for flow in case.flows)
    lost = sum(len(flow.record.lost) for flow in case.flows)
    span_s = (end_us - case.fair_from_us) / 1e6
    rates = [
        delivered_bits(flow.record.arrived, case.fair_from_us, end_us) / span_s
        for flow in case.flows
    ]
    tcp = [delivered_bits(t.arrived, case.fair_from_us, end_us) / span_s for t in case.tcp]
    found: dict[str, object] = {
        "use": round(mean_use(case), 3),
        "queue_p50_ms": round(percentile(waits, 0.5) / 1e3, 1),
        "queue_p95_ms": round(percentile(waits, 0.95) / 1e3, 1),
        "loss": round(lost / max(sent, 1), 4),
        "jain": round(jain(rates), 3) if len(rates) > 1 else None,
        "kbps": [round(rate / 1e3) for rate in rates],
    }
    if tcp:
        found["tcp_kbps"] = round(sum(tcp) / 1e3)
    falls = followed_us(case)
    if falls:
        found["followed_ms"] = [us // 1000 if us >= 0 else None for us in falls]
    if case.back is not None:
        found["back"] = figures(case.back)
    return found
