"""How well do rate controllers use a path, how long is the queue they make, and how fair are they?

The cases of RFC 8867, sections 5.1 to 5.8, in virtual time: flows of an adaptive encoder over a
bottleneck with a drop-tail queue of 300 ms, one-way delay 50 ms, feedback each 100 ms (loss_only: a
receiver report each second). For each controller: share of the capacity that media (and TCP) used,
queue delay, loss, Jain's index of the flows' rates, and how soon the targets were within a capacity
that fell. Queue and loss are of media packets; in 5.3 `back` has the same of the other direction.
Then GCC in the situations that libwebrtc tests, limited by the application, and on a node link; and
what one controller costs: instructions are not counted here, time is, so take it on an idle host.

JSON on stdout; fails if a bound is not kept. About a minute of CPU.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support.environment import environment
from bench.support.native import BenchError
from bench.support.rate_cases import CASES, JITTER_US, Case, figures, flows_of, run_case
from bench.support.rate_plot import draw
from bench.support.rate_situations import Situation, situations
from bench.support.report import write_report
from fastpath.rate import Controller, PacketResult, RateConfig, RateKind
from fastpath.rate.controller import state_bytes

KINDS = {
    "gcc": RateKind.GCC,
    "nada": RateKind.NADA,
    "loss_only": RateKind.LOSS_ONLY,
    "fixed": RateKind.FIXED,
}
USE, QUEUE_P95_MS, JAIN = 0.8, 150.0, 0.9  # 5.1, 5.1 and 5.4, of GCC and NADA, the worst seed
LEGS = 10_000
REPORTS = 20  # of each leg
PACKETS = 5  # of each report: 50 packets/s, 10 reports/s


def spread(cases: list[dict[str, Any]]) -> dict[str, object]:
    """Mean and worst over the seeds."""
    uses = [found["use"] for found in cases]
    queues = [found["queue_p95_ms"] for found in cases]
    jains = [found["jain"] for found in cases if found["jain"] is not None]
    return {
        "use": [round(statistics.mean(uses), 3), min(uses)],
        "queue_p95_ms": [round(statistics.mean(queues), 1), max(queues)],
        "loss": [
            round(statistics.mean(f["loss"] for f in cases), 4),
            max(f["loss"] for f in cases),
        ],
        "jain": [round(statistics.mean(jains), 3), min(jains)] if jains else None,
    }


def problems_of(
    cases: dict[str, dict[str, dict[str, Any]]], checked: list[Situation]
) -> Iterator[str]:
    """Which bounds are broken."""
    for kind in ("gcc", "nada"):
        for name in ("5.1", "5.4"):
            if kind not in cases.get(name, {}):
                continue
            worst = {key: each and each[1] for key, each in cases[name][kind]["over_seeds"].items()}
            if name == "5.1" and worst["use"] < USE:
                yield f"{name} {kind}: use {worst['use']}, not {USE}"
            if name == "5.1" and worst["queue_p95_ms"] > QUEUE_P95_MS:
                yield f"{name} {kind}: queue's p95 {worst['queue_p95_ms']} ms, not {QUEUE_P95_MS}"
            if name == "5.4" and worst["jain"] < JAIN:
                yield f"{name} {kind}: Jain {worst['jain']}, not {JAIN}"
    for situation in checked:
        if not situation.holds:
            yield f"{situation.name} {situation.found}, not {situation.expected}"


def legs_cost(kind: RateKind) -> dict[str, object]:
    """CPU time of reports of many legs, each leg's state cold when its report comes; from Python's
    side."""
    legs = [Controller(kind, RateConfig(start_bps=2_000_000), 0) for _ in range(LEGS)]
    offset_us = 10**10
    begin = 0.0
    for report in range(REPORTS):
        at_us = 1_000_000 + report * 100_000
        sent = [at_us + k * 20_000 for k in range(PACKETS)]
        results = [PacketResult(t, t + offset_us + 20_000, 1200) for t in sent]
        if report == REPORTS // 2:
            begin = time.process_time()  # the windows are full from here on
        for leg in legs:
            leg.on_feedback(results, 50_000, at_us + 150_000)
    taken_s = time.process_time() - begin
    reports = LEGS * (REPORTS - REPORTS // 2)
    return {
        "legs": LEGS,
        "bytes_per_leg": state_bytes(),
        "us_per_report": round(taken_s / reports * 1e6, 3),
        "share_of_core_at_10_reports_per_s": round(taken_s / reports * 10 * LEGS, 4),
    }


def table(report: dict[str, dict[str, dict[str, Any]]], console: Console) -> None:
    shown = Table("case", "controller", "use", "queue p95 ms", "loss", "Jain", "kbit/s of seed 1")
    for name, kinds in report.items():
        for kind, found in kinds.items():
            tcp = f" + TCP {found['tcp_kbps']}" if "tcp_kbps" in found else ""
            over = found["over_seeds"]
            jain = "{:.2f} ({:.2f})".format(*over["jain"]) if over["jain"] else ""
            shown.add_row(
                name,
                kind,
                "{:.2f} ({:.2f})".format(*over["use"]),
                "{:.0f} ({:.0f})".format(*over["queue_p95_ms"]),
                "{:.4f} ({:.4f})".format(*over["loss"]),
                jain,
                f"{found['kbps']}{tcp}",
            )
    console.print(shown)


def main(
    json_file: Annotated[
        str, typer.Option("--json", metavar="FILE|-", help="Where the report goes; -: stdout.")
    ] = "-",
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="A picture of all.")] = None,
    only: Annotated[list[str] | None, typer.Option("--case", help="5.1 to 5.8.")] = None,
    controller: Annotated[
        list[str] | None, typer.Option(help="gcc, nada, loss_only, fixed.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Of the encoders' frame sizes.")] = 5,
    jitter: Annotated[bool, typer.Option(help="Up to 30 ms on each path (RFC 8867 4.2).")] = False,
) -> None:
    """Run the cases of RFC 8867."""
    names = only or list(CASES)
    kinds = controller or list(KINDS)
    unknown = [name for name in names if name not in CASES] + [k for k in kinds if k not in KINDS]
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: cases are 5.1 to 5.8, controllers {', '.join(KINDS)}"
        )
    console = Console(stderr=True)
    start = time.monotonic()
    cases: dict[str, dict[str, Case]] = {name: {} for name in names}
    found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in names}
    for name in names:
        for kind in kinds:
            make = flows_of(KINDS[kind], JITTER_US if jitter else 0)
            cases[name][kind] = run_case(name, make)
            each = [figures(cases[name][kind])]
            each += [figures(run_case(name, make, 10 * seed)) for seed in range(1, seeds)]
            found[name][kind] = {**each[0], "over_seeds": spread(each)}
    checked = list(situations())
    problems = list(problems_of(found, checked))
    report = {
        "question": (__doc__ or "").split("\n")[0],
        "environment": environment(),
        "seeds": seeds,
        "jitter_us": JITTER_US if jitter else 0,
        "titles": {name: next(iter(each.values())).title for name, each in cases.items()},
        "cases": found,
        "situations": [asdict(situation) for situation in checked],
        "problems": problems,
        "cost": {kind: legs_cost(KINDS[kind]) for kind in kinds},
        "seconds": round(time.monotonic() - start, 1),
    }
    table(found, console)
    if plot is not None:
        try:
            draw(cases, plot)
        except (BenchError, OSError) as error:
            typer.echo(f"rate_control: {error}", err=True)
            raise typer.Exit(1) from None
    write_report(report, json_file)
    for problem in problems:
        typer.echo(f"rate_control: {problem}", err=True)
    if problems:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
