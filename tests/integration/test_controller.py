"""Two real nodes and a brain behind a real WebSocket with TLS: they know each other by it alone."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import lab.ports
from control_client.certificates import issue, new_lab_ca
from control_client.codec import MAX_MESSAGE_BYTES
from control_client.messages import AskPath, Neighbour, Paths, TableRefused, TableVersion
from control_client.messages import Path as Way
from control_client.table import NodeTable
from control_client.tokens import new_token, token_hash
from controller.tables.registry import KnownNode, NodeRegistry
from tests.relay.test_daemon import Process, spawn
from tests.support.control_channel import Brain

pytestmark = pytest.mark.integration

PATIENCE_S = 30.0
SECRET = b"adjacency secret of a and b.....".ljust(32, b".")
IDS = {"a": 1, "b": 2}


def now_us() -> int:
    return time.monotonic_ns() // 1000


@dataclass
class Server:
    """A brain on a port. Killed and started again on the same one, with another term."""

    context: ssl.SSLContext
    tokens: dict[str, str]
    port: int
    ways: dict[str, tuple[str, ...]] = field(default_factory=dict)
    close_codes: list[int | None] = field(default_factory=list)

    async def start(self, term: int, tables: dict[str, NodeTable]) -> None:
        self.brain = Brain(tuple(self.tokens), term)
        self.brain.registry = NodeRegistry(
            [KnownNode(n, IDS[n], token_hash(token)) for n, token in self.tokens.items()]
        )
        self.brain.distribution.set_tables(tables, now_us())
        self.sockets: dict[int, web.WebSocketResponse] = {}
        application = web.Application()
        application.router.add_get("/control", self._serve)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(
            self._runner, "127.0.0.1", self.port, ssl_context=self.context, reuse_address=True
        ).start()

    async def kill(self) -> None:
        for connection in self.sockets.values():
            if connection._writer is not None:
                connection._writer.transport.abort()
        await self._runner.cleanup()

    async def say(self, node: str, message: Any) -> None:
        self.brain.sessions[self.brain.registry.connected[node]].send(message, now_us())
        await self._flush()

    async def has_left(self) -> bool:
        """A node has said goodbye."""
        end_s = time.monotonic() + PATIENCE_S
        while 1001 not in self.close_codes and time.monotonic() < end_s:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return 1001 in self.close_codes

    async def has_heard(self, kind: type[object]) -> bool:
        """A node has sent such a message."""
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            if any(isinstance(getattr(e, "message", None), kind) for e in self.brain.events):
                return True
            await asyncio.sleep(0.02)
        return False

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        connection = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES + 1)
        await connection.prepare(request)
        number = self.brain.accept(now_us(), str(request.remote))
        brain = self.brain
        self.sockets[number] = connection
        async for message in connection:
            if message.type is aiohttp.WSMsgType.BINARY:
                brain.sessions[number].receive(message.data, now_us())
                brain.handle(now_us())
                self._answer(number)
                await self._flush()
        self.close_codes.append(connection.close_code)
        brain.sessions[number].on_closed("closed")
        brain.handle(now_us())
        return connection

    def _answer(self, number: int) -> None:
        for said in self.brain.said():
            if isinstance(said, AskPath) and said.broadcast in self.ways:
                way = Way(self.ways[said.broadcast], 1000)
                answer = Paths(said.transaction, said.broadcast, (way,))
                self.brain.sessions[number].send(answer, now_us())

    async def _flush(self) -> None:
        for number, connection in self.sockets.items():
            while (data := self.brain.sessions[number].next_message()) is not None:
                with suppress(ConnectionError):
                    await connection.send_bytes(data)


@dataclass
class Lab:
    directory: Path
    server: Server
    ports: dict[str, int]
    admin: dict[str, int]
    ingest: int
    nodes: dict[str, Process] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(65_500))

    def entry(self, name: str) -> Neighbour:
        address = f"127.0.0.1:{self.ports[name]}"
        return Neighbour(name, IDS[name], address, SECRET, 50_000_000)

    def tables(self, *, is_pushed: bool) -> dict[str, NodeTable]:
        paths = {"demo": (Way(("a",), 1000),)} if is_pushed else None
        return {
            "a": NodeTable.of([self.entry("b")]),
            "b": NodeTable.of([self.entry("a")], paths),
        }

    def start_node(self, name: str) -> Process:
        text = f"""
