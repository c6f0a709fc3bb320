"""One case: sink, engine and loop side by side, and the trials they take in turns.

A trial offers one rate to one relay for a while. It passes with less than MAX_LOSS lost, the
generator on its rate, and at most MAX_BEHIND_S under way at its end (at fan-out 100 the socket
buffers alone would hold a short trial). Its CPU time is the relay's, per packet a receiver got.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.support.native import BenchError
from bench.support.relays import EngineRelay, LoopRelay, Relay
from bench.support.search import RateSearch
from bench.support.threads import Cores, EndsClock, RelayClock, wait_until_idle
from bench.support.traffic import BURST_PACKETS, Generator, Sink

MAX_LOSS = 0.001
MAX_BEHIND_S = 0.01  # of traffic under way when the generator ends: more is a queue that grows
MAX_LATENESS = 1.02  # of the time a trial should take: beyond, the generator missed its rate
# A failed trial is repeated if a part waited this share of it while other processes had its core.
DISTURBED_SHARE = 0.01
QUIET_S = 0.05  # nothing arrives any more: what is missing is lost
PATIENCE_S = 1.0  # the same where no loss is expected
WARM_UP_PPS = 50_000
WARM_UP_BURSTS = 64
RESUME_BURSTS = 2  # after a gap in the numbers the engine waits for a second packet to believe it
GROWTH = 2.0
REFINEMENT = 1.1  # a later search starts at what the first found
SHORT = 0.3  # length of a trial while the first search still grows
COMMON_SHARE = 0.5  # of the lower highest rate: where both are compared at the same load


@dataclass(frozen=True)
class Case:
    fanout: int
    payload_bytes: int  # of an RTP packet, header included
    receiver: str  # "gro" or "plain"


@dataclass(frozen=True)
class Plan:
    searches: int
    trial_s: float
    patience_s: float  # what a case may spend on repeating trials that others disturbed


@dataclass(frozen=True)
class Trial:
    packets_out: int  # that receivers got
    pps_out: float
    cpu_us_per_packet_out: float
    loss: float
    batches_mean_packets: float
    cpu_share: float  # of the relay's core
    limited_by: str | None  # who failed it: relay, sink or generator

    @property
    def passed(self) -> bool:
        return self.limited_by is None


@dataclass(frozen=True)
class Counts:
    """Packets that receivers got and a relay sent, and in how many system calls."""

    received: int
    sent: int
    batches: int

    def __sub__(self, earlier: Counts) -> Counts:
        return Counts(
            self.received - earlier.received,
            self.sent - earlier.sent,
            self.batches - earlier.batches,
        )

    def behind(self, expected: int) -> str:
        """Who holds most of what has not arrived."""
        return "relay" if expected - self.sent >= self.sent - self.received else "sink"


class Rig:
    """The parts of one case, on their cores."""

    def __init__(self, case: Case, cores: Cores, plan: Plan) -> None:
        self._case = case
        # On one core they always wait for each other.
        self._patience_s = 0 if cores.relay is None else plan.patience_s
        self.repeated = 0  # trials that were taken again
        relay_cores = set(cores.others) if cores.relay is None else {cores.relay}
        self.sink = Sink(
            case.fanout, case.payload_bytes, gro=case.receiver == "gro", cores=set(cores.others)
        )
        ports = self.sink.ports()
        self.relays: list[Relay] = [EngineRelay(ports, relay_cores), LoopRelay(ports, relay_cores)]
        self._clocks = {
            relay.name: RelayClock(relay.thread.native_id, cores.relay) for relay in self.relays
        }
        self._ends_clock = EndsClock(self.sink.thread.native_id)
        self._generators = {
            relay.name: Generator(relay.ingest, case.payload_bytes) for relay in self.relays
        }
        for relay in self.relays:
            self._check_path(relay)

    @property
    def counts_softirq_thread(self) -> bool:
        return all(clock.counts_softirq_thread for clock in self._clocks.values())

    def close(self) -> None:
        for generator in self._generators.values():
            generator.close()
        for relay in self.relays:
            relay.close()
        self.sink.close()

    def _check_path(self, relay: Relay) -> None:
        """At a low rate every packet arrives, whole."""
        expected = WARM_UP_BURSTS * BURST_PACKETS * self._case.fanout
        arrived = self._warm_up(relay, WARM_UP_BURSTS)
        if arrived != expected or self.sink.odd_bytes:
            raise BenchError(
                f"{relay.name}: {arrived} of {expected} packets arrived at a low rate, "
                f"{self.sink.odd_bytes} bytes not in whole packets"
            )

    def _warm_up(self, relay: Relay, bursts: int) -> int:
        """How many packets of a few slow bursts arrived."""
        before = self.sink.packets
        self._generators[relay.name].generate(bursts, WARM_UP_PPS / self._case.fanout)
        self._drain(before + bursts * BURST_PACKETS * self._case.fanout, PATIENCE_S)
        return self.sink.packets - before

    def _drain(self, expected: int, quiet_s: float) -> None:
        """Until the sink has counted that many, or nothing more comes."""
        seen, since = self.sink.packets, time.monotonic()
        while seen < expected and time.monotonic() < since + quiet_s:
            time.sleep(0.002)
            if self.sink.packets != seen:
                seen, since = self.sink.packets, time.monotonic()

    def trial(
        self, relay: Relay, pps_out: float, seconds: float, quiet_s: float = QUIET_S
    ) -> Trial:
        trial, is_disturbed = self._trial(relay, pps_out, seconds, quiet_s)
        while not trial.passed and is_disturbed and self._patience_s > 0:
            start = time.monotonic()
            wait_until_idle(start + self._patience_s / 4)
            trial, is_disturbed = self._trial(relay, pps_out, seconds, quiet_s)
            self.repeated += 1
            self._patience_s -= time.monotonic() - start
        return trial

    def _trial(
        self, relay: Relay, pps_out: float, seconds: float, quiet_s: float
    ) -> tuple[Trial, bool]:
        """The trial, and whether other processes took the cores meanwhile."""
        pps_in = pps_out / self._case.fanout
        bursts = max(round(pps_in * seconds / BURST_PACKETS), 1)
        expected = bursts * BURST_PACKETS * self._case.fanout
        should_take_s = bursts * BURST_PACKETS / pps_in
        self._warm_up(relay, RESUME_BURSTS)
        clock, before = self._clocks[relay.name], self._counts(relay)
        cpu, ends_cpu = clock.read(), self._ends_clock.read()
        taken_s = self._generators[relay.name].generate(bursts, pps_in)
        at_end = self._counts(relay) - before
        self._drain(before.received + expected, quiet_s)
        after = self._counts(relay) - before
        cpu, ends_cpu = clock.read() - cpu, self._ends_clock.read() - ends_cpu
        for thread in (relay.thread, self.sink.thread):
            thread.check()
        may_be_under_way = MAX_BEHIND_S * pps_out + BURST_PACKETS * self._case.fanout
        limit = None
        if taken_s > MAX_LATENESS * should_take_s:
            limit = "generator"
        elif after.received < (1 - MAX_LOSS) * expected:
            limit = after.behind(expected)
        elif expected - at_end.received > may_be_under_way:
            limit = at_end.behind(expected)
        trial = Trial(
            packets_out=after.received,
            pps_out=after.received / max(taken_s, should_take_s),
            cpu_us_per_packet_out=cpu.busy_us / max(after.received, 1),
            loss=1 - after.received / expected,
            batches_mean_packets=after.sent / max(after.batches, 1),
            cpu_share=cpu.busy_us / 1e6 / taken_s,
            limited_by=limit,
        )
        waited_us = max(cpu.waited_us, ends_cpu.waited_us)
        return trial, waited_us / 1e6 > DISTURBED_SHARE * taken_s

    def _counts(self, relay: Relay) -> Counts:
        received, sent = self.sink.packets, relay.sent()
        return Counts(received, sent.packets, sent.batches)


@dataclass(frozen=True)
class Highest:
    """Where one search of one relay ended."""

    passed: Trial
    limited_by: str


def search_in_turns(
    rig: Rig, starts: dict[str, float], factor: float, plan: Plan, tell: Callable[[str], None]
) -> dict[str, Highest]:
    """One search for each relay, a trial of the one and a trial of the other."""
    searches = {name: RateSearch(start, factor) for name, start in starts.items()}
    best: dict[str, Trial] = {}
    worst: dict[str, Trial] = {}
    while any(search.rate is not None for search in searches.values()):
        for relay in rig.relays:
            search = searches[relay.name]
            if search.rate is None:
                continue
            tell(f"{relay.name} at {search.rate / 1000:,.0f} k/s")
            grows = factor == GROWTH and not search.is_bracketed
            trial = rig.trial(relay, search.rate, plan.trial_s * (SHORT if grows else 1))
            (best if trial.passed else worst)[relay.name] = trial
            search.on_result(trial.passed)
    for name, search in searches.items():
        if search.found is None:
            raise BenchError(f"{name}: no rate passed; the last trial was {worst[name]}")
    return {name: Highest(best[name], worst[name].limited_by or "") for name in starts}


def _median(values: list[Trial]) -> Trial:
    """Of each figure by itself."""
    return Trial(
        packets_out=round(statistics.median(t.packets_out for t in values)),
        pps_out=statistics.median(t.pps_out for t in values),
        cpu_us_per_packet_out=statistics.median(t.cpu_us_per_packet_out for t in values),
        loss=statistics.median(t.loss for t in values),
        batches_mean_packets=statistics.median(t.batches_mean_packets for t in values),
        cpu_share=statistics.median(t.cpu_share for t in values),
        limited_by=None,
    )


@dataclass(frozen=True)
class Found:
    """Of one relay in one case: at its highest rate (None if not searched), and at a common one."""

    highest: Trial | None
    limited_by: list[str]  # what stopped each search
    common: Trial


def measure_at(
    rig: Rig, pps_out: float, plan: Plan, tell: Callable[[str], None]
) -> dict[str, Trial]:
    """Both at the same rate, in turns; medians."""
    taken: dict[str, list[Trial]] = {relay.name: [] for relay in rig.relays}
    for _ in range(plan.searches):
        for relay in rig.relays:
            tell(f"{relay.name} at the common {pps_out / 1000:,.0f} k/s")
            taken[relay.name].append(rig.trial(relay, pps_out, plan.trial_s / 2, PATIENCE_S))
    return {name: _median(trials) for name, trials in taken.items()}


def measure(
    rig: Rig, start_pps: float, plan: Plan, tell: Callable[[str], None]
) -> dict[str, Found]:
    """All searches of a case, then the common rate."""
    ends: dict[str, list[Highest]] = {relay.name: [] for relay in rig.relays}
    starts, factor = {relay.name: start_pps for relay in rig.relays}, GROWTH
    for _ in range(plan.searches):
        found = search_in_turns(rig, starts, factor, plan, tell)
        for name, end in found.items():
            ends[name].append(end)
        starts = {name: end.passed.pps_out for name, end in found.items()}
        factor = REFINEMENT
    highest = {name: _median([end.passed for end in each]) for name, each in ends.items()}
    common = measure_at(
        rig, COMMON_SHARE * min(trial.pps_out for trial in highest.values()), plan, tell
    )
    return {
        name: Found(highest[name], [end.limited_by for end in each], common[name])
        for name, each in ends.items()
    }
