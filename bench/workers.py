"""Do two workers forward twice what one does, as two independent C programs do?

Nothing is shared between workers but the machine, so two should cost each other no more than two
processes that know nothing of each other. A worker (an engine, fed from memory, in a thread of its
own; the two of a node share a process) and `loop_plus` (bench/native/loop_plus.c, fed the same
packets in the same way, each in a process of its own) run alone on each core, then two at once.
Scaling is what two at once put out, over twice what one does; from CPU time of the relay's part of
the turns, without the making of packets, and from wall time with it.

JSON on stdout, with what a machine of two cores cannot show. About a minute.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Protocol

import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support.environment import environment
from bench.support.memory_node import MemoryCase, MemoryNode
from bench.support.native import BenchError, native
from fastpath import Engine, PortKind
from fastpath.feed_figures import FeedFigures
from fastpath.memory_feed import MemoryFeed

QUESTION = "Do two workers at once put out twice what one does?"
BOUND = 0.9  # of what two loop_plus processes do, relative to one of them
RING_SLOTS = 1024
FIRST_STREAM_ID = 1000
KEY = bytes(range(16))
WARM_PACKETS = 5_120
CHUNK_TURNS = 200
SIDES = ("worker", "loop_plus")
LIMITS = [
    "Two cores: while both run, whatever else the machine does takes from one of them; nothing "
    "says how more than two workers scale.",
    "If the two cores are threads of one physical core, or share its clock and cache, two at once "
    "are slower for any program: compare with loop_plus, not with 1.",
    "Fed from memory: the kernel, which costs most of a real packet, takes no part, and neither do "
    "its locks on sockets and the network card's queues.",
]


class Unit(Protocol):
    """What runs on one core. packets: put out so far."""

    def turns(self, count: int) -> FeedFigures: ...
    def packets(self) -> int: ...


class WorkerUnit:
    def __init__(self, case: MemoryCase) -> None:
        self._node = MemoryNode(case)
        self._node.warm_up()

    def turns(self, count: int) -> FeedFigures:
        return self._node.run(count)

    def packets(self) -> int:
        return self._node.feed.figures().packets_out


class LoopPlusUnit:
    """The yardstick in the engine's place, fed by the same feed."""

    def __init__(self, case: MemoryCase) -> None:
        module = native()
        lib, ffi = module.lib, module.ffi
        self._ports = ffi.new("uint16_t[]", [9] * case.fanout)
        self._route = ffi.new("struct route *")
        route = self._route
        route.in_fd = route.out_fd = route.stop_fd = -1
        route.is_overlay, route.ports = 1, self._ports
        route.links = route.fanout = case.fanout
        route.streams, route.first_stream_id = case.streams, FIRST_STREAM_ID
        self._keys = ffi.new("uint8_t[16]", KEY)
        self._plus = lib.loop_plus_open(route, RING_SLOTS, self._keys, self._keys)
        if self._plus == ffi.NULL:
            raise BenchError("loop_plus could not be opened")
        self._counts = lib.loop_plus_counts(self._plus)

        def address(pointer: object) -> int:
            return int(ffi.cast("uintptr_t", pointer))

        self._relay = address(self._plus)
        self._take = address(ffi.addressof(lib, "loop_plus_take"))
        self._send = address(ffi.addressof(lib, "loop_plus_send"))
        # An engine that never has a packet: the feed stands at its port.
        engine = Engine(ports=1)
        self._feed = MemoryFeed(
            engine,
            packet_bytes=case.payload_bytes,
            burst=case.burst,
            bursts_a_turn=case.bursts_a_turn,
            turn_us=case.turn_us,
        )
        port = engine.open_port(PortKind.OVERLAY)
        source = self._feed.add_source(port=port, address=("10.0.0.1", 7000), key=KEY)
        for number in range(case.streams):
            self._feed.add_stream(source=source, stream_id=FIRST_STREAM_ID + number)
        self.turns(WARM_PACKETS // case.packets_a_turn)

    def turns(self, count: int) -> FeedFigures:
        before = self._feed.figures()
        after = self._feed.run_through(count, relay=self._relay, take=self._take, send=self._send)
        if self._counts.taken != after.packets_in:
            raise BenchError(f"loop_plus took {self._counts.taken} of {after.packets_in} packets")
        return after - before

    def packets(self) -> int:
        return int(self._route.sent.packets)


@dataclass(frozen=True)
class Output:
    """One unit in one run."""

    packets: int
    relay_s: float
    wall_s: float

    @property
    def per_cpu_second(self) -> float:
        return self.packets / self.relay_s

    @property
    def per_second(self) -> float:
        return self.packets / self.wall_s


def run_unit(unit: Unit, seconds: float) -> Output:
    """Turns until the time is over."""
    before, relay_ns = unit.packets(), 0
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        relay_ns += unit.turns(CHUNK_TURNS).engine_ns
    return Output(unit.packets() - before, relay_ns / 1e9, passed)


def child(side: str, cores: list[int], case: MemoryCase, seconds: float) -> None:
    """A process with a unit on each of the cores; starts them when told, prints their outputs."""
    units: list[Unit] = [
        WorkerUnit(case) if side == "worker" else LoopPlusUnit(case) for _ in cores
    ]
    outputs: list[Output] = []

    def job(unit: Unit, core: int) -> None:
        os.sched_setaffinity(0, {core})
        outputs.append(run_unit(unit, seconds))

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    threads = [threading.Thread(target=job, args=pair) for pair in zip(units, cores, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps([asdict(output) for output in outputs]) + "\n")


def run_at_once(side: str, cores: list[int], case: MemoryCase, seconds: float) -> list[Output]:
    """Workers share a process, as those of a node do; each loop_plus has one of its own."""
    shares = [cores] if side == "worker" else [[core] for core in cores]
    started = [
        subprocess.Popen(
            [
                *(sys.executable, str(Path(__file__).resolve()), "--side", side),
                *("--cores", json.dumps(share), "--case", json.dumps(asdict(case))),
                *("--seconds", str(seconds)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for share in shares
    ]
    for process in started:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            for other in started:
                other.kill()
            raise BenchError(f"{side} did not start")
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    found = []
    for process in started:
        out, _ = process.communicate()
        if process.returncode != 0:
            raise BenchError(f"{side} ended with status {process.returncode}")
        found += [Output(**entry) for entry in json.loads(out)]
    return found


def summary(alone: list[list[Output]], both: list[list[Output]]) -> dict[str, object]:
    """Of all rounds: the medians, and the scaling of each round's median."""

    def total(outputs: list[Output], name: str) -> float:
        return sum(float(getattr(output, name)) for output in outputs)

    found: dict[str, object] = {}
    for name, key in (("per_cpu_second", "by_cpu_time"), ("per_second", "by_wall_time")):
        one = statistics.median(total(outputs, name) / len(outputs) for outputs in alone)
        two = statistics.median(total(outputs, name) for outputs in both)
        scaling = statistics.median(
            total(pair, name) / total(singles, name)
            for singles, pair in zip(alone, both, strict=True)
        )
        found[key] = {
            "one_pps_out": round(one),
            "two_pps_out": round(two),
            "scaling": round(scaling, 3),
        }
    return found


def compare(sides: dict[str, dict[str, object]], key: str) -> dict[str, object]:
    worker, loop_plus = sides["worker"][key], sides["loop_plus"][key]
    assert isinstance(worker, dict)
    assert isinstance(loop_plus, dict)
    ratio = worker["scaling"] / loop_plus["scaling"]
    return {
        "scaling_to_loop_plus": round(ratio, 3),
        "is_within_bound": ratio >= BOUND,
        "two_pps_to_two_loop_plus": round(worker["two_pps_out"] / loop_plus["two_pps_out"], 3),
    }


def main(
    fanout: int = 10,
    payload_bytes: int = 1200,
    rounds: int = 3,
    seconds: float = 1.5,
    side: Annotated[str, typer.Option(hidden=True)] = "",
    cores: Annotated[str, typer.Option(hidden=True)] = "",
    case: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Two at once, beside one."""
    if side:
        child(side, json.loads(cores), MemoryCase(**json.loads(case)), seconds)
        return
    allowed = sorted(os.sched_getaffinity(0))[-2:]
    report: dict[str, object] = {
        "question": QUESTION,
        "environment": environment(),
        "limits": LIMITS,
        "bound": BOUND,
        "fanout": fanout,
        "payload_bytes": payload_bytes,
        "cores": allowed,
    }
    if len(allowed) < 2:
        sys.stderr.write("skipped: one core is allowed, and two workers need two\n")
        sys.stdout.write(json.dumps(report | {"skipped": "a single core"}, indent=2) + "\n")
        return
    what = MemoryCase(fanout=fanout, payload_bytes=payload_bytes)
    alone: dict[str, list[list[Output]]] = {name: [] for name in SIDES}
    both: dict[str, list[list[Output]]] = {name: [] for name in SIDES}
    try:
        for number in range(rounds):
            for name in SIDES:
                alone[name].append(
                    [run_at_once(name, [core], what, seconds)[0] for core in allowed]
                )
                both[name].append(run_at_once(name, allowed, what, seconds))
            sys.stderr.write(f"round {number + 1} of {rounds}\n")
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(1) from error
    sides = {name: summary(alone[name], both[name]) for name in SIDES}
    report |= sides
    for key in ("by_cpu_time", "by_wall_time"):
        report[f"compared_{key}"] = compare(sides, key)
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