name = "{name}"
node_id = {IDS[name]}
listen = "127.0.0.1:{self.ports[name]}"
viewers.listen = "127.0.0.1:0"
limits.slab_mib = 8
limits.viewers = 16
[controller]
url = "wss://127.0.0.1:{self.server.port}/control"
token_file = "{name}.token"
ca_file = "ca.pem"
"""
        if name == "a":
            text += f"""
[[ingests]]
name = "demo"
[[ingests.tracks]]
kind = "audio"
codec = "opus"
listen = "127.0.0.1:{self.ingest}"
payload_type = 111
clock_rate = 48000
"""
        (self.directory / f"{name}.token").write_text(self.server.tokens[name] + "\n")
        path = self.directory / f"{name}.toml"
        self.nodes[name] = spawn(path, text, self.admin[name])
        return self.nodes[name]

    async def call(self, name: str, path: str, body: object = None) -> Any:
        method = "GET" if body is None else "POST"
        _, found = await asyncio.to_thread(self.nodes[name].call, method, path, body)
        return found

    async def until(self, name: str, is_so: Callable[[Any], bool]) -> Any:
        """A node's status, once it is as wanted."""
        status: Any = None
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            process = self.nodes[name].process
            assert process.poll() is None, process.communicate()[1]
            with suppress(OSError):
                status = await self.call(name, "/status")
                if is_so(status):
                    return status
            await asyncio.sleep(0.05)
        raise AssertionError(f"{name} is not as wanted: {json.dumps(status)}")

    async def until_joined(self, name: str, term: int) -> Any:
        def is_so(status: Any) -> bool:
            controller = status["controller"]
            return (
                controller["state"] == "registered"
                and controller["table"] is not None
                and controller["table"]["version"].startswith(f"{term}.")
                and controller["table"]["is_stored"]
                and all(n["is_up"] for n in status["neighbours"])
                and len(status["neighbours"]) == 1
            )

        return await self.until(name, is_so)


@asynccontextmanager
async def two_nodes(directory: Path) -> AsyncIterator[Lab]:
    now = datetime.now(UTC)
    ca = new_lab_ca("lab", now)
    pair = issue(ca, "brain", ("127.0.0.1",), "brain", now, 2)
    (directory / "ca.pem").write_bytes(ca.certificate_pem)
    (directory / "brain.pem").write_bytes(pair.certificate_pem)
    (directory / "brain.key").write_bytes(pair.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "brain.pem", directory / "brain.key")
    a, b, admin_a, admin_b, ingest, port = lab.ports.free_ports(6, SystemRandom())
    server = Server(context, {name: new_token() for name in IDS}, port)
    made = Lab(directory, server, {"a": a, "b": b}, {"a": admin_a, "b": admin_b}, ingest)
    try:
        yield made
    finally:
        for node in made.nodes.values():
            node.process.kill()
            node.process.communicate()


async def heard_after(found: Lab, receiver: socket.socket, packets: int) -> int:
    """How many of these Opus packets, sent at 5 ms, a viewer at b gets."""
    heard = 0
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as encoder:
        for number in itertools.islice(found.numbers, packets):
            header = struct.pack(">BBHII", 0x80, 111, number & 0xFFFF, number * 960, 0xABC)
            encoder.sendto(header + b"\x78" + bytes(80), ("127.0.0.1", found.ingest))
            with suppress(TimeoutError):
                data = await asyncio.wait_for(loop.sock_recv(receiver, 2048), 0.05)
                heard += data[1] < 200 or data[1] > 206
    return heard


def viewer_socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.setblocking(False)
    return made


