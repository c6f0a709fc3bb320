"""The asyncio shell against a real WebSocket server on loopback."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from control_client.certificates import KeyPair, issue, new_lab_ca
from control_client.codec import MAX_MESSAGE_BYTES
from control_client.connection import ControlConnection, Tls
from control_client.errors import ConnectionConfigError
from control_client.messages import AskPath, LinkReport, Paths
from control_client.messages import Path as Way
from control_client.session_events import PathsFound
from control_client.table import NodeTable
from tests.support.control_channel import REPORT, Brain, ChannelNode, neighbour
from tests.support.node_client import PATIENCE_S, Client, now_us

TABLE = NodeTable.of([neighbour(1), neighbour(2)])
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
NOW = datetime.now(UTC)


@dataclass
class Server:
    """A brain behind a WebSocket; nothing is timed here, so it sends no heartbeats."""

    brain: Brain = field(default_factory=Brain)
    sockets: dict[int, web.WebSocketResponse] = field(default_factory=dict)
    close_codes: list[int | None] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES + 1)
        await socket.prepare(request)
        number = self.brain.accept(0, str(request.remote))
        self.sockets[number] = socket
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                self.brain.sessions[number].receive(message.data, 0)
                await self.flush()
        self.close_codes.append(socket.close_code)
        self.brain.sessions[number].on_closed("closed")
        self.brain.handle(0)
        return socket

    async def flush(self) -> None:
        self.brain.handle(0)
        for number, socket in self.sockets.items():
            while (data := self.brain.sessions[number].next_message()) is not None:
                await socket.send_bytes(data)
            if (wish := self.brain.closed.get(number)) is not None and not socket.closed:
                await socket.close(code=wish.close_code, message=wish.text.encode()[:123])


def run(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scene)


async def serve(
    handler: Handler, context: ssl.SSLContext | None = None
) -> tuple[web.AppRunner, int]:
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    assert site._server is not None
    return runner, runner.addresses[0][1]


async def with_client(
    url: str, scene: Callable[[Client], Awaitable[None]], tls: Tls | None = None
) -> Client:
    """Run a client while the scene lasts."""
    client = Client()
    task = asyncio.create_task(client.connect(url, tls).run())
    try:
        await scene(client)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return client


async def first_problem(url: str, tls: Tls | None = None) -> str:
    async def scene(client: Client) -> None:
        await client.until(lambda: bool(client.problems))

    client = await with_client(url, scene, tls)
    assert not client.node.session.is_registered
    return client.problems[0]


# -- TLS


@dataclass(frozen=True)
class Lab:
    directory: Path
    ca: KeyPair

    def write(self, name: str, pair: KeyPair) -> tuple[Path, Path]:
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        certificate.write_bytes(pair.certificate_pem)
        key.write_bytes(pair.key_pem)
        return certificate, key

    @property
    def tls(self) -> Tls:
        return Tls(self.directory / "ca.pem")

    def server_context(self, pair: KeyPair) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.write("server", pair))
        return context


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path, new_lab_ca("lab", NOW))
    made.write("ca", made.ca)
    return made


def brain_certificate(
    ca: KeyPair, hosts: tuple[str, ...] = ("127.0.0.1",), days: int = 2
) -> KeyPair:
    return issue(ca, "brain", hosts, "brain", NOW, days)


def test_over_tls_a_node_enters_gets_its_table_and_its_answer(lab: Lab) -> None:
    async def scene() -> None:
        server = Server()
        server.brain.distribution.set_tables({"tokyo": TABLE}, 0)
        context = lab.server_context(brain_certificate(lab.ca))
        runner, port = await serve(server.handle, context)

        async def talk(client: Client) -> None:
            await client.until(lambda: client.node.session.held is not None)
            client.node.session.ask_path("demo", now_us())
            client.connection.flush()
            await client.until(lambda: any(isinstance(m, AskPath) for m in server.brain.said()))
            ask = server.brain.said()[-1]
            assert isinstance(ask, AskPath)
            answer = Paths(ask.transaction, "demo", (Way(("n1",), 5),))
            server.brain.sessions[1].send(answer, 0)
            await server.flush()
            await client.until(lambda: client.node.of(PathsFound) != [])
            client.node.session.stop(now_us())
            client.connection.flush()
            await client.until(lambda: server.close_codes == [1001])

        client = await with_client(f"wss://127.0.0.1:{port}/", talk, lab.tls)
        assert client.problems == []
        assert client.node.stored is not None
        assert client.node.stored.table == TABLE
        status = server.brain.distribution.status("tokyo")
        assert status is not None
        assert status.is_current
        await runner.cleanup()

    run(scene())


def certificates(lab: Lab) -> dict[str, tuple[KeyPair, str]]:
    past = NOW - timedelta(days=3)
    future = NOW + timedelta(days=3)
    return {
        "authority": (
            brain_certificate(new_lab_ca("lab", NOW)),
            f"the brain's certificate is not signed by an authority in {lab.directory}/ca.pem",
        ),
        "host": (
            brain_certificate(lab.ca, ("192.0.2.1", "brain.lab")),
            "the brain's certificate is not for 127.0.0.1",
        ),
        "expired": (
            issue(lab.ca, "brain", ("127.0.0.1",), "brain", past, 1),
            "the brain's certificate has expired, or this node's clock is wrong",
        ),
        "early": (
            issue(lab.ca, "brain", ("127.0.0.1",), "brain", future, 1),
            "the brain's certificate is not valid yet; is this node's clock right?",
        ),
        "node": (
            issue(lab.ca, "tokyo", ("127.0.0.1",), "node", NOW, 1),
            "the brain's certificate is no good: unsuitable certificate purpose",
        ),
    }


@pytest.mark.parametrize("kind", ["authority", "host", "expired", "early", "node"])
def test_a_wrong_certificate_ends_it_before_anything_is_said(lab: Lab, kind: str) -> None:
    pair, text = certificates(lab)[kind]

    async def scene() -> None:
        server = Server()
        runner, port = await serve(server.handle, lab.server_context(pair))
        problem = await first_problem(f"wss://127.0.0.1:{port}/", lab.tls)
        assert problem == f"127.0.0.1:{port}: {text}"
        assert server.brain.sessions == {}
        await runner.cleanup()

    run(scene())


def test_a_brain_may_ask_for_a_nodes_certificate(lab: Lab) -> None:
    async def scene() -> None:
        server = Server()
        context = lab.server_context(brain_certificate(lab.ca))
        context.load_verify_locations(lab.directory / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        runner, port = await serve(server.handle, context)
        url = f"wss://127.0.0.1:{port}/"
        problem = await first_problem(url, lab.tls)
        assert problem.startswith(f"127.0.0.1:{port}")
        assert server.brain.sessions == {}

        async def scene_with(client: Client) -> None:
            await client.until(lambda: client.node.session.is_registered)

        files = lab.write("tokyo", issue(lab.ca, "tokyo", (), "node", NOW))
        await with_client(url, scene_with, Tls(lab.directory / "ca.pem", *files))
        await runner.cleanup()

    run(scene())


def test_tls_to_a_plain_server_and_plain_text_to_a_tls_server(lab: Lab) -> None:
    async def scene() -> None:
        plain, plain_port = await serve(Server().handle)
        problem = await first_problem(f"wss://127.0.0.1:{plain_port}/", lab.tls)
        assert problem.startswith(f"127.0.0.1:{plain_port} does not speak TLS as this node does")
        await plain.cleanup()
        context = lab.server_context(brain_certificate(lab.ca))
        secure, port = await serve(Server().handle, context)
        problem = await first_problem(f"ws://127.0.0.1:{port}/")
        assert problem.startswith("127.0.0.1:") or "HTTP status" in problem
        await secure.cleanup()

    run(scene())


# -- what it may connect to


@pytest.mark.parametrize(
    ("url", "allowed", "text"),
    [
        ("ws://127.0.0.1:1/", False, "plain text has to be allowed explicitly; use wss://"),
        ("ws://192.0.2.1:1/", True, "plain text is for loopback only; use wss://"),
        ("ws://brain.lab:1/", True, "plain text is for loopback only; use wss://"),
        ("ws://127.0.0.1.brain.lab:1/", True, "plain text is for loopback only"),
        ("ws://localhost.brain.lab:1/", True, "plain text is for loopback only"),
        ("wss://brain.lab:1/", True, "TLS needs the authority"),
        ("http://127.0.0.1:1/", True, "wss://HOST:PORT is expected"),
        ("ws://user:word@127.0.0.1:1/", True, "wss://HOST:PORT is expected"),
        ("brain.lab", True, "wss://HOST:PORT is expected"),
        ("ws://127.0.0.1:99999/", True, "wss://HOST:PORT is expected"),
        ("", True, "wss://HOST:PORT is expected"),
    ],
)
def test_what_is_refused_without_connecting(url: str, allowed: bool, text: str) -> None:
    session = ChannelNode().session
    with pytest.raises(ConnectionConfigError, match=text):
        ControlConnection(url, session, lambda _: None, allow_plain_text=allowed)


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1/", "ws://[::1]:1/x", "ws://localhost:1"])
def test_loopback_may_be_plain_if_allowed(url: str) -> None:
    ControlConnection(url, ChannelNode().session, lambda _: None, allow_plain_text=True)


def test_files_that_are_no_certificates(lab: Lab) -> None:
    def build(tls: Tls) -> None:
        ControlConnection("wss://brain.lab/", ChannelNode().session, lambda _: None, tls=tls)

    missing, empty = lab.directory / "missing.pem", lab.directory / "empty.pem"
    empty.write_bytes(b"")
    with pytest.raises(ConnectionConfigError, match=r"missing.pem: no authority.*No such file"):
        build(Tls(missing))
    with pytest.raises(ConnectionConfigError, match=r"empty.pem: no authority"):
        build(Tls(empty))
    own = lab.write("tokyo", issue(lab.ca, "tokyo", (), "node", NOW))
    with pytest.raises(ConnectionConfigError, match="no certificate with its key"):
        build(Tls(lab.directory / "ca.pem", own[0], lab.directory / "ca.key"))


# -- what may happen


def test_nobody_there() -> None:
    async def scene() -> None:
        runner, port = await serve(Server().handle)
        await runner.cleanup()
        problem = await first_problem(f"ws://127.0.0.1:{port}/")
        assert problem == f"cannot connect to 127.0.0.1:{port}: Connection refused"

    run(scene())


def test_no_control_channel_and_redirections() -> None:
    async def nothing(_: web.Request) -> web.StreamResponse:
        return web.Response(status=503)

    async def elsewhere(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://192.0.2.1/")

    async def scene() -> None:
        for handler, text in (
            (nothing, "is no control channel (HTTP status 503)"),
            (elsewhere, "leads to http://192.0.2.1/; redirections are not followed"),
        ):
            runner, port = await serve(handler)
            problem = await first_problem(f"ws://127.0.0.1:{port}/")
            assert problem == f"ws://127.0.0.1:{port}/ {text}"
            await runner.cleanup()

    run(scene())


def test_a_refused_node_says_why_and_goes_on_trying() -> None:
    async def scene() -> None:
        server = Server(Brain(("paris",)))
        runner, port = await serve(server.handle)
        problem = await first_problem(f"ws://127.0.0.1:{port}/")
        text = "no node tokyo is known here; add it, or mend its name"
        assert problem == f"refused by the brain: {text} (unknown_node)"
        await runner.cleanup()

    run(scene())


def test_the_brain_goes_and_comes_back() -> None:
    async def scene() -> None:
        server = Server()
        server.brain.distribution.set_tables({"tokyo": TABLE}, 0)
        runner, port = await serve(server.handle)

        async def lose_it(client: Client) -> None:
            await client.until(lambda: client.node.session.held is not None)
            await server.sockets[1].close(code=1001, message=b"restarts")
            await client.until(lambda: len(client.problems) == 1)
            assert client.problems == ["the brain closed the connection (1001: restarts)"]
            assert client.node.session.held is not None
            await client.until(lambda: len(server.brain.sessions) == 2)
            await client.until(lambda: client.node.session.is_registered)

        await with_client(f"ws://127.0.0.1:{port}/", lose_it)
        assert server.brain.distribution.counters == {"sent_whole": 1}
        await runner.cleanup()

    run(scene())


async def say_text(socket: web.WebSocketResponse) -> None:
    await socket.send_str("hello")


async def say_garbage(socket: web.WebSocketResponse) -> None:
    await socket.send_bytes(b"\xc1")


async def say_too_much(socket: web.WebSocketResponse) -> None:
    await socket.send_bytes(bytes(MAX_MESSAGE_BYTES + 1))


@pytest.mark.parametrize(
    ("say", "text", "close_code"),
    [
        (say_text, "not a control message", 1007),
        (say_garbage, "not a control message", 1007),
        (say_too_much, f"a message of more than {MAX_MESSAGE_BYTES} bytes came", 1009),
    ],
)
def test_what_is_no_message_ends_the_connection_and_changes_nothing(
    say: Callable[[web.WebSocketResponse], Awaitable[None]], text: str, close_code: int
) -> None:
    async def scene() -> None:
        server = Server()
        server.brain.distribution.set_tables({"tokyo": TABLE}, 0)
        runner, port = await serve(server.handle)

        async def hear(client: Client) -> None:
            await client.until(lambda: client.node.session.held is not None)
            held = client.node.session.held
            await say(server.sockets[1])
            await client.until(lambda: bool(client.problems))
            assert text in client.problems[0]
            await client.until(lambda: server.close_codes == [close_code])
            await client.until(lambda: client.node.session.is_registered)
            assert client.node.session.held == held

        await with_client(f"ws://127.0.0.1:{port}/", hear)
        await runner.cleanup()

    run(scene())


def test_a_connection_that_never_opens_is_given_up_when_the_node_stops() -> None:
    """The server accepts and says nothing."""

    async def scene() -> None:
        accepted = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            accepted.set()
            await reader.read()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = Client()
        task = asyncio.create_task(client.connect(f"ws://127.0.0.1:{port}/").run())
        await asyncio.wait_for(accepted.wait(), PATIENCE_S)
        client.node.session.stop(now_us())
        client.connection.flush()
        await asyncio.wait_for(task, PATIENCE_S)
        server.close()

    run(scene())


def test_a_brain_that_reads_nothing_does_not_hold_the_node() -> None:
    """Its buffers fill; then the session gives it up, and the connection is cut in time."""

    async def scene() -> None:
        release = asyncio.Event()
        server = Server()

        async def stuck(request: web.Request) -> web.StreamResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            number = server.brain.accept(0, "x")
            server.sockets[number] = socket
            for _ in range(2):
                server.brain.sessions[number].receive((await socket.receive()).data, 0)
                await server.flush()
            assert request.transport is not None
            request.transport.pause_reading()
            await release.wait()
            return socket

        runner, port = await serve(stuck)

        async def flood(client: Client) -> None:
            await client.until(lambda: client.node.session.is_registered)
            links = tuple(LinkReport(f"n{n:030d}", True, 1, 1, 1, 1) for n in range(1024))
            report = msgspec.structs.replace(REPORT, links=links)
            while not client.problems and client.node.session.is_registered:
                client.node.session.report(report, now_us())
                client.connection.flush()
                await asyncio.sleep(0)
            assert client.node.session.last_problem == "the brain does not read"
            await client.until(lambda: bool(client.problems))

        await with_client(f"ws://127.0.0.1:{port}/", flood)
        release.set()
        await runner.cleanup()

    run(scene())
