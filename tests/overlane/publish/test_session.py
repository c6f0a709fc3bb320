"""A whole session against a socket that stands for a node."""

import asyncio
import socket
from pathlib import Path

import pytest
import uvloop

from overlane.publish.options import PublishOptions
from overlane.publish.session import publish
from rtp.rtcp.compound import RtcpPacket

pytestmark = pytest.mark.integration

PLI = RtcpPacket(206, 1, bytes(8)).serialise()


def node_socket(port: int = 0) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", port))
    made.setblocking(False)
    return made


async def source_of_a_packet(node: socket.socket) -> tuple[str, int]:
    while True:
        try:
            address: tuple[str, int] = node.recvfrom(2048)[1]
        except BlockingIOError:
            await asyncio.sleep(0.01)
        else:
            return address


def test_a_node_that_comes_back_is_heard(tmp_path: Path) -> None:
    """While it is away its host refuses packets; afterwards it wants a key frame."""

    async def run() -> None:
        node = node_socket()
        port = node.getsockname()[1]
        stop = asyncio.Event()
        options = PublishOptions(
            stream="demo",
            to=f"127.0.0.1:{port}",
            width=160,
            height=90,
            manifest=tmp_path / "sent.jsonl",
            handle_signals=False,
        )
        sending = asyncio.create_task(publish(options, stop=stop))
        await source_of_a_packet(node)
        node.close()
        await asyncio.sleep(0.3)
        node = node_socket(port)
        source = await source_of_a_packet(node)
        node.sendto(PLI, source)
        for _ in range(10):
            await source_of_a_packet(node)
        stop.set()
        report = await sending
        node.close()
        assert report.packets_refused > 0
        assert report.key_frame_requests == 1

    uvloop.run(asyncio.wait_for(run(), 30))
