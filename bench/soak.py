"""Broadcasts and viewers come and go for a long time: does a node's memory stay where it was?

Three node processes on emulated links. The producer has many ingests, which light encoders in this
process feed for a while each; viewers join and leave at the middle and at the consumer through the
API, so that streams are set up along the path and torn down again, over and over. Each minute, and
at the end, resident memory, open files, threads and counters of every node. The bounds are judged
from the end of the warm-up to a quiet moment at the end, when every viewer has left. Prints JSON
lines, the last one with the verdict; fails if a bound is not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support.host import host
from lab.link import LinkConfig
from lab.overlay import ChainOverlay, LabNode, NodePorts
from lab.ports import free_ports
from lab.processes import Processes

QUESTION = "Does a node keep memory, files or table entries of what has ended?"
NAMES = ("producer", "middle", "consumer")
LINK = LinkConfig(delay_us=5_000, jitter_us=500, loss=0.005)
BROADCASTS = 60
ON_AIR = 20  # encoders that send at the same time
WATCHING = 40  # viewers at the same time, at two nodes
FRAME_S = 0.04
GOP_FRAMES = 25
PACKET_BYTES = 300
VIEWER_S = (1.0, 8.0)  # how long one stays
ENCODER_S = (5.0, 20.0)
SLAB_MIB = 16  # chosen: small, as its first use is growth too; a third of the run warms it up
LINGER_S = 6.0  # after the last viewer: longer than what nodes keep streams for
MOST_GROWTH = 0.10  # of resident memory, as after all streams have ended
MOST_GROWTH_BYTES = 8 << 20  # allowed in any case: an interpreter's heap has some play


class Encoder:
    """H.264 as far as a node can see, to one ingest; sequence numbers start near their wrap."""

    def __init__(self, port: int, rng: Random) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._target = ("127.0.0.1", port)
        self._ssrc = rng.getrandbits(32)
        self._number = rng.randrange(65_000, 65_536)
        self._frame = 0

    def send_frame(self) -> None:
        slice_ = b"\x65\x88" if self._frame % GOP_FRAMES == 0 else b"\x41\x9a"
        timestamp = (self._frame * round(90_000 * FRAME_S)) & 0xFFFFFFFF
        head = struct.pack(">BBHII", 0x80, 0x80 | 96, self._number, timestamp, self._ssrc)
        self._socket.sendto(head + slice_ + bytes(PACKET_BYTES), self._target)
        self._number = (self._number + 1) & 0xFFFF
        self._frame += 1

    def close(self) -> None:
        self._socket.close()


class SoakOverlay(ChainOverlay):
    """A chain whose producer has many ingests."""

    def __init__(self, *, ingest_ports: Sequence[int], **options: Any) -> None:
        super().__init__(NAMES, [LINK] * 2, stream="*", **options)
        self.ingest_ports = list(ingest_ports)

    def _config(self, index: int, ports: NodePorts, adjacency: list[str]) -> str:
        text = super()._config(index, ports, adjacency)
        return text + f"[limits]\nslab_mib = {SLAB_MIB}\n"

    def _ingest(self, _ports: object) -> list[str]:
        lines = []
        for number, port in enumerate(self.ingest_ports):
            lines += ["[[ingests]]", f'name = "b{number}"', "[[ingests.tracks]]", 'kind = "video"']
            lines += ['codec = "H264"', f'listen = "127.0.0.1:{port}"', 'rtcp = "mux"']
            lines += ["payload_type = 96", "clock_rate = 90000"]
        return lines


@dataclass
class Counts:
    broadcasts: int = 0
    viewers: int = 0
    refused: int = 0
    failed: int = 0
    packets: int = 0


@dataclass
class Soak:
    overlay: SoakOverlay
    http: aiohttp.ClientSession
    rng: Random
    counts: Counts = field(default_factory=Counts)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    on_air: set[int] = field(default_factory=set)

    async def encode(self) -> None:
        """One encoder after the other, each of another broadcast."""
        while not self.stopping.is_set():
            idle = [n for n in range(BROADCASTS) if n not in self.on_air]
            number = self.rng.choice(idle)
            self.on_air.add(number)
            encoder = Encoder(self.overlay.ingest_ports[number], self.rng)
            self.counts.broadcasts += 1
            end = time.monotonic() + self.rng.uniform(*ENCODER_S)
            while time.monotonic() < end and not self.stopping.is_set():
                encoder.send_frame()
                await asyncio.sleep(FRAME_S)
            encoder.close()
            self.on_air.discard(number)

    async def watch(self, node: LabNode) -> None:
        """One viewer after the other, of any broadcast, on the air or not."""
        loop = asyncio.get_running_loop()
        while not self.stopping.is_set():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
                receiver.setblocking(False)
                receiver.bind(("127.0.0.1", 0))
                loop.add_reader(receiver.fileno(), self._receive, receiver)
                try:
                    await self._visit(node, receiver.getsockname()[1])
                except (aiohttp.ClientError, TimeoutError):
                    self.counts.failed += 1
                    await asyncio.sleep(0.5)
                finally:
                    loop.remove_reader(receiver.fileno())

    async def _visit(self, node: LabNode, port: int) -> None:
        name = f"b{self.rng.randrange(BROADCASTS)}"
        body = {"video": f"127.0.0.1:{port}", "rtcp": "none"}
        async with self.http.post(f"{node.url}/streams/{name}/viewers", json=body) as answer:
            found = await answer.json()
            if answer.status != 201:
                self.counts.refused += 1
                await asyncio.sleep(0.2)
                return
        self.counts.viewers += 1
        await asyncio.sleep(self.rng.uniform(*VIEWER_S))
        if self.rng.random() < 0.9:  # the others go without a word, and expire
            async with self.http.delete(f"{node.url}/viewers/{found['viewer']}"):
                pass

    def _receive(self, receiver: socket.socket) -> None:
        for _ in range(64):
            try:
                receiver.recv(2048)
            except BlockingIOError:
                return
            self.counts.packets += 1


def process_of(node: LabNode) -> dict[str, int]:
    """Resident memory, open files, threads (proc(5))."""
    pid = node.process.process.pid
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return {
        "resident_kib": int(status["VmRSS"].split()[0]),
        "peak_kib": int(status["VmHWM"].split()[0]),
        "threads": int(status["Threads"]),
        "files": len(os.listdir(f"/proc/{pid}/fd")),
    }


async def look(soak: Soak, at_s: float, what: str) -> dict[str, Any]:
    """One line of the log."""
    nodes = {}
    for node in soak.overlay.nodes:
        status = await soak.overlay.status(node, soak.http)
        memory = {table: used for table, (used, _) in status["memory"].items()}
        nodes[node.name] = {
            **process_of(node),
            **memory,
            "broadcasts": len(status["streams"]),
            "viewers": len(status["viewers"]),
            "log_warnings": node.process.err.read_text().count('"level": "warning"'),
        }
    counts = soak.counts
    line = {"at_s": round(at_s), "what": what, "done": dict(vars(counts)), "nodes": nodes}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    return line


async def bench(minutes: float, warm_s: float, seed: int, directory: Path) -> dict[str, Any]:
    rng = Random(seed)
    ports = free_ports(BROADCASTS, rng)
    async with Processes(directory) as processes:
        overlay = SoakOverlay(
            ingest_ports=ports, directory=directory, processes=processes, seed=seed
        )
        try:
            await overlay.start()
            timeout = aiohttp.ClientTimeout(total=10)
            connector = aiohttp.TCPConnector(limit=200)
            async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
                return await run(Soak(overlay, http, rng), minutes, warm_s)
        finally:
            overlay.close()


async def run(soak: Soak, minutes: float, warm_s: float) -> dict[str, Any]:
    began = time.monotonic()
    nodes = soak.overlay.nodes
    tasks = [asyncio.create_task(soak.encode()) for _ in range(ON_AIR)]
    tasks += [asyncio.create_task(soak.watch(nodes[1 + n % 2])) for n in range(WATCHING)]
    await asyncio.sleep(warm_s)
    warm = await look(soak, time.monotonic() - began, "warm")
    end = began + 60 * minutes
    while (left := end - time.monotonic()) > 1:
        await asyncio.sleep(min(60, left))
        for task in tasks:
            if task.done():
                task.result()
        await look(soak, time.monotonic() - began, "running")
    soak.stopping.set()
    await asyncio.gather(*tasks)
    # Viewers that left without a word expire after 15 s; then the streams linger.
    await asyncio.sleep(15 + LINGER_S)
    last = await look(soak, time.monotonic() - began, "quiet")
    return verdict(warm, last, soak.counts)


def verdict(warm: dict[str, Any], last: dict[str, Any], counts: Counts) -> dict[str, Any]:
    kept = {}
    growth = {}
    for name, now in last["nodes"].items():
        then = warm["nodes"][name]
        grown = now["resident_kib"] - then["resident_kib"]
        growth[name] = {
            "warm_kib": then["resident_kib"],
            "end_kib": now["resident_kib"],
            "peak_kib": now["peak_kib"],
        }
        bound = max(MOST_GROWTH * then["resident_kib"], MOST_GROWTH_BYTES / 1024)
        is_producer = name == NAMES[0]
        kept[name] = {
            "memory": grown <= bound,
            "threads": now["threads"] <= then["threads"],
            "files": now["files"] <= then["files"],
            "tables": now["cursors"] == now["viewer_links"] == now["held_early_packets"] == 0
            and (is_producer or now["streams"] == now["small_blocks"] == now["large_blocks"] == 0),
        }
    return {
        "question": QUESTION,
        "host": host(),
        "done": dict(vars(counts)),
        "resident": growth,
        "bounds_kept": kept,
        "kept": all(all(each.values()) for each in kept.values()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--warm-seconds", type=float, help="a third of the time, unless told")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="keep logs and configurations here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        warm_s = options.warm_seconds or options.minutes * 20
        found = uvloop.run(bench(options.minutes, warm_s, options.seed, directory))
    sys.stdout.write(json.dumps(found) + "\n")
    return 0 if found["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
