"""`overlane status`: what nodes say of themselves, as tables."""

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from overlane.peer import printable, printable_line, read_answer

TIMEOUT_S = 5.0


class StatusError(Exception):
    """A node did not answer; the message says which and why."""


async def fetch(urls: Sequence[str]) -> list[dict[str, Any]]:
    """GET /status of each node, in order. Raises StatusError."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        return list(await asyncio.gather(*(_fetch_one(session, url) for url in urls)))


async def _fetch_one(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    base = url if "://" in url else f"http://{url}"
    try:
        async with session.get(f"{base.rstrip('/')}/status") as response:
            response.raise_for_status()
            found: dict[str, Any] = printable(msgspec.json.decode(await read_answer(response)))
    except TimeoutError:
        raise StatusError(f"{url} did not answer within {TIMEOUT_S:.0f} s") from None
    except aiohttp.InvalidURL:
        raise StatusError(f"{url} is not an address of the form host:port") from None
    except (msgspec.DecodeError, RecursionError):
        raise StatusError(f"{url} is no node: its answer is not JSON") from None
    except (aiohttp.ClientError, ValueError) as error:
        raise StatusError(
            f"{url}: {printable_line(str(error))}; is this the admin address?"
        ) from None
    try:
        render(found)
    except (LookupError, TypeError, ValueError, AttributeError):
        text = f"{url} is no node, or one of another version: its answer is not a node's status"
        raise StatusError(text) from None
    return found


def render(status: dict[str, Any]) -> RenderableType:
    """One node."""
    title = f"{status['node']} (id {status['node_id']}, {status['advertised_as']})"
    title += f", up {status['uptime_s']:.0f} s"
    parts: list[RenderableType] = [Text(title, style="bold"), _links(status), _streams(status)]
    if status["viewers"]:
        parts.append(_viewers(status))
    memory = ", ".join(f"{name} {used}/{limit}" for name, (used, limit) in status["memory"].items())
    parts.append(Text(f"memory: {memory}"))
    if status["fallbacks"]:
        parts.append(Text(f"fallbacks: {', '.join(status['fallbacks'])}", style="bold yellow"))
    return Group(*parts)


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
