"""`overlane status --brain`: the whole overlay, as the brain and each node tell it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from controller.core.answers import Link, Node, Status, Stream
from overlane.http_json import AnswerError, JsonClient

BRAIN_HINT = "is this the address of the brain's HTTP API?"
NODE_TIMEOUT_S = (
    2.0  # chosen: a view that is refreshed each 2 s must not wait for hosts that are gone
)
NODES_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class NodeWord:
    """What a node says of itself: its fallbacks, or why it could not be asked."""

    fallbacks: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Overlay:
    """raw: all answers as they came, for --json. words: by node."""

    url: str
    raw: dict[str, Any]
    status: Status
    nodes: Sequence[Node]
    links: Sequence[Link]
    streams: Sequence[Stream]
    words: dict[str, NodeWord]


async def fetch_overlay(url: str) -> Overlay:
    """Four questions to the brain, one to each node that says where. Raises AnswerError if the
    brain is at fault."""
    async with JsonClient("brain", BRAIN_HINT) as client:
        parts = ("status", "nodes", "links", "streams")
        answers = await asyncio.gather(*(client.get(url, f"/{part}") for part in parts))
        raw = dict(zip(parts, answers, strict=True))
        nodes = client.convert(url, raw["nodes"], tuple[Node, ...])
        overlay = Overlay(
            url=url,
            raw=raw,
            status=client.convert(url, raw["status"], Status),
            nodes=nodes,
            links=client.convert(url, raw["links"], tuple[Link, ...]),
            streams=client.convert(url, raw["streams"], tuple[Stream, ...]),
            words=await _ask_nodes(nodes),
        )
    raw["node_answers"] = {
        name: {"fallbacks": word.fallbacks, "problem": word.problem}
        for name, word in overlay.words.items()
    }
    return overlay


async def _ask_nodes(nodes: Sequence[Node]) -> dict[str, NodeWord]:
    limit = asyncio.Semaphore(NODES_AT_ONCE)
    async with JsonClient("node", "its admin address?", NODE_TIMEOUT_S) as client:

        async def ask(node: Node) -> NodeWord:
            async with limit:
                return await _ask(client, node)

        asked = [node for node in nodes if node.is_connected]
        words = await asyncio.gather(*(ask(node) for node in asked))
    return {node.name: word for node, word in zip(asked, words, strict=True)}


async def _ask(client: JsonClient, node: Node) -> NodeWord:
    if not node.admin_url:
        return NodeWord(problem="it gave the brain no admin address")
    try:
        found = await client.get(node.admin_url, "/status")
    except AnswerError as error:
        return NodeWord(problem=str(error))
    if not isinstance(found, dict) or found.get("node") != node.name:
        return NodeWord(problem=f"at {node.admin_url} is another node, or none")
    fallbacks = found.get("fallbacks")
    return NodeWord(tuple(map(str, fallbacks if isinstance(fallbacks, list) else ())))
