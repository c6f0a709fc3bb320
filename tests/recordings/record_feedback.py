"""Makes the recordings of feedback again: what came to a GStreamer player and what it told.

    .venv/bin/python -m tests.recordings.record_feedback

Needs what `make test-clients` needs. Between node and player the path loses 3 % of the packets and
some in bursts, and brings 2 % out of order. Of RTP only the headers are kept.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from lab.link import BurstLoss, LinkConfig
from rtp.packet import RtpPacket
from tests.clients.viewing import carry
from tests.clients.viewing_cases import Case, Film
from tests.support.recordings import DIRECTORY, Datagram, read_pcap, write_pcap

PATH = LinkConfig(
    delay_us=20_000,
    jitter_us=2_000,
    loss=0.03,
    burst_loss=BurstLoss(p_bad=0.002, p_good=0.05),
    reorder=0.02,
    reorder_extra_us=30_000,
)
# Name, seconds of the broadcast, and how often the player tells.
RECORDINGS = (("gst-each-frame", 16.0, 0), ("gst-each-100-ms", 10.0, 100))
NODE, PLAYER = 1, 2  # ports, as all that matters is the direction


def _shortened(datagrams: list[Datagram]) -> list[Datagram]:
    """In order of time; RTP without its payload."""
    start_us = min(each.time_us for each in datagrams)
    found = []
    for each in sorted(datagrams, key=lambda each: each.time_us):
        data, is_answer = each.data, each.port == NODE
        if not each.is_rtcp:
            data = data[: len(data) - len(RtpPacket.parse(data).payload)]
        elif not is_answer:
            continue
        ports = (PLAYER, NODE) if is_answer else (NODE, PLAYER)
        found.append(Datagram(each.time_us - start_us, *ports, data))
    return found


async def record(name: str, seconds: float, feedback_ms: int) -> None:
    case = Case(
        name,
        "gstreamer",
        PATH,
        broadcasts=((Film("200k"),),),
        is_bundle=True,
        transport_cc=True,
        feedback_ms=feedback_ms,
    )
    with tempfile.TemporaryDirectory() as directory:
        await carry(case, seconds, Path(directory), seed=1)
        seen = read_pcap((Path(directory) / "delivered.pcap").read_bytes())
    (DIRECTORY / "feedback" / f"{name}.pcap").write_bytes(write_pcap(_shortened(seen)))


async def main() -> None:
    for each in RECORDINGS:
        await record(*each)


if __name__ == "__main__":
    asyncio.run(main())
