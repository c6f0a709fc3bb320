"""UdpLink between real sockets on loopback."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing

import pytest
import uvloop

from lab.errors import AddressError
from lab.link import LinkConfig
from lab.timer_fd import TimerFd, now_us
from lab.udp_link import UdpLink

pytestmark = pytest.mark.integration

Run = Callable[[Awaitable[None]], None]


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run_with_loop(test: Awaitable[None]) -> None:
        async def main() -> None:
            await asyncio.wait_for(test, timeout=30)

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    return run_with_loop


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    with open_end() as a, open_end() as b:
        yield a, b


def open_end() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


async def take(sock: socket.socket, count: int) -> list[tuple[int, bytes, tuple[str, int]]]:
    """Datagrams with their time of arrival and source. (uvloop has no `sock_recvfrom`.)"""
    loop = asyncio.get_running_loop()
    taken: list[tuple[int, bytes, tuple[str, int]]] = []
    done = loop.create_future()

    def on_readable() -> None:
        while len(taken) < count:
            try:
                taken.append((now_us(), *sock.recvfrom(65_536)))
            except BlockingIOError:
                return
        loop.remove_reader(sock.fileno())
        done.set_result(None)

    loop.add_reader(sock.fileno(), on_readable)
    await done
    return taken


async def stays_silent(sock: socket.socket) -> bool:
    await asyncio.sleep(0.05)
    try:
        sock.recv(65_536)
    except BlockingIOError:
        return True
    return False


def test_each_side_talks_to_its_proxy(run: Run, ends: tuple[socket.socket, socket.socket]) -> None:
    a, b = ends

    async def scenario() -> None:
        link = await UdpLink.open(
            a=a.getsockname(),
            b=b.getsockname(),
            config_ab=LinkConfig(delay_us=20_000),
            config_ba=LinkConfig(delay_us=5_000),
        )
        with closing(link):
            started_us = now_us()
            a.sendto(b"there", link.address_facing_a)
            b.sendto(b"back", link.address_facing_b)
            (back_us, back, from_b), *_ = await take(a, 1)
            (there_us, there, from_a), *_ = await take(b, 1)
            assert (there, from_a) == (b"there", link.address_facing_b)
            assert (back, from_b) == (b"back", link.address_facing_a)
            assert 20_000 <= there_us - started_us < 40_000
            assert 5_000 <= back_us - started_us < 20_000
            assert link.receive_buffer_bytes > 0

    run(scenario())


def test_addresses_set_after_open(run: Run, ends: tuple[socket.socket, socket.socket]) -> None:
    a, b = ends

    async def scenario() -> None:
        with closing(await UdpLink.open(config_ab=LinkConfig(delay_us=0))) as link:
            a.sendto(b"early", link.address_facing_a)
            assert await stays_silent(b)
            link.address_a = a.getsockname()
            a.sendto(b"nowhere to go", link.address_facing_a)
            assert await stays_silent(b)
            link.address_b = b.getsockname()
            a.sendto(b"now", link.address_facing_a)
            assert [data for _, data, _ in await take(b, 1)] == [b"now"]
            counters = link.counters().a_to_b
            assert (counters.foreign, counters.unaddressed) == (1, 1)
            assert (counters.link.sent, counters.link.delivered) == (2, 2)
            with pytest.raises(AddressError):
                link.address_a = ("localhost", 5_000)
            with pytest.raises(AddressError):
                link.address_a = ("127.0.0.1", 0)

    run(scenario())


def test_foreign_and_oversized_are_dropped(
    run: Run, ends: tuple[socket.socket, socket.socket]
) -> None:
    a, b = ends

    async def scenario() -> None:
        link = await UdpLink.open(
            a=a.getsockname(), b=b.getsockname(), config_ab=LinkConfig(delay_us=0)
        )
        with closing(link):
            b.sendto(b"wrong side", link.address_facing_a)
            a.sendto(bytes(1_473), link.address_facing_a)
            assert await stays_silent(b)
            a.sendto(bytes(1_472), link.address_facing_a)
            assert len((await take(b, 1))[0][1]) == 1_472
            counters = link.counters()
            assert (counters.a_to_b.foreign, counters.a_to_b.link.oversized) == (1, 1)
            assert counters.b_to_a.link.sent == 0

    run(scenario())


def test_a_missing_endpoint_breaks_nothing(
    run: Run, ends: tuple[socket.socket, socket.socket]
) -> None:
    """Sending to a closed port brings ICMP errors; the link works again when B is back."""
    a, b = ends

    async def scenario() -> None:
        link = await UdpLink.open(
            a=a.getsockname(), b=b.getsockname(), config_ab=LinkConfig(delay_us=0)
        )
        with closing(link):
            address_b = b.getsockname()
            b.close()
            for _ in range(20):
                a.sendto(b"into the void", link.address_facing_a)
                await asyncio.sleep(0.001)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
                again.setblocking(False)
                again.bind(address_b)
                a.sendto(b"hello", link.address_facing_a)
                assert (await take(again, 1))[0][1] == b"hello"
                again.sendto(b"hi", link.address_facing_b)
                assert (await take(a, 1))[0][1] == b"hi"

    run(scenario())


def test_cut_at_run_time_and_close(run: Run, ends: tuple[socket.socket, socket.socket]) -> None:
    a, b = ends

    async def scenario() -> None:
        config = LinkConfig(delay_us=0)
        link = await UdpLink.open(a=a.getsockname(), b=b.getsockname(), config_ab=config)
        link.set_config(config_ab=config.with_cut())
        assert (link.config_ab.loss, link.config_ba.loss) == (1.0, 0.0)
        a.sendto(b"lost", link.address_facing_a)
        assert await stays_silent(b)
        link.set_config(config_ab=config)
        a.sendto(b"passes", link.address_facing_a)
        assert (await take(b, 1))[0][1] == b"passes"
        link.close()
        link.close()
        counters = link.counters().a_to_b.link
        assert (counters.sent, counters.lost, counters.delivered) == (2, 1, 1)

    run(scenario())


def test_chain_of_three_links_keeps_time(run: Run) -> None:
    """Four endpoints in a row at 1,000 packets/s each way: all arrive, in order, on time."""
    count, delay_us = 600, 10_000

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        nodes = [open_end() for _ in range(4)]
        config = LinkConfig(delay_us=delay_us)
        links = [
            await UdpLink.open(a=x.getsockname(), b=y.getsockname(), config_ab=config)
            for x, y in itertools.pairwise(nodes)
        ]

        def relay(position: int) -> None:
            """Pass on what comes from one neighbour to the other, as a node would."""
            left, right = links[position - 1], links[position]
            node = nodes[position]
            while True:
                try:
                    data, source = node.recvfrom(2_048)
                except BlockingIOError:
                    return
                onward = (
                    right.address_facing_a
                    if source == left.address_facing_b
                    else left.address_facing_b
                )
                node.sendto(data, onward)

        for position in (1, 2):
            loop.add_reader(nodes[position].fileno(), relay, position)
        takers = [asyncio.create_task(take(nodes[end], count)) for end in (0, 3)]
        for number in range(count):
            data = number.to_bytes(4, "big") + now_us().to_bytes(8, "big") + bytes(1_000)
            nodes[0].sendto(data, links[0].address_facing_a)
            nodes[3].sendto(data, links[-1].address_facing_b)
            await asyncio.sleep(0.001)
        for taken in await asyncio.gather(*takers):
            assert [int.from_bytes(d[:4], "big") for _, d, _ in taken] == list(range(count))
            took_us = sorted(t - int.from_bytes(d[4:12], "big") for t, d, _ in taken)
            assert took_us[0] >= 3 * delay_us
            assert took_us[count // 2] < 3 * delay_us + 3_000  # a loaded test machine is no clock
        for position in (1, 2):
            loop.remove_reader(nodes[position].fileno())
        for link in links:
            link.close()
            assert link.counters().a_to_b.kernel_dropped == 0
        for node in nodes:
            node.close()

    run(scenario())


def test_a_burst_beyond_one_wakeup_arrives_whole(
    run: Run, ends: tuple[socket.socket, socket.socket]
) -> None:
    a, b = ends

    async def scenario() -> None:
        link = await UdpLink.open(
            a=a.getsockname(), b=b.getsockname(), config_ab=LinkConfig(delay_us=1_000)
        )
        with closing(link):
            for number in range(500):
                a.sendto(number.to_bytes(4, "big"), link.address_facing_a)
            taken = await take(b, 500)
            assert [int.from_bytes(d, "big") for _, d, _ in taken] == list(range(500))

    run(scenario())


def test_timer_is_finer_than_a_millisecond(run: Run) -> None:
    async def scenario() -> None:
        fired: asyncio.Queue[int] = asyncio.Queue()

        def on_time() -> None:
            timer.arm(None)
            fired.put_nowait(now_us())

        timer = TimerFd(asyncio.get_running_loop(), on_time)
        with closing(timer):
            late_us = []
            for _ in range(50):
                when_us = now_us() + 1_300
                timer.arm(when_us)
                late_us.append(await fired.get() - when_us)
            assert min(late_us) >= 0
            assert sorted(late_us)[25] < 700
            timer.arm(now_us() - 5)  # past: at once
            await fired.get()
            timer.arm(now_us() + 3_000)
            timer.arm(None)
            await asyncio.sleep(0.01)
            assert fired.empty()

    started = time.monotonic()
    run(scenario())
    assert time.monotonic() - started < 10


def test_taps_see_what_enters_and_what_leaves(
    run: Run, ends: tuple[socket.socket, socket.socket]
) -> None:
    async def test() -> None:
        a, b = ends
        entered: list[tuple[str, bytes]] = []
        left: list[tuple[str, bytes]] = []
        link = await UdpLink.open(
            a=a.getsockname(),
            b=b.getsockname(),
            config_ab=LinkConfig(delay_us=0),
            config_ba=LinkConfig(delay_us=0).with_cut(),
        )
        link.tap(
            on_sent=lambda direction, data: entered.append((direction, data)),
            on_delivered=lambda direction, data: left.append((direction, data)),
        )
        with closing(link):
            b.sendto(b"lost", link.address_facing_b)
            a.sendto(b"there", link.address_facing_a)
            await take(b, 1)
            assert await stays_silent(a)
        assert sorted(entered) == [("ab", b"there"), ("ba", b"lost")]
        assert left == [("ab", b"there")]

    run(test())


def test_what_is_injected_comes_from_the_peer_s_address(
    run: Run, ends: tuple[socket.socket, socket.socket]
) -> None:
    async def test() -> None:
        a, b = ends
        cut = LinkConfig(delay_us=0).with_cut()
        link = await UdpLink.open(a=a.getsockname(), b=b.getsockname(), config_ab=cut)
        with closing(link):
            assert link.inject("ab", b"to b")
            assert link.inject("ba", b"to a")
            ((_, at_b, source_at_b),) = await take(b, 1)
            ((_, at_a, source_at_a),) = await take(a, 1)
            assert (at_b, source_at_b) == (b"to b", link.address_facing_b)
            assert (at_a, source_at_a) == (b"to a", link.address_facing_a)
            assert link.counters().a_to_b.link.sent == 0

    run(test())
