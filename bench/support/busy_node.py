"""A node in a process of its own that takes in many broadcasts, and what its threads take."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.support.network import Address, udp_socket

START_S = 15.0
LINK_RATE_BPS = 4_000_000_000  # the ceiling of a link to a node: several times what it carries
_MEDIA = r"^overlane_(?:link|viewers)_time_in_node_seconds_count(?:\{.*\})? (\S+)$"
VERSIONS_BPS = 600_000, 300_000  # as they are told; each is a stream of its own


class NotStartedError(Exception):
    """The message says why; one of a thousand ports may have become another program's."""


@dataclass(frozen=True)
class Peer:
    """A neighbour in the node's configuration."""

    name: str
    node_id: int
    address: Address
    secret: bytes


@dataclass(frozen=True)
class Cpu:
    """Seconds, by kind of thread. waited: the event loop's thread had work, and no core; so did
    the workers'."""

    python: float
    workers: float
    waited: float
    workers_waited: float

    def __sub__(self, earlier: Cpu) -> Cpu:
        return Cpu(
            self.python - earlier.python,
            self.workers - earlier.workers,
            self.waited - earlier.waited,
            self.workers_waited - earlier.workers_waited,
        )


@dataclass(frozen=True)
class Load:
    """What the node is told at start. cursors: of viewers or nodes."""

    streams: int
    cursors: int
    workers: int
    link_controller: str
    peers: tuple[Peer, ...] = ()


class BusyNode:
    """`overlane relay`, told all by a file; ended with the block. ports: of the streams, in the
    order of `stream_names`."""

    def __init__(self, folder: Path, load: Load) -> None:
        self.admin = f"127.0.0.1:{free_tcp_port()}"
        overlay, viewers, *self.ports = free_ports(load.streams + 2)
        self.overlay: Address = ("127.0.0.1", overlay)
        path = folder / "node.toml"
        path.write_text(configuration(self.admin, overlay, viewers, self.ports, load))
        self.log = (folder / "log").open("w+")
        command = [sys.executable, "-m", "overlane", "relay", "--config", str(path)]
        self.process = subprocess.Popen(command, stderr=self.log, start_new_session=True)

    def __enter__(self) -> BusyNode:
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
        python, workers, waited, workers_waited = 0.0, 0.0, 0.0, 0.0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            busy_ns, waited_ns, _ = (task / "schedstat").read_text().split()
            if int(task.name) == self.process.pid:
                python, waited = int(busy_ns) / 1e9, int(waited_ns) / 1e9
            else:
                workers += int(busy_ns) / 1e9
                workers_waited += int(waited_ns) / 1e9
        return Cpu(python, workers, waited, workers_waited)

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
        raise NotStartedError(f"the node did not start:\n{self.log.read()[-2000:]}")


@dataclass(frozen=True)
class Reading:
    """One answer of /metrics. delays: wake-ups of the event loop's watch that were late by at most
    so many ms, cumulative. media_packets: to nodes and viewers, without what was sent again."""

    delays: dict[float, float]
    media_packets: int
    longest_stall_ms: float
    longest_busy_ms: float

    @classmethod
    def of(cls, metrics: str) -> Reading:
        pattern = r'^overlane_event_loop_delay_seconds_bucket\{le="([^"]+)"\} (\S+)$'
        found = re.findall(pattern, metrics, re.MULTILINE)
        return cls(
            {float(bound) * 1e3: float(count) for bound, count in found},
            int(sum(map(float, re.findall(_MEDIA, metrics, re.MULTILINE)))),
            _value(metrics, "overlane_event_loop_longest_stall_seconds") * 1e3,
            _value(metrics, "overlane_event_loop_longest_busy_seconds") * 1e3,
        )


def _value(metrics: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


def stream_names(streams: int) -> list[str]:
    """Two versions of a broadcast, then those of the next one."""
    return [f"s{n // 2}.1" if n % 2 else f"s{n // 2}" for n in range(streams)]


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


def configuration(admin: str, overlay: int, viewers: int, ports: list[int], load: Load) -> str:
    """RTCP comes on the same ports (rtcp = mux)."""
    streams = len(ports)
    parts = [
        f'name = "bench"\nnode_id = 1\nlisten = "127.0.0.1:{overlay}"\n',
        f"workers = {load.workers}\n",
        f'[admin]\nlisten = "{admin}"\n',
        '[log]\nformat = "json"\nlevel = "warning"\n',
        f'[viewers]\nlisten = "127.0.0.1:{viewers}"\nrate_bps = 20_000_000\n',
        f'[rate.node_links]\ncontroller = "{load.link_controller}"\n',
        f"[limits]\nstreams = {streams + 8}\ncursors = {load.cursors + 8}\n"
        f"viewers = {load.cursors + 8}\nports = {streams + 8}\nslab_mib = 512\n",
    ]
    parts += [
        f'[[neighbours]]\nname = "{peer.name}"\nnode_id = {peer.node_id}\n'
        f'address = "{peer.address[0]}:{peer.address[1]}"\nsecret = "{peer.secret.hex()}"\n'
        f"rate_bps = {LINK_RATE_BPS}\n"
        for peer in load.peers
    ]
    for first in range(0, streams, 2):
        parts.append(f'[[ingests]]\nname = "s{first // 2}"\n')
        parts += [
            '[[ingests.tracks]]\nkind = "video"\ncodec = "H264"\n'
            f'listen = "127.0.0.1:{port}"\nrtcp = "mux"\npayload_type = 96\nclock_rate = 90_000\n'
            f"version = {version}\nbitrate_bps = {VERSIONS_BPS[version]}\n"
            for version, port in enumerate(ports[first : first + 2])
        ]
    return "".join(parts)
