"""`overlane status`: what nodes say of themselves, as tables."""

import asyncio
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from overlane.columns import ms, new_table
from overlane.http_json import AnswerError, JsonClient

LEFT_OUT = ("discardable", "predicted", "gop")
HOP = ("lost", "repaired_in_time", "too_late", "unavailable")


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


def _workers(status: dict[str, Any]) -> Text:
    """CPU time since the start, of one core."""
    uptime_s = max(status["uptime_s"], 1e-3)
    shown = [
        f"{each['listen']} {(each['cpu_s'] or 0) / uptime_s:.1%} of a core, "
        f"{each['memory']['cursors'][0]} cursors"
        for each in status["workers"]
    ]
    return Text("workers: " + "; ".join(shown))


def render(status: dict[str, Any]) -> RenderableType:
    """One node."""
    title = f"{status['node']} (id {status['node_id']}, {status['advertised_as']})"
    title += f", up {status['uptime_s']:.0f} s"
    parts: list[RenderableType] = [Text(title, style="bold")]
    if len(status["workers"]) > 1:
        parts.append(_workers(status))
    if status.get("controller") is not None:
        parts.append(_controller(status["controller"]))
    parts += [Text(), _links(status), Text(), *_streams(status), Text()]
    if status["viewers"]:
        parts += [_viewers(status), Text()]
    memory = ", ".join(f"{name} {used}/{limit}" for name, (used, limit) in status["memory"].items())
    parts.append(Text(f"memory: {memory}"))
    parts += _qoe(status["qoe"]) + _dropped(status["dropped"])
    parts += _overload(status["overload"])
    if status["fallbacks"]:
        parts.append(Text(f"fallbacks: {', '.join(status['fallbacks'])}", style="bold yellow"))
    return Group(*parts)


def _qoe(qoe: dict[str, Any]) -> list[RenderableType]:
    """How views fare, in LiveNet's terms; nothing before the first."""
    if not qoe["begun"]:
        return []
    shown = [f"views {qoe['views']}"]
    for word, name in (("no stall", "zero_stall_ratio"), ("fast start", "fast_start_up_ratio")):
        if qoe[name] is not None:
            shown.append(f"{word} {qoe[name]:.1%}")
    for word, name in (
        ("first packet", "first_packet_ms"),
        ("path delay", "cdn_path_delay_ms"),
        ("streaming delay", "streaming_delay_ms"),
    ):
        if qoe[name]["p50"] is not None:
            shown.append(f"{word} {qoe[name]['p50']:.0f} ms")
    return [Text("quality (medians; stalls are estimated): " + ", ".join(shown))]


def _dropped(dropped: dict[str, int]) -> list[RenderableType]:
    """What viewers' paths had no room for, in packets; nothing if there never was anything."""
    kinds = {name: dropped[f"dropped_{name}"] for name in LEFT_OUT}
    if not any(kinds.values()):
        return []
    shown = ", ".join(f"{name} {count}" for name, count in kinds.items())
    return [Text(f"left out for viewers whose paths are too slow: {shown} packets")]


def _overload(overload: dict[str, Any]) -> list[RenderableType]:
    """What is, or was, shed; nothing if there never was anything."""
    shed = ", ".join(f"{name} {count}" for name, count in overload["shed"].items() if count)
    if overload["step"]:
        text = f"overloaded: step {overload['step']} of 20; shed: {shed}"
        return [Text(text, style="bold red")]
    times = overload["episodes"]
    return [Text(f"overloaded {times} times; shed: {shed}", style="yellow")] if times else []


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


def _time_here(quantiles: dict[str, int | None]) -> str:
    """How long packets stay in the node: median and 99th percentile, in microseconds."""
    p50, p99 = quantiles["p50"], quantiles["p99"]
    return "-" if p50 is None or p99 is None else f"{p50:.0f}/{p99:.0f} us"


def _links(status: dict[str, Any]) -> Table:
    numbers = ("rtt", "here", "in", "out", "lost", "repaired", "too late", "gone", "open")
    table = new_table("neighbour", "state", *numbers, right=numbers)
    for link in status["neighbours"]:
        state = "up" if link["is_up"] else f"down ({link['handshake']})"
        table.add_row(
            link["name"],
            state,
            ms(link["rtt_us"] or None),
            _time_here(link["time_in_node_us"]),
            str(link["received_packets"]),
            str(link["sent_packets"]),
            *(str(link["hop"][what]) for what in HOP),
            str(link["holes_open"]),
        )
    return table


def _streams(status: dict[str, Any]) -> list[RenderableType]:
    """Each with its way in a line, which names may make long, and its tracks in a table."""
    numbers = ("packets", "late", "held", "delay")
    parts: list[RenderableType] = []
    for stream in status["streams"]:
        line = Text(stream["name"], style="bold").append(f": {stream['state']}", style="not bold")
        for word, names in (
            (", ", " > ".join(stream["path"])),
            ("; in reserve ", " > ".join(stream["standby"])),
            ("; copies ", " > ".join((stream["copies"] or {"path": ()})["path"])),
            ("; to ", ", ".join(stream["subscribers"])),
        ):
            line.append(word + names if names else "", style="not bold")
        viewers = stream["viewers"]
        line.append(f"; {viewers} viewer{'' if viewers == 1 else 's'}", style="not bold")
        parts.append(line)
        if not stream["tracks"]:
            continue
        table = new_table("track", *numbers, right=numbers)
        for media, track in stream["tracks"].items():
            table.add_row(
                f"{media} {track['codec']}",
                str(track["packets"]),
                str(track["late"]),
                str(track["held_packets"]),
                ms(track["delay_us"]),
            )
        parts.append(Padding(table, (0, 0, 0, 2), expand=False))
    return parts or [Text("no streams")]


def _viewers(status: dict[str, Any]) -> Table:
    numbers = ("packets", "lag", "lapped")
    table = new_table("viewer", "stream", "state", "track", "to", *numbers, right=numbers)
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
