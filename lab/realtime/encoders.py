"""The encoder of a broadcast over a whole run: started, stopped, moved elsewhere, restarted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from lab.node_config import overlane
from lab.processes import Child
from lab.realtime.overlay import ScenarioOverlay
from lab.scenario.model import Broadcast
from lab.scenario.topology import encoder_behind
from overlane.publish.manifest import Manifest, ManifestError, read_manifest
from overlane.publish.report import PublishReport

_LONGEST_S = 86_400  # a scenario's longest; each run ends its encoders


@dataclass(frozen=True, slots=True)
class Source:
    """What encoders send: a media file, or the moving pattern if there is none."""

    file: Path | None = None
    copy_video: bool = False


class Encoder:
    """`overlane publish`, one for each version of the video; each start of them is a session with
    its own seed and manifests. Audio comes with the best version."""

    def __init__(
        self, broadcast: Broadcast, overlay: ScenarioOverlay, seed: int, source: Source
    ) -> None:
        self.broadcast = broadcast
        self.host = broadcast.node
        self._overlay = overlay
        self._seed = seed
        self._source = source
        self._sessions: list[list[tuple[Child, Path]]] = []
        """Of each start, by version."""

    async def start(self) -> None:
        """A new session, towards the node that is its host now."""
        number = len(self._sessions) + 1
        versions = range(len(self.broadcast.bitrates))
        self._sessions.append([await self._start_one(number, version) for version in versions])

    async def _start_one(self, number: int, version: int) -> tuple[Child, Path]:
        name = f"encoder-{self.broadcast.version_names[version]}-{number}"
        manifest = self._overlay.files.directory / f"{name}.jsonl"
        manifest.unlink(missing_ok=True)
        ports = self._overlay.files.ingest(self.broadcast, self.host)
        command = overlane("publish", self.broadcast.name, "--json")
        command += ["--to", await self._reach("video", ports.video[version])]
        command += (
            ["--no-audio"]
            if ports.audio is None or version > 0
            else ["--audio-to", await self._reach("audio", ports.audio)]
        )
        command += ["--bitrate-bps", str(self.broadcast.bitrates[version])]
        command += ["--gop-s", str(self.broadcast.gop_s), "--seconds", str(_LONGEST_S)]
        command += ["--manifest", str(manifest), "--seed", str(1_000 * self._seed + number)]
        if self._source.file is None:
            command += ["--fps", str(self.broadcast.fps)]
        else:
            command += ["--source", str(self._source.file)]
        if self._source.copy_video:
            command += ["--copy"]
        return await self._overlay.processes.start(name, command), manifest

    async def _reach(self, media: str, port: int) -> str:
        """Where it must send what is for this port of its node."""
        behind = encoder_behind(self.broadcast.name)
        host, port = await self._overlay.links.reach(behind, media, ("127.0.0.1", port))
        return f"{host}:{port}"

    async def stop(self) -> None:
        """As an encoder that is switched off: what it has encoded is sent."""
        for child, _ in self._sessions[-1] if self._sessions else ():
            await child.stop()

    async def restart(self) -> None:
        """A new session at the same node."""
        await self.stop()
        await self.start()

    async def move(self, host: str) -> None:
        """A new session at another node."""
        self.host = host
        await self.restart()

    def check(self) -> None:
        """Raises ProcessError if it failed; the end of a file is none."""
        for session in self._sessions:
            for child, _ in session:
                if child.process.returncode not in (None, 0):
                    child.check_alive()

    def manifests(self) -> list[Manifest]:
        """Of each version that was sent, all sessions one after the other."""
        versions = range(len(self.broadcast.bitrates))
        found = [self._manifest(version) for version in versions]
        return [manifest for manifest in found if manifest is not None]

    def _manifest(self, version: int) -> Manifest | None:
        found = []
        for session in self._sessions:
            try:
                found.append(read_manifest(session[version][1]))
            except ManifestError:  # killed before its first line
                continue
        if not found:
            return None
        return Manifest(
            header=found[0].header,
            frames=[frame for each in found for frame in each.frames],
            audio=[packet for each in found for packet in each.audio],
            end=found[-1].end,
        )

    def reports(self) -> list[PublishReport]:
        """Of the sessions that have ended."""
        children = [child for session in self._sessions for child, _ in session]
        ended = [child for child in children if child.process.returncode == 0]
        return [msgspec.json.decode(child.out.read_bytes(), type=PublishReport) for child in ended]
