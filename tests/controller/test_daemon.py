"""A brain as an operator runs it: start, HTTP API, nodes over TLS, restart, signals."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from control_client.messages import MAX_PUSHED
from control_client.tokens import token_hash
from controller.api import routes
from controller.daemon import Daemon
from controller.state_dir import StateDir, StateDirError
from tests.controller.running_brain import Site, running, until
from tests.controller.world import broadcast
from tests.support.control_channel import ChannelNode, token_of
from tests.support.node_client import Client, now_us

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


class Api:
    """Calls of a daemon's HTTP side."""

    def __init__(self, daemon: Daemon, http: aiohttp.ClientSession) -> None:
        self._base = f"http://{daemon.api_address}"
        self._http = http

    async def call(
        self,
        path: str,
        method: str = "GET",
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        data, url = (
            body if isinstance(body, bytes) else json.dumps(body).encode(),
            self._base + path,
        )
        async with self._http.request(method, url, data=data, headers=headers) as response:
            text = await response.text()
            is_json = response.content_type == "application/json"
            return response.status, json.loads(text) if is_json else text

    async def get(self, path: str) -> Any:
        status, answer = await self.call(path)
        assert status == 200, answer
        return answer


Scene = Callable[[Daemon, Api, list[Client]], Awaitable[None]]


def play(site: Site, scene: Scene, nodes: tuple[str, ...] = ("london", "tokyo")) -> None:
    """The scene begins when all nodes have their tables."""

    async def run() -> None:
        clients = [
            Client(ChannelNode(name, seed=n, address=f"192.0.2.{n}:7000"))
            for n, name in enumerate(nodes, 1)
        ]
        tasks: list[asyncio.Task[None]] = []
        try:
            async with running(site) as daemon, aiohttp.ClientSession() as http:
                url = f"wss://{daemon.control_address}/control"
                tasks += [asyncio.create_task(c.connect(url, site.tls).run()) for c in clients]
                await until(
                    lambda: not nodes or all(n.table.is_current for n in daemon.brain.nodes())
                )
                await scene(daemon, Api(daemon, http), clients)
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    asyncio.run(run())


def announce(client: Client, name: str, *ids: int) -> None:
    client.node.streams = (broadcast(name, *ids),)
    client.node.session.announce(client.node.streams[0], now_us())
    client.connection.flush()


def test_the_api_tells_of_nodes_links_and_streams(tmp_path: Path) -> None:
    async def scene(daemon: Daemon, api: Api, clients: list[Client]) -> None:
        announce(clients[0], "live", 7, 8)
        await until(lambda: daemon.brain.stream("live") is not None)
        assert await api.get("/livez") == {"alive": True}
        assert await api.get("/readyz") == {"ready": True, "nodes": 2}
        status = await api.get("/status")
        assert (status["nodes"], status["streams"], status["links"]) == (2, 1, 1)
        assert status["term"] == daemon.brain.term
        nodes = await api.get("/nodes")
        assert [node["name"] for node in nodes] == ["london", "tokyo"]
        assert nodes[0]["address"] == "192.0.2.1:7000"
        assert nodes[0]["load"]["cpu"] == 0.1
        assert nodes[0]["table"]["is_stored"]
        links = await api.get("/links?node=tokyo")
        assert {(link["sender"], link["receiver"]) for link in links} == {
            ("london", "tokyo"),
            ("tokyo", "london"),
        }
        (stream,) = await api.get("/streams")
        assert stream == await api.get("/streams/live") | {"since_s": stream["since_s"]}
        assert [track["stream_id"] for track in stream["tracks"]] == [7, 8]
        path = await api.get("/paths/live?consumer=tokyo")
        assert (path["code"], path["candidates"], path["current"]) == ("no_path", [], None)
        assert await api.get("/paths/live") == {"paths": []}

    play(Site(tmp_path).make(), scene)


def test_what_the_api_refuses(tmp_path: Path) -> None:
    async def scene(daemon: Daemon, api: Api, clients: list[Client]) -> None:
        del daemon, clients
        text = "no node announces 'x', or it has ended"
        for path in ("/streams/x", "/paths/x", "/paths/x?consumer=tokyo"):
            assert await api.call(path) == (404, {"error": text, "code": "no_such_stream"})
        answer = {"error": "no node is called 'rome'", "code": "no_such_node"}
        assert await api.call("/links?node=rome") == (404, answer | {"field": "node"})
        status, problem = await api.call("/links?nod=rome")
        assert (status, problem["field"]) == (400, "nod")
        assert await api.call("/nothing") == (404, {"error": "Not Found", "code": "not_found"})
        status, problem = await api.call("/status", "POST")
        assert (status, problem["code"]) == (405, "method_not_allowed")
        for body, field in (
            (b"{", None),
            ({}, None),
            ({"stream": "x", "start_s": 1, "end_s": "y"}, "end_s"),
            ({"stream": "x y", "start_s": 1, "end_s": 2}, "stream"),
            ({"stream": "x", "start_s": 2, "end_s": 1}, "end_s"),
            ({"stream": "x", "start_s": 1, "end_s": 2, "z": 1}, None),
        ):
            status, problem = await api.call("/campaigns", "POST", body)
            assert (status, problem["code"], problem.get("field")) == (400, "bad_request", field)
        status, problem = await api.call("/campaigns/x", "DELETE")
        assert (status, problem["code"]) == (404, "no_such_campaign")

    play(Site(tmp_path).make(), scene, ())


def test_a_campaign_comes_and_goes(tmp_path: Path) -> None:
    async def scene(daemon: Daemon, api: Api, clients: list[Client]) -> None:
        announce(clients[0], "live", 7)
        now_s = daemon.now_us() / 1e6
        body = {"stream": "live", "start_s": now_s, "end_s": now_s + 600}
        assert (await api.call("/campaigns", "POST", body))[0] == 201
        await until(lambda: daemon.brain.status().popular == ("live",))
        assert (await api.call("/campaigns/live", "DELETE"))[0] == 204
        await until(lambda: daemon.brain.status().popular == ())

    play(Site(tmp_path).make(), scene)


def test_campaigns_are_not_for_web_pages_and_not_without_end(tmp_path: Path) -> None:
    async def scene(daemon: Daemon, api: Api, _: list[Client]) -> None:
        def body(name: str) -> dict[str, object]:
            return {"stream": name, "start_s": 1.0, "end_s": 9e10}

        page = {"Origin": "http://pages.example"}
        before = daemon.brain.status().campaigns
        for method, path in (("POST", "/campaigns"), ("DELETE", "/campaigns/live")):
            status, answer = await api.call(path, method, body("live"), page)
            assert (status, answer["code"]) == (403, "forbidden")
        assert daemon.brain.status().campaigns == before
        for number in range(MAX_PUSHED):
            daemon.brain.announce_campaign(f"s{number}", 1, 9 * 10**16, daemon.now_us())
        status, answer = await api.call("/campaigns", "POST", body("more"))
        assert (status, answer["code"]) == (409, "full")
        assert (await api.call("/campaigns", "POST", body("s1")))[0] == 201  # it is one of them

    play(Site(tmp_path).make(), scene, ())


def test_openapi_lists_exactly_the_routes_that_are_served(tmp_path: Path) -> None:
    async def scene(daemon: Daemon, api: Api, clients: list[Client]) -> None:
        del clients
        found = await api.get("/openapi.json")
        described = {
            (method.upper(), path) for path, methods in found["paths"].items() for method in methods
        }
        assert described == {(route.method, route.path) for route in routes(daemon)}
        # Each reference leads somewhere.
        references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(found)))
        assert references <= set(found["components"]["schemas"])
        assert {"Status", "Node", "Link", "Stream", "PathReport", "Campaign", "Problem"} <= (
            references
        )

    play(Site(tmp_path).make(), scene, ())


