"""UdpAccess between real sockets on loopback."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing

import pytest
import uvloop

from lab.errors import AddressError
from lab.link import LinkConfig
from lab.timer_fd import now_us
from lab.udp_access import UdpAccess

pytestmark = pytest.mark.integration

QUICK = LinkConfig(delay_us=1_000)


@pytest.fixture
def ends() -> Iterator[list[socket.socket]]:
    """A sender of media, another one, and two receivers."""
    opened = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
    for each in opened:
        each.bind(("127.0.0.1", 0))
        each.settimeout(10)
    yield opened
    for each in opened:
        each.close()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(scenario(), 30)

    uvloop.run(limited())


async def receive(sock: socket.socket) -> tuple[bytes, tuple[str, int]]:
    data, source = await asyncio.to_thread(sock.recvfrom, 2_048)
    return data, source


async def is_silent(sock: socket.socket) -> bool:
    await asyncio.sleep(0.05)
    return not select.select([sock], [], [], 0)[0]


def test_lanes_lead_to_their_receivers_and_answers_to_who_sent_last(
    ends: list[socket.socket],
) -> None:
    node, other, video, audio = ends

    async def scenario() -> None:
        with closing(await UdpAccess.open(lanes=2, forward=QUICK, back=QUICK)) as access:
            lanes = access.addresses
            access.aim(0, video.getsockname())
            access.aim(1, audio.getsockname())
            node.sendto(b"picture", lanes[0])
            node.sendto(b"sound", lanes[1])
            data, lane_source = await receive(video)
            assert data == b"picture"
            assert (await receive(audio))[0] == b"sound"

            # RTCP leaves another port of the same host.
            audio.sendto(b"report", lane_source)
            assert await receive(node) == (b"report", lanes[0])

            # The viewer has moved to another node, which sees the same address.
            other.sendto(b"key frame", lanes[0])
            assert await receive(video) == (b"key frame", lane_source)
            video.sendto(b"thanks", lane_source)
            assert await receive(other) == (b"thanks", lanes[0])
            assert await is_silent(node)
            counters = access.counters()
            assert counters.a_to_b.link.delivered == 3
            assert counters.b_to_a.link.delivered == 2

    run(scenario)


def test_lanes_share_one_bottleneck(ends: list[socket.socket]) -> None:
    """1,000 bytes on the wire take 8 ms; two lanes have ten of them, of which the queue holds
    eight.
    """
    node, _, video, audio = ends
    narrow = LinkConfig(1_000, rate_bps=1_000_000, queue_us=64_000)

    async def scenario() -> None:
        with closing(await UdpAccess.open(lanes=2, forward=narrow, back=QUICK)) as access:
            access.aim(0, video.getsockname())
            access.aim(1, audio.getsockname())
            began_us = now_us()
            for number in range(10):
                node.sendto(bytes(972), access.addresses[number % 2])
            for _ in range(8):
                readable, _, _ = await asyncio.to_thread(select.select, [video, audio], [], [], 10)
                readable[0].recv(2_048)
            assert now_us() - began_us >= 8 * 8_000
            counters = access.counters().a_to_b.link
            assert (counters.sent, counters.queue_dropped) == (10, 2)

    run(scenario)


def test_what_comes_from_elsewhere_or_leads_nowhere_is_counted(ends: list[socket.socket]) -> None:
    node, _, video, _ = ends

    async def scenario() -> None:
        access = await UdpAccess.open(lanes=1, forward=QUICK, back=QUICK)
        with closing(access):
            node.sendto(b"too early", access.addresses[0])
            assert await is_silent(video)
            access.aim(0, video.getsockname())
            access.set_config(forward=QUICK.with_cut(), back=QUICK)
            node.sendto(b"lost", access.addresses[0])
            assert await is_silent(video)
            with pytest.raises(AddressError):
                access.aim(0, ("localhost", 5))
        counters = access.counters()
        assert counters.a_to_b.unaddressed == 1
        assert counters.a_to_b.link.lost == 1
        access.close()

    run(scenario)
