"""What does it cost to be looked at: how long does a scrape of a large node hold its event loop,
and what does a scrape each second add to a packet's cost?

A node of 10,000 streams without traffic answers /metrics and /status piece by piece, as its admin
API does, while a task notes how late it is woken. Then a worker forwards at a fixed rate for some
seconds, with and without a scrape of that node each second beside it, in turns. JSON on stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support.environment import environment
from fastpath import Codec, Engine, Media, PortKind
from relay.admin import in_steps
from relay.config import Ingest, NodeConfig
from relay.metrics import new_registry
from relay.node import Node
from relay.series import exposition
from relay.status import status_pieces
from relay.workers import new_workers

UDP_SEGMENT = 103  # linux/udp.h
PACKET_BYTES, BURST = 1200, 20
TICK_S = 0.001


def large_node(streams: int, viewers: int) -> Node:
    """Broadcasts of two tracks each, in virtual time."""
    names = [f"s{n}" for n in range(streams // 2)]
    ingests = [
        {
            "name": name,
            "tracks": [
                {
                    "kind": kind,
                    "codec": codec,
                    "listen": f"127.{n >> 8 & 255}.{n & 255}.1:{port}",
                    "rtcp": "mux",
                    "payload_type": payload_type,
                    "clock_rate": rate,
                }
                for kind, codec, port, payload_type, rate in (
                    ("video", "H264", 5004, 96, 90_000),
                    ("audio", "opus", 5006, 111, 48_000),
                )
            ],
        }
        for n, name in enumerate(names)
    ]
    limits = {
        "streams": streams,
        "cursors": 2 * viewers + 1,
        "viewers": viewers + 1,
        "ports": streams + 2,
        "slab_mib": 64,
    }
    config = NodeConfig.model_validate(
        {"name": "n", "node_id": 1, "listen": "127.0.0.1:1", "limits": limits}
    )
    # Apart, as a configuration compares the address of each socket with those of all others.
    made = tuple(Ingest.model_validate(ingest) for ingest in ingests)
    config = config.model_copy(update={"ingests": made})
    workers = new_workers(config)
    node = Node(config, workers, Random(1))
    workers.engines[0].turn(0)  # in virtual time from the start: commands are applied as they come
    node.start(1)
    for n in range(viewers):
        to = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
        node.add_viewer(names[n % len(names)], {"video": (to, 6000), "audio": (to, 6002)}, 2)
    workers.engines[0].turn(3)
    node.handle_engine_events(3)
    return node


async def stall(pieces: Iterable[bytes]) -> dict[str, float]:
    """How late others are while it is made, and how much there is to make."""
    late: list[float] = []

    async def tick() -> None:
        while True:
            due = time.perf_counter() + TICK_S
            await asyncio.sleep(TICK_S)
            late.append(time.perf_counter() - due)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.05)
    late.clear()
    began = time.perf_counter()
    size = sum([len(chunk) async for chunk in in_steps(pieces)])
    took = time.perf_counter() - began
    await asyncio.sleep(2 * TICK_S)
    ticking.cancel()
    return {
        "bytes": size,
        "took_ms": round(took * 1e3, 1),
        "longest_stall_ms": round(max(late) * 1e3, 2),
    }


class Forwarding:
    """One worker, one stream, one viewer; what a packet costs is the thread's own time."""

    def __init__(self) -> None:
        self.engine = Engine(streams=1, cursors=1, viewer_links=1, node_links=1, ports=2)
        self.sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
        self.sender, sink, ingest, viewer = self.sockets
        for bound in (sink, ingest, viewer):
            bound.bind(("127.0.0.1", 0))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.to = ingest.getsockname()
        engine = self.engine
        stream = engine.add_stream(
            stream_id=1, media=Media.AUDIO, first_stream_seq=1, upstream=None, clock_rate=48_000
        )
        port = engine.open_port(PortKind.INGEST, ingest.detach())
        engine.set_ingest(port, stream=stream, codec=Codec.OPUS, payload_type=111)
        engine.add_viewer_cursor(
            stream=stream,
            link=engine.add_viewer_link(rate_bps=10**11),
            port=engine.open_port(PortKind.VIEWER, viewer.detach()),
            address=sink.getsockname(),
            ssrc=1,
            payload_type=111,
            first_sequence_number=0,
        )
        self.numbers = count()
        self.worker = threading.Thread(target=self._run, daemon=True)
        self.worker.start()
        while not engine.is_running:
            time.sleep(0.01)

    def _run(self) -> None:
        self.thread_id = threading.get_native_id()
        self.engine.run()

    def _cpu_ns(self) -> int:
        text = Path(f"/proc/self/task/{self.thread_id}/schedstat").read_text()
        return int(text.split()[0])

    def measure(self, seconds: float, pps: int, each_second: Callable[[], object]) -> float:
        """CPU microseconds per packet out."""
        before, cpu_ns = self.engine.verdicts()["sent_packets"], self._cpu_ns()
        began = time.perf_counter()
        sent, looks = 0, 0
        control = [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("=H", PACKET_BYTES))]
        while (passed := time.perf_counter() - began) < seconds:
            if passed >= looks + 0.5:
                looks += 1
                each_second()
            if sent < passed * pps:
                data = b"".join(
                    struct.pack(">BBHII", 0x80, 111, n & 0xFFFF, n * 960 & 0xFFFFFFFF, 7)
                    + bytes(PACKET_BYTES - 12)
                    for n in (next(self.numbers) for _ in range(BURST))
                )
                self.sender.sendmsg([data], control, 0, self.to)
                sent += BURST
            else:
                time.sleep(0.0005)
        time.sleep(0.1)
        packets = self.engine.verdicts()["sent_packets"] - before
        return (self._cpu_ns() - cpu_ns) / 1e3 / max(packets, 1)

    def close(self) -> None:
        self.engine.stop()
        self.worker.join(5)
        for opened in self.sockets:
            opened.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--viewers", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pps", type=int, default=20_000)
    arguments = parser.parse_args()
    node = large_node(arguments.streams, arguments.viewers)
    registry = new_registry(node)

    def metrics() -> Iterable[bytes]:
        return (piece.encode() for piece in exposition(node, registry))

    report: dict[str, Any] = {
        "environment": environment(),
        "streams": arguments.streams,
        "viewers": arguments.viewers,
        "metrics": uvloop.run(stall(metrics())),
        "status": uvloop.run(stall(status_pieces(node, 0, None, 0))),
    }
    worker = Forwarding()
    costs: dict[str, list[float]] = {"without": [], "with": []}
    looks = {"without": lambda: None, "with": lambda: b"".join(metrics())}
    worker.measure(1, arguments.pps, looks["without"])
    for _ in range(arguments.rounds):
        for name, look in looks.items():
            costs[name].append(worker.measure(arguments.seconds, arguments.pps, look))
    worker.close()
    report["cpu_us_per_packet_out"] = {
        name: [round(cost, 3) for cost in found] for name, found in costs.items()
    }
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
