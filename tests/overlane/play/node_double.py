"""A stand-in for a consumer node: its HTTP API, and a relay of UDP that does harm on order."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from aiohttp import web

Address: TypeAlias = tuple[str, int]

VIDEO, AUDIO = 96, 111


@dataclass
class Harm:
    """What becomes of a packet: chances, and the delay of what is late, in seconds."""

    loss: float = 0.0
    repaired_after_s: float | None = None
    late: float = 0.0
    late_s: float = 0.0
    twice: float = 0.0
    rng: random.Random = field(default_factory=lambda: random.Random(7))


class NodeDouble(asyncio.DatagramProtocol):
    """Sends what an encoder sends it to one viewer, by payload type."""

    def __init__(self, harm: Harm | None = None) -> None:
        self.harm = harm or Harm()
        self.viewers: dict[str, dict[str, Address]] = {}
        self.refusals: list[int] = []
        self.calls: list[str] = []
        self.expires_s = 15.0
        self.state = "live"
        self.url = ""
        self.tracks: dict[str, dict[str, int]] = {}
        """Unless empty: what it tells of the tracks, as the encoder's packets have it."""
        self.rtp_port = 0
        self.dropped = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.rtp_port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        del addr
        media = "audio" if data[1] & 0x7F == AUDIO else "video"
        if self.tracks:
            ssrc = int.from_bytes(data[8:12], "big")
            self.tracks[media] = {"ssrc": ssrc, "payload_type": data[1] & 0x7F}
        for addresses in self.viewers.values():
            if media in addresses:
                self._relay(data, addresses[media])

    async def post(self, request: web.Request) -> web.Response:
        self.calls.append("POST")
        if self.refusals:
            return web.json_response({"error": "not yet"}, status=self.refusals.pop(0))
        body = await request.json()
        viewer = f"v{len(self.calls)}"
        self.viewers[viewer] = {
            media: _address(text) for media, text in body.items() if media != "rtcp"
        }
        stream = request.match_info["name"]
        answer = {"viewer": viewer, "stream": stream, "tracks": self.tracks, **self._status()}
        return web.json_response(answer, status=201)

    async def put(self, request: web.Request) -> web.Response:
        self.calls.append("PUT")
        if request.match_info["id"] not in self.viewers:
            return web.json_response({"error": "no such viewer"}, status=404)
        return web.json_response({"tracks": self.tracks, **self._status()})

    async def delete(self, request: web.Request) -> web.Response:
        self.calls.append("DELETE")
        self.viewers.pop(request.match_info["id"], None)
        return web.Response(status=204)

    def _status(self) -> dict[str, object]:
        return {"expires_s": self.expires_s, "state": self.state, "path": ["london", "tokyo"]}

    def _relay(self, data: bytes, address: Address) -> None:
        harm = self.harm
        if harm.rng.random() < harm.loss:
            self.dropped += 1
            if harm.repaired_after_s is None:
                return
            self._send_later(harm.repaired_after_s, data, address)
        elif harm.rng.random() < harm.late:
            self._send_later(harm.late_s, data, address)
        else:
            self._send(data, address)
        if harm.rng.random() < harm.twice:
            self._send(data, address)

    def _send_later(self, seconds: float, data: bytes, address: Address) -> None:
        asyncio.get_running_loop().call_later(seconds, self._send, data, address)

    def _send(self, data: bytes, address: Address) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.sendto(data, address)


@asynccontextmanager
async def node_double(
    configure: Callable[[NodeDouble], None] | None = None,
) -> AsyncIterator[NodeDouble]:
    """Both its sides, on free ports."""
    node = NodeDouble()
    if configure is not None:
        configure(node)
    application = web.Application()
    application.add_routes(
        [
            web.post("/streams/{name}/viewers", node.post),
            web.put("/viewers/{id}", node.put),
            web.delete("/viewers/{id}", node.delete),
        ]
    )
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    node.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: node, local_addr=("127.0.0.1", 0))
    try:
        yield node
    finally:
        transport.close()
        await runner.cleanup()


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host, int(port)
