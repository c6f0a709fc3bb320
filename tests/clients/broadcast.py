"""One broadcast from a real client over three nodes to a real player, and what came of it."""

from __future__ import annotations

import asyncio
import random
import re
import secrets
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp

from lab.errors import LabError
from lab.link import LinkConfig
from lab.overlay import ChainOverlay, LabNode
from lab.ports import free_pairs
from lab.processes import Child, ProcessError, Processes
from tests.clients import ffmpeg, gstreamer, source
from tests.clients.judge import LipSync, Received, judge_lip_sync, judge_track
from tests.clients.source import Contents

NODES = ("producer", "relay", "consumer")
STREAM = "clients"
DELAY_US = 20_000
JITTER_US = 1_000
JOIN_S = 4.5  # into the broadcast: within a group of pictures, whose beginning only caches have
SETTLE_S = 2.0  # after the last packet was sent: repairs, and the players' buffers
LIMIT_S = 10.0  # for a client to start or to end


@dataclass(frozen=True, slots=True)
class Case:
    """is_one_port: picture and sound to one ingest port. player_loss: thrown away by the player
    itself, so that it asks the last node for them. in_step_ms: how far picture and sound may be
    apart at the player; default: what viewers notice at the earliest (ITU-R BT.1359-1)."""

    name: str
    client: Literal["ffmpeg", "gstreamer"]
    codec: Literal["H264", "H265", "VP8", "VP9"]
    is_one_port: bool = False
    player_loss: float = 0.0
    in_step_ms: int = 45


# GStreamer's sender reports for two tracks of one session differ by up to 30 ms from one to the
# next, whoever receives them; those of two sessions do not.
BUNDLE_IN_STEP_MS = 75
CASES = (
    Case("ffmpeg", "ffmpeg", "H264"),
    Case("ffmpeg-vp8", "ffmpeg", "VP8"),
    Case("ffmpeg-h265", "ffmpeg", "H265"),
    Case("ffmpeg-vp9", "ffmpeg", "VP9"),
    Case("gstreamer", "gstreamer", "H264", player_loss=0.01),
    Case("gstreamer-h265", "gstreamer", "H265", player_loss=0.01),
    Case("gstreamer-vp9", "gstreamer", "VP9", player_loss=0.01),
    Case(
        "gstreamer-vp8-one-port",
        "gstreamer",
        "VP8",
        is_one_port=True,
        player_loss=0.01,
        in_step_ms=BUNDLE_IN_STEP_MS,
    ),
)


@dataclass(frozen=True, slots=True)
class Packets:
    """ingested: as the first node numbered them, so after splitting. lost: on the links between the
    nodes, of all kinds. not_in_time: what the player says it missed. unread: what its sockets had
    no room for, as it was too slow."""

    ingested: int
    lost: int
    repaired: int
    to_player: int
    asked_again: int
    sent_again: int
    sender_reports: int
    receiver_reports: int
    not_in_time: int
    unread: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """video, audio: by content. lip_sync: at the player, by what it shows and plays."""

    case: str
    client: str
    seconds: float
    loss: float
    packets: Packets
    video: Received
    audio: Received
    lip_sync: LipSync
    directory: str


@dataclass(frozen=True, slots=True)
class Ports:
    """Each with the next one: where the first node listens, the player, and the broadcaster."""

    video: int
    audio: int
    player_video: int
    player_audio: int
    rtcp_in: tuple[int, int]


class ClientError(LabError):
    """A client did not do its part."""


async def carry(
    case: Case, seconds: float, loss: float, directory: Path, seed: int, *, repair: bool = True
) -> Outcome:
    """Raises LabError if a part does not come up or ends early; keeps what all of them print."""
    return await _Run(case, seconds, loss, directory, seed, repair).carry()