def test_metrics(tmp_path: Path) -> None:
    async def scene(daemon: Daemon, api: Api, clients: list[Client]) -> None:
        del daemon, clients
        text = await api.get("/metrics")
        for line in (
            'overlane_brain_nodes{state="connected"} 2.0',
            "overlane_brain_links 1.0",
            'overlane_brain_tables_total{what="sent_whole"} 2.0',
            'overlane_brain_received_messages_total{message="hello"} 2.0',
        ):
            assert line in text.splitlines()
        assert "overlane_brain_turn_seconds_count" in text

    play(Site(tmp_path).make(), scene)


def test_a_restart_brings_all_back(tmp_path: Path) -> None:
    site = Site(tmp_path).make()
    terms = []

    async def before(daemon: Daemon, _: Api, clients: list[Client]) -> None:
        announce(clients[0], "live", 7, 8)
        await until(lambda: daemon.brain.stream("live") is not None)
        terms.append(daemon.brain.term)

    async def after(daemon: Daemon, api: Api, _: list[Client]) -> None:
        terms.append(daemon.brain.term)
        stream = await api.get("/streams/live")
        assert [track["stream_id"] for track in stream["tracks"]] == [7, 8]
        assert [node["address"] for node in await api.get("/nodes")] == [
            "192.0.2.1:7000",
            "192.0.2.2:7000",
        ]

    async def run_after() -> None:
        async with running(site) as daemon, aiohttp.ClientSession() as http:
            api = Api(daemon, http)
            assert (await api.call("/readyz"))[0] == 503  # it waits for its nodes
            await after(daemon, api, [])

    play(site, before)
    asyncio.run(run_after())
    assert terms[1] > terms[0]


