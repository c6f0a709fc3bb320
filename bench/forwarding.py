"""What does forwarding cost beside the bare system calls?

One node takes one stream of RTP and sends it to 1, 10 and 100 viewers over loopback. Beside it, in
turns on the same core, a C loop does the same system calls and nothing else. For both: the highest
rate at which less than 0.1 % is lost, and CPU time per packet that a receiver got, at that rate
and at half of the lower of the two. The table goes to stderr, JSON to a file or stdout.

The generator sends bursts of 16 packets, one system call each. That fixes what GRO can join on the
way in, and with it the figures to GRO receivers: on loopback such a buffer passes the kernel whole,
which no network card does. They are a ceiling.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support.environment import environment
from bench.support.measure import (
    COMMON_SHARE,
    DISTURBED_SHARE,
    MAX_BEHIND_S,
    MAX_LOSS,
    Case,
    Found,
    Plan,
    Rig,
    Trial,
    measure,
    measure_at,
)
from bench.support.native import BenchError
from bench.support.network import enter_private_network, receive_buffer_bytes, udp_socket
from bench.support.search import RESOLUTION
from bench.support.threads import Cores
from bench.support.traffic import BURST_PACKETS, BURSTS_PER_GOP

QUESTION = "What does a packet out of the engine cost, beside a C loop of the same system calls?"
FANOUTS = [1, 10, 100]
PAYLOADS_BYTES = [1_200, 200]
START_PPS = {"gro": 400_000.0, "plain": 200_000.0}
FULL = Plan(searches=3, trial_s=0.7, patience_s=8)
QUICK = Plan(searches=1, trial_s=0.35, patience_s=2)


def figures(trial: Trial) -> dict[str, float]:
    return {
        "packets_out": trial.packets_out,
        "pps_out": round(trial.pps_out),
        "cpu_us_per_packet_out": round(trial.cpu_us_per_packet_out, 4),
        "loss": round(trial.loss, 6),
        "batches_mean_packets": round(trial.batches_mean_packets, 2),
        "cpu_share": round(trial.cpu_share, 3),
    }


def relay_report(found: Found) -> dict[str, object]:
    """At the highest rate, if it was searched; `at_common_rate` is the same rate for both."""
    report: dict[str, object] = {"at_common_rate": figures(found.common)}
    if found.highest is not None:
        report = {**figures(found.highest), "limited_by": found.limited_by, **report}
    return report


def ratio(engine: Trial | None, loop: Trial | None) -> float | None:
    if engine is None or loop is None:
        return None
    return round(engine.cpu_us_per_packet_out / max(loop.cpu_us_per_packet_out, 1e-9), 2)


def case_report(case: Case, found: dict[str, Found], repeated: int) -> dict[str, object]:
    engine, loop = found["engine"], found["loop"]
    return {
        **asdict(case),
        "streams": 1,
        "engine": relay_report(engine),
        "loop": relay_report(loop),
        "ratio_to_loop": ratio(engine.highest, loop.highest),
        "ratio_to_loop_at_common_rate": ratio(engine.common, loop.common),
        "repeated_trials": repeated,
        # Then the rate found is not the relay's limit; the CPU figures hold.
        "is_generator_bound": "generator" in engine.limited_by + loop.limited_by,
    }


class Receiver(StrEnum):
    """GRO: receivers take joined packets in one buffer. PLAIN: each packet by itself."""

    GRO = "gro"
    PLAIN = "plain"


class Progress:
    """The table so far, with what runs now below it; drawn between trials only."""

    def __init__(self) -> None:
        self._table = Table(
            title="engine / loop: packets out at < 0.1 % loss, CPU time of each", box=box.SIMPLE
        )
        for heading in ("case", "k/s", "us", "ratio", "at half", "limit"):
            self._table.add_column(heading, justify="right", no_wrap=True)
        self._live = Live(self._table, console=Console(stderr=True), auto_refresh=False)

    def __enter__(self) -> Progress:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._table.caption = None
        self._live.refresh()
        self._live.stop()

    def tell(self, text: str) -> None:
        self._table.caption = text
        self._live.refresh()

    def add(self, case: Case, found: dict[str, Found]) -> None:
        engine, loop = found["engine"], found["loop"]
        shown = [one.highest or one.common for one in (engine, loop)]
        row = [
            f"{case.fanout} x {case.payload_bytes} {case.receiver}",
            "/".join(f"{trial.pps_out / 1000:,.0f}" for trial in shown),
            "/".join(f"{trial.cpu_us_per_packet_out:.3f}" for trial in shown),
            f"{ratio(*shown)}",
            f"{ratio(engine.common, loop.common)}",
            " ".join(sorted({*engine.limited_by, *loop.limited_by})),
        ]
        self._table.add_row(*row)
        if self._live.console.is_terminal:
            self._live.refresh()
        else:
            self._live.console.print("  ".join(row), soft_wrap=True)


def run(cases: list[Case], plan: Plan, rate_pps: float | None) -> dict[str, object]:
    """The whole report. rate_pps: measure at that rate (packets/s out) only, without a search."""
    described = environment()
    described["network"] = "private namespace" if enter_private_network() else "host loopback"
    cores = Cores.allowed()
    with udp_socket() as one:
        described["socket_buffer_bytes"] = receive_buffer_bytes(one)
    described["relay_has_own_core"] = cores.relay is not None
    reports = []
    start = time.monotonic()
    with Progress() as progress:
        for case in cases:
            name = f"{case.fanout} x {case.payload_bytes} {case.receiver}"
            rig = Rig(case, cores, plan)
            try:
                described["counts_softirq_thread"] = rig.counts_softirq_thread

                def tell(text: str, name: str = name) -> None:
                    progress.tell(f"{name}: {text}")

                if rate_pps is None:
                    found = measure(rig, START_PPS[case.receiver], plan, tell)
                else:
                    common = measure_at(rig, rate_pps, plan, tell)
                    found = {name: Found(None, [], trial) for name, trial in common.items()}
            finally:
                rig.close()
            reports.append(case_report(case, found, rig.repeated))
            progress.add(case, found)
    return {
        "question": QUESTION,
        "environment": described,
        "method": {
            "burst_packets": BURST_PACKETS,
            "bursts_per_gop": BURSTS_PER_GOP,
            "max_loss": MAX_LOSS,
            "max_behind_s": MAX_BEHIND_S,
            "rate_resolution": RESOLUTION,
            "searches": plan.searches,
            "trial_s": plan.trial_s,
            "fixed_rate_pps": rate_pps,
            "common_rate_share": COMMON_SHARE,
            "repeats_when_disturbed": {
                "waited_share": DISTURBED_SHARE,
                "patience_s": plan.patience_s,
            },
            "cpu": "relay's thread and its core's ksoftirqd (schedstat), per packet received",
            "seconds": round(time.monotonic() - start, 1),
        },
        "cases": reports,
    }


def main(
    json_file: Annotated[
        str, typer.Option("--json", metavar="FILE|-", help="Where the report goes; -: stdout.")
    ] = "-",
    quick: Annotated[
        bool, typer.Option("--quick", help="One search of short trials: within two minutes.")
    ] = False,
    fanout: Annotated[
        list[int] | None, typer.Option(min=1, max=1000, help="Only this one; repeatable.")
    ] = None,
    payload_bytes: Annotated[
        list[int] | None, typer.Option(min=32, max=1436, help="Size of an RTP packet; repeatable.")
    ] = None,
    receiver: Annotated[
        list[Receiver] | None, typer.Option(help="Only this one; repeatable.")
    ] = None,
    rate_pps: Annotated[
        float | None,
        typer.Option(min=1, help="Packets/s out of both: measure there, search nothing."),
    ] = None,
    trial_s: Annotated[float | None, typer.Option(min=0.01, help="Length of a trial.")] = None,
    patience_s: Annotated[
        float | None,
        typer.Option(min=0, help="Time a case may spend on repeating what others disturbed."),
    ] = None,
) -> None:
    """Compare the engine's forwarding with a C loop of the same system calls."""
    plan = QUICK if quick else FULL
    plan = replace(plan, trial_s=trial_s or plan.trial_s)
    if patience_s is not None:
        plan = replace(plan, patience_s=patience_s)
    cases = [
        Case(count, size, kind.value)
        for size in payload_bytes or PAYLOADS_BYTES
        for count in fanout or FANOUTS
        for kind in receiver or Receiver
    ]
    try:
        report = run(cases, plan, rate_pps)
    except BenchError as error:
        typer.echo(f"forwarding: {error}", err=True)
        raise typer.Exit(1) from None
    text = json.dumps(report, indent=2) + "\n"
    if json_file == "-":
        sys.stdout.write(text)
    else:
        Path(json_file).write_text(text)


if __name__ == "__main__":
    typer.run(main)
