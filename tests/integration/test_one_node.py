"""One node process, a real encoder and a real viewer on loopback."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import av
import pytest
import uvloop

from lab.overlay import ChainOverlay
from lab.ports import free_ports
from lab.processes import Child, Processes
from overlane.play import PlayError, PlayOptions, play
from overlane.publish.options import PublishOptions
from overlane.publish.session import publish
from overlane.status import fetch, render

pytestmark = pytest.mark.integration


@asynccontextmanager
async def one_node(directory: Path) -> AsyncIterator[ChainOverlay]:
    async with Processes(directory) as processes:
        overlay = ChainOverlay(
            ["only"], [], stream="demo", directory=directory, processes=processes, seed=1
        )
        await overlay.start()
        yield overlay


def publishing(overlay: ChainOverlay, directory: Path, seconds: float) -> PublishOptions:
    ports = overlay.nodes[0].ports
    return PublishOptions(
        stream="demo",
        to=f"127.0.0.1:{ports.video}",
        audio_to=f"127.0.0.1:{ports.audio}",
        seconds=seconds,
        manifest=directory / "sent.jsonl",
        handle_signals=False,
    )


def test_what_is_watched_is_what_was_sent_and_can_be_kept(tmp_path: Path) -> None:
    async def run() -> None:
        async with one_node(tmp_path) as overlay:
            sending = asyncio.create_task(publish(publishing(overlay, tmp_path, 5)))
            await asyncio.sleep(1)
            options = PlayOptions(
                stream="demo",
                node=overlay.nodes[0].url,
                manifest=tmp_path / "sent.jsonl",
                idle_seconds=1,
                save=tmp_path / "kept.mkv",
                picture=tmp_path / "last.png",
                handle_signals=False,
            )
            report = await play(options)
            sent = await sending

            assert report.frames_expected is not None
            assert report.frames_expected > 100
            assert report.intact_ratio == 1
            assert report.audio.intact == report.audio.packets_expected
            assert report.path == ["only"]
            assert (report.packets_lost, report.decode_errors) == (0, 0)
            assert report.frames_decoded == report.frames_complete
            assert sent.frames >= report.frames_complete
            with av.open(str(tmp_path / "kept.mkv")) as kept:
                assert sum(1 for _ in kept.decode(video=0)) == report.frames_complete
            with av.open(str(tmp_path / "kept.mkv")) as kept:
                assert len(kept.streams.audio) == 1
            assert (tmp_path / "last.png").read_bytes().startswith(b"\x89PNG")

    uvloop.run(run())


def test_an_unknown_stream_is_one_clear_error(tmp_path: Path) -> None:
    async def run() -> None:
        async with one_node(tmp_path) as overlay:
            options = PlayOptions(
                stream="nothing", node=overlay.nodes[0].url, wait_seconds=0, handle_signals=False
            )
            with pytest.raises(PlayError, match="nothing"):
                await play(options)

    uvloop.run(run())


def test_status_describes_the_node(tmp_path: Path) -> None:
    async def run() -> None:
        async with one_node(tmp_path) as overlay:
            (found,) = await fetch([overlay.nodes[0].url])
            assert found["node"] == "only"
            assert [stream["name"] for stream in found["streams"]] == ["demo"]
            assert render(found) is not None

    uvloop.run(run())


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"

    async def run() -> Child:
        async with Processes(tmp_path) as processes:
            child = await processes.start("stubborn", [sys.executable, "-c", script])
            await asyncio.sleep(0.5)
        return child

    child = uvloop.run(run())

    assert child.process.returncode == -9


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(50, random.Random(4))

    assert len(set(ports)) == 50
