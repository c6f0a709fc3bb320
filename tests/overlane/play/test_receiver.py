"""Arrival times when the realtime clock is set, and datagrams that are no RTP."""

import asyncio
import socket

import pytest

from overlane.play.receiver import Receiver, arrival_us

HOUR_US = 3_600_000_000
NOW_US, REALTIME_US = 5_000_000, 1_700_000_000_000_000


def test_a_datagram_that_waited_has_the_kernels_time() -> None:
    assert arrival_us(NOW_US, REALTIME_US, REALTIME_US - 40_000) == NOW_US - 40_000


@pytest.mark.parametrize("jump_us", [HOUR_US, -HOUR_US, 1_000_000, -1])
def test_a_jump_of_the_clock_changes_no_arrival(jump_us: int) -> None:
    assert arrival_us(NOW_US, REALTIME_US + jump_us, REALTIME_US) == NOW_US


def test_a_datagram_too_long_for_rtp_comes_empty() -> None:
    async def run() -> list[tuple[bytes, tuple[str, int]]]:
        found: list[tuple[bytes, tuple[str, int]]] = []
        receiver = Receiver("127.0.0.1", lambda data, _, source: found.append((data, source)))
        host, _, port = receiver.address.rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for size in (2048, 2049, 60_000, 0):
                sender.sendto(bytes(size), (host, int(port)))
            source = sender.getsockname()[1]
        receiver.close()
        assert {each for _, (_, each) in found} == {source}
        return found

    assert [len(data) for data, _ in asyncio.run(run())] == [2048, 0, 0, 0]
