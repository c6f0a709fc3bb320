"""The command `overlane bench`: how much this host forwards, and what would spoil the figure."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from overlane.terminal import fail

SPREAD_LINKS = 10
PLOT_SUFFIXES = {".png", ".svg", ".pdf"}


class Receiver(StrEnum):
    GRO = "gro"
    PLAIN = "plain"


class Kind(StrEnum):
    NODE = "node"
    EDGE = "edge"


class PeerName(StrEnum):
    RTPENGINE = "rtpengine"
    COTURN = "coturn"
    NGINX = "nginx"


def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="One search of short trials: a few minutes.")
    ] = False,
    kind: Annotated[
        list[Kind] | None,
        typer.Option(
            help="node: between nodes; edge: plain RTP in and out, to viewers. Repeatable; both."
        ),
    ] = None,
    fanout: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            max=1000,
            help="Receivers of each packet. Repeatable; 1, 10, 100 (1 with --streams).",
        ),
    ] = None,
    payload_bytes: Annotated[
        list[int] | None,
        typer.Option(min=32, max=1436, help="Size of an RTP packet. Repeatable; 1200."),
    ] = None,
    receiver: Annotated[
        list[Receiver] | None,
        typer.Option(
            help="gro: receivers take joined packets; plain: one by one. Repeatable; both."
        ),
    ] = None,
    streams: Annotated[
        int,
        typer.Option(
            min=1,
            max=10_000,
            help="1: one saturated stream. More: paced as encoders are, over ten links or more.",
        ),
    ] = 1,
    rate: Annotated[
        float | None,
        typer.Option(min=1, help="Packets/s out: measure there, do not search the highest."),
    ] = None,
    peer: Annotated[
        list[PeerName] | None,
        typer.Option(help="Measure this one beside the engine, at the edge. Repeatable."),
    ] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="The report; -: to stdout.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="The report as a picture.")
    ] = None,
    trial_s: Annotated[
        float | None, typer.Option(min=0.01, max=60, help="Length of a trial.")
    ] = None,
) -> None:
    """Measure how many packets one core of this host forwards, and at what cost and delay.

    Traffic stays on loopback, in a network namespace of its own where that is allowed. Let nothing
    else run meanwhile. What would spoil a figure is said before and after.
    """
    from bench.forwarding import FANOUTS, FULL, PAYLOADS_BYTES, QUICK, frames_cases, saturated_cases
    from bench.forwarding import Receiver as CaseReceiver
    from bench.support import plot as plotting
    from bench.support.native import BenchError
    from bench.support.peer_list import peers_named
    from overlane import bench_run

    kinds = kind or list(Kind)
    if streams > 1 and Kind.NODE not in kinds:
        raise fail("--streams is for --kind node", 2)
    if peer and (Kind.EDGE not in kinds or streams > 1):
        raise fail("--peer is for --kind edge and one stream", 2)
    if plot is not None and plot.suffix.lower() not in PLOT_SUFFIXES:
        raise fail(f"--plot {plot}: must end in {', '.join(sorted(PLOT_SUFFIXES))}", 2)
    for name, file in (("--json", json_file), ("--plot", plot)):
        if file is not None and file != "-":
            _check_writable(name, Path(file))

    payloads = payload_bytes or PAYLOADS_BYTES[:1]
    receivers = [CaseReceiver(one.value) for one in receiver or Receiver]
    if streams > 1:
        cases = [
            replace(case, fanout=count, rate_pps=count * (case.rate_pps or 0))
            for count in fanout or [1]
            for case in frames_cases(streams, [_links(count)], payloads, receivers)
        ]
    else:
        cases = [
            case
            for one in dict.fromkeys(kinds)
            for case in saturated_cases(one.value, fanout or FANOUTS, payloads, receivers)
        ]
    if rate is not None:
        cases = [replace(case, rate_pps=rate) for case in cases]
    plan = QUICK if quick else FULL
    if trial_s is not None:
        plan = replace(plan, trial_s=trial_s)

    console = Console(stderr=json_file == "-", markup=False, emoji=False, highlight=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # so that peers are ended
    try:
        if plot is not None:
            plotting.check_installed()
        report = bench_run.measure(cases, plan, peers_named(peer or ()), console)
        _write(report, json_file)
        if plot is not None:
            plotting.draw(report, plot)
    except BenchError as error:
        raise fail(error) from None
    except OSError as error:
        raise fail(error) from None
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None
    if plot is not None:
        console.print(f"picture: {plot}")


def _links(fanout: int) -> int:
    """A multiple of the fan-out over which many streams are spread."""
    return fanout * max(SPREAD_LINKS // fanout, 1)


def _check_writable(option: str, file: Path) -> None:
    """Before minutes are spent; a file that is there keeps what it has until then."""
    existed = file.exists()
    try:
        file.open("ab").close()
    except OSError as error:
        raise fail(f"{option} {file}: {error.strerror}", 2) from None
    if not existed:
        file.unlink()


def _write(report: dict[str, Any], json_file: str | None) -> None:
    text = json.dumps(report, indent=2) + "\n"
    if json_file == "-":
        sys.stdout.write(text)
    elif json_file is not None:
        Path(json_file).write_text(text)