class _Run:
    def __init__(
        self, case: Case, seconds: float, loss: float, directory: Path, seed: int, repair: bool
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.case = case
        self.seconds = seconds
        self.loss = loss
        self.directory = directory
        self.seed = seed
        self.repair = repair
        self.film = directory / "source.mkv"
        self.sdp = directory / "player.sdp"
        self.unread = 0
        video, audio, *others = free_pairs(6, random.Random(secrets.randbits(64)))
        self.ports = Ports(
            video=video,
            audio=video if case.is_one_port else audio,
            player_video=others[0],
            player_audio=others[1],
            rtcp_in=(others[2], others[3]),
        )

    async def carry(self) -> Outcome:
        await asyncio.to_thread(source.make, self.film, self.case.codec, self.seconds)
        async with Processes(self.directory) as processes:
            sent = await self._read_source(processes)
            client = await self._version(processes)
            overlay = ChainOverlay(
                NODES,
                [LinkConfig(delay_us=DELAY_US, jitter_us=JITTER_US, loss=self.loss)] * 2,
                stream=STREAM,
                directory=self.directory,
                processes=processes,
                seed=self.seed,
                repair=self.repair,
                ingest=await self._ingest(processes),
            )
            try:
                await overlay.start()
                player, statuses = await self._on_the_air(overlay, processes)
            finally:
                overlay.close()
        seen = await asyncio.to_thread(self._read_kept)
        return Outcome(
            case=self.case.name,
            client=client,
            seconds=self.seconds,
            loss=self.loss,
            packets=_packets(overlay, statuses, player, self.unread),
            video=judge_track(sent.video, seen.video),
            audio=judge_track(sent.audio, seen.audio),
            lip_sync=judge_lip_sync(seen),
            directory=str(self.directory),
        )

    async def _on_the_air(
        self, overlay: ChainOverlay, processes: Processes
    ) -> tuple[Child, list[dict[str, Any]]]:
        publisher = await processes.start("broadcaster", self._publish())
        await asyncio.sleep(JOIN_S)
        publisher.check_alive()
        player = await self._join(overlay.nodes[-1], processes)
        await sent_all(publisher, self.seconds - JOIN_S)
        await asyncio.sleep(SETTLE_S)
        player.check_alive()
        self.unread = sum(
            drops
            for port, drops in _udp_ports().items()
            if port in (self.ports.player_video, self.ports.player_audio)
        )
        statuses = await overlay.statuses()
        player.process.send_signal(signal.SIGINT)
        await player.finished(LIMIT_S)
        return player, statuses

    async def _join(self, node: LabNode, processes: Processes) -> Child:
        """Start the player with the node's description, then have the node send."""
        video, audio = self.ports.player_video, self.ports.player_audio
        where = {"video": str(video), "audio": str(audio), "address": "127.0.0.1"}
        viewer: dict[str, object] = {
            "video": f"127.0.0.1:{video}",
            "audio": f"127.0.0.1:{audio}",
            "expires_s": None,
        }
        async with aiohttp.ClientSession(base_url=node.url, raise_for_status=True) as session:
            async with session.get(f"/streams/{STREAM}.sdp", params=where) as response:
                self.sdp.write_text(await response.text())
            player = await processes.start("player", self._play(node.ports.viewers))
            await listening({video, audio}, player)
            async with session.post(f"/streams/{STREAM}/viewers", json=viewer):
                return player

    def _publish(self) -> list[str]:
        ports = self.ports
        if self.case.client == "ffmpeg":
            return ffmpeg.publish(self.film, ports.video, ports.audio)
        codec = self.case.codec
        return gstreamer.publish(self.film, codec, ports.video, ports.audio, ports.rtcp_in)

    def _play(self, node_port: int) -> list[str]:
        if self.case.client == "ffmpeg":
            return ffmpeg.play(self.sdp, self.directory)
        loss = self.case.player_loss
        return gstreamer.play(self.sdp.read_text(), self.directory, node_port, loss)

    async def _ingest(self, processes: Processes) -> list[str]:
        """ffmpeg is known by its own description, which alone has the parameter sets."""
        ports = self.ports
        if self.case.client == "ffmpeg":
            path = self.directory / "broadcaster.sdp"
            command = ffmpeg.describe(self.film, path, ports.video, ports.audio)
            await finish(processes, "describe", command)
            return ['sdp_file = "broadcaster.sdp"', 'sdp_listen = "127.0.0.1"']
        audio_rtcp = ports.rtcp_in[0 if self.case.is_one_port else 1]
        lines = gstreamer.track_lines("video", self.case.codec, ports.video, ports.rtcp_in[0])
        lines += gstreamer.track_lines("audio", "opus", ports.audio, audio_rtcp)
        return lines

    async def _read_source(self, processes: Processes) -> Contents:
        """As the same client plays it from the file."""
        if self.case.client == "ffmpeg":
            directory = self.directory / "source"
            directory.mkdir(exist_ok=True)
            await finish(processes, "source", ffmpeg.play_file(self.film, directory))
            return await asyncio.to_thread(ffmpeg.read_played, directory)
        return await asyncio.to_thread(source.read, self.film)

    def _read_kept(self) -> Contents:
        if self.case.client == "ffmpeg":
            return ffmpeg.read_played(self.directory)
        return gstreamer.read_kept(self.directory)

    async def _version(self, processes: Processes) -> str:
        command = ["ffmpeg", "-version"]
        if self.case.client == "gstreamer":
            command = ["gst-launch-1.0", "--gst-version"]
        child = await finish(processes, "version", command)
        return child.out.read_text().splitlines()[0]


async def finish(processes: Processes, name: str, command: list[str]) -> Child:
    """Run it to its end. Raises ClientError if that is a bad one."""
    child = await processes.start(name, command)
    if await child.finished(60 + LIMIT_S) != 0:
        raise ClientError(f"{name}: {child.last_words()}")
    return child


async def sent_all(publisher: Child, seconds: float) -> None:
    """Until it has ended, which takes so long. At times GStreamer's session forgets to end its RTCP
    and stays; all media has left then."""
    try:
        await publisher.finished(seconds + LIMIT_S / 2)
    except ProcessError:
        await publisher.kill()


async def listening(ports: set[int], player: Child) -> None:
    """Until the player has bound its ports: what comes sooner is refused. Raises ClientError."""
    for _ in range(int(LIMIT_S / 0.05)):
        player.check_alive()
        if ports <= _udp_ports().keys():
            return
        await asyncio.sleep(0.05)
    raise ClientError(f"{player.name} does not listen: {player.last_words()}")


def _udp_ports() -> dict[int, int]:
    """UDP ports in use on this machine, and what was dropped there (proc(5), net/udp)."""
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return {int(each[1].partition(":")[2], 16): int(each[-1]) for each in fields}


def _packets(
    overlay: ChainOverlay, statuses: list[dict[str, Any]], player: Child, unread: int
) -> Packets:
    (ingested,) = statuses[0]["streams"]
    (viewer,) = statuses[-1]["viewers"]
    tracks = viewer["tracks"].values()
    counters = [link.counters() for link in overlay.links]
    return Packets(
        ingested=sum(track["packets"] for track in ingested["tracks"].values()),
        lost=sum(c.a_to_b.link.lost + c.b_to_a.link.lost for c in counters),
        repaired=sum(n["repaired"] for status in statuses for n in status["neighbours"]),
        to_player=sum(track["packets"] for track in tracks),
        asked_again=sum(track["nacked"] for track in tracks),
        sent_again=sum(track["resent"] for track in tracks),
        sender_reports=sum(track["reports_sent"] for track in tracks),
        receiver_reports=sum(track["reports_received"] for track in tracks),
        not_in_time=sum(map(int, re.findall(r"RTP: missed (\d+)", player.err.read_text()))),
        unread=unread,
    )
