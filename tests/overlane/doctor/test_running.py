"""What a daemon that runs says of itself, and what listens in its place."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from overlane.doctor.check import Check, Verdict
from overlane.doctor.running import RunningNode, ask_brain, ask_node, check_running
from service.address import Address, parse_address
from tests.support.brain_api import Failure, serving


def asked_of(answer: Any, ask: Any) -> Any:
    """ask: a function of the server's address, which blocks."""

    async def scene() -> Any:
        async with serving({"/status": answer}) as url:
            return await asyncio.to_thread(ask, parse_address(url))

    return asyncio.run(scene())


def node(address: Address) -> tuple[RunningNode | None, Check]:
    return ask_node(address, "tokyo")


def test_a_node_is_known_by_its_name() -> None:
    status = {"node": "tokyo", "uptime_s": 12.3, "neighbours": [{"name": "paris"}, 5, {}]}
    found, check = asked_of(status, node)
    assert found is not None
    assert list(found.links) == ["paris"]
    assert check.found.endswith("says, up 12 s")
    found, check = asked_of({**status, "node": "osaka\x1b[2J"}, node)
    assert (found, check.verdict) == (None, Verdict.WARNING)
    assert "runs osaka [2J, not tokyo" in check.found


@pytest.mark.parametrize("answer", [[], {}, {"node": 5}, Failure(500, {})])
def test_what_is_neither_node_nor_brain(answer: Any) -> None:
    found, check = asked_of(answer, node)
    assert (found, check.verdict) == (None, Verdict.WARNING)
    is_there, check = asked_of(answer, ask_brain)
    assert (is_there, check.verdict) == (False, Verdict.WARNING)


def test_a_brain_is_known_by_its_term() -> None:
    is_there, check = asked_of({"term": 7, "uptime_s": 12.3, "nodes": 3}, ask_brain)
    assert is_there
    assert check.found == "runs in term 7, up 12 s, with 3 nodes here"


CONTROLLER = {"state": "registered", "term": 3, "last_problem": None,
              "table": {"version": "3.7", "is_stored": True}}  # fmt: skip
STATES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["registered in term 3, with table 3.7"]),
    ({"state": "waiting", "table": None, "last_problem": "refused"}, ["waiting, with no table: r"]),
    ({"table": {"version": "3.7", "is_stored": False}}, ["registered", "not on disk"]),
]


@pytest.mark.parametrize(("changes", "texts"), STATES)
def test_how_a_node_stands_with_its_brain(changes: dict[str, Any], texts: list[str]) -> None:
    checks = check_running(RunningNode({"controller": {**CONTROLLER, **changes}}))
    assert len(checks) == len(texts)
    assert all(text in check.found for check, text in zip(checks, texts, strict=True))


def test_what_a_node_does_without_and_what_is_nearly_used_up() -> None:
    memory = {"streams": [950, 1000], "cursors": [10, 1000], "large_blocks": [1000, 1000]}
    without, full = check_running(RunningNode({"fallbacks": ["gso"], "memory": memory}))
    assert without.found == "does without gso"
    assert full.found == "nearly used up: streams 950 of 1000"
    assert check_running(RunningNode({"controller": None})) == []
