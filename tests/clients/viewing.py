"""Real players behind an access link of the lab: RTX, transport-wide feedback, switches.

One node; what is between it and the player loses packets or has a limited rate. Everything that
enters and leaves that link is kept, as a pcap file too.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from lab.overlay import ChainOverlay, LabNode
from lab.ports import free_pairs
from lab.processes import Child, Processes
from lab.timer_fd import now_us
from tests.clients import ffmpeg, gstreamer, source
from tests.clients.access import Access
from tests.clients.broadcast import JOIN_S, LIMIT_S, SETTLE_S, finish, listening, sent_all
from tests.clients.decoder import decode_errors
from tests.clients.judge import Sequenced, judge_sequence
from tests.clients.viewing_cases import Case, Film
from tests.clients.wire import Wire, read_wire

RTX_TYPE, TRANSPORT_CC_ID, DELAY_ID = 99, 5, 4
STATUS_EACH_S = 0.25
TRACK_FIGURES = (
    "packets",
    "nacked",
    "resent",
    "reports_received",
    "dropped_discardable",
    "dropped_predicted",
    "dropped_gop",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """Of the viewer's status. at_s: since it joined."""

    at_s: float
    version: int
    target_bps: int
    acked_bps: int
    feedback_loss: float
    feedbacks: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """video: of all films together. decode_errors: lines in which a decoder complains of what came.
    lost: on the way to the player. player: its own figures, of GStreamer. tracks, rate: the node's,
    at the end."""

    case: str
    client: str
    seconds: float
    video: Sequenced
    audio: Sequenced
    decode_errors: int
    lost: int
    wire: Wire
    player: dict[str, dict[str, int]]
    tracks: dict[str, dict[str, int]]
    rate: dict[str, Any]
    samples: list[Sample]
    directory: str


async def carry(case: Case, seconds: float, directory: Path, seed: int) -> Outcome:
    """Raises LabError if a part does not come up or ends early; keeps what all of them print."""
    return await _Run(case, seconds, directory, seed).carry()


