"""What does Python cost a busy node, and does it ever hold the event loop up?

A node in a process of its own takes in broadcasts in two versions over loopback sockets, 1,000
streams at 50 packets/s, and sends each to ten subscribers. What is the same load by the count of
packets is not the same to a worker, so there are two cases:

`nodes`: ten neighbours, each subscribed to all streams. Packets leave by UDP GSO, up to 64 in a
system call. The neighbours report arrivals, by which the links' rates are controlled, and refresh
their 10,000 subscriptions as nodes do.
`viewers`: 10,000 plain-RTP viewers, added by the API like any others; each of their packets is a
system call of its own. First at the full rate, whatever is shed; then all of them at the highest
rate that is carried, which is searched for.

Told for each phase (subscribers join; only media flows; /metrics and /status are read each second):
what was sent; CPU time of Python's thread and of the workers', and how long they waited for a core
(schedstat); how late the event loop woke the node's own watch, and how much of the longest delay
was the loop's own work. JSON on stdout: it `holds` if no stall was longer than BOUND_MS, everybody
was served, and all packets were sent, to viewers at the rate that was found. Two minutes at most
with the defaults.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support.busy_node import BusyNode, Load, NotStartedError, Reading, stream_names
from bench.support.environment import environment
from bench.support.native import native
from bench.support.network import Address, udp_socket
from bench.support.steady_encoders import SteadyEncoders
from bench.support.subscribing_nodes import SubscribingNodes
from relay.loop_watch import PERIOD_US

QUESTION = "What does Python cost a busy node, and does it hold the event loop up?"
BOUND_MS = 20.0
CARRIED = 0.99  # of what subscribers are to be sent: phases end within a packet's interval or so
STARTS = 3
KEYS_S = 5.0
JOIN_S = 25.0
AT_ONCE = 16  # requests for viewers
NODES_AT_ONCE = 64  # SUBSCRIBEs under way
SETTLE_S = 2.5  # after a change: overload ends, and who was shed waits for a key frame
TRIAL_S = 1.5
RESOLUTION = 1.2  # of the rate that is searched
MARGIN = 0.9  # a trial is short
LIMITS = [
    "Viewers' packets go to sockets that are never read: the kernel drops them there, at less cost "
    "to it than to a receiver.",
    "Generator, subscribing nodes and node share the machine; the generator goes ahead of the "
    "others where it may (SCHED_FIFO), as a network would. Where python_waited_for_a_core_share is "
    "not near 0, a stall may be the system's: longest_busy_ms is what the loop's own work made of "
    "one at most.",
    "The watch sleeps 10 ms at a time: a single stall is told up to 10 ms too short (`at_most`), "
    "and as much work from before it may be among longest_busy_ms.",
]


class Subscribers(StrEnum):
    """Who is sent the streams."""

    NODES = "nodes"
    VIEWERS = "viewers"


class Bench:
    """One node under load, phase by phase. each: subscribers of each stream. joined: of them all,
    those who are there."""

    def __init__(
        self, node: BusyNode, encoders: SteadyEncoders, session: aiohttp.ClientSession, each: int
    ) -> None:
        self.node = node
        self.encoders = encoders
        self.session = session
        self.each = each
        self.joined = 0
        self.phases: list[dict[str, Any]] = []

    async def text(self, path: str) -> str:
        async with self.session.get(f"http://{self.node.admin}{path}") as answer:
            return await answer.text()

    async def reading(self) -> Reading:
        return Reading.of(await self.text("/metrics"))

    async def phase(self, name: str, pps: int, action: Callable[[], Awaitable[int]]) -> None:
        """What it took, and how late the loop was meanwhile. The two readings are part of it."""
        before, offered = await self.reading(), self.encoders.sent
        cpu, own_s, began = self.node.cpu(), time.process_time(), time.monotonic()
        done = await action()
        took_s = time.monotonic() - began
        cpu, own_s = self.node.cpu() - cpu, time.process_time() - own_s
        offered = self.encoders.sent - offered
        after = await self.reading()
        passed = {bound: after.delays[bound] - before.delays[bound] for bound in after.delays}
        total = passed[float("inf")]
        sent = after.media_packets - before.media_packets
        due = offered * self.joined / len(self.node.ports)
        self.phases.append(
            {
                "phase": name,
                "packets_per_second_each": pps,
                "seconds": round(took_s, 2),
                "done": done,
                "offered_pps": round(offered / took_s),
                "sent_pps": round(sent / took_s),
                "carried_share": round(sent / due, 4) if due else None,
                "python_cpu_share": round(cpu.python / took_s, 4),
                "python_waited_for_a_core_share": round(cpu.waited / took_s, 4),
                "workers_cpu_share": round(cpu.workers / took_s, 4),
                "workers_waited_for_a_core_share": round(cpu.workers_waited / took_s, 4),
                "bench_cpu_share": round(own_s / took_s, 4),
                "loop_delay_at_most_ms": min(b for b, count in passed.items() if count == total),
                "wake_ups": int(total),
                "later_than_20_ms": int(total - passed[BOUND_MS]),
                "longest_stall_ms_so_far": round(after.longest_stall_ms, 2),
                "longest_busy_ms_so_far": round(after.longest_busy_ms, 2),
            }
        )
        sys.stderr.write(json.dumps(self.phases[-1]) + "\n")

    async def add_viewers(self, names: list[str], to: Address) -> int:
        """All viewers, a few requests at a time, as far as there is time."""
        wanted = iter(names * self.each)
        until = time.monotonic() + JOIN_S
        joined = 0

        async def some() -> None:
            nonlocal joined
            body = {"video": f"{to[0]}:{to[1]}", "rtcp": "none", "expires_s": None}
            for name in wanted:
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

    async def media(self, pps: int, seconds: float, name: str = "") -> None:
        """With nothing else, and with looks."""
        await self.phase(f"media{name}", pps, lambda: self.rest(seconds))
        await self.phase(f"media{name} and looks", pps, lambda: self.look(seconds))

    async def highest_pps(self, most: int) -> int:
        """Of each stream, that subscribers were sent all of; the generator goes on with less."""
        low, high = 0, most
        while low == 0 or high > RESOLUTION * low:
            pps = round((max(low, 1) * high) ** 0.5)
            if pps in (low, high):
                break
            if await self._is_carried(pps):
                low = pps
            else:
                high = pps
        found = max(1, int(low * MARGIN))
        self.encoders.set_pps(found)
        await asyncio.sleep(SETTLE_S)
        return found

    async def _is_carried(self, pps: int) -> bool:
        self.encoders.set_pps(pps)
        await asyncio.sleep(SETTLE_S)
        sent, offered = (await self.reading()).media_packets, self.encoders.sent
        await asyncio.sleep(TRIAL_S)
        offered = self.encoders.sent - offered
        sent = (await self.reading()).media_packets - sent
        share = sent / (offered * self.joined / len(self.node.ports))
        sys.stderr.write(f"{pps} packets/s each: {share:.3f} carried\n")
        return share >= CARRIED

    async def result(self, measured: list[dict[str, Any]]) -> dict[str, Any]:
        """measured: the phases all of whose packets are to be sent."""
        status = json.loads(await self.text("/status"))
        last = self.phases[-1]
        stall_ms, busy_ms = last["longest_stall_ms_so_far"], last["longest_busy_ms_so_far"]
        found = {
            "phases": self.phases,
            "subscriptions": self.joined,
            "qoe": status["qoe"],
            "left_out": {name: n for name, n in status["dropped"].items() if n},
            "longest_stall_ms": stall_ms,
            "longest_stall_at_most_ms": round(stall_ms + PERIOD_US / 1_000, 2),
            "longest_busy_ms": busy_ms,
            "held_up_by": "nobody"
            if stall_ms <= BOUND_MS
            else ("the loop's work, perhaps" if busy_ms > BOUND_MS else "the machine"),
            "is_within_bound": stall_ms <= BOUND_MS,
            "is_carried": self.joined == len(self.node.ports) * self.each
            and all(phase["carried_share"] >= CARRIED for phase in measured),
        }
        return found | {"holds": found["is_within_bound"] and found["is_carried"]}


async def to_nodes(bench: Bench, nodes: SubscribingNodes, pps: int, s: float) -> dict[str, Any]:
    nodes.start(bench.node.overlay)
    try:
        await nodes.wait_keyed(KEYS_S)
        names = stream_names(len(bench.node.ports))
        by = time.monotonic() + JOIN_S
        await bench.phase("join", pps, lambda: nodes.subscribe(names, NODES_AT_ONCE, by))
        bench.joined = nodes.live
        await asyncio.sleep(SETTLE_S)
        await bench.media(pps, s)
        found = await bench.result(bench.phases[1:])
        status = json.loads(await bench.text("/status"))
        shown = "target_bps", "pacing_bps", "acked_bps", "feedback_loss", "feedbacks", "resent"
        found["links"] = [{key: n[key] for key in ("name", *shown)} for n in status["neighbours"]]
        found["received_by_nodes"] = nodes.received()
        found["control"] = dict(nodes.counters)
        return found
    finally:
        nodes.close()


async def to_viewers(bench: Bench, pps: int, seconds: float) -> dict[str, Any]:
    names = stream_names(len(bench.node.ports))
    with udp_socket() as sink:
        to: Address = sink.getsockname()
        await bench.phase("join", pps, lambda: bench.add_viewers(names, to))
        bench.joined = bench.phases[0]["done"]
        await asyncio.sleep(SETTLE_S)
        await bench.media(pps, seconds)
        # Nothing to search for where all of it was carried.
        measured = bench.phases[1:]
        if any(phase["carried_share"] < CARRIED for phase in measured):
            found_pps = await bench.highest_pps(pps)
            await bench.media(found_pps, seconds, " that is carried")
            measured = bench.phases[3:]
        found = await bench.result(measured)
    found["highest_packets_per_second_each"] = measured[0]["packets_per_second_each"]
    return found


async def measure(
    subscribers: Subscribers, load: Load, each: int, pps: int, payload_bytes: int, seconds: float
) -> dict[str, Any]:
    nodes = SubscribingNodes(each) if subscribers is Subscribers.NODES else None
    if nodes is not None:
        load = Load(load.streams, load.cursors, load.workers, load.link_controller, nodes.peers)
    for _ in range(STARTS - 1):
        try:
            return await measure_once(nodes, load, each, pps, payload_bytes, seconds)
        except NotStartedError as error:
            sys.stderr.write(f"{error}\nonce more, at other ports\n")
    return await measure_once(nodes, load, each, pps, payload_bytes, seconds)


async def measure_once(
    nodes: SubscribingNodes | None,
    load: Load,
    each: int,
    pps: int,
    payload_bytes: int,
    seconds: float,
) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=30)
    with tempfile.TemporaryDirectory() as folder, BusyNode(Path(folder), load) as node:
        encoders = SteadyEncoders(node.ports, pps, payload_bytes)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                await node.wait_ready(session)
                encoders.start()
                bench = Bench(node, encoders, session, each)
                if nodes is not None:
                    return await to_nodes(bench, nodes, pps, seconds)
                return await to_viewers(bench, pps, seconds)
        finally:
            encoders.stop()


def main(
    subscribers: Annotated[
        list[Subscribers] | None, typer.Option(help="Only this case; repeatable.")
    ] = None,
    streams: Annotated[int, typer.Option(min=1, max=5_000)] = 1_000,
    pps: Annotated[int, typer.Option(min=1, max=1_000, help="Packets/s of each stream.")] = 50,
    each: Annotated[int, typer.Option(min=1, max=64, help="Subscribers of each stream.")] = 10,
    payload_bytes: Annotated[int, typer.Option(min=64, max=1436)] = 1_200,
    workers: Annotated[int, typer.Option(min=1, max=64)] = 1,
    link_rate: Annotated[str, typer.Option(help="gcc, nada or fixed: of links to nodes.")] = "gcc",
    seconds: Annotated[float, typer.Option(min=1, help="Of each phase with media.")] = 6,
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
        "subscribers_each": each,
        "payload_bytes": payload_bytes,
        "workers": workers,
        "rate_control_of_links": link_rate,
        "limits": LIMITS,
    }
    load = Load(streams, streams * each, workers, link_rate)
    for case in subscribers or list(Subscribers):
        sys.stderr.write(f"{case.value}:\n")
        measured = measure(case, load, each, pps, payload_bytes, seconds)
        report[case.value] = asyncio.run(measured)
    report["holds"] = all(report[case]["holds"] for case in subscribers or list(Subscribers))
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
