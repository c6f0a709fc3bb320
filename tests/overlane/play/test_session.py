"""Publish and play against a node's stand-in on loopback: real encoders, sockets and HTTP."""

import asyncio
import os
import random
import signal
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import av
import msgspec
import pytest

from overlane.play.errors import PlayError
from overlane.play.options import PlayOptions
from overlane.play.report import PlayProgress, PlayReport
from overlane.play.session import play
from overlane.publish.manifest import read_manifest
from overlane.publish.options import PublishOptions
from overlane.publish.report import PublishReport
from overlane.publish.sample_video import make_test_video
from overlane.publish.session import publish
from tests.overlane.play.node_double import VIDEO, Harm, NodeDouble, node_double
from tests.support.disk import file_size_limit

pytestmark = pytest.mark.integration

SENT = "sent.jsonl"
B = (16, 32, 32)  # bits of sequence number, timestamp and SSRC


def _publishing(node: NodeDouble, directory: Path, **changes: Any) -> PublishOptions:
    fields: dict[str, Any] = {
        "stream": "s",
        "to": f"127.0.0.1:{node.rtp_port}",
        "seconds": 3,
        "gop_s": 1,
        "seed": 1,
        "manifest": directory / SENT,
        "handle_signals": False,
    }
    return PublishOptions(**fields | changes)


def _playing(node: NodeDouble, directory: Path, **changes: Any) -> PlayOptions:
    fields: dict[str, Any] = {
        "node": node.url,
        "stream": "s",
        "manifest": directory / SENT,
        "idle_seconds": 0.7,
        "handle_signals": False,
    }
    return PlayOptions(**fields | changes)


async def _both(
    node: NodeDouble, directory: Path, sending: dict[str, Any], viewing: dict[str, Any]
) -> tuple[PublishReport, PlayReport]:
    """A viewer who is there before the encoder begins."""
    watching = asyncio.create_task(play(_playing(node, directory, **viewing)))
    while not node.viewers and not watching.done():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    sent = await publish(_publishing(node, directory, **sending))
    return sent, await watching


def _run(
    directory: Path,
    harm: Harm | None = None,
    sending: dict[str, Any] | None = None,
    viewing: dict[str, Any] | None = None,
) -> tuple[PublishReport, PlayReport]:
    async def run() -> tuple[PublishReport, PlayReport]:
        async with node_double() as node:
            node.harm = harm or Harm()
            return await _both(node, directory, sending or {}, viewing or {})

    return asyncio.run(run())


def _with_node(main: Callable[[NodeDouble], Awaitable[None]]) -> None:
    async def run() -> None:
        async with node_double() as node:
            await main(node)

    asyncio.run(run())


def test_without_harm_everything_is_intact(tmp_path: Path) -> None:
    saved, picture = tmp_path / "saved.mkv", tmp_path / "last.png"
    sent, seen = _run(tmp_path, viewing={"save": saved, "picture": picture})
    assert (sent.ended, sent.frames, sent.key_frames, sent.audio_packets) == (
        "finished",
        90,
        3,
        150,
    )
    assert sent.packets_refused == 0
    assert (seen.ended, seen.state, seen.path) == ("idle", "live", ["london", "tokyo"])
    assert (seen.frames_expected, seen.frames_intact, seen.intact_ratio) == (90, 90, 1.0)
    assert (seen.packets_received, seen.packets_lost) == (sent.video_packets, 0)
    assert (seen.audio.packets_expected, seen.audio.intact) == (150, 150)
    assert (seen.frames_decoded, seen.decode_errors, seen.audio_packets_decoded) == (90, 0, 150)
    assert (seen.freezes, seen.playout.frames_shown) == (0, 90)
    assert seen.first_frame_ms is not None
    assert seen.delay_ms is not None
    assert 0 <= seen.delay_ms.min <= seen.delay_ms.p50 <= seen.delay_ms.p99 < 300
    assert seen.playout.latency_ms is not None
    assert 250 < seen.playout.latency_ms < 450
    assert msgspec.json.decode(msgspec.json.encode(seen), type=PlayReport) == seen
    assert picture.read_bytes().startswith(b"\x89PNG")
    _check_saved(saved, frames=90, sounds=150)


