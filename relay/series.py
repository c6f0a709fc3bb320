"""What a node counts by link and by stream, in Prometheus' text format 0.0.4, piece by piece.

A node may have 10,000 streams: their samples are written here, at a fraction of what objects for
each cost, in pieces between which the event loop can do something else. Every field of the
engine's statistics becomes one metric; durations are in seconds. Subscribers are not told one by
one: what is sent to them is in the delays of links and in that of all viewers together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest

from fastpath.stats import DelayHistogram, LinkStats, StreamStats
from relay.node import Node

PIECE_ROWS = 128  # chosen: well below a millisecond
_GAUGES = frozenset(
    {"is_up", "has_keys", "rtt_us", "holes_open", "backlogged"}
    | {"target_bps", "pacing_bps", "acked_bps", "feedback_loss", "usage"}
    | {"held_packets", "capacity", "subscribers", "delay_us", "covered_by_other_path"}
)
_SKIPPED = frozenset(
    {
        "stream_id",
        "first_stream_seq",
        "next_stream_seq",
        "first_lacking_seq",
        "last_packet_us",
    }  # of no use as a series
)

Rows = list[tuple[str, LinkStats]] | list[tuple[str, StreamStats]]


def exposition(node: Node, registry: CollectorRegistry) -> Iterator[str]:
    """The whole answer to a scrape. The node may change between two pieces."""
    yield generate_latest(registry).decode()
    links: list[tuple[str, LinkStats]] = []
    delays: list[tuple[str, DelayHistogram]] = []
    for at, neighbour in enumerate(list(node.neighbours.values())):
        try:
            links.append((f'neighbour="{neighbour.name}"', neighbour.stats()))
            delays.append((links[-1][0], neighbour.delays()))
        except KeyError:
            continue  # it went meanwhile
        if at % PIECE_ROWS == 0:
            yield ""
    yield from _families("overlane_link", links, LinkStats)
    yield from _histograms("overlane_link_time_in_node_seconds", delays)
    yield from _histograms("overlane_viewers_time_in_node_seconds", [("", node.engine.delays())])
    streams: list[tuple[str, StreamStats]] = []
    for at, stream in enumerate(list(node.streams.all)):
        labels = f'media="{stream.track.media}",stream="{stream.broadcast}"'
        try:
            streams.append((labels, node.engine.stream_stats(stream.handle)))
        except KeyError:
            continue
        if at % PIECE_ROWS == 0:
            yield ""
    yield from _families("overlane_stream", streams, StreamStats)


def _families(prefix: str, rows: Rows, model: type[LinkStats] | type[StreamStats]) -> Iterator[str]:
    """One metric per field of the statistics, one sample per row. Names need no escaping: they are
    of letters, digits and `. _ -`."""
    for field in dataclasses.fields(model):
        if field.name in _SKIPPED:
            continue
        name, scale = f"{prefix}_{field.name}", 1.0
        if name.endswith("_us"):
            name, scale = name.removesuffix("_us") + "_seconds", 1e-6
        kind = "gauge" if field.name in _GAUGES else "counter"
        name += "_total" if kind == "counter" else ""
        yield f"# HELP {name} {model.__name__}.{field.name}\n# TYPE {name} {kind}\n"
        for first in range(0, len(rows), PIECE_ROWS):
            yield "".join(
                f"{name}{{{labels}}} {getattr(stats, field.name) * scale}\n"
                for labels, stats in rows[first : first + PIECE_ROWS]
            )


def _histograms(name: str, rows: list[tuple[str, DelayHistogram]]) -> Iterator[str]:
    """Upper bounds are powers of two microseconds; buckets are cumulative."""
    text = "From a packet's arrival to its departure, without what subscribers get from the past"
    yield f"# HELP {name} {text}\n# TYPE {name} histogram\n"
    bounds = [f"{(1 << i) / 1e6}" for i in range(len(rows[0][1].buckets) - 1)] if rows else []
    for labels, delays in rows:
        within, separator = 0, "," if labels else ""
        lines = []
        for bound, packets in zip([*bounds, "+Inf"], delays.buckets, strict=True):
            within += packets
            lines.append(f'{name}_bucket{{{labels}{separator}le="{bound}"}} {within}.0\n')
        shown = f"{{{labels}}}" if labels else ""
        lines.append(f"{name}_count{shown} {within}.0\n")
        lines.append(f"{name}_sum{shown} {delays.sum_us / 1e6}\n")
        yield "".join(lines)
