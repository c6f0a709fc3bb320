"""What goes wrong between a node and a brain, with real daemon and real connection over TLS: what
each side says, and that nothing else has changed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from structlog.testing import capture_logs

from control_client.certificates import new_lab_ca
from control_client.codec import MAX_MESSAGE_BYTES
from control_client.connection import Tls
from control_client.messages import TableVersion
from control_client.session_events import TableDeclined
from control_client.table import HeldTable, NodeTable
from controller.daemon import Daemon
from tests.controller.running_brain import Site, running, until
from tests.support.control_channel import ChannelNode, neighbour
from tests.support.node_client import Client

pytestmark = pytest.mark.integration

FUTURE = TableVersion(1 << 50, 3)


@dataclass
class Scene:
    """london is in and stays; the trouble comes from elsewhere."""

    site: Site
    daemon: Daemon
    london: Client
    log: list[Any]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"wss://{self.daemon.control_address}/control"

    def connect(self, client: Client, tls: Tls | None = None, url: str = "") -> Client:
        connection = client.connect(url or self.url, tls if url else tls or self.site.tls)
        self.tasks.append(asyncio.create_task(connection.run()))
        return client

    async def entered(self, name: str = "tokyo") -> Client:
        """A node that is in, and has its table."""
        client = self.connect(Client(ChannelNode(name, address="192.0.2.201:7000")))
        await client.until(lambda: client.node.session.held is not None)
        return client

    def status(self, without: str = "") -> list[Any]:
        """All that the brain tells about the overlay; of `without` not whether it is there."""
        brain = self.daemon.brain
        nodes = [
            msgspec.structs.replace(node, load=None, is_connected=False, table=None)
            if node.name == without
            else msgspec.structs.replace(node, load=None)
            for node in brain.nodes()
        ]
        streams = [msgspec.structs.replace(stream, since_s=0) for stream in brain.streams()]
        return [nodes, brain.links(), streams, self.london.node.session.held]

    def told(self, event: str) -> list[str]:
        """Texts of the brain's log lines of this name."""
        lines = [line for line in self.log if line["event"] == event]
        return [line.get("text") or line["reason"] for line in lines]


Trouble = Callable[[Scene], Awaitable[None]]


def play(tmp_path: Path, trouble: Trouble, **overrides: object) -> None:
    async def scene() -> None:
        site = Site(tmp_path).make()
        with capture_logs() as log:
            async with running(site, **overrides) as daemon:
                london = Client(ChannelNode("london", address="192.0.2.200:7000"))
                found = Scene(site, daemon, london, log)
                found.connect(london)
                try:
                    await london.until(lambda: london.node.session.held is not None)
                    await until(
                        lambda: [n.table.is_current for n in daemon.brain.nodes()][0]  # noqa: RUF015
                    )
                    await trouble(found)
                finally:
                    for task in found.tasks:
                        task.cancel()
                        with suppress(asyncio.CancelledError):
                            await task

    asyncio.run(scene())


def frame(schema: int, **message: object) -> bytes:
    return msgspec.msgpack.encode((schema, message))


