"""One case: generator, sink and relays side by side, and one trial at a time.

A trial offers one rate to one relay for a while. It passes with less than MAX_LOSS lost, the
generator on its rate, and at most MAX_BEHIND_S under way at its end (at fan-out 100 the socket
buffers alone would hold a short trial). Its CPU time is the relay's, per packet a receiver got.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from bench.support.case import Case, Plan
from bench.support.delay import Delays
from bench.support.native import BenchError
from bench.support.relays import KEY_BYTES, Place, Relay, RelayMaker, Sent
from bench.support.schedule import (
    BURST_PACKETS,
    Schedule,
    encoders,
    key_frames,
    length_s,
    packets_per_s,
    saturated,
)
from bench.support.threads import Cores, EndsClock, RelayClock, wait_until_idle
from bench.support.traffic import Generator, Sink

MAX_LOSS = 0.001
MAX_BEHIND_S = 0.01  # of traffic under way when the generator ends: more is a queue that grows
MAX_LATENESS = 1.02  # of the time a trial should take: beyond, the generator missed its rate
WAKE_UP_S = 0.001  # and the last one may be late
# A failed trial is repeated if a part waited this share of it while other processes had its core.
DISTURBED_SHARE = 0.01
QUIET_S = 0.05  # nothing arrives any more: what is missing is lost
PATIENCE_S = 1.0  # the same where no loss is expected
SETTLE_S = 1.0
WARM_UP_PPS = 50_000
WARM_UP_BURSTS = 64
RESUME_BURSTS = 2  # after a gap in the numbers the engine waits for a second packet to believe it
CHECK_S = 0.5  # of encoders
CHECKS = 3  # another process may disturb one


@dataclass(frozen=True)
class Trial:
    packets_out: int  # that receivers got
    pps_out: float
    cpu_us_per_packet_out: float
    loss: float
    sent: Sent
    cpu_share: float  # of the relay's core
    limited_by: str | None  # who failed it: relay, sink or generator
    delays: Delays
    cpu_us_range: tuple[float, float] | None = None  # of the trials that this is the median of

    @property
    def passed(self) -> bool:
        return self.limited_by is None


@dataclass(frozen=True)
class Counts:
    """Packets that receivers got, and what a relay sent."""

    received: int
    sent: Sent | None

    def __sub__(self, earlier: Counts) -> Counts:
        known = self.sent is not None and earlier.sent is not None
        sent = self.sent - earlier.sent if known else None  # type: ignore[operator]  # both known
        return Counts(self.received - earlier.received, sent)

    def behind(self, expected: int) -> str:
        """Who holds most of what has not arrived."""
        if self.sent is None:
            return "relay"
        sent = self.sent.packets
        return "relay" if expected - sent >= sent - self.received else "sink"


class Rig:
    """The parts of one case, on their cores. relays: made for the case; those that cannot do it
    give None and are left out."""

    def __init__(
        self, case: Case, makers: Mapping[str, RelayMaker], cores: Cores, plan: Plan
    ) -> None:
        self.case = case
        # On one core they always wait for each other.
        self._patience_s = 0 if cores.relay is None else plan.patience_s
        self._fill_s = plan.fill_s
        self.repeated = 0  # trials that were taken again
        self._cores = cores
        self.sink = Sink(case, set(cores.others))
        self._ends_clock = EndsClock(self.sink.thread)
        self.relays: dict[str, Relay] = {}
        self._lost: set[str] = set()  # whose last trial lost packets
        self._generators: dict[str, Generator] = {}
        self._clocks: dict[str, RelayClock] = {}
        try:
            for name, maker in makers.items():
                self._add(name, maker)
        except BaseException:
            self.close()
            raise

    def _add(self, name: str, maker: RelayMaker) -> None:
        receive_key = secrets.token_bytes(KEY_BYTES)
        generator = Generator(self.case, receive_key)
        relay_cores = set(self._cores.others) if self._cores.relay is None else {self._cores.relay}
        place = Place(self.case, generator, self.sink.ports(), relay_cores, receive_key=receive_key)
        relay = maker(place)
        if relay is None:
            generator.close()
            return
        self.relays[name] = relay
        self._generators[name] = generator
        self._clocks[name] = RelayClock(relay.thread, self._cores.relay)
        generator.connect(relay.ingest)
        self._check_path(name)

    @property
    def counts_softirq_thread(self) -> bool:
        return all(clock.counts_softirq_thread for clock in self._clocks.values())

    def close(self) -> None:
        for generator in self._generators.values():
            generator.close()
        for relay in self.relays.values():
            relay.close()
        self.sink.close()

    # -- traffic

    def schedule(self, pps_out: float, seconds: float) -> Schedule:
        pps_in = pps_out / self.case.fanout
        if self.case.pacing == "frames":
            return encoders(
                self.case.streams, seconds, speed=pps_in / packets_per_s(self.case.streams)
            )
        burst = BURST_PACKETS if self.case.pacing == "saturated" else 1
        return saturated(max(round(pps_in * seconds / burst), 1), pps_in, burst_packets=burst)

    @property
    def _own_pps(self) -> float:
        """Of a case of encoders: the rate it is made for, or theirs."""
        return self.case.rate_pps or packets_per_s(self.case.streams) * self.case.fanout

    def _expected(self, schedule: Schedule) -> int:
        return int(schedule["packets"].sum()) * self.case.fanout

    def _check_path(self, name: str) -> None:
        """Every packet arrives, whole, at a rate that is no effort."""
        low = saturated(WARM_UP_BURSTS, WARM_UP_PPS / self.case.fanout)
        if self.case.pacing == "frames":
            self._play(name, self.schedule(self._own_pps, self._fill_s))
            low = self.schedule(self._own_pps / 2, CHECK_S)
        expected = self._expected(low)
        for _ in range(CHECKS):
            arrived = self._play(name, low)
            if arrived == expected and not self.sink.odd_bytes:
                return
            self._lost.add(name)
            self._resume(name)
        raise BenchError(
            f"{name}: {arrived} of {expected} packets arrived at a low rate, "
            f"{self.sink.odd_bytes} bytes not in whole packets"
        )

    def _play(self, name: str, schedule: Schedule) -> int:
        """How many packets of a schedule arrived."""
        before = self.sink.packets
        self._generators[name].generate(schedule)
        self._drain(before + self._expected(schedule), PATIENCE_S)
        return self.sink.packets - before

    def _resume(self, name: str) -> None:
        """The relay goes on after what the last trial lost."""
        until = time.monotonic() + SETTLE_S
        while not self.relays[name].is_settled() and time.monotonic() < until:
            time.sleep(0.01)
        if self.case.pacing != "frames":
            self._play(name, saturated(RESUME_BURSTS, WARM_UP_PPS / self.case.fanout))
        elif name in self._lost:
            # What the engine shed stays away until a key frame, and the next trial may have none
            # of some streams: it plays the same time of each.
            pps_in = self._own_pps / 2 / self.case.fanout
            self._play(name, key_frames(self.case.streams, pps_in))
        self._lost.discard(name)

    def _drain(self, expected: int, quiet_s: float) -> None:
        """Until the sink has counted that many, or nothing more comes."""
        seen, since = self.sink.packets, time.monotonic()
        while seen < expected and time.monotonic() < since + quiet_s:
            time.sleep(0.002)
            if self.sink.packets != seen:
                seen, since = self.sink.packets, time.monotonic()

    # -- trials

    def trial(self, name: str, pps_out: float, seconds: float, quiet_s: float = QUIET_S) -> Trial:
        trial, is_disturbed = self._trial(name, pps_out, seconds, quiet_s)
        while not trial.passed and is_disturbed and self._patience_s > 0:
            start = time.monotonic()
            wait_until_idle(start + self._patience_s / 4)
            trial, is_disturbed = self._trial(name, pps_out, seconds, quiet_s)
            self.repeated += 1
            self._patience_s -= time.monotonic() - start
        return trial

    def _trial(
        self, name: str, pps_out: float, seconds: float, quiet_s: float
    ) -> tuple[Trial, bool]:
        """The trial, and whether other processes took the cores meanwhile."""
        relay, clock = self.relays[name], self._clocks[name]
        schedule = self.schedule(pps_out, seconds)
        expected = self._expected(schedule)
        self._resume(name)
        self.sink.sample(expected)
        before, delays = self._counts(relay), self.sink.delays()
        cpu, ends_cpu = clock.read(), self._ends_clock.read()
        taken_s = self._generators[name].generate(schedule)
        at_end = self._counts(relay) - before
        self._drain(before.received + expected, quiet_s)
        after = self._counts(relay) - before
        cpu, ends_cpu = clock.read() - cpu, self._ends_clock.read() - ends_cpu
        for tasks in (relay.thread, self.sink.thread):
            tasks.check()
        if after.received < expected:
            self._lost.add(name)
        should_take_s = length_s(schedule)
        limit = None
        if taken_s > MAX_LATENESS * should_take_s + WAKE_UP_S:
            limit = "generator"
        elif after.received < (1 - MAX_LOSS) * expected:
            limit = after.behind(expected)
        elif expected - at_end.received > MAX_BEHIND_S * pps_out + BURST_PACKETS * self.case.fanout:
            limit = at_end.behind(expected)
        trial = Trial(
            packets_out=after.received,
            pps_out=after.received / max(taken_s, should_take_s),
            cpu_us_per_packet_out=cpu.busy_us / max(after.received, 1),
            loss=max(1 - after.received / expected, 0),
            sent=after.sent or Sent(after.received, 0),
            cpu_share=cpu.busy_us / 1e6 / taken_s,
            limited_by=limit,
            delays=self.sink.delays() - delays,
        )
        waited_us = max(cpu.waited_us, ends_cpu.waited_us)
        return trial, waited_us / 1e6 > DISTURBED_SHARE * taken_s

    def _counts(self, relay: Relay) -> Counts:
        return Counts(self.sink.packets, relay.sent())
