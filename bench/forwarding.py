"""What does forwarding cost beside the bare system calls, and how long does a packet take?

A node takes overlay datagrams on one link and sends them on 1, 10 and 100 links, over loopback in
a network of its own. Beside it, in turns on the same core, run two C loops with the same system
calls: `loop` does nothing else, `loop_plus` also does what any relay of this design must. For each:
the highest rate at which less than 0.1 % is lost (RFC 2544 26.1, which allows none), CPU time per
packet that a receiver got, delays at shares of that rate, and both at rates they have in common.
The table goes to stderr, JSON to a file or stdout.

Cases: `node` (overlay in and out) and `edge` (plain RTP in and out), one stream in
bursts of 16 packets, one system call each; `frames`, a thousand streams paced as encoders are, at
their own rate; `even`, 20,000 single packets/s. Bursts fix what GRO can join on the way in, and
with it the figures to GRO receivers: on loopback such a buffer passes the kernel whole, which no
network card does. They are a ceiling.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Protocol

import typer

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support import spoilers
from bench.support.environment import environment
from bench.support.measure import (
    COMMON_SHARES,
    OWN_SHARES,
    Case,
    Found,
    Plan,
    measure,
    measure_given,
)
from bench.support.native import BenchError
from bench.support.network import enter_private_network, receive_buffer_bytes, udp_socket
from bench.support.progress import Progress
from bench.support.relays import EngineRelay, Place, Relay, RelayMaker, makers
from bench.support.report import case_report, write_report
from bench.support.rig import DISTURBED_SHARE, MAX_BEHIND_S, MAX_LOSS, Rig
from bench.support.schedule import (
    BURST_PACKETS,
    BURSTS_PER_GOP,
    FRAME_PACKETS,
    FRAME_RATES,
    GOP_S,
    KEY_FRAME_PACKETS,
    packets_per_s,
)
from bench.support.search import RESOLUTION
from bench.support.threads import Cores

QUESTION = "What does a packet out of the engine cost, beside a C loop of the same system calls?"
FANOUTS = [1, 10, 100]
PAYLOADS_BYTES = [1_200, 200]
START_PPS = {"gro": 400_000.0, "plain": 200_000.0}
STREAMS, LINKS = 1_000, [10, 100]
EVEN_PPS = 20_000.0
SPIN_US = 50  # single packets are also measured with an engine that waits awake
FULL = Plan(searches=3, trial_s=0.4, patience_s=4)
FILL_TRIALS = 5
QUICK = Plan(searches=1, trial_s=0.2, patience_s=1)


class Group(StrEnum):
    """Cases that belong together."""

    NODE = "node"
    EDGE = "edge"
    FRAMES = "frames"
    EVEN = "even"


class Receiver(StrEnum):
    """GRO: receivers take joined packets in one buffer. PLAIN: each packet by itself."""

    GRO = "gro"
    PLAIN = "plain"


class Peer(Protocol):
    """Another relay to measure beside ours; None: it cannot do the case."""

    @property
    def name(self) -> str: ...
    def __call__(self, place: Place) -> Relay | None: ...


def saturated_cases(
    kind: str, fanouts: Iterable[int], payloads: Sequence[int], receivers: Sequence[Receiver]
) -> list[Case]:
    return [
        Case(count, size, receiver.value, kind=kind)
        for size in payloads
        for count in fanouts
        for receiver in receivers
    ]


def frames_cases(
    streams: int, links: Iterable[int], payloads: Sequence[int], receivers: Sequence[Receiver]
) -> list[Case]:
    """Each stream to one link, at the rate at which encoders send."""
    return [
        Case(
            1,
            size,
            receiver.value,
            streams=streams,
            pacing="frames",
            links=count,
            rate_pps=round(packets_per_s(streams)),
        )
        for size in payloads
        for count in links
        for receiver in receivers
    ]


def even_cases(payloads: Sequence[int]) -> list[Case]:
    """One packet at a time: GRO has nothing to join."""
    return [Case(1, size, "plain", pacing="even", rate_pps=EVEN_PPS) for size in payloads]


def relays_of(case: Case, peers: Iterable[Peer]) -> dict[str, RelayMaker]:
    made = makers()
    if case.pacing == "even":
        name = f"engine_spin_{SPIN_US}us"
        made[name] = functools.partial(EngineRelay, name=name, options={"spin_us": SPIN_US})
    return made | {peer.name: peer for peer in peers}


def measure_case(
    case: Case, plan: Plan, peers: Iterable[Peer], cores: Cores, progress: Progress
) -> tuple[dict[str, object], bool]:
    """Its report, and whether CPU times include the softirq thread's."""

    def tell(text: str) -> None:
        progress.tell(f"{case.name}: {text}")

    tell("set up")
    rig = Rig(case, relays_of(case, peers), cores, plan)
    try:
        if case.rate_pps is None:
            found: dict[str, Found] = measure(rig, START_PPS[case.receiver], plan, tell)
        else:
            found = measure_given(rig, case.rate_pps, plan, tell)
    finally:
        rig.close()
    progress.add(case, found)
    return case_report(case, found, rig), rig.counts_softirq_thread