SPOKEN = "announce_stream, ask_path, end_stream, heartbeat, inventory, report, "
BAD_MESSAGES = {
    "garbled": (
        b"\xc1\xc1\xc1",
        "not a control message: a msgpack array of schema and message is expected",
        "malformed",
        1007,
    ),
    "cut": (
        frame(1, type="ask_path", transaction=1, broadcast="live")[:-2],
        "not a control message: a msgpack array of schema and message is expected",
        "malformed",
        1007,
    ),
    "wrong type": (
        frame(1, type="ask_path", transaction="one", broadcast="live"),
        "AskPath.transaction: Expected `int`, got `str`",
        "malformed",
        1007,
    ),
    "unknown field": (
        frame(1, type="ask_path", transaction=1, broadcast="live", colour=1),
        "AskPath.colour: Object contains unknown field `colour`",
        "malformed",
        1007,
    ),
    "unknown message": (
        frame(1, type="sing"),
        f"type: 'sing' is not a message of schema 1 here; allowed: {SPOKEN}"
        "subscription_state, table_applied, table_refused",
        "malformed",
        1007,
    ),
    "too new": (
        frame(2, type="ask_path", transaction=1, broadcast="live"),
        "control schema 2 is newer than what is spoken here (1)",
        "schema_too_new",
        1008,
    ),
    "oversized": (
        bytes(MAX_MESSAGE_BYTES + 1),
        f"{MAX_MESSAGE_BYTES + 1} bytes; a message has at most {MAX_MESSAGE_BYTES}",
        "too_large",
        1009,
    ),
    "out of order": (
        frame(0, type="hello", lowest_schema=1, highest_schema=1, node="tokyo", token="x",
              boot_id=1),
        "Hello while joined",
        "unexpected",
        1002,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_MESSAGES)
def test_a_bad_message_ends_its_senders_connection_and_nothing_else(
    tmp_path: Path, kind: str
) -> None:
    data, text, code, _ = BAD_MESSAGES[kind]

    async def trouble(scene: Scene) -> None:
        tokyo = await scene.entered()
        await until(lambda: all(node.table.is_current for node in scene.daemon.brain.nodes()))
        before, held = scene.status(without="tokyo"), tokyo.node.session.held
        say_raw(tokyo, data)
        await tokyo.until(lambda: bool(tokyo.problems))
        assert tokyo.problems == [f"refused by the brain: {text} ({code})"]
        await until(lambda: scene.told("node_left") != [])
        assert scene.told("node_turned_away") == [text]
        assert scene.told("node_left") == [f"{text} ({code})"]
        assert scene.status(without="tokyo") == before
        assert tokyo.node.session.held == held
        assert scene.london.problems == []

    play(tmp_path, trouble)


@pytest.mark.parametrize("kind", BAD_MESSAGES)
def test_a_strangers_bad_message_gets_the_close_code_of_its_kind(tmp_path: Path, kind: str) -> None:
    """Without a Hello: by hand, as no session would speak so."""
    data, _, _, close_code = BAD_MESSAGES[kind]
    expected = {"out of order": 1008, "oversized": 1009}.get(kind, close_code)

    async def trouble(scene: Scene) -> None:
        before = scene.status()
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(scene.url, ssl=_context(scene.site)) as socket,
        ):
            await socket.send_bytes(data)
            while not (await socket.receive()).type.name.startswith("CLOSE"):
                pass
            assert socket.close_code == expected
        assert scene.status() == before
        assert len(scene.told("node_turned_away")) == 1

    play(tmp_path, trouble)


def test_a_message_beyond_what_the_socket_takes(tmp_path: Path) -> None:
    """The brain does not even read it to its end."""

    async def trouble(scene: Scene) -> None:
        tokyo = await scene.entered()
        await until(lambda: all(node.table.is_current for node in scene.daemon.brain.nodes()))
        before = scene.status(without="tokyo")
        say_raw(tokyo, bytes(MAX_MESSAGE_BYTES + 2))
        await tokyo.until(lambda: bool(tokyo.problems))
        assert "1009" in tokyo.problems[0]
        await until(lambda: scene.told("node_left") != [])
        text = f"a message of more than {MAX_MESSAGE_BYTES} bytes came from the node"
        assert scene.told("node_left") == [text]
        assert scene.status(without="tokyo") == before

    play(tmp_path, trouble)


def test_an_unknown_node(tmp_path: Path) -> None:
    text = "no node paris is known here; add it, or mend its name"
    refused(tmp_path, Client(ChannelNode("paris")), text, "unknown_node")


def test_a_wrong_token(tmp_path: Path) -> None:
    client = Client(ChannelNode("tokyo", token="token-of-paris"))
    refused(tmp_path, client, "the token is not the one of tokyo", "bad_token")


def test_two_nodes_with_one_name(tmp_path: Path) -> None:
    text = "london is connected already, from 127.0.0.1:"
    refused(tmp_path, Client(ChannelNode("london", seed=9)), text, "name_taken")


def refused(tmp_path: Path, client: Client, text: str, code: str) -> None:
    async def trouble(scene: Scene) -> None:
        before = scene.status()
        scene.connect(client)
        await client.until(lambda: bool(client.problems))
        assert client.problems[0].startswith(f"refused by the brain: {text}")
        assert client.problems[0].endswith(f" ({code})")
        (told,) = scene.told("node_turned_away")
        assert told.startswith(text)
        assert scene.status() == before
        assert not client.node.session.is_registered
        assert client.node.session.held is None

    play(tmp_path, trouble)