def test_nodes_live_by_their_brain_and_without_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with two_nodes(tmp_path) as found:
            server = found.server
            server.ways["demo"] = ("a",)
            await server.start(5, found.tables(is_pushed=False))
            found.start_node("a")
            found.start_node("b")
            await found.until_joined("a", 5)
            status = await found.until_joined("b", 5)
            assert status["controller"]["term"] == 5
            assert status["controller"]["node_id"] == IDS["b"]
            assert not status["neighbours"][0]["is_static"]
            assert "control_tls" not in status["fallbacks"]

            receiver = viewer_socket()
            port = receiver.getsockname()[1]
            body = {"audio": f"127.0.0.1:{port}", "rtcp": "none", "expires_s": None}
            await heard_after(found, receiver, 2)
            viewer = await found.call("b", "/streams/demo/viewers", body)
            assert viewer.get("path") == ["a", "b"], viewer
            assert await heard_after(found, receiver, 40) >= 30
            (announced,) = (await found.call("a", "/status"))["controller"]["announced"]
            assert announced == "demo"

            # An older table changes nothing, and is shown.
            older = NodeTable.of([]).as_message(TableVersion(4, 9))
            await server.say("b", older)
            status = await found.until("b", lambda s: "older" in s["controller"]["last_problem"])
            assert status["controller"]["table"]["version"].startswith("5.")
            assert await server.has_heard(TableRefused)
            assert await heard_after(found, receiver, 20) >= 15

            # The brain is gone, and b starts anew: by the table it has kept.
            server.brain.distribution.set_tables(found.tables(is_pushed=True), now_us())
            server.brain.handle(now_us())
            await server._flush()
            await found.until("b", lambda s: s["controller"]["table"]["paths"] == 1)
            await found.until_joined("b", 5)
            await server.kill()
            code, log = await asyncio.to_thread(found.nodes["b"].stop)
            assert code == 0
            names = [line["event"] for line in log]
            assert "controller_connected" in names
            assert "table_turned_down" in names
            found.start_node("b")
            await found.until("b", lambda s: [n["is_up"] for n in s["neighbours"]] == [True])
            status = await found.call("b", "/status")
            assert status["controller"]["state"] != "registered"
            assert status["controller"]["table"]["is_stored"]
            viewer = await found.call("b", "/streams/demo/viewers", body)
            assert viewer.get("path") == ["a", "b"], viewer
            assert await heard_after(found, receiver, 40) >= 30
            refused = await found.call("b", "/streams/other/viewers", body)
            assert refused["code"] == "time_out"
            assert "the brain is away" in refused["error"]
            metrics = await found.call("b", "/metrics")
            assert "overlane_control_connected 0.0" in metrics
            assert "overlane_control_table_term 5.0" in metrics

            # It is back, with a higher term: media never stopped.
            await server.start(6, found.tables(is_pushed=True))
            await found.until_joined("b", 6)
            assert await heard_after(found, receiver, 20) >= 15
            ready = await found.call("b", "/readyz")
            assert (ready["controller"], ready["table"][:2]) == ("registered", "6.")
            code, log = await asyncio.to_thread(found.nodes["b"].stop)
            assert code == 0
            lost = [line for line in log if line["event"] == "controller_lost"]
            assert "cannot connect to 127.0.0.1" in lost[0]["reason"]
            assert await server.has_left()
            await server.kill()
            receiver.close()

    asyncio.run(scene())


def test_a_damaged_table_is_loud_and_the_node_goes_on(tmp_path: Path) -> None:
    async def scene() -> None:
        async with two_nodes(tmp_path) as found:
            (tmp_path / "b.table").write_bytes(b"overlane table 1\n" + bytes(100))
            found.start_node("b")
            status = await found.until("b", lambda s: s["controller"]["last_problem"] != "")
            assert status["controller"]["table"] is None
            _, log = await asyncio.to_thread(found.nodes["b"].stop)
            (problem,) = [line for line in log if line["event"] == "stored_table_unreadable"]
            assert problem["level"] == "error"
            assert problem["problem"].endswith("is damaged: its checksum does not match")

    asyncio.run(scene())