def method(plan: Plan, seconds: float) -> dict[str, object]:
    return {
        "burst_packets": BURST_PACKETS,
        "bursts_per_gop": BURSTS_PER_GOP,
        "encoders": {
            "frame_rates": FRAME_RATES,
            "gop_s": GOP_S,
            "frame_packets": FRAME_PACKETS,
            "key_frame_packets": KEY_FRAME_PACKETS,
        },
        "max_loss": MAX_LOSS,
        "max_behind_s": MAX_BEHIND_S,
        "rate_resolution": RESOLUTION,
        "searches": plan.searches,
        "trial_s": plan.trial_s,
        "common_rate_shares": COMMON_SHARES,
        "own_rate_shares": OWN_SHARES,
        "repeats_when_disturbed": {
            "waited_share": DISTURBED_SHARE,
            "patience_s": plan.patience_s,
        },
        "cpu": "relay's threads and its core's ksoftirqd (schedstat), per packet received",
        "ratio_to": "CPU time per packet at the highest common rate, which engine and loops all "
        "pass; ..._at_half: at half of the lowest highest rate, where neither generator nor sink "
        "is near its limit",
        "delay": "generator's system call to sink's read, a sample of packets; those of one buffer "
        "share it. A percentile is told from 10 samples beyond it on",
        "seconds": round(seconds, 1),
    }


def run(
    cases: Sequence[Case],
    plan: Plan,
    *,
    peers: Sequence[Peer] = (),
    progress: Progress | None = None,
) -> dict[str, object]:
    """The whole report. The calling thread moves to a network of its own, where it may."""
    described = environment()
    described["network"] = "private namespace" if enter_private_network() else "host loopback"
    cores = Cores.allowed()
    with udp_socket() as one:
        described["socket_buffer_bytes"] = receive_buffer_bytes(one)
    described |= spoilers.observe(cores)
    watch = spoilers.Watch(cores.all)
    described["counts_softirq_thread"] = True
    reports = []
    start = time.monotonic()
    with progress or Progress() as shown:
        for case in cases:
            report, counts_softirq = measure_case(case, plan, peers, cores, shown)
            described["counts_softirq_thread"] = counts_softirq
            reports.append(report)
    described |= watch.facts()
    return {
        "question": QUESTION,
        "environment": described,
        "method": method(plan, time.monotonic() - start),
        "warnings": spoilers.warnings(described),
        "cases": reports,
    }


def chosen_cases(
    groups: Sequence[Group],
    fanouts: Sequence[int] | None,
    payloads: Sequence[int] | None,
    receivers: Sequence[Receiver],
    streams: int,
    links: Sequence[int],
    *,
    quick: bool,
) -> list[Case]:
    """What of the options is not given is what the group is made for."""
    large = payloads or PAYLOADS_BYTES[:1]
    both = payloads or (PAYLOADS_BYTES[:1] if quick else PAYLOADS_BYTES)
    cases: list[Case] = []
    for group in groups:
        if group is Group.NODE:
            cases += saturated_cases("node", fanouts or FANOUTS, both, receivers)
        elif group is Group.EDGE:
            cases += saturated_cases("edge", fanouts or FANOUTS, large, receivers)
        elif group is Group.FRAMES:
            cases += frames_cases(streams, links[:1] if quick else links, large, receivers)
        else:
            cases += even_cases(large)
    return cases


def main(
    json_file: Annotated[
        str, typer.Option("--json", metavar="FILE|-", help="Where the report goes; -: stdout.")
    ] = "-",
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer cases, one search each: within two minutes.")
    ] = False,
    case: Annotated[
        list[Group] | None, typer.Option(help="Only this group of cases; repeatable.")
    ] = None,
    fanout: Annotated[
        list[int] | None, typer.Option(min=1, max=1000, help="Of node and edge; repeatable.")
    ] = None,
    payload_bytes: Annotated[
        list[int] | None, typer.Option(min=32, max=1436, help="Size of an RTP packet; repeatable.")
    ] = None,
    receiver: Annotated[
        list[Receiver] | None, typer.Option(help="Only this one; repeatable.")
    ] = None,
    streams: Annotated[int, typer.Option(min=1, max=10_000, help="Of frames.")] = STREAMS,
    links: Annotated[
        list[int] | None, typer.Option(min=1, max=1000, help="Of frames; repeatable.")
    ] = None,
    rate_pps: Annotated[
        float | None,
        typer.Option(min=1, help="Packets/s out of each: measure there, search nothing."),
    ] = None,
    trial_s: Annotated[float | None, typer.Option(min=0.01, help="Length of a trial.")] = None,
    patience_s: Annotated[
        float | None,
        typer.Option(min=0, help="Time a case may spend on repeating what others disturbed."),
    ] = None,
) -> None:
    """Compare the engine's forwarding with C loops of the same system calls."""
    plan = QUICK if quick else FULL
    if trial_s is not None:
        plan = replace(plan, trial_s=trial_s, fill_s=min(plan.fill_s, FILL_TRIALS * trial_s))
    if patience_s is not None:
        plan = replace(plan, patience_s=patience_s)
    groups = case or [group for group in Group if not (quick and group is Group.EDGE)]
    cases = chosen_cases(
        groups,
        fanout,
        payload_bytes,
        receiver or list(Receiver),
        streams,
        links or LINKS,
        quick=quick,
    )
    if rate_pps is not None:
        cases = [replace(one, rate_pps=rate_pps) for one in cases]
    try:
        report = run(cases, plan)
    except BenchError as error:
        typer.echo(f"forwarding: {error}", err=True)
        raise typer.Exit(1) from None
    write_report(report, json_file)


if __name__ == "__main__":
    typer.run(main)
