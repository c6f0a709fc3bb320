"""The links of a run, in their own process, between real sockets."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Coroutine
from pathlib import Path

import pytest
import uvloop

from lab.link import LinkConfig
from lab.processes import ProcessError, Processes
from lab.realtime.links import LinkSet
from lab.scenario.topology import AccessPath

pytestmark = pytest.mark.integration

QUICK = LinkConfig(delay_us=1_000)


class Place:
    """Three nodes' sockets, each pair but (b, c) joined."""

    def __init__(self) -> None:
        self.sockets = {name: _open() for name in "abc"}
        access = [AccessPath(("v",), None, QUICK, QUICK), AccessPath((), "live", QUICK, QUICK)]
        self.links = LinkSet({("a", "b"): QUICK, ("a", "c"): QUICK}, seed=1, accesses=access)

    async def open(self, processes: Processes) -> None:
        await self.links.start(processes)
        await self.links.open({name: each.getsockname() for name, each in self.sockets.items()})

    def send(self, source: str, target: str, data: bytes) -> None:
        self.sockets[source].sendto(data, self.links.between(source, target).facing[source])

    async def receive(self, name: str) -> bytes:
        return await asyncio.to_thread(self.sockets[name].recv, 2048)

    async def is_silent(self, name: str) -> bool:
        await asyncio.sleep(0.1)
        readable, _, _ = select.select([self.sockets[name]], [], [], 0)
        return not readable

    def close(self) -> None:
        for each in self.sockets.values():
            each.close()


def _open() -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind(("127.0.0.1", 0))
    opened.settimeout(10)
    return opened


def run(main: Coroutine[None, None, None]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(main, 60)

    uvloop.run(limited())


def test_each_pair_has_its_own_link_that_can_be_cut_and_mended(tmp_path: Path) -> None:
    async def scenario() -> None:
        place = Place()
        async with Processes(tmp_path) as processes:
            await place.open(processes)
            place.send("a", "b", b"to b")
            place.send("a", "c", b"to c")
            assert await place.receive("b") == b"to b"
            assert await place.receive("c") == b"to c"

            await place.links.cut("b", "a")  # either order
            place.send("a", "b", b"lost")
            place.send("b", "a", b"lost as well")
            place.send("c", "a", b"another link")
            assert await place.receive("a") == b"another link"
            assert await place.is_silent("b")

            await place.links.configure("a", "b", LinkConfig(delay_us=2_000))
            place.send("a", "b", b"still cut")
            assert await place.is_silent("b")
            await place.links.mend("a", "b")
            place.send("a", "b", b"mended")
            assert await place.receive("b") == b"mended"
            assert place.links.between("a", "b").config.delay_us == 2_000

            counters = await place.links.counters()
            assert (counters["a", "b"].link.sent, counters["a", "b"].link.lost) == (4, 2)
            assert counters["b", "a"].link.lost == 1
            assert counters["a", "c"].link.delivered == 1
            assert await place.links.cpu_us() > 0
        place.close()

    run(scenario())


def test_who_is_behind_an_access_path_is_reached_by_its_lanes(tmp_path: Path) -> None:
    async def scenario() -> None:
        place = Place()
        async with Processes(tmp_path) as processes:
            await place.open(processes)
            target = place.sockets["c"].getsockname()
            assert await place.links.reach("viewer w", "video", target) == target
            lanes = [
                await place.links.reach(behind, media, target)
                for behind in ("viewer v", "broadcast live")
                for media in ("video", "audio")
            ]
            assert len({*lanes, target}) == 5
            for number, lane in enumerate(lanes):
                place.sockets["a"].sendto(bytes([number]), lane)
                assert await place.receive("c") == bytes([number])
            cut = AccessPath(("v",), None, QUICK.with_cut(), QUICK)
            await place.links.configure_access(0, cut)
            place.sockets["a"].sendto(b"lost", lanes[0])
            place.sockets["a"].sendto(b"here", lanes[2])
            assert await place.receive("c") == b"here"
            assert await place.is_silent("c")
        place.close()

    run(scenario())


def test_a_process_of_links_that_is_gone_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        place = Place()
        async with Processes(tmp_path) as processes:
            await place.open(processes)
            await processes.children[0].kill()
            with pytest.raises(ProcessError, match="links ended"):
                await place.links.cut("a", "b")
        place.close()

    run(scenario())
