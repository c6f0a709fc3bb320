"""`overlane status --brain` and `overlane paths` of a real brain with nodes in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from control_client.messages import StreamReport
from controller.brain import Brain
from overlane.overlay_status import fetch_overlay
from overlane.overlay_view import render
from overlane.paths import fetch_explanations, fetch_streams
from overlane.paths_view import explanation, listing
from tests.controller.world import S, World, broadcast
from tests.overlane.test_paths import shown
from tests.support.brain_api import serving

RTT_MS = {"london new-york": 71, "new-york tokyo": 161, "london tokyo": 260, "london paris": 9}


@pytest.fixture(scope="module")
def brain() -> Brain:
    """live: london > new-york > tokyo, viewers at the ends; paris left, osaka never came."""
    world = World(("london", "new-york", "tokyo", "paris", "osaka"))
    world.add("london", "new-york", "tokyo", "paris")
    world.run_for(S)
    world.mesh(RTT_MS)
    world.run_for(S)
    world.announce("london", broadcast("live", 77, 78))
    world.run_for(S)
    world.subscribe("london", "live")
    world.subscribe("new-york", "live", "london", viewers=0)
    world.subscribe("tokyo", "live", "london", "new-york", viewers=12)
    for upstream, name, delay_us, viewers in (
        ("london", "new-york", 38_000, 0),
        ("new-york", "tokyo", 121_500, 12),
    ):
        counted = StreamReport("live", upstream, 123_456, 1_240, 1_237, 3, delay_us, viewers)
        world.count_stream(name, counted)
        world.report(name)
    world.run_for(S)
    world.kill("paris")
    world.run_for(S)
    assert world.brain is not None
    return world.brain


def answers(brain: Brain) -> dict[str, object]:
    return {
        "/status": brain.status(),
        "/nodes": [replace(node, admin_url="") for node in brain.nodes()],  # nobody is there
        "/links": brain.links(),
        "/streams": brain.streams(),
        "/paths/live": brain.explain_all("live"),
        "/paths/live?consumer=tokyo": brain.explain("live", "tokyo"),
        "/paths/live?consumer=london": brain.explain("live", "london"),
    }


def test_the_overlay_of_a_real_brain(brain: Brain) -> None:
    async def scene() -> str:
        async with serving(answers(brain)) as url:
            return shown(render(await fetch_overlay(url)))

    text = asyncio.run(scene())
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0].endswith("term 1, up 5 s, 3 of 5 nodes here")
    assert "tokyo connected 10% 10% 0 0 0.0 current ?" in lines
    assert any(line.startswith("paris away") for line in lines)
    assert any(line.startswith("osaka away - - - - -") for line in lines)
    assert any(line.startswith("london <> new-york up 71.0 ms") for line in lines)
    assert [line.split("─ ")[1] for line in text.splitlines() if "─ " in line] == [
        "london: live, 1 viewer",
        "new-york: live, 0 viewers",
        "tokyo: live, 12 viewers",
    ]


def test_the_paths_of_a_real_brain(brain: Brain) -> None:
    async def scene() -> tuple[str, str, str, str]:
        async with serving(answers(brain)) as url:
            _, (tokyo,) = await fetch_explanations(url, "live", "tokyo")
            _, (london,) = await fetch_explanations(url, "live", "london")
            _, all_of_them = await fetch_explanations(url, "live", None)
            _, streams = await fetch_streams(url)
            together = "\n".join(shown(explanation(each)) for each in all_of_them)
            views = (explanation(tokyo), explanation(london), listing(streams))
            return (*(shown(view) for view in views), together)  # type: ignore[return-value]

    tokyo, london, listed, together = asyncio.run(scene())
    lines = [" ".join(line.split()) for line in tokyo.splitlines()]
    assert lines[0] == "live: london to tokyo"
    assert lines[1] == "in use: london > new-york > tokyo, as the brain chooses"
    assert "new-york > tokyo 161.0 ms 123,456 1,240 1,237 3 121.5 ms" in lines
    assert "chosen london > new-york > tokyo 126.0 ms the cheapest" in lines
    assert any(line.startswith("backup london > tokyo 135.0 ms 9.0 ms dearer") for line in lines)
    assert "in use: no link; the stream starts at london" in london
    assert "live: london to new-york" in together
    rows = [" ".join(line.split()) for line in listed.splitlines()]
    assert "live tokyo live london > new-york > tokyo 12" in rows
    assert "live london live london 1" in rows