def test_a_brain_older_than_the_one_that_was_followed(tmp_path: Path) -> None:
    """As after a restore of the brain's disk with a clock that is wrong."""

    async def trouble(scene: Scene) -> None:
        before = scene.status()
        held = HeldTable(FUTURE, NodeTable.of([neighbour(1)]))
        tokyo = scene.connect(Client(ChannelNode("tokyo", stored=held)))
        await tokyo.until(lambda: bool(tokyo.problems))
        term = scene.daemon.brain.term
        text = (
            f"tokyo has followed a brain of term {FUTURE.term}; this one's is {term}: it is an "
            "older one, or has lost its state"
        )
        assert tokyo.problems == [text]
        await until(lambda: scene.told("refused_by_node") != [])
        assert scene.told("refused_by_node") == [text]
        assert scene.status() == before
        assert tokyo.node.session.held == held

    play(tmp_path, trouble)


def test_a_stale_table(tmp_path: Path) -> None:
    """Of a brain that gives a number twice: what it sends again is older than what is in force."""

    async def trouble(scene: Scene) -> None:
        tokyo = await scene.entered()
        await until(lambda: all(node.table.is_current for node in scene.daemon.brain.nodes()))
        before, held = scene.status(), tokyo.node.session.held
        assert held is not None
        old = TableVersion(held.version.term - 1, 7)
        message = NodeTable.of([neighbour(1)]).as_message(old)
        assert scene.daemon.brain._parts.send("tokyo", message, scene.daemon.now_us())
        scene.daemon.wake()
        await until(lambda: scene.told("table_not_applied") != [])
        text = f"table {old} is older than {held.version}, which is in force"
        assert scene.told("table_not_applied") == [text]
        assert [e.reason for e in tokyo.node.events if isinstance(e, TableDeclined)] == [text]
        assert tokyo.node.session.held == held
        assert scene.status() == before
        assert tokyo.problems == []

    play(tmp_path, trouble)


def test_a_certificate_of_another_authority(tmp_path: Path) -> None:
    async def trouble(scene: Scene) -> None:
        before = scene.status()
        scene.site.write("other", new_lab_ca("other", datetime.now(UTC)))
        ca_file = scene.site.directory / "other.pem"
        tokyo = scene.connect(Client(ChannelNode("tokyo")), Tls(ca_file))
        await tokyo.until(lambda: bool(tokyo.problems))
        text = f"the brain's certificate is not signed by an authority in {ca_file}"
        assert tokyo.problems == [f"{scene.daemon.control_address}: {text}"]
        # It breaks the handshake off without an alert, so the brain cannot tell why, and tells
        # nothing: no session has begun.
        assert scene.told("node_turned_away") == scene.told("node_left") == []
        assert scene.status() == before

    play(tmp_path, trouble)


def test_a_node_without_the_certificate_that_is_asked_for(tmp_path: Path) -> None:
    """london has one, signed by the brain's authority; tokyo has none."""

    async def scene() -> None:
        site = Site(tmp_path).make()
        with capture_logs() as log:
            async with running(site, client_ca_file="ca.pem") as daemon:
                found = Scene(site, daemon, Client(ChannelNode("london")), log)
                tokyo = found.connect(Client(ChannelNode("tokyo")))
                await tokyo.until(lambda: bool(tokyo.problems))
                assert tokyo.problems[0].startswith(daemon.control_address)
                await until(lambda: found.told("tls_failed") != [])
                assert found.told("tls_failed")[0].startswith("the node showed no certificate")
                for task in found.tasks:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task

    asyncio.run(scene())


def test_plain_text_to_a_brain_that_speaks_tls(tmp_path: Path) -> None:
    async def trouble(scene: Scene) -> None:
        before = scene.status()
        url = f"ws://{scene.daemon.control_address}/control"
        tokyo = scene.connect(Client(ChannelNode("tokyo")), url=url)
        await tokyo.until(lambda: bool(tokyo.problems))
        assert tokyo.problems[0].startswith(scene.daemon.control_address)
        await until(lambda: scene.told("tls_failed") != [])
        assert scene.told("tls_failed")[0] == (
            "plain text came: the node's url is to begin with wss://"
        )
        assert scene.status() == before

    play(tmp_path, trouble)


def say_raw(client: Client, data: bytes) -> None:
    """What no session would say: bytes in its outbox, behind its back."""
    assert client.node.session._outbox.put(data)
    client.connection.flush()


def _context(site: Site) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=site.directory / "ca.pem")
