"""A broadcast over three real nodes joined by emulated links, for whoever wants to disturb it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from lab.capture import Audit, Capture, audit
from lab.link import LinkConfig
from lab.overlay import ChainOverlay, LabNode
from lab.processes import Child, Processes
from overlane.publish.manifest import Manifest, read_manifest
from relay.config_file import load

STREAM = "live"
NAMES = ("producer", "middle", "consumer")
POLL_S = 0.05


class Stage:
    """Three nodes in a row, and an encoder that publishes to the first."""

    def __init__(self, overlay: ChainOverlay, processes: Processes, directory: Path) -> None:
        self.overlay = overlay
        self.processes = processes
        self.manifest_path = directory / "sent.jsonl"
        self.captures = [Capture(link) for link in overlay.links]
        self.encoder: Child | None = None
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))

    @property
    def nodes(self) -> list[LabNode]:
        return self.overlay.nodes

    async def publish(self, seed: int, *more: str) -> None:
        """Start the encoder; returns when it has sent its first frames."""
        ports = self.nodes[0].ports
        command = [sys.executable, "-m", "overlane", "publish", STREAM, "--json"]
        command += ["--to", f"127.0.0.1:{ports.video}", "--audio-to", f"127.0.0.1:{ports.audio}"]
        command += ["--seconds", "3600", "--manifest", str(self.manifest_path)]
        command += ["--seed", str(seed), *more]
        self.encoder = await self.processes.start("encoder", command)
        await until(lambda: self._lines() > 10, 30, "the encoder sends")

    async def stop_encoder(self) -> None:
        if self.encoder is not None:
            await self.encoder.stop()

    def manifest(self) -> Manifest:
        return read_manifest(self.manifest_path)

    async def status(self, node: LabNode) -> dict[str, Any]:
        return await self.overlay.status(node, self.http)

    async def verdicts(self, node: LabNode) -> dict[str, int]:
        """The engine's named counters."""
        async with self.http.get(f"{node.url}/metrics") as response:
            text = await response.text()
        return {
            sample.labels["what"]: int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "overlane_engine_total"
        }

    def audit(self) -> Audit:
        """Of all links since the first packet: nonces used twice, packets that no key fits."""
        total = Audit()
        for index, capture in enumerate(self.captures):
            a, b = self.nodes[index], self.nodes[index + 1]
            neighbour = next(n for n in load(a.config).neighbours if n.node_id == b.node_id)
            total += audit(capture.sent, neighbour.secret_bytes, a.node_id, b.node_id)
        return total

    def _lines(self) -> int:
        assert self.encoder is not None
        self.encoder.check_alive()
        path = self.manifest_path
        return path.read_bytes().count(b"\n") if path.exists() else 0


@asynccontextmanager
async def stage(directory: Path, link: LinkConfig, seed: int) -> AsyncIterator[Stage]:
    """Nodes that are ready; everything ends with the context."""
    async with Processes(directory) as processes:
        overlay = ChainOverlay(
            NAMES,
            [link] * (len(NAMES) - 1),
            stream=STREAM,
            directory=directory,
            processes=processes,
            seed=seed,
        )
        await overlay.open_links()
        made = Stage(overlay, processes, directory)
        try:
            await overlay.start()
            yield made
        finally:
            await made.http.close()
            overlay.close()


async def until(is_so: Callable[[], bool], limit_s: float, what: str) -> None:
    """Raises TimeoutError, with what it was waiting for."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limit_s
    while not is_so():
        if loop.time() > end:
            raise TimeoutError(f"not within {limit_s:.0f} s: {what}")
        await asyncio.sleep(POLL_S)
