"""Sender reports while the realtime clock is set."""

import asyncio
import random
import socket
import time

import pytest

from overlane.publish.media import VideoUnit
from overlane.publish.transmitter import Transmitter
from rtp.ntp import unix_us_from_ntp

HOUR_US = 3_600_000_000


@pytest.mark.parametrize("jump_us", [5 * HOUR_US, -5 * HOUR_US])
def test_a_jump_of_the_clock_does_not_tear_the_timeline(
    monkeypatch: pytest.MonkeyPatch, jump_us: int
) -> None:
    """Receivers lay tracks side by side by the reports' wall times."""
    set_us = 0
    wall_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + set_us * 1_000)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    with ours, theirs:
        transmitter = Transmitter((ours, ours), random.Random(1), 30.0, 1200, None)
        asyncio.run(transmitter.send_frame(VideoUnit(0, 0, [b"\x65" + bytes(50)], True)))
        theirs.recv(2048)
        reported_us = []
        for set_us in (0, jump_us):  # noqa: B007  the clock above reads it
            asyncio.run(transmitter.send_reports(0))
            report = theirs.recv(2048)
            reported_us.append(unix_us_from_ntp(int.from_bytes(report[8:16], "big")))
    assert 0 <= reported_us[1] - reported_us[0] < 60_000_000