def test_an_unusable_state_is_kept_aside(tmp_path: Path) -> None:
    site = Site(tmp_path).make()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.msgpack").write_bytes(b"something else")
    with pytest.raises(StateDirError, match=r"master.key is missing, and state.msgpack is there"):
        asyncio.run(_start(site))
    (tmp_path / "state" / "master.key").write_bytes(bytes(32))
    with capture_logs() as log:
        asyncio.run(_start(site))
    (told,) = [line for line in log if line["event"] == "state_ignored"]
    assert told["log_level"] == "error"
    assert told["reason"] == "is no state of a brain"
    assert (tmp_path / "state" / "state.unusable").read_bytes() == b"something else"


async def _start(site: Site) -> None:
    async with running(site) as daemon:
        await until(lambda: daemon.brain.status().uptime_s >= 0)
        await asyncio.sleep(0)


def test_two_brains_do_not_share_a_directory(tmp_path: Path) -> None:
    first = StateDir(tmp_path)
    with pytest.raises(StateDirError, match="another brain runs with this state_dir"):
        StateDir(tmp_path)
    first.close()
    second = StateDir(tmp_path)
    key = second.master_key()
    assert len(key) == 32
    assert second.master_key() == key
    assert os.stat(tmp_path / "master.key").st_mode & 0o777 == 0o600
    (tmp_path / "master.key").write_bytes(key[:-1])
    with pytest.raises(StateDirError, match="is no master key"):
        second.master_key()
    second.close()


def test_sighup_reads_the_nodes_again(tmp_path: Path) -> None:
    site = Site(tmp_path).make()

    async def scene(daemon: Daemon, _: Api, clients: list[Client]) -> None:
        text = site.config.read_text()
        site.config.write_text(text.replace(token_hash(token_of("tokyo")), "x"))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: any(line["event"] == "configuration_not_read" for line in log))
        assert daemon.brain.status().nodes == 2
        digest = token_hash(token_of("paris"))
        entry = f'[[nodes]]\nname = "paris"\nnode_id = 3\ntoken_hash = "{digest}"\n'
        site.config.write_text(text.replace(token_hash(token_of("tokyo")), "0" * 64) + entry)
        os.kill(os.getpid(), signal.SIGHUP)
        await clients[1].until(lambda: bool(clients[1].problems))
        assert "the operator has removed this node" in clients[1].problems[0]
        assert [node.name for node in daemon.brain.nodes()] == ["london", "paris", "tokyo"]
        assert clients[0].problems == []

    with capture_logs() as log:
        play(site, scene)


def test_a_node_that_does_not_read_is_cut_and_the_others_are_not(tmp_path: Path) -> None:
    """Its buffers fill with answers; the brain's memory must not."""

    async def scene(daemon: Daemon, _: Api, clients: list[Client]) -> None:
        tokyo = daemon.brain._parts.members.connection_of("tokyo")
        assert tokyo is not None
        connection = daemon._control._connections[tokyo]
        for _number in range(1030):  # more than the outbox holds, before its writer runs
            connection.outbox.put(b"x")
        announce(clients[1], "live", 7)
        await until(lambda: daemon._control.cut == 1)
        await until(lambda: daemon.brain.status().nodes == 1)
        assert clients[0].problems == []

    play(Site(tmp_path).make(), scene)


def test_the_process_starts_stops_and_says_what_is_wrong(tmp_path: Path) -> None:
    site = Site(tmp_path).make()
    command = [sys.executable, "-m", "controller", "--config", str(site.config)]
    process = subprocess.Popen(
        [*command, "--set", "log.format=json"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    started = json.loads(process.stderr.readline())
    assert started["event"] == "brain_started"
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    text = "overlane controller: "
    assert second.stderr.strip() == (
        f"{text}{tmp_path}/state: another brain runs with this state_dir"
    )
    busy = [*command, "--set", f"listen={started['listen']}", "--set", f"state_dir={tmp_path}/two"]
    third = subprocess.run(busy, cwd=ROOT, capture_output=True, text=True, check=False)
    assert third.returncode == 1
    assert third.stderr.startswith(f"{text}listen: cannot bind TCP {started['listen']}")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert json.loads(process.stderr.read().splitlines()[-1])["event"] == "brain_stopped"
    process.stderr.close()
    bad = subprocess.run(
        [*command, "--set", "listen=x"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert bad.returncode == 2
    assert bad.stderr.startswith("--set listen: listen: 'x' is not of the form ip:port")
