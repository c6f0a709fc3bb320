"""How many instructions does a node execute for a packet, and in which functions?

Unlike times, instruction counts do not shake with the machine. An engine is fed from memory (no
sockets, no system calls) under callgrind, and what is counted is the engine's part of a turn alone:
checks, ring, cursors, headers, tags, timers. Cases: a relay between nodes with one saturated stream
at fan-out 1, 10 and 100, with 1,200- and 200-byte packets, and 1,000 streams. With --cache-sim
also misses of a simulated first-level data cache (D1) and of the last one (LL), which is by default
as large as a server core's own second level: an LL miss is what has to come from elsewhere.

JSON on stdout. Needs valgrind (Debian: apt-get install valgrind); says so and ends without it.
Callgrind runs no AVX-512: code that picks its instructions at run time takes its AVX2 form.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support.environment import environment
from bench.support.memory_node import MemoryCase, MemoryNode
from bench.support.native import ROOT

QUESTION = "How many instructions does a packet cost, and where?"
MISSING = "valgrind is not installed (Debian: apt-get install valgrind)"
TURN = "*run_engine_turn*"  # where counting goes on and off
RUN = "*10MemoryFeed_*run"  # where it begins anew: what counts is the last MemoryFeed.run
TOP_FUNCTIONS = 15
COUNTED_PACKETS = 20_000  # at least, out
MOST_TURNS = 64
CASES = [
    *(
        MemoryCase(fanout=fanout, payload_bytes=size)
        for fanout in (1, 10, 100)
        for size in (1200, 200)
    ),
    *(
        MemoryCase(fanout=fanout, streams=1000, sources=4, outgoing=10, turn_us=6400)
        for fanout in (1, 10)
    ),
]


class NoValgrindError(Exception):
    """The text says what to install."""


@dataclass(frozen=True)
class Profile:
    """events: totals by callgrind's names (Ir, D1mr, ..); functions: Ir by function."""

    events: dict[str, int]
    functions: Counter[str]


def feed(case: MemoryCase, turns: int) -> None:
    """In the process that valgrind runs: figures on stdout."""
    node = MemoryNode(case)
    node.warm_up()
    before = node.feed.figures()
    figures = node.feed.run(turns) - before
    sys.stdout.write(json.dumps(asdict(figures)) + "\n")


def read_profile(path: Path) -> Profile:
    """Self costs of callgrind's output file (its manual, "Callgrind Format Specification")."""
    names: dict[str, str] = {}
    events: list[str] = []
    totals: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    function, is_call = "", False
    for line in path.read_text().splitlines():
        if line.startswith("events:"):
            events = line.split()[1:]
        elif line.startswith("fn="):
            number, _, name = line[3:].partition(" ")
            names.setdefault(number, name)
            function = names[number]
        elif line.startswith(("cfn=", "cfi=", "cob=", "fl=", "fi=", "fe=", "ob=")):
            number, _, name = line.partition("=")[2].partition(" ")
            if line.startswith("cfn="):
                names.setdefault(number, name)
        elif line.startswith("calls="):
            is_call = True  # the next line is what was called, with all below it
        elif re.match(r"[-+*\d]", line):
            if not is_call:
                costs = dict(zip(events, map(int, line.split()[1:]), strict=False))
                totals.update(costs)
                functions[function] += costs.get("Ir", 0)
            is_call = False
    return Profile(dict(totals), functions)


def plain_name(symbol: str) -> str:
    """fastpath.send.send_to_node instead of __pyx_f_8fastpath_4send_send_to_node."""
    name = symbol.partition("'")[0]  # of a recursion
    if not name.startswith("__pyx_f_"):
        return name.split(".")[0] if "." in name else name
    rest, parts = name.removeprefix("__pyx_f_"), []
    while found := re.match(r"(\d+)", rest):
        start = found.end()
        end = start + int(found[1])
        parts.append(rest[start:end])
        rest = rest[end + 1 :]
    return ".".join([*parts, rest])


def count(case: MemoryCase, turns: int, cache: list[str]) -> tuple[Profile, dict[str, int]]:
    """One case under callgrind: the profile and the feed's figures. Raises NoValgrindError."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise NoValgrindError(MISSING)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        done = subprocess.run(
            [
                *(valgrind, "--tool=callgrind", "--quiet", f"--callgrind-out-file={out}"),
                *("--collect-atstart=no", f"--toggle-collect={TURN}", f"--dump-before={RUN}"),
                *cache,
                *(sys.executable, str(Path(__file__).resolve())),
                *("--feed", json.dumps(asdict(case)), "--turns", str(turns)),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or not out.exists():
            raise RuntimeError(f"callgrind failed ({done.returncode}): {done.stderr}")
        return read_profile(out), json.loads(done.stdout)


def measure(case: MemoryCase, cache: list[str]) -> dict[str, object]:
    """One entry of `cases`."""
    turns = min(MOST_TURNS, -(-COUNTED_PACKETS // (case.packets_a_turn * case.fanout)))
    profile, figures = count(case, turns, cache)
    packets_in, packets_out = figures["packets_in"], figures["packets_out"]
    instructions = profile.events["Ir"]
    found: dict[str, object] = {
        "fanout": case.fanout,
        "payload_bytes": case.payload_bytes,
        "streams": case.streams,
        "packets_a_turn": case.packets_a_turn,
        "packets_in": packets_in,
        "packets_out": packets_out,
        "ir_per_packet_in": round(instructions / packets_in, 1),
        "ir_per_packet_out": round(instructions / packets_out, 1),
        "functions": [
            {
                "name": plain_name(name),
                "ir_per_packet_out": round(ir / packets_out, 1),
                "ir_per_packet_in": round(ir / packets_in, 1),
            }
            for name, ir in profile.functions.most_common(TOP_FUNCTIONS)
        ],
    }
    if cache:
        for level in ("D1", "DL"):
            misses = profile.events[f"{level}mr"] + profile.events[f"{level}mw"]
            name = "ll" if level == "DL" else "d1"
            found[f"{name}_misses_per_packet_in"] = round(misses / packets_in, 2)
            found[f"{name}_misses_per_packet_out"] = round(misses / packets_out, 2)
    return found


def main(
    cache_sim: Annotated[bool, typer.Option(help="Count cache misses as well.")] = False,
    d1: Annotated[str, typer.Option(help="Size, ways and line of D1.")] = "49152,12,64",
    ll: Annotated[str, typer.Option(help="Of the last level.")] = "2097152,16,64",
    feed_case: Annotated[str, typer.Option("--feed", hidden=True)] = "",
    turns: Annotated[int, typer.Option(hidden=True)] = 1,
) -> None:
    """Instructions per packet."""
    if feed_case:
        feed(MemoryCase(**json.loads(feed_case)), turns)
        return
    report: dict[str, object] = {"question": QUESTION, "environment": environment()}
    cache = ["--cache-sim=yes", f"--D1={d1}", f"--LL={ll}"] if cache_sim else []
    try:
        cases = []
        for case in CASES:
            cases.append(measure(case, cache))
            sys.stderr.write(
                f"fan-out {case.fanout}, {case.payload_bytes} bytes, {case.streams} streams: "
                f"{cases[-1]['ir_per_packet_out']} instructions a packet out\n"
            )
        report |= {"cache": {"d1": d1, "ll": ll} if cache_sim else None, "cases": cases}
    except NoValgrindError as reason:
        sys.stderr.write(f"skipped: {reason}\n")
        report["skipped"] = str(reason)
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
