"""`overlane status --brain`: the overlay as a brain tells it and each node of itself."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import pytest

from overlane.http_json import AnswerError
from overlane.overlay_status import Overlay, fetch_overlay
from overlane.overlay_view import render
from tests.overlane.test_paths import STREAMS, shown
from tests.support.brain_api import Failure, serving

LOAD = {"cpu": 0.42, "memory": 0.1, "streams": 2, "viewers": 1200, "egress_bps": 61_500_000}
CURRENT = {"wanted": "3.7", "applied": "3.7", "is_current": True, "is_stored": True}


def node(name: str, number: int, **changes: Any) -> dict[str, Any]:
    return {
        "name": name, "node_id": number, "address": f"192.0.2.{number}:7000", "admin_url": "",
        "software": "overlane 0.1.0", "is_connected": True, "is_suspect": False,
        "is_overloaded": False, "is_last_resort": False, "load": LOAD,
        "table": {**CURRENT, "problem": ""}, **changes,
    }  # fmt: skip


def link(sender: str, receiver: str, **changes: Any) -> dict[str, Any]:
    return {
        "sender": sender, "receiver": receiver, "is_up": True, "rtt_us": 71_200, "loss": 0.0102,
        "utilisation": 0.35, "rate_bps": 100_000_000, "is_overloaded": False, "cost_us": 40_000,
        **changes,
    }  # fmt: skip


def answers(nodes: list[Any], links: list[Any], streams: list[Any]) -> dict[str, Any]:
    status = {
        "term": 3, "uptime_s": 92.4, "version": 7, "is_settling": False, "nodes": len(nodes),
        "known_nodes": len(nodes) + 1, "suspect_nodes": 0, "overloaded_nodes": 0,
        "links": len(links), "streams": len(streams), "popular": [], "campaigns": {},
        "counters": {"path_requests": 12},
    }  # fmt: skip
    return {"/status": status, "/nodes": nodes, "/links": links, "/streams": streams}


def asked(given: dict[str, Any]) -> tuple[Overlay, str]:
    async def scene() -> tuple[Overlay, str]:
        async with serving(given) as url:
            overlay = await fetch_overlay(url)
            return overlay, shown(render(overlay))

    return asyncio.run(scene())


def row(text: str, first: str) -> list[str]:
    (found,) = (line.split() for line in text.splitlines() if line.startswith(first))
    return found


def test_nodes_links_and_trees_stand_on_one_page() -> None:
    nodes = [
        node("london", 1),
        node("new-york", 2, is_overloaded=True, is_suspect=True),
        node("paris", 3, is_connected=False, load=None),
        node("tokyo", 4, table={**CURRENT, "is_stored": False, "problem": ""}),
        node("seoul", 5, is_last_resort=True,
             table={"wanted": "3.7", "applied": "3.6", "is_current": False, "is_stored": True,
                    "problem": "no_room: 64 node links"}),
    ]  # fmt: skip
    links = [
        link("london", "new-york"),
        link("new-york", "london", loss=0.5),
        link("london", "tokyo", is_up=False),
        link("tokyo", "london"),
        link("seoul", "tokyo", is_overloaded=True),
    ]
    _, text = asked(answers(nodes, links, STREAMS))

    assert ": term 3, up 92 s, 5 of 6 nodes here" in text.splitlines()[0]
    london = "london connected 42% 10% 2 1,200 61.5 current ?"
    assert row(text, "london    connected") == london.split()
    assert row(text, "paris ")[1:4] == ["away", "-", "-"]
    assert row(text, "new-york  ")[1:3] == ["overloaded,", "42%"]
    assert "not stored" in text
    assert "seoul has not its table: no_room: 64 node links" in text
    both = "up 71.2 ms 1.02 % / 50.00 % 35 % / 35 %"
    assert row(text, "london <> new-york")[3:] == both.split()
    assert "down london > tokyo" in text
    assert row(text, "seoul > tokyo")[3] == "overloaded"
    assert "london could not be asked: it gave the brain no admin address" in text
    tree = [line for line in text.splitlines() if "─ " in line]
    assert [line.split("─ ")[1] for line in tree] == [
        "london", "new-york: live, 0 viewers", "tokyo: live, 12 viewers", "paris"
    ]  # fmt: skip


def test_each_node_is_asked_what_it_does_without() -> None:
    async def scene() -> Overlay:
        here = {"/status": {"node": "london", "fallbacks": ["gso", "\x1b[31m"]}}
        async with serving(here) as london, serving({"/status": []}) as paris:
            nodes = [
                node("london", 1, admin_url=f"http://{london}"),
                node("new-york", 2, admin_url=f"http://{london}"),
                node("paris", 3, admin_url=f"http://{paris}"),
                node("tokyo", 4, admin_url="http://127.0.0.1:9"),
                node("seoul", 5, admin_url="http://127.0.0.1:9", is_connected=False),
            ]
            async with serving(answers(nodes, [], [])) as url:
                return await fetch_overlay(url)

    words = asyncio.run(scene()).words
    assert words["london"].fallbacks == ("gso", "[31m")
    assert "is another node" in str(words["new-york"].problem)
    assert "is another node, or none" in str(words["paris"].problem)
    assert "127.0.0.1:9" in str(words["tokyo"].problem)
    assert "seoul" not in words


def test_of_a_large_mesh_only_what_is_wrong_is_listed() -> None:
    names = [f"n{number:02}" for number in range(20)]
    links = [link(a, b) for a in names for b in names if a != b]
    links[0]["is_up"] = False
    _, text = asked(answers([], links, []))
    assert row(text, "n00 <> n01")[3] == "down"
    assert "189 more pairs of nodes" in text
    assert "no streams" in text


def test_a_consumer_whose_path_is_not_known_is_shown() -> None:
    consumer = {"node": "tokyo", "state": "waiting", "path": [], "viewers": 1, "subscribers": 0}
    _, text = asked(answers([], [], [{**STREAMS[1], "consumers": [consumer]}]))
    assert "tokyo: waiting, no path known" in text


def test_watching_shows_it_again_and_ends_with_a_signal() -> None:
    async def scene() -> tuple[int | None, str, str]:
        given = answers([], [], [])
        async with serving(given) as url:
            command = [sys.executable, "-m", "overlane", "status", "--brain", url, "--watch"]
            watching = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            assert watching.stdout is not None
            try:
                async with asyncio.timeout(30):
                    first = await watching.stdout.readuntil(b"no streams\n")
                    given["/streams"] = STREAMS
                    again = await watching.stdout.readuntil(b"paris\n")
                    given["/status"] = Failure(500, {"error": "it sleeps"})
                    last = await watching.stdout.readuntil(b"it sleeps (500)\n")
                watching.send_signal(signal.SIGTERM)
                _, said = await watching.communicate()
            finally:
                if watching.returncode is None:
                    watching.kill()
                    await watching.wait()
            assert b"term 3" in first
            return watching.returncode, (again + last).decode(), said.decode()

    code, text, said = asyncio.run(scene())
    assert (code, said) == (128 + signal.SIGTERM, "")
    assert "tokyo: live, 12 viewers" in text
    assert "as it was; now: " in text


def test_what_is_no_brain_is_one_line() -> None:
    with pytest.raises(AnswerError) as caught:
        asked({"/status": {"node": "london"}, "/nodes": [], "/links": [], "/streams": []})
    assert "is no brain, or one of another version" in str(caught.value)
    with pytest.raises(AnswerError, match="404"):
        asked({"/status": {}})