class _Run:
    def __init__(self, case: Case, seconds: float, directory: Path, seed: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.case = case
        self.seconds = seconds
        self.directory = directory
        self.seed = seed
        self.films = [film for broadcast in case.broadcasts for film in broadcast]
        wanted = 2 + 4 * len(self.films)
        ports = free_pairs(wanted, random.Random(secrets.randbits(64)))
        self.player_ports = ports[:1] if case.is_bundle else ports[:2]
        rest = ports[2:]
        self.ports = [rest[4 * n : 4 * n + 4] for n in range(len(self.films))]
        self.access = Access()
        self.samples: list[Sample] = []
        self.viewer = ""

    def film(self, number: int) -> Path:
        return self.directory / f"source-{number}.mkv"

    def name(self, broadcast: int) -> str:
        return "clients" if broadcast == 0 else f"other{broadcast}"

    async def carry(self) -> Outcome:
        for number, film in enumerate(self.films):
            await asyncio.to_thread(
                source.make, self.film(number), "H264", self.seconds, film.bitrate, film.extra
            )
        async with Processes(self.directory) as processes:
            child = await processes.start("version", self._version())
            await child.finished(LIMIT_S)
            overlay = ChainOverlay(
                ["node"],
                [],
                stream=self.name(0),
                directory=self.directory,
                processes=processes,
                seed=self.seed,
                ingest=await self._ingests(processes),
            )
            try:
                await overlay.start()
                status = await self._on_the_air(overlay.nodes[0], processes)
            finally:
                overlay.close()
                self.access.close()
        self.access.write(self.directory)
        return await asyncio.to_thread(self._judge, child.out.read_text().splitlines()[0], status)

    def _judge(self, client: str, status: dict[str, Any]) -> Outcome:
        """How what was kept compares with what was sent."""
        if self.case.player == "ffmpeg":
            kept = ffmpeg.read_played(self.directory)
            films = [ffmpeg.read_played(self.directory / f"source-{n}") for n in self._numbers()]
            errors = decode_errors((self.directory / "player.err").read_text())
            figures = {}
        else:
            kept = gstreamer.read_kept(self.directory)
            films = [source.read(self.film(n)) for n in self._numbers()]
            errors = decode_errors(ffmpeg.decode(self.directory / "kept.stream"))
            figures = json.loads((self.directory / "figures.json").read_text())
        tracks = status["tracks"]
        return Outcome(
            case=self.case.name,
            client=client,
            seconds=self.seconds,
            video=judge_sequence([film.video for film in films], kept.video),
            audio=judge_sequence([film.audio for film in films], kept.audio),
            decode_errors=errors,
            lost=self.access.lost,
            wire=read_wire([each.data for each in self.access.sent], tracks, DELAY_ID),
            player=figures,
            tracks={
                media: {name: track[name] for name in TRACK_FIGURES}
                for media, track in tracks.items()
            },
            rate=status["rate"],
            samples=self.samples,
            directory=str(self.directory),
        )

    def _numbers(self) -> range:
        return range(len(self.films))

    async def _on_the_air(self, node: LabNode, processes: Processes) -> dict[str, Any]:
        """Returns the viewer's status at the end."""
        publishers = [
            await processes.start(f"broadcaster-{n}", self._publish(n)) for n in self._numbers()
        ]
        await asyncio.sleep(JOIN_S)
        for publisher in publishers:
            publisher.check_alive()
        async with aiohttp.ClientSession(base_url=node.url, raise_for_status=True) as session:
            player = await self._join(node, session, processes)
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._watch(session))
                tasks.create_task(self._switch(session))
                for publisher in publishers:
                    await sent_all(publisher, self.seconds - JOIN_S)
                await asyncio.sleep(SETTLE_S)
                watching.cancel()
            player.check_alive()
            status = await self._status(session)
        player.process.send_signal(signal.SIGINT)
        await player.finished(LIMIT_S)
        return status

    async def _status(self, session: aiohttp.ClientSession) -> dict[str, Any]:
        async with session.get(f"/viewers/{self.viewer}") as response:
            found: dict[str, Any] = await response.json()
            return found

    async def _watch(self, session: aiohttp.ClientSession) -> None:
        """Samples of the viewer's status until cancelled."""
        start_us = now_us()
        while True:
            status = await self._status(session)
            rate = status["rate"]
            self.samples.append(
                Sample(
                    round((now_us() - start_us) / 1_000_000, 2),
                    status["version"],
                    rate["target_bps"],
                    rate["acked_bps"],
                    rate["feedback_loss"],
                    rate["feedbacks"],
                )
            )
            await asyncio.sleep(STATUS_EACH_S)

    async def _switch(self, session: aiohttp.ClientSession) -> None:
        since_s = 0.0
        for at_s, broadcast in self.case.switches:
            await asyncio.sleep(at_s - since_s)
            since_s = at_s
            body = {"stream": self.name(broadcast)}
            async with session.post(f"/viewers/{self.viewer}/switch", json=body):
                pass

    async def _join(
        self, node: LabNode, session: aiohttp.ClientSession, processes: Processes
    ) -> Child:
        """Start the player with the node's description, then have the node send."""
        video, audio = self.player_ports[0], self.player_ports[-1]
        await self.access.open(
            self.player_ports, node.ports.viewers, self.case.path, seed=self.seed
        )
        asked: dict[str, Any] = {"rtcp": "mux"}
        if self.case.rtx:
            asked["rtx_payload_type"] = RTX_TYPE
        if self.case.transport_cc:
            asked["transport_cc_id"] = TRANSPORT_CC_ID
        if self.case.delay:
            asked["delay_id"] = DELAY_ID
        where = {"video": video, "audio": audio, "address": "127.0.0.1", **asked}
        async with session.get(f"/streams/{self.name(0)}.sdp", params=where) as response:
            sdp = await response.text()
        (self.directory / "player.sdp").write_text(sdp)
        player = await processes.start("player", self._play(sdp))
        await listening(set(self.player_ports), player)
        facing = [link.address_facing_a[1] for link in self.access.links]
        viewer = {
            "video": f"127.0.0.1:{facing[0]}",
            "audio": f"127.0.0.1:{facing[-1]}",
            "expires_s": None,
            **asked,
        }
        async with session.post(f"/streams/{self.name(0)}/viewers", json=viewer) as response:
            self.viewer = (await response.json())["viewer"]
        return player

    def _play(self, sdp: str) -> list[str]:
        if self.case.player == "ffmpeg":
            return ffmpeg.play(self.directory / "player.sdp", self.directory)
        rtcp_to = [link.address_facing_b[1] for link in self.access.links]
        return gstreamer.play_repaired(sdp, self.directory, rtcp_to, self.case.feedback_ms)

    def _publish(self, number: int) -> list[str]:
        video, audio, *rtcp_in = self.ports[number]
        if self.case.player == "ffmpeg":
            return ffmpeg.publish(self.film(number), video, audio)
        return gstreamer.publish(self.film(number), "H264", video, audio, rtcp_in)

    async def _ingests(self, processes: Processes) -> list[str]:
        """All broadcasts' lines; the first one's name is not among them."""
        lines: list[str] = []
        number = 0
        for broadcast, films in enumerate(self.case.broadcasts):
            if broadcast > 0:
                lines += ["[[ingests]]", f'name = "{self.name(broadcast)}"']
            for version, film in enumerate(films):
                lines += await self._ingest(processes, number, version, film)
                number += 1
        return lines

    async def _ingest(
        self, processes: Processes, number: int, version: int, film: Film
    ) -> list[str]:
        """ffmpeg is known by its own description, which alone has the parameter sets. Sound comes
        from the best version's broadcaster."""
        video, audio, *rtcp_in = self.ports[number]
        if self.case.player == "ffmpeg":
            path = self.directory / f"broadcaster-{number}.sdp"
            await finish(
                processes,
                f"describe-{number}",
                ffmpeg.describe(self.film(number), path, video, audio),
            )
            played = self.directory / f"source-{number}"
            played.mkdir(exist_ok=True)
            command = ffmpeg.play_file(self.film(number), played)
            await finish(processes, f"source-{number}", command)
            return [f'sdp_file = "{path.name}"', 'sdp_listen = "127.0.0.1"']
        lines = gstreamer.track_lines("video", "H264", video, rtcp_in[0])
        if film.bitrate_bps:
            lines += [f"version = {version}", f"bitrate_bps = {film.bitrate_bps}"]
        if version == 0:
            lines += gstreamer.track_lines("audio", "opus", audio, rtcp_in[1])
        return lines

    def _version(self) -> list[str]:
        if self.case.player == "ffmpeg":
            return ["ffmpeg", "-version"]
        return ["gst-launch-1.0", "--gst-version"]
