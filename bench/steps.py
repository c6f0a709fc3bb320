"""What does each way of batching win, alone?

recvmmsg of 32 buffers, UDP_GRO on the way in and UDP_SEGMENT on the way out, switched off one at a
time: in the bare C loop, and in the engine where it has the switch. All variants take turns on one
core as in forwarding.py: the highest rate of each and CPU time per packet there, then CPU time of
all at rates that all pass. `won` is what a variant costs beside the one with everything on.
"""

from __future__ import annotations

import functools
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support.environment import environment
from bench.support.measure import Case, Found, Plan, measure
from bench.support.native import BenchError
from bench.support.network import enter_private_network
from bench.support.relays import EngineRelay, LoopPlusRelay, LoopRelay, RelayMaker
from bench.support.report import ratio, relay_report, write_report
from bench.support.rig import Rig
from bench.support.threads import Cores

QUESTION = "What does each way of batching win, alone?"
START_PPS = 200_000.0
FANOUTS = [1, 10]
FULL = Plan(searches=2, trial_s=0.4, patience_s=4)
QUICK = Plan(searches=1, trial_s=0.15, patience_s=0)

LOOPS: dict[str, dict[str, int]] = {
    "loop": {},
    "loop_recvmsg": {"buffers": 1},
    "loop_no_gro": {"use_gro": 0},
    "loop_recvmsg_no_gro": {"buffers": 1, "use_gro": 0},
    "loop_no_gso": {"use_gso": 0},
    "loop_nothing": {"buffers": 1, "use_gro": 0, "use_gso": 0},
}
ENGINES: dict[str, dict[str, bool]] = {
    "engine": {},
    "engine_no_gro": {"use_gro": False},
    "engine_no_gso": {"use_gso": False},
    "engine_neither": {"use_gro": False, "use_gso": False},
}


def makers() -> dict[str, RelayMaker]:
    made: dict[str, RelayMaker] = {"loop_plus": LoopPlusRelay}
    for name, switches in LOOPS.items():
        made[name] = functools.partial(
            LoopRelay,
            name=name,
            buffers=switches.get("buffers", 0),
            use_gro=bool(switches.get("use_gro", 1)),
            use_gso=bool(switches.get("use_gso", 1)),
        )
    for name, options in ENGINES.items():
        made[name] = functools.partial(EngineRelay, name=name, options=options)
    return made


def won(found: dict[str, Found], which: str) -> dict[str, float | None]:
    """CPU time of each variant over that with everything on, at a common rate."""
    return {
        name: ratio(one.common[which], found[name.partition("_")[0]].common[which])
        for name, one in found.items()
        if name not in ("loop", "engine", "loop_plus")
    }


def measure_case(case: Case, plan: Plan, cores: Cores, console: Console) -> dict[str, object]:
    rig = Rig(case, makers(), cores, plan)

    def tell(text: str) -> None:
        if console.is_terminal:
            console.print(f"{case.name}: {text}", end="\r", soft_wrap=True)

    try:
        found = measure(rig, START_PPS, plan, tell, compared=list(rig.relays))
    finally:
        rig.close()
    for name, one in found.items():
        assert one.highest is not None
        console.print(
            f"{case.name}  {name:20}  {one.highest.pps_out / 1000:8,.0f} k/s"
            f"  {one.highest.cpu_us_per_packet_out:.3f} us"
            f"  {one.common['half'].cpu_us_per_packet_out:.3f} us at a common rate",
            soft_wrap=True,
        )
    return {
        **asdict(case),
        "variants": {name: relay_report(one) for name, one in found.items()},
        "won": {which: won(found, which) for which in ("highest", "half")},
    }


def main(
    json_file: Annotated[
        str, typer.Option("--json", metavar="FILE|-", help="Where the report goes; -: stdout.")
    ] = "-",
    quick: Annotated[bool, typer.Option("--quick", help="One search of short trials.")] = False,
    fanout: Annotated[list[int] | None, typer.Option(min=1, max=1000)] = None,
    trial_s: Annotated[float | None, typer.Option(min=0.01, help="Length of a trial.")] = None,
) -> None:
    """Switch off one way of batching at a time."""
    plan = QUICK if quick else FULL
    plan = replace(plan, trial_s=trial_s or plan.trial_s)
    console = Console(stderr=True)
    start = time.monotonic()
    described = environment()
    described["network"] = "private namespace" if enter_private_network() else "host loopback"
    cores = Cores.allowed()
    described["relay_has_own_core"] = cores.relay is not None
    cases = [
        Case(count, 1_200, receiver) for count in fanout or FANOUTS for receiver in ("gro", "plain")
    ]
    try:
        reports = [measure_case(case, plan, cores, console) for case in cases]
    except BenchError as error:
        typer.echo(f"steps: {error}", err=True)
        raise typer.Exit(1) from None
    report = {
        "question": QUESTION,
        "environment": described,
        "method": {"plan": asdict(plan), "seconds": round(time.monotonic() - start, 1)},
        "cases": reports,
    }
    write_report(report, json_file)


if __name__ == "__main__":
    typer.run(main)
