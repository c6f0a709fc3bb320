"""A chain of real nodes on this machine: one process each, joined by emulated links.

Node 0 is the producer of the broadcast, the last one the furthest consumer. Configuration files are
written into the run's directory and can be read, or used again, by hand.
"""

import asyncio
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from lab.errors import LabError
from lab.link import LinkConfig
from lab.node_config import (
    BasicPorts,
    ingest_lines,
    neighbour_lines,
    node_lines,
    overlane,
    path_lines,
    write_private,
)
from lab.ports import free_ports
from lab.processes import Child, Processes
from lab.udp_link import UdpLink

READY_S = 30.0  # chosen: four interpreters starting on two busy cores take about three seconds


class OverlayError(LabError):
    """The overlay did not come up."""


@dataclass(frozen=True, slots=True)
class NodePorts(BasicPorts):
    """Those of a producer too."""

    video: int
    audio: int


@dataclass(slots=True)
class LabNode:
    """One node process."""

    name: str
    node_id: int
    ports: NodePorts
    config: Path
    process: Child
    starts: int = 1

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports.admin}"


class ChainOverlay:
    """Nodes in a row; link i joins node i and node i+1."""

    def __init__(
        self,
        names: Sequence[str],
        links: Sequence[LinkConfig],
        *,
        stream: str,
        directory: Path,
        processes: Processes,
        seed: int,
        repair: bool = True,
        ingest: Sequence[str] | None = None,
    ) -> None:
        """ingest: lines of configuration after the stream's name, instead of an H.264 and an Opus
        track."""
        assert len(links) == len(names) - 1
        self.names = list(names)
        self.link_configs = list(links)
        self.stream = stream
        self.directory = directory
        self.processes = processes
        self.seed = seed
        self.repair = repair
        self.ingest = ingest
        self.links: list[UdpLink] = []
        self.nodes: list[LabNode] = []
        self._ports: list[NodePorts] = []

    async def open_links(self) -> None:
        """`start` does it too; before it, for who wants to see the first packet."""
        if self._ports:
            return
        ports = free_ports(5 * len(self.names), random.Random(secrets.randbits(64)))
        self._ports = [NodePorts(*ports[5 * i : 5 * i + 5]) for i in range(len(self.names))]
        for i, config in enumerate(self.link_configs):
            self.links.append(
                await UdpLink.open(
                    a=("127.0.0.1", self._ports[i].overlay),
                    b=("127.0.0.1", self._ports[i + 1].overlay),
                    config_ab=config,
                    seed=random.Random(f"{self.seed} link {i}").getrandbits(32),
                )
            )

    async def start(self) -> None:
        """Links, then nodes; returns when every node is ready and every link has keys."""
        await self.open_links()
        adjacency = [secrets.token_hex(32) for _ in self.link_configs]
        for i, name in enumerate(self.names):
            path = self.directory / f"{name}.toml"
            write_private(path, self._config(i, self._ports[i], adjacency))
            child = await self.processes.start(name, _command(path))
            self.nodes.append(LabNode(name, i + 1, self._ports[i], path, child))
        await self.ready()

    async def ready(self) -> None:
        """Returns when every node answers and every link has keys."""
        try:
            await asyncio.wait_for(self._come_up(), READY_S)
        except TimeoutError:
            raise OverlayError(f"the nodes were not ready within {READY_S:.0f} s") from None

    async def kill(self, *nodes: LabNode) -> None:
        """SIGKILL: no goodbye to anybody. Returns when the processes are gone."""
        await asyncio.gather(*(node.process.kill() for node in nodes))

    async def start_again(self, node: LabNode) -> None:
        """A new process of the same configuration. Does not wait until it is ready."""
        node.starts += 1
        node.process = await self.processes.start(
            f"{node.name}-{node.starts}", _command(node.config)
        )

    def close(self) -> None:
        for link in self.links:
            link.close()

    async def status(self, node: LabNode, session: aiohttp.ClientSession) -> dict[str, Any]:
        node.process.check_alive()
        async with session.get(f"{node.url}/status") as response:
            found: dict[str, Any] = await response.json()
            return found

    async def statuses(self) -> list[dict[str, Any]]:
        """Every node's /status."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            return list(await asyncio.gather(*(self.status(node, session) for node in self.nodes)))

    async def _come_up(self) -> None:
        up = await self._is_up()
        while not up:
            await asyncio.sleep(0.1)
            up = await self._is_up()

    async def _is_up(self) -> bool:
        for node in self.nodes:
            node.process.check_alive()
        try:
            statuses = await self.statuses()
        except (aiohttp.ClientError, TimeoutError):
            return False
        neighbours = [neighbour for status in statuses for neighbour in status["neighbours"]]
        # A measured round trip belongs to a link that is ready: retries are timed by it.
        return all(n["is_up"] and n["rtt_us"] > 0 for n in neighbours)

    def _config(self, index: int, ports: NodePorts, adjacency: list[str]) -> str:
        lines = node_lines(self.names[index], index + 1, ports, repair=self.repair)
        for other in (index - 1, index + 1):
            if 0 <= other < len(self.names):
                link = min(index, other)
                ends = self.links[link]
                address = ends.address_facing_b if other < index else ends.address_facing_a
                lines += neighbour_lines(self.names[other], other + 1, address, adjacency[link])
        if index == 0:
            lines += self._ingest(ports)
        else:
            lines += path_lines(self.stream, tuple(reversed(self.names[:index])))
        return "\n".join(lines) + "\n"

    def _ingest(self, ports: NodePorts) -> list[str]:
        if self.ingest is not None:
            return ["[[ingests]]", f'name = "{self.stream}"', *self.ingest]
        return ingest_lines(self.stream, (ports.video,), ports.audio)


def _command(config: Path) -> list[str]:
    return overlane("relay", "--config", config)
