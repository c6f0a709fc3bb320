"""The demo: a real broadcast over four nodes and three lossy links, watched by two viewers.

London, New York, Los Angeles and Tokyo, with the measured round trips between them, 1 %
loss on each link. The far viewer watches from the start, another joins late in the middle.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from lab.cities import rtt_us
from lab.demo_report import DemoReport, HopReport, ViewerReport, is_whole
from lab.errors import LabError
from lab.link import LinkConfig
from lab.overlay import ChainOverlay, LabNode
from lab.processes import Child, Processes

CITIES = ("London", "New York", "Los Angeles", "Tokyo")
STREAM = "demo"
JITTER_US = 1_000  # chosen: a long-haul path with little load
FIRST_VIEWER_S = 1.0  # after the encoder began, so that its key frame is already in the rings
LATE_SHARE = 0.4  # of the broadcast's length, when the viewer in the middle joins
GRACE_S = 25.0  # interpreters starting and stopping, and the players' idle time


class DemoError(LabError):
    """The demo could not be carried out (which is not: frames were lost)."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """source: a media file instead of the pattern; `copy_video` sends its H.264 as it is."""

    directory: Path
    seconds: float = 20.0
    loss: float = 0.01
    seed: int = 1
    repair: bool = True
    source: Path | None = None
    copy_video: bool = False


@dataclass(slots=True)
class Progress:
    """What a running demo shows each second."""

    step: str
    elapsed_s: float
    seconds: float
    hops: list[HopReport]
    viewer_packets: dict[str, int]


ShowProgress = Callable[[Progress], None]


@dataclass(slots=True)
class Watcher:
    """A viewer to be: where it watches and when it joins."""

    name: str
    node: LabNode
    joins_s: float
    process: Child | None = None


def node_name(city: str) -> str:
    return city.lower().replace(" ", "-")


async def run_demo(options: DemoOptions, show: ShowProgress) -> DemoReport:
    """Raises LabError if a part does not come up or ends early."""
    try:
        options.directory.mkdir(parents=True, exist_ok=True)
        (options.directory / ".writable").touch()
        (options.directory / ".writable").unlink()
    except OSError as error:
        raise DemoError(f"cannot write to {options.directory}: {error.strerror}") from None
    names = [node_name(city) for city in CITIES]
    links = [
        LinkConfig(delay_us=rtt_us(a, b) // 2, jitter_us=JITTER_US, loss=options.loss)
        for a, b in itertools.pairwise(CITIES)
    ]
    async with Processes(options.directory) as processes:
        overlay = ChainOverlay(
            names,
            links,
            stream=STREAM,
            directory=options.directory,
            processes=processes,
            seed=options.seed,
            repair=options.repair,
        )
        try:
            show(Progress("starting four nodes", 0.0, options.seconds, [], {}))
            await overlay.start()
            return await _Broadcast(options, overlay, processes, show).run()
        except OSError as error:
            what = error.filename or "the demo"
            raise DemoError(f"{what}: {error.strerror or error}") from None
        finally:
            overlay.close()


class _Broadcast:
    """From the encoder's first packet to the summary."""

    def __init__(
        self, options: DemoOptions, overlay: ChainOverlay, processes: Processes, show: ShowProgress
    ) -> None:
        self.options = options
        self.overlay = overlay
        self.processes = processes
        self.show = show
        self.manifest = options.directory / "manifest.jsonl"
        nodes = overlay.nodes
        self.watchers = [
            Watcher("far viewer", nodes[-1], FIRST_VIEWER_S),
            Watcher("late viewer", nodes[1], max(FIRST_VIEWER_S + 1, LATE_SHARE * options.seconds)),
        ]

    async def run(self) -> DemoReport:
        publisher = await self._start_publisher()
        began = await self._first_frame(publisher)
        while True:
            elapsed = time.monotonic() - began
            for watcher in self.watchers:
                if watcher.process is None and elapsed >= watcher.joins_s:
                    watcher.process = await self._start_player(watcher)
            if elapsed > self.options.seconds + GRACE_S:
                raise DemoError("the players did not end")
            if all(w.process and w.process.process.returncode is not None for w in self.watchers):
                break
            self._check(publisher)
            await self._progress(elapsed)
            await asyncio.sleep(0.25 if any(w.process is None for w in self.watchers) else 0.5)
        await publisher.finished(GRACE_S)
        return await self._report(publisher)

    async def _start_publisher(self) -> Child:
        self.manifest.unlink(missing_ok=True)
        ports = self.overlay.nodes[0].ports
        command = [sys.executable, "-m", "overlane", "publish", STREAM]
        command += ["--to", f"127.0.0.1:{ports.video}", "--audio-to", f"127.0.0.1:{ports.audio}"]
        command += ["--seconds", str(self.options.seconds), "--manifest", str(self.manifest)]
        command += ["--seed", str(self.options.seed), "--json"]
        if self.options.source is not None:
            command += ["--source", str(self.options.source)]
        if self.options.copy_video:
            command += ["--copy"]
        return await self.processes.start("publish", command)

    async def _first_frame(self, publisher: Child) -> float:
        """When the manifest has its first frame."""
        for _ in range(int(GRACE_S / 0.05)):
            publisher.check_alive()
            if self.manifest.exists() and self.manifest.read_bytes().count(b"\n") > 1:
                return time.monotonic()
            await asyncio.sleep(0.05)
        raise DemoError("the publisher sent nothing")

    async def _start_player(self, watcher: Watcher) -> Child:
        name = watcher.name.replace(" ", "-")
        command = [sys.executable, "-m", "overlane", "play", STREAM, "--node", watcher.node.url]
        command += ["--manifest", str(self.manifest), "--json"]
        command += ["--picture", str(self.options.directory / f"{name}.png")]
        command += ["--seconds", str(self.options.seconds + GRACE_S), "--idle-seconds", "2"]
        return await self.processes.start(name, command)

    def _check(self, publisher: Child) -> None:
        for node in self.overlay.nodes:
            node.process.check_alive()
        for child in (publisher, *(w.process for w in self.watchers if w.process is not None)):
            if child.process.returncode not in (None, 0):
                child.check_alive()

    async def _progress(self, elapsed: float) -> None:
        try:
            statuses = await self.overlay.statuses()
        except (aiohttp.ClientError, TimeoutError):
            return
        viewers = {
            status["node"]: sum(
                t["packets"] for v in status["viewers"] for t in v["tracks"].values()
            )
            for status in statuses
        }
        step = "on the air" if elapsed < self.options.seconds else "the last packets"
        hops = self._hops(statuses)
        self.show(
            Progress(step, min(elapsed, self.options.seconds), self.options.seconds, hops, viewers)
        )

    def _hops(self, statuses: list[dict[str, Any]]) -> list[HopReport]:
        hops = []
        for i, link in enumerate(self.overlay.links):
            counters = link.counters().a_to_b.link
            sender, receiver = statuses[i]["node"], statuses[i + 1]["node"]
            seen = next(n for n in statuses[i + 1]["neighbours"] if n["name"] == sender)
            streams = statuses[i + 1]["streams"]
            delays = [s["tracks"]["video"]["delay_us"] for s in streams if "video" in s["tracks"]]
            hops.append(
                HopReport(
                    sender=sender,
                    receiver=receiver,
                    packets=counters.sent,
                    lost_on_link=counters.lost,
                    loss_percent=100 * counters.lost / max(1, counters.sent),
                    repaired=seen["repaired"],
                    gone=seen["gone"],
                    given_up=seen["given_up"],
                    other=seen["voided"],
                    delay_ms=seen["rtt_us"] / 2000,
                    stream_delay_ms=max(delays, default=0) / 1000,
                )
            )
        return hops

    async def _report(self, publisher: Child) -> DemoReport:
        statuses = await self.overlay.statuses()
        hops = self._hops(statuses)
        sent = msgspec.json.decode(publisher.out.read_bytes())
        viewers = [self._viewer(watcher) for watcher in self.watchers]
        packets = sum(hop.packets for hop in hops)
        lost = sum(hop.lost_on_link for hop in hops)
        return DemoReport(
            is_whole=is_whole(viewers),
            repair=self.options.repair,
            seconds=self.options.seconds,
            seed=self.options.seed,
            frames_sent=sent["frames"],
            packets_sent=sent["packets_sent"],
            packets_lost_on_links=lost,
            loss_percent=100 * lost / max(1, packets),
            packets_repaired=sum(hop.repaired for hop in hops),
            packets_gone=sum(hop.gone for hop in hops),
            packets_given_up=sum(hop.given_up for hop in hops),
            hops=hops,
            viewers=viewers,
            fallbacks=sorted({name for status in statuses for name in status["fallbacks"]}),
            directory=str(self.options.directory),
        )

    def _viewer(self, watcher: Watcher) -> ViewerReport:
        assert watcher.process is not None
        if watcher.process.process.returncode != 0:
            raise DemoError(f"the {watcher.name} failed: {watcher.process.last_words()}")
        found = msgspec.json.decode(watcher.process.out.read_bytes())
        return ViewerReport(
            name=watcher.name,
            node=watcher.node.name,
            path=found["path"],
            joined_s=watcher.joins_s,
            frames_expected=found["frames_expected"],
            frames_intact=found["frames_intact"],
            intact_ratio=found["intact_ratio"],
            frames_late_in_first_3s=found["frames_late_in_first_3s"],
            freezes=found["freezes"],
            first_frame_ms=found["first_frame_ms"],
            delay_ms=found["delay_ms"] or {"p50": None, "p99": None, "min": None},
            audio=found["audio"],
            frames_decoded=found["frames_decoded"],
            decode_errors=found["decode_errors"],
            picture=found["picture"],
        )