def _check_saved(path: Path, frames: int, sounds: int) -> None:
    """All that was sent, with sound and picture side by side."""
    with av.open(str(path)) as container:
        shown = [frame.time for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        heard = [frame.time for frame in container.decode(audio=0)]
    assert (len(shown), len(heard)) == (frames, sounds)
    assert shown == sorted(shown, key=lambda time: time or 0)
    assert shown[0] is not None
    assert heard[0] is not None
    assert abs(shown[0] - heard[0]) < 0.1


def test_reordering_duplicates_and_quick_repairs_do_no_harm(tmp_path: Path) -> None:
    harm = Harm(loss=0.05, repaired_after_s=0.08, late=0.1, late_s=0.02, twice=0.1)
    sent, seen = _run(tmp_path, harm)
    assert seen.intact_ratio == 1.0
    assert (seen.packets_received, seen.packets_lost) == (sent.video_packets, 0)
    assert seen.packets_duplicate > 0
    assert (seen.frames_decoded, seen.decode_errors, seen.freezes) == (90, 0, 0)
    assert seen.delay_ms is not None
    assert seen.delay_ms.p99 > 75


def test_losses_cost_frames(tmp_path: Path) -> None:
    sent, seen = _run(tmp_path, Harm(loss=0.03))
    assert seen.intact_ratio is not None
    assert 0.3 < seen.intact_ratio < 1
    assert seen.frames_expected == seen.frames_intact + seen.frames_incomplete
    assert seen.packets_received + seen.packets_lost <= sent.video_packets
    assert seen.packets_lost > 0
    assert seen.audio.intact_ratio is not None
    assert seen.audio.intact_ratio < 1


def test_a_repair_after_the_deadline_is_late(tmp_path: Path) -> None:
    harm = Harm(loss=0.02, repaired_after_s=0.5)
    _, seen = _run(tmp_path, harm, {"seconds": 5})
    assert seen.frames_late is not None
    assert seen.frames_late_in_first_3s is not None
    assert seen.frames_late > 0
    assert seen.frames_late_in_first_3s > 0
    assert seen.frames_expected == seen.frames_intact + seen.frames_late
    assert seen.packets_lost == 0


@pytest.mark.parametrize("copy_video", [True, False])
def test_a_file_with_b_frames(tmp_path: Path, copy_video: bool) -> None:
    path = tmp_path / "sample.mkv"
    make_test_video(path, 2.0, seed=2, width=320, height=180, preset="veryfast")
    sending = {"source": path, "copy_video": copy_video, "b_frames": 2, "seconds": None}
    sent, seen = _run(tmp_path, sending=sending, viewing={"save": tmp_path / "saved.mkv"})
    assert (sent.frames, sent.width, sent.height) == (60, 320, 180)
    times = [frame.rtp_time for frame in read_manifest(tmp_path / SENT).frames]
    assert times != sorted(times)
    assert (seen.frames_expected, seen.frames_intact) == (60, 60)
    assert (seen.frames_decoded, seen.decode_errors, seen.freezes) == (60, 0, 0)
    with av.open(str(tmp_path / "saved.mkv")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 60


def test_without_a_manifest_whole_frames_are_counted(tmp_path: Path) -> None:
    _, seen = _run(tmp_path, sending={"seconds": 1}, viewing={"manifest": None, "decode": False})
    assert (seen.frames_expected, seen.intact_ratio, seen.delay_ms) == (None, None, None)
    assert (seen.frames_intact, seen.frames_incomplete, seen.frames_decoded) == (30, 0, 0)
    assert seen.audio.packets_received == 50


def test_a_late_joiner_is_judged_from_its_first_frame(tmp_path: Path) -> None:
    async def run(node: NodeDouble) -> None:
        sending = asyncio.create_task(publish(_publishing(node, tmp_path)))
        await asyncio.sleep(1)
        seen = await play(_playing(node, tmp_path))
        await sending
        assert seen.frames_expected is not None
        assert 30 < seen.frames_expected < 75
        # The first may be a part of a frame: nothing here waits for a key frame.
        assert seen.frames_intact >= seen.frames_expected - 1

    _with_node(run)


def test_play_asks_again_while_the_stream_is_not_there(tmp_path: Path) -> None:
    async def run(node: NodeDouble) -> None:
        node.refusals = [404, 503, 504]
        _, seen = await _both(node, tmp_path, {"seconds": 0.5}, {})
        assert node.calls[:4] == ["POST"] * 4
        assert node.calls[-1] == "DELETE"
        assert seen.intact_ratio == 1.0

    _with_node(run)


@pytest.mark.parametrize(("status", "calls"), [(400, 1), (409, 1), (404, 3)])
def test_a_refusal_is_one_clear_error(tmp_path: Path, status: int, calls: int) -> None:
    async def run(node: NodeDouble) -> None:
        node.refusals = [status] * 10
        with pytest.raises(PlayError, match=rf"refuses 's': not yet \({status}\)"):
            await play(_playing(node, tmp_path, wait_seconds=0.25))
        assert node.calls == ["POST"] * calls

    _with_node(run)


def test_no_node_is_one_clear_error(tmp_path: Path) -> None:
    async def run(node: NodeDouble) -> None:
        nowhere = {"node": "http://127.0.0.1:1"}
        options = _playing(node, tmp_path, wait_seconds=0).model_copy(update=nowhere)
        with pytest.raises(PlayError, match=r"no answer from http://127\.0\.0\.1:1"):
            await play(options)

    _with_node(run)


def test_a_node_that_forgot_its_viewer_is_asked_anew(tmp_path: Path) -> None:
    async def run(node: NodeDouble) -> None:
        node.expires_s = 0.3
        watching = asyncio.create_task(play(_playing(node, tmp_path, seconds=1)))
        await asyncio.sleep(0.5)
        node.viewers.clear()
        seen = await watching
        assert (seen.subscriptions, seen.ended) == (2, "seconds")
        assert node.calls.count("POST") == 2
        assert node.viewers == {}

    asyncio.run(_with_manifest(tmp_path, run))


def test_play_ends_with_the_stream(tmp_path: Path) -> None:
    async def run(node: NodeDouble) -> None:
        node.expires_s = 0.3
        watching = asyncio.create_task(play(_playing(node, tmp_path)))
        await asyncio.sleep(0.3)
        node.state = "ended"
        seen = await asyncio.wait_for(watching, 2)
        assert (seen.ended, seen.state) == ("ended", "ended")

    asyncio.run(_with_manifest(tmp_path, run))


async def _with_manifest(directory: Path, main: Callable[[NodeDouble], Awaitable[None]]) -> None:
    """A manifest that is there but says that nothing was sent."""
    async with node_double() as node:
        stop = asyncio.Event()
        stop.set()
        await publish(_publishing(node, directory), stop=stop)
        await main(node)


def test_a_cancelled_viewer_leaves(tmp_path: Path) -> None:
    async def run(node: NodeDouble) -> None:
        watching = asyncio.create_task(play(_playing(node, tmp_path)))
        await asyncio.sleep(0.3)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        assert node.calls == ["POST", "DELETE"]

    _with_node(run)


def test_sigterm_ends_both_with_their_reports(tmp_path: Path) -> None:
    async def run(node: NodeDouble) -> None:
        watching = asyncio.create_task(play(_playing(node, tmp_path, handle_signals=True)))
        await asyncio.sleep(0.2)
        asyncio.get_running_loop().call_later(1, os.kill, os.getpid(), signal.SIGTERM)
        stop = asyncio.Event()
        sending = asyncio.create_task(publish(_publishing(node, tmp_path, seconds=60), stop=stop))
        seen = await asyncio.wait_for(watching, 5)
        stop.set()
        sent = await asyncio.wait_for(sending, 5)
        assert (seen.ended, sent.ended) == ("stopped", "stopped")
        assert seen.frames_intact == seen.frames_expected
        end = read_manifest(tmp_path / SENT).end
        assert end is not None
        assert end.frames == sent.frames

    before = signal.getsignal(signal.SIGTERM)
    _with_node(run)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_cancelled_publisher_finishes_its_manifest(tmp_path: Path) -> None:
    async def run(node: NodeDouble) -> None:
        sending = asyncio.create_task(publish(_publishing(node, tmp_path)))
        await asyncio.sleep(0.6)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    _with_node(run)
    manifest = read_manifest(tmp_path / SENT)
    assert manifest.end is not None
    assert 5 < len(manifest.frames) == manifest.end.frames


def test_a_key_frame_comes_when_the_node_asks(tmp_path: Path) -> None:
    async def run(node: NodeDouble) -> None:
        pli = bytes([0x81, 206, 0, 2]) + bytes(8)

        class Asking(asyncio.DatagramProtocol):
            def __init__(self) -> None:
                self.packets = 0

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = cast(asyncio.DatagramTransport, transport)

            def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
                self.packets += 1
                if data and self.packets == 30:
                    self.transport.sendto(pli, addr)

        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Asking, local_addr=("127.0.0.1", 0))
        to = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
        sent = await publish(_publishing(node, tmp_path, to=to, seconds=1.5, gop_s=10))
        transport.close()
        assert (sent.key_frame_requests, sent.key_frames) == (1, 2)

    _with_node(run)


def test_progress_is_told(tmp_path: Path) -> None:
    async def run(node: NodeDouble) -> None:
        sending: list[PublishReport] = []
        viewing: list[PlayProgress] = []
        watching = asyncio.create_task(play(_playing(node, tmp_path), viewing.append))
        await asyncio.sleep(0.2)
        await publish(_publishing(node, tmp_path, seconds=1.5), sending.append)
        await watching
        assert {report.ended for report in sending} == {"running"}
        assert len(sending) >= 2
        assert viewing[-1].frames_whole > viewing[0].frames_whole
        assert viewing[-1].path == ["london", "tokyo"]

    _with_node(run)


def test_a_full_disk_ends_neither_broadcast_nor_viewing(tmp_path: Path) -> None:
    saved, picture = tmp_path / "saved.mkv", tmp_path / "last.png"
    with file_size_limit(9_000):
        sent, seen = _run(tmp_path, viewing={"save": saved, "picture": picture})
    assert (sent.ended, sent.frames, seen.frames_decoded) == ("finished", 90, 90)
    assert sent.problems == [
        f"cannot write {tmp_path / SENT}: File too large; the manifest ends there"
    ]
    kept, last = sorted(seen.problems)
    assert kept.startswith(f"cannot write {picture}: File too large")
    assert last.startswith(f"cannot write {saved}: File too large; its first ")
    assert last.endswith(f" packets are in {saved}.part")
    assert (seen.saved, seen.picture) == (None, None)
    assert {path.name for path in tmp_path.iterdir()} == {SENT, "saved.mkv.part"}
    assert 0 < len(read_manifest(tmp_path / SENT).frames) < 90


def test_without_its_manifest_a_viewing_is_reported_unjudged(tmp_path: Path) -> None:
    changes = {"manifest": tmp_path / "none", "save": Path("/dev/full"), "picture": tmp_path}
    _, seen = _run(tmp_path, sending={"seconds": 0.5}, viewing=changes)
    assert (seen.frames_expected, seen.frames_complete) == (None, 15)
    assert sorted(problem.split(":")[0] for problem in seen.problems) == [
        f"cannot read {tmp_path / 'none'}", "cannot write /dev/full", f"cannot write {tmp_path}",
    ]  # fmt: skip


def test_forged_packets_are_counted_and_not_played(tmp_path: Path) -> None:
    """The node tells of its tracks only after they began; a stranger sends all the while."""

    async def forge(node: NodeDouble) -> None:
        rng = random.Random(2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            while True:
                for address in [to for viewer in node.viewers.values() for to in viewer.values()]:
                    rtp = struct.pack(">BBHLL", 128, VIDEO | 128, *(rng.getrandbits(b) for b in B))
                    stranger.sendto(rtp + rng.randbytes(100), address)
                    stranger.sendto(rng.randbytes(rng.randrange(1500)), address)
                await asyncio.sleep(0.01)

    async def run(node: NodeDouble) -> None:
        node.expires_s = 0.6
        node.tracks = {"video": {"ssrc": 0, "payload_type": VIDEO}}
        forging = asyncio.create_task(forge(node))
        watching = asyncio.create_task(play(_playing(node, tmp_path, seconds=3)))
        while not node.viewers:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        sent = await publish(_publishing(node, tmp_path, seconds=1.5))
        seen = await watching
        forging.cancel()
        assert (seen.frames_intact, seen.frames_complete) == (sent.frames, sent.frames)
        assert (seen.packets_received, seen.packets_lost) == (sent.video_packets, 0)
        assert (seen.frames_decoded, seen.decode_errors) == (sent.frames, 0)
        assert seen.packets_foreign > 50
        assert seen.packets_malformed > 50

    _with_node(run)
