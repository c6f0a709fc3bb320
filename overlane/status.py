"""`overlane status`: what nodes say of themselves, as tables."""

import asyncio
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from overlane.http_json import AnswerError, JsonClient


async def fetch(urls: Sequence[str]) -> list[dict[str, Any]]:
    """GET /status of each node, in order. Raises AnswerError."""
    async with JsonClient("node", "is this the admin address?") as client:
        return list(await asyncio.gather(*(_fetch_one(client, url) for url in urls)))


async def _fetch_one(client: JsonClient, url: str) -> dict[str, Any]:
    found: dict[str, Any] = await client.get(url, "/status")
    try:
        render(found)
    except (LookupError, TypeError, ValueError, AttributeError):
        text = f"{url} is no node, or one of another version: its answer is not a node's status"
        raise AnswerError(text) from None
    return found


def render(status: dict[str, Any]) -> RenderableType:
    """One node."""
    title = f"{status['node']} (id {status['node_id']}, {status['advertised_as']})"
    title += f", up {status['uptime_s']:.0f} s"
    parts: list[RenderableType] = [Text(title, style="bold")]
    if status.get("controller") is not None:
        parts.append(_controller(status["controller"]))
    parts += [_links(status), _streams(status)]
    if status["viewers"]:
        parts.append(_viewers(status))
    memory = ", ".join(f"{name} {used}/{limit}" for name, (used, limit) in status["memory"].items())
    parts.append(Text(f"memory: {memory}"))
    if status["fallbacks"]:
        parts.append(Text(f"fallbacks: {', '.join(status['fallbacks'])}", style="bold yellow"))
    return Group(*parts)


def _controller(controller: dict[str, Any]) -> Text:
    """How the node stands with its brain."""
    table = controller["table"]
    text = f"brain: {controller['state']}, {controller['url']}, term {controller['term']}"
    if table is None:
        text += "; no table"
    else:
        stored = "stored" if table["is_stored"] else "not stored"
        text += f"; table {table['version']} with {table['neighbours']} neighbours, {stored}"
    problem = controller["last_problem"]
    return Text(f"{text}; {problem}" if problem else text)


def _links(status: dict[str, Any]) -> Table:
    table = Table(
        "neighbour", "state", "rtt", "in", "out", "lost", "repaired", "gone", "given up", "open"
    )
    for link in status["neighbours"]:
        state = "up" if link["is_up"] else f"down ({link['handshake']})"
        table.add_row(
            link["name"],
            state,
            f"{link['rtt_us'] / 1000:.1f} ms" if link["rtt_us"] else "-",
            str(link["received_packets"]),
            str(link["sent_packets"]),
            str(link["lost"]),
            str(link["repaired"]),
            str(link["gone"]),
            str(link["given_up"]),
            str(link["holes_open"]),
        )
    return table


def _streams(status: dict[str, Any]) -> Table:
    table = Table(
        "stream",
        "track",
        "state",
        "path",
        "packets",
        "late",
        "held",
        "delay",
        "subscribers",
        "viewers",
    )
    for stream in status["streams"]:
        for media, track in stream["tracks"].items():
            table.add_row(
                stream["name"],
                f"{media} {track['codec']}",
                stream["state"],
                " > ".join(stream["path"]),
                str(track["packets"]),
                str(track["late"]),
                f"{track['held_packets']}/{track['capacity']}",
                f"{track['delay_us'] / 1000:.1f} ms",
                ", ".join(stream["subscribers"]) or "-",
                str(stream["viewers"]),
            )
    return table


def _viewers(status: dict[str, Any]) -> Table:
    table = Table("viewer", "stream", "state", "track", "to", "packets", "lag", "lapped")
    for viewer in status["viewers"]:
        for media, track in viewer["tracks"].items():
            table.add_row(
                viewer["viewer"],
                viewer["stream"],
                viewer["state"],
                media,
                track["to"],
                str(track["packets"]),
                str(track["lag_packets"]),
                str(track["lapped"]),
            )
    return table
