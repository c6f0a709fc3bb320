"""The middle node of a broadcast is killed and started again, and old sessions are replayed."""

import asyncio
from pathlib import Path

import pytest
import uvloop

from lab.flow_viewer import FlowViewer
from lab.link import LinkConfig
from lab.overlay import LabNode
from lab.stage import STREAM, Stage, stage, until
from lab.timer_fd import now_us
from lab.udp_link import Direction

pytestmark = pytest.mark.integration

LINK = LinkConfig(delay_us=5_000, loss=0.002)
REPLAYS = 150  # a direction
PRODUCER, MIDDLE, CONSUMER = range(3)
WAYS: list[tuple[int, list[tuple[Direction, int]]]] = [
    (MIDDLE, [("ab", 0), ("ba", 1)]),
    (PRODUCER, [("ba", 0)]),
    (CONSUMER, [("ab", 1)]),
]
REFUSALS = ("bad_tag", "before_window", "replayed")


def test_restarts_accept_no_replay_and_repeat_no_nonce(tmp_path: Path) -> None:
    async def run() -> None:
        async with stage(tmp_path, LINK, seed=1) as here:
            await here.publish(1)
            async with FlowViewer(here.nodes[CONSUMER].url, STREAM) as viewer:
                await until(lambda: len(viewer.arrivals) > 50, 30, "the first video")
                for _ in range(2):
                    await restart(here, viewer)
                assert len({each.ssrc for each in viewer.arrivals}) == 1
                assert viewer.subscriptions == 1
                began_us = viewer.arrivals[0].time_us
                verdict = viewer.judge(here.manifest(), began_us, now_us() - 500_000)
                assert verdict.damaged == 0
                assert verdict.intact > 0
            await here.stop_encoder()
            total = here.audit()
            assert (total.repeated, total.unverified) == (0, 0)
            assert total.keys >= 2 * 2 * 3  # of two links, both ways, three sessions

    uvloop.run(run())


async def restart(here: Stage, viewer: FlowViewer) -> None:
    killed_us = now_us()
    await here.overlay.kill(here.nodes[MIDDLE])
    await here.overlay.start_again(here.nodes[MIDDLE])
    await until(lambda: flows(viewer, killed_us), 30, "video flows again")
    for index, sources in WAYS:
        await replay(here, here.nodes[index], sources, killed_us)


def flows(viewer: FlowViewer, killed_us: int) -> bool:
    """Video came after a gap that a restart makes, and has been coming since."""
    gap = viewer.longest_gap(killed_us, now_us())
    newest_us = viewer.arrivals[-1].time_us
    return gap.length_us > 150_000 and newest_us - gap.to_us > 300_000


async def replay(
    here: Stage, node: LabNode, sources: list[tuple[Direction, int]], killed_us: int
) -> None:
    """Old packets from the right addresses: as many more are refused as were sent."""
    before = await here.verdicts(node)
    sent = 0
    for direction, index in sources:
        hellos, old = here.captures[index].before(direction, killed_us)
        for one in (*hellos[-5:], *old[: REPLAYS // 2], *old[-REPLAYS // 2 :]):
            assert here.overlay.links[index].inject(direction, one.data)
            sent += not one.is_hello
            await asyncio.sleep(0.0002)
    assert sent > 0
    after = before

    async def refused() -> int:
        nonlocal after
        after = await here.verdicts(node)
        return sum(after[name] - before[name] for name in REFUSALS)

    for _ in range(200):
        if await refused() >= sent:
            break
        await asyncio.sleep(0.05)
    assert await refused() == sent
    assert after["hello_taken"] > before["hello_taken"]
    status = await here.status(node)
    assert {each["handshake"] for each in status["neighbours"]} == {"keyed"}
