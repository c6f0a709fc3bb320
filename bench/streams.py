"""What does a packet cost with 1, 10, 100, 1,000 and 10,000 active streams at equal total rate?

An engine is fed from memory: each turn brings the same number of packets, eight frames of eight
packets, of as many streams as there are. Measured is CPU time of the engine's part of the turns
(checks, rings, cursors, headers, tags, timers; no system calls). The numbers of streams take turns,
so that a busy machine troubles all alike; the median of the rounds counts. What bends the curve is
memory: a stream's ring and slots are touched again only when all the others had their turn. With
--callgrind also instructions and simulated cache misses (up to 1,000 streams; minutes).

JSON on stdout, the curve on stderr. About a minute and 2 GB of memory.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.instructions import NoValgrindError, count
from bench.support.environment import environment
from bench.support.memory_node import MemoryCase, MemoryNode

QUESTION = "What does a packet cost by the number of active streams, at equal total rate?"
STREAMS = (1, 10, 100, 1_000, 10_000)
BOUND = 1.3
OUTGOING = 10
SOURCES = 4
TURN_US = 640  # 64 packets each: 100,000 a second in all
CACHE = ["--cache-sim=yes", "--D1=49152,12,64", "--LL=2097152,16,64"]
COUNTED_STREAMS = 1_000  # at most, under callgrind
BAR = 40


def case_of(streams: int, fanout: int, slab_mib: int, payload_bytes: int) -> MemoryCase:
    return MemoryCase(
        fanout=fanout,
        payload_bytes=payload_bytes,
        streams=streams,
        sources=min(streams, SOURCES),
        outgoing=max(OUTGOING, fanout),
        turn_us=TURN_US,
        slab_bytes=slab_mib << 20,
    )


def curve(
    cases: dict[int, MemoryCase], rounds: int, packets_out: int
) -> dict[int, dict[str, float]]:
    """By streams: nanoseconds of CPU a packet, and how far the rounds were apart."""
    nodes = {}
    for streams, case in cases.items():
        nodes[streams] = MemoryNode(case)
        nodes[streams].warm_up()
        sys.stderr.write(f"{streams} streams are warm\n")
    found: dict[int, list[float]] = {streams: [] for streams in nodes}
    for _ in range(rounds):
        for streams, node in nodes.items():
            turns = -(-packets_out // (node.case.packets_a_turn * node.case.fanout))
            figures = node.run(turns)
            if figures.packets_out != figures.packets_in * node.case.fanout:
                raise RuntimeError(f"{figures.packets_out} left of {figures.packets_in} that came")
            found[streams].append(figures.ns_per_packet_out)
    return {
        streams: {
            "ns_per_packet_out": round(statistics.median(taken), 1),
            "ns_per_packet_in": round(statistics.median(taken) * cases[streams].fanout, 1),
            "least_ns_per_packet_out": round(min(taken), 1),
            "most_ns_per_packet_out": round(max(taken), 1),
        }
        for streams, taken in found.items()
    }


def simulated(case: MemoryCase) -> dict[str, object]:
    """Instructions and misses per packet out, or why they are not there."""
    turns = max(1, 20_000 // (case.packets_a_turn * case.fanout))
    try:
        profile, figures = count(replace(case, slab_bytes=64 << 20), turns, CACHE)
    except NoValgrindError as reason:
        return {"skipped": str(reason)}
    events, packets = profile.events, figures["packets_out"]
    return {
        "ir_per_packet_out": round(events["Ir"] / packets, 1),
        "d1_misses_per_packet_out": round((events["D1mr"] + events["D1mw"]) / packets, 2),
        "ll_misses_per_packet_out": round((events["DLmr"] + events["DLmw"]) / packets, 2),
    }


def main(
    fanouts: Annotated[list[int] | None, typer.Option("--fanout")] = None,
    payload_bytes: int = 1200,
    slab_mib: Annotated[int, typer.Option(help="Packet memory of the engine.")] = 256,
    rounds: int = 5,
    packets: Annotated[int, typer.Option(help="Out, a round and point.")] = 400_000,
    callgrind: bool = False,
) -> None:
    """The curve."""
    report: dict[str, object] = {
        "question": QUESTION,
        "environment": environment(),
        "packets_per_second_in": 64 * 1_000_000 // TURN_US,
        "slab_mib": slab_mib,
        "payload_bytes": payload_bytes,
        "bound": BOUND,
    }
    curves = []
    for fanout in fanouts or [1, 10]:
        cases = {n: case_of(n, fanout, slab_mib, payload_bytes) for n in STREAMS}
        points = curve(cases, rounds, packets)
        one = points[STREAMS[0]]["ns_per_packet_out"]
        most = max(point["ns_per_packet_out"] for point in points.values())
        entries: list[dict[str, object]] = []
        for streams, point in points.items():
            ns = point["ns_per_packet_out"]
            entry: dict[str, object] = {
                "streams": streams,
                **point,
                "ratio_to_one": round(ns / one, 2),
            }
            if callgrind and streams <= COUNTED_STREAMS:
                entry |= simulated(cases[streams])
            entries.append(entry)
            bar = "#" * round(BAR * ns / most)
            sys.stderr.write(f"{streams:6} streams {ns:7.1f} ns {ns / one:5.2f} {bar}\n")
        largest = round(most / one, 2)
        curves.append(
            {
                "fanout": fanout,
                "points": entries,
                "largest_ratio": largest,
                "is_within_bound": largest <= BOUND,
            }
        )
    report["curves"] = curves
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
