"""What does Python cost a busy node, and does it ever hold the event loop up?

A node in a process of its own takes in broadcasts of one track over loopback sockets and sends each
to several plain-RTP viewers, who are added by its API like any others; nobody reads their packets,
and all of them stay. Told for each phase (viewers join; only media flows; /metrics and /status are
read each second): CPU time of Python's thread and of the workers' threads (schedstat), and how late
the event loop woke the node's own watch (overlane_event_loop_delay_seconds). JSON on stdout: it
`holds` if no stall was longer than BOUND_MS while all viewers were there and were sent all packets;
a node that sheds carries another load than it says. At most a minute with the defaults.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support.case import Case
from bench.support.environment import environment
from bench.support.native import native
from bench.support.network import udp_socket
from bench.support.schedule import FRAME, Schedule
from bench.support.traffic import Generator
from relay.loop_watch import PERIOD_US

QUESTION = "What does Python cost a busy node, and does it hold the event loop up?"
BOUND_MS = 20.0
CARRIED = 0.99  # of what viewers are to be sent: phases end within a packet's interval or so
START_S = 15.0
JOIN_S = 20.0
AT_ONCE = 16  # requests
GOP_FRAMES = 50
TOGETHER_NS = 1_000_000
LIMITS = [
    "Viewers' packets go to sockets that are never read: the kernel drops them there, at less cost "
    "to it than to a receiver.",
    "Each viewer's packet is a system call of its own. Where the workers cannot send so many, they "
    "shed (see `shed`), and their CPU share is that of a full core.",
    "Generator and node share the machine: where python_waited_for_a_core_share is not near 0, a "
    "stall may be the system's.",
    "The watch sleeps 10 ms at a time: a single stall is told up to 10 ms too short (`at_most`).",
]


@dataclass(frozen=True)
class Cpu:
    """Seconds, by kind of thread. ..._waited: it had work, and no core."""

    python: float
    workers: float
    python_waited: float
    workers_waited: float

    def __sub__(self, earlier: Cpu) -> Cpu:
        return Cpu(
            self.python - earlier.python,
            self.workers - earlier.workers,
            self.python_waited - earlier.python_waited,
            self.workers_waited - earlier.workers_waited,
        )


class NodeProcess:
    """`overlane relay`, told all by a file; ended with the block."""

    def __init__(self, folder: Path, streams: int, viewers: int, workers: int) -> None:
        self.admin = f"127.0.0.1:{free_tcp_port()}"
        overlay, viewers_port, *self.ports = free_ports(streams + 2)
        path = folder / "node.toml"
        path.write_text(
            configuration(self.admin, overlay, viewers_port, self.ports, viewers, workers)
        )
        self.log = (folder / "log").open("w+")
        command = [sys.executable, "-m", "overlane", "relay", "--config", str(path)]
        self.process = subprocess.Popen(command, stderr=self.log, start_new_session=True)

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def cpu(self) -> Cpu:
        """The event loop's thread is the process's first one; the others are workers', mostly."""
        python, workers, python_waited, workers_waited = 0.0, 0.0, 0.0, 0.0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            busy_ns, waited_ns, _ = (task / "schedstat").read_text().split()
            busy_s, waited_s = int(busy_ns) / 1e9, int(waited_ns) / 1e9
            if int(task.name) == self.process.pid:
                python, python_waited = busy_s, waited_s
            else:
                workers += busy_s
                workers_waited += waited_s
        return Cpu(python, workers, python_waited, workers_waited)

    async def wait_ready(self, session: aiohttp.ClientSession) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until and self.process.poll() is None:
            try:
                async with session.get(f"http://{self.admin}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
        self.log.seek(0)
        raise SystemExit(f"the node did not start:\n{self.log.read()[-2000:]}")


def free_tcp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def free_ports(count: int) -> list[int]:
    """That were free a moment ago, for all sockets of a node: one that it chooses itself might be
    another's."""
    held = [udp_socket() for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


def configuration(
    admin: str, overlay: int, viewers_port: int, ports: list[int], viewers: int, workers: int
) -> str:
    """RTCP comes on the same ports (rtcp = mux)."""
    streams = len(ports)
    parts = [
        f'name = "bench"\nnode_id = 1\nlisten = "127.0.0.1:{overlay}"\n',
        f"workers = {workers}\n",
        f'[admin]\nlisten = "{admin}"\n',
        '[log]\nformat = "json"\nlevel = "warning"\n',
        f'[viewers]\nlisten = "127.0.0.1:{viewers_port}"\nrate_bps = 20_000_000\n',
        f"[limits]\nstreams = {streams + 8}\ncursors = {viewers + 8}\nviewers = {viewers + 8}\n"
        f"ports = {streams + 8}\nslab_mib = 512\n",
    ]
    parts += [
        f'[[ingests]]\nname = "s{n}"\n[[ingests.tracks]]\nkind = "video"\ncodec = "H264"\n'
        f'listen = "127.0.0.1:{port}"\nrtcp = "mux"\npayload_type = 96\nclock_rate = 90_000\n'
        for n, port in enumerate(ports)
    ]
    return "".join(parts)


def steady(streams: int, pps: float, seconds: float) -> Schedule:
    """Each stream a packet each 1/pps: the n-th goes to the n-th port. All that are due within
    TOGETHER_NS go at once: an encoder that is woken for each, ahead of others, takes a core that
    the node should have."""
    frames = np.zeros(round(streams * pps * seconds), FRAME)
    number = np.arange(len(frames))
    frames["due_ns"] = number / (streams * pps) * 1e9 // TOGETHER_NS * TOGETHER_NS
    frames["stream"] = number % streams
    frames["packets"] = 1
    frames["is_key"] = (number // streams + number % streams) % GOP_FRAMES == 0
    return frames


class Encoders(threading.Thread):
    """All of them, second by second, until `stop`."""

    def __init__(self, ports: list[int], pps: float, payload_bytes: int) -> None:
        super().__init__(name="encoders", daemon=True)
        case = Case(1, payload_bytes, "plain", kind="node", streams=len(ports))
        self._generator = Generator(case, bytes(16))
        self._generator._native.is_overlay = False  # an edge's case has one stream
        self._generator.spread(ports)
        self._schedule = steady(len(ports), pps, 1.0)
        self._end = threading.Event()
        self.sent = 0
        self.seconds = 0.0

    def run(self) -> None:
        while not self._end.is_set():
            self.seconds += self._generator.generate(self._schedule)
            self.sent += len(self._schedule)

    def stop(self) -> None:
        self._end.set()
        if self.ident is not None:
            self.join()
        self._generator.close()


def delays(metrics: str) -> dict[float, float]:
    """The watch's cumulative buckets: upper bound in ms, wake-ups."""
    pattern = r'^overlane_event_loop_delay_seconds_bucket\{le="([^"]+)"\} (\S+)$'
    found = re.findall(pattern, metrics, re.MULTILINE)
    return {float(bound) * 1e3: float(count) for bound, count in found}


def gauge(metrics: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


def sent_packets(metrics: str) -> int:
    found = re.search(
        r'^overlane_engine_total\{what="sent_packets"\} (\S+)$', metrics, re.MULTILINE
    )
    return int(float(found[1])) if found else 0


class Bench:
    """due_pps: what all viewers together are to be sent."""

    def __init__(self, node: NodeProcess, session: aiohttp.ClientSession, due_pps: float) -> None:
        self.node = node
        self.session = session
        self.due_pps = due_pps
        self.phases: list[dict[str, Any]] = []

    async def text(self, path: str) -> str:
        async with self.session.get(f"http://{self.node.admin}{path}") as answer:
            return await answer.text()

    async def phase(self, name: str, action: Callable[[], Awaitable[int]]) -> None:
        """What it took, and how late the loop was meanwhile. The two readings are part of it."""
        metrics = await self.text("/metrics")
        before, sent = delays(metrics), sent_packets(metrics)
        cpu, began = self.node.cpu(), time.monotonic()
        done = await action()
        took_s = time.monotonic() - began
        cpu = self.node.cpu() - cpu
        metrics = await self.text("/metrics")
        after, sent = delays(metrics), sent_packets(metrics) - sent
        passed = {bound: after[bound] - before[bound] for bound in after}
        total = passed[float("inf")]
        highest = min(bound for bound, count in passed.items() if count == total)
        self.phases.append(
            {
                "phase": name,
                "seconds": round(took_s, 2),
                "done": done,
                "sent_pps": round(sent / took_s),
                "carried_share": round(sent / took_s / self.due_pps, 4),
                "python_cpu_share": round(cpu.python / took_s, 4),
                "python_waited_for_a_core_share": round(cpu.python_waited / took_s, 4),
                "workers_cpu_share": round(cpu.workers / took_s, 4),
                "workers_waited_for_a_core_share": round(cpu.workers_waited / took_s, 4),
                "loop_delay_at_most_ms": highest,
                "wake_ups": int(total),
                "later_than_20_ms": int(total - passed[BOUND_MS]),
                "longest_stall_ms_so_far": round(
                    gauge(metrics, "overlane_event_loop_longest_stall_seconds") * 1e3, 2
                ),
            }
        )
        sys.stderr.write(json.dumps(self.phases[-1]) + "\n")

    async def join(self, streams: int, each: int, to: tuple[str, int]) -> int:
        """All viewers, a few requests at a time, as far as there is time."""
        names = iter([f"s{n % streams}" for n in range(streams * each)])
        until = time.monotonic() + JOIN_S
        joined = 0

        async def some() -> None:
            nonlocal joined
            body = {"video": f"{to[0]}:{to[1]}", "rtcp": "none", "expires_s": None}
            for name in names:
                url = f"http://{self.node.admin}/streams/{name}/viewers"
                async with self.session.post(url, json=body) as answer:
                    if answer.status != 201:
                        raise SystemExit(f"{name}: {answer.status} {await answer.text()}")
                joined += 1
                if time.monotonic() > until:
                    return

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
        return joined

    async def rest(self, seconds: float) -> int:
        await asyncio.sleep(seconds)
        return 0

    async def look(self, seconds: float) -> int:
        """Both answers, each second."""
        looks = 0
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await self.text("/metrics")
            await self.text("/status")
            looks += 1
            await asyncio.sleep(1.0)
        return looks


async def measure(
    node: NodeProcess,
    encoders: Encoders,
    streams: int,
    subscribers: int,
    pps: float,
    seconds: float,
) -> dict[str, Any]:
    sink = udp_socket()
    timeout = aiohttp.ClientTimeout(total=30)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await node.wait_ready(session)
            encoders.start()
            bench = Bench(node, session, streams * subscribers * pps)
            to = sink.getsockname()
            await bench.phase("join", lambda: bench.join(streams, subscribers, to))
            await asyncio.sleep(2 * GOP_FRAMES / pps)  # the last viewers wait for a key frame
            await bench.phase("media", lambda: bench.rest(seconds))
            await bench.phase("media and looks", lambda: bench.look(seconds))
            status = json.loads(await bench.text("/status"))
    finally:
        encoders.stop()
        sink.close()
    return {
        "phases": bench.phases,
        "viewers": len(status["viewers"]),
        "qoe": status["qoe"],
        "shed": status["dropped"],
        "offered_pps": round(encoders.sent / encoders.seconds),
        "longest_stall_ms": bench.phases[-1]["longest_stall_ms_so_far"],
        "longest_stall_at_most_ms": bench.phases[-1]["longest_stall_ms_so_far"] + PERIOD_US / 1_000,
    }


def main(
    streams: int = 1_000,
    pps: Annotated[float, typer.Option(help="Packets/s of each stream.")] = 50,
    subscribers: Annotated[int, typer.Option(help="Of each stream.")] = 10,
    payload_bytes: int = 1_200,
    workers: int = 1,
    seconds: Annotated[float, typer.Option(help="Of each of the two later phases.")] = 8,
) -> None:
    """The measurement."""
    native()
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[1]))
    report: dict[str, Any] = {
        "question": QUESTION,
        "bound_ms": BOUND_MS,
        "environment": environment(),
        "streams": streams,
        "packets_per_second_each": pps,
        "subscribers_each": subscribers,
        "payload_bytes": payload_bytes,
        "workers": workers,
        "limits": LIMITS,
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        NodeProcess(Path(folder), streams, streams * subscribers, workers) as node,
    ):
        encoders = Encoders(node.ports, pps, payload_bytes)
        report |= asyncio.run(measure(node, encoders, streams, subscribers, pps, seconds))
    report["is_within_bound"] = report["longest_stall_ms"] <= BOUND_MS
    report["is_carried"] = report["viewers"] == streams * subscribers and all(
        phase["carried_share"] >= CARRIED for phase in report["phases"][1:]
    )
    report["holds"] = report["is_within_bound"] and report["is_carried"]
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
