"""What a node shows of itself: plain JSON values, read from the node at the moment of the call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from msgspec.json import encode

from fastpath.stats import DelayHistogram, LinkStats
from relay.control.agent import ControlAgent
from relay.edge.plain_rtp import Viewer
from relay.node import Node
from relay.qoe import Histogram, Qoe
from relay.slowpath.broadcast import Broadcast
from service.address import format_address

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Json: TypeAlias = dict[str, object]
PLAIN_TEXT_CONTROL = "control_tls"  # beside the engine's gro, gso, timestamps, huge_pages


def node_status(
    node: Node, uptime_us: int, agent: ControlAgent | None = None, now_us: int = 0
) -> Json:
    """GET /status. agent: of a node with a controller."""
    return {
        **_head(node, uptime_us),
        "neighbours": [*_found(partial(_neighbour, node), node.neighbours)],
        "streams": [*_found(partial(_broadcast, node), _broadcast_names(node))],
        "viewers": [*_found(partial(viewer_status, node), node.edge.viewers)],
        **_tail(node, agent, now_us),
    }


def status_pieces(
    node: Node, uptime_us: int, agent: ControlAgent | None, now_us: int
) -> Iterator[bytes]:
    """`node_status` as JSON, in pieces of one neighbour, stream or viewer: the node may change
    between two of them, and what has gone meanwhile is left out."""
    yield encode(_head(node, uptime_us))[:-1]
    lists: tuple[tuple[str, Iterator[Json]], ...] = (
        ("neighbours", _found(partial(_neighbour, node), list(node.neighbours))),
        ("streams", _found(partial(_broadcast, node), _broadcast_names(node))),
        ("viewers", _found(partial(viewer_status, node), list(node.edge.viewers))),
    )
    for name, entries in lists:
        yield b',"' + name.encode() + b'":['
        for at, entry in enumerate(entries):
            yield (b"," if at else b"") + encode(entry)
        yield b"]"
    yield b"," + encode(_tail(node, agent, now_us))[1:]


T = TypeVar("T")


def _found(describe: Callable[[T], Json | None], things: Iterable[T]) -> Iterator[Json]:
    """Those that are still there."""
    for thing in things:
        try:
            found = describe(thing)
        except KeyError:
            continue
        if found is not None:
            yield found


def _broadcast_names(node: Node) -> list[str]:
    return [broadcast.name for broadcast in node.subscriptions.broadcasts]


def _head(node: Node, uptime_us: int) -> Json:
    config = node.config
    return {
        "node": config.name,
        "node_id": config.node_id,
        "listen": config.listen,
        "advertised_as": config.advertised_as or config.listen,
        "uptime_s": uptime_us / 1_000_000,
        "workers": _workers(node),
    }


def _tail(node: Node, agent: ControlAgent | None, now_us: int) -> Json:
    config = node.config
    fallbacks = node.engine.fallbacks()
    if config.controller is not None and config.controller.is_plain_text:
        fallbacks = [*fallbacks, PLAIN_TEXT_CONTROL]
    return {
        "viewers_time_in_node_us": _quantiles(node.engine.delays()),
        "qoe": _qoe(node.qoe),
        "dropped": _dropped(node),
        "overload": _overload(node),
        "memory": _fields(node.engine.memory()),
        "fallbacks": fallbacks,
        "controller": controller_status(agent, now_us) if agent is not None else None,
    }


def controller_status(agent: ControlAgent, now_us: int) -> Json:
    """How the node stands with its brain. node_id, term: as the brain said last, null if never."""
    session, held = agent.session, agent.in_force
    config = agent.node.config.controller
    welcome = session.welcome
    return {
        "url": config.url if config else None,
        "is_plain_text": config is not None and config.is_plain_text,
        "state": session.state.value,
        "term": welcome.term if welcome else None,
        "node_id": welcome.node_id if welcome else None,
        "last_problem": agent.last_problem,
        "table": None
        if held is None
        else {
            "version": str(held.version),
            "age_s": (now_us - agent.in_force_since_us) / 1_000_000,
            "is_stored": agent.is_stored,
            "neighbours": len(held.table.neighbours),
            "paths": len(held.table.paths),
        },
        "announced": agent.announced,
        "refused": agent.announcement_problems,
        "alarms": sorted(name or agent.node.config.name for name in agent.alarms),
        "counters": dict(sorted(session.counters.items())),
    }


def viewer_status(node: Node, viewer: Viewer) -> Json:
    """POST, PUT and GET of one viewer."""
    return {
        "viewer": viewer.id,
        "stream": viewer.broadcast,
        "expires_s": None if viewer.expiry_us is None else viewer.expiry_us / 1_000_000,
        "rtcp": viewer.rtcp,
        "transport_cc_id": viewer.transport_cc_id or None,
        "delay_id": viewer.delay_id or None,
        "rate": _viewer_rate(node, viewer),
        "version": viewer.version,
        "switching_to": viewer.next.broadcast if viewer.next else None,
        "state": node.state_of(viewer.broadcast).value,
        "path": list(node.path_of(viewer.broadcast)),
        "is_premium": viewer.is_premium,
        "qoe": _view(node, viewer),
        "tracks": {
            media: {
                "to": format_address(viewer.addresses[media]),
                "ssrc": leg.ssrc,
                "payload_type": leg.payload_type,
                "rtx_payload_type": viewer.rtx_type(leg.stream.track.media, leg.payload_type),
                "rtx_ssrc": leg.rtx_ssrc,
                "codec": leg.stream.track.codec,
                "clock_rate": leg.stream.track.clock_rate,
                "fmtp": leg.stream.track.fmtp,
                **_fields(node.engine.cursor_stats(leg.cursor)),
            }
            for media, leg in viewer.legs.items()
        },
    }


def _viewer_rate(node: Node, viewer: Viewer) -> Json | None:
    """What rate control makes of its path; null while it waits for its broadcast."""
    if viewer.link is None:
        return None
    stats = node.engine.link_stats(viewer.link)
    return {
        "controller": viewer.controller,
        "target_bps": stats.target_bps,
        "pacing_bps": stats.pacing_bps,
        "acked_bps": stats.acked_bps,
        "feedback_loss": stats.feedback_loss,
        "feedbacks": stats.feedbacks,
        "usage": stats.usage,
    }


def _workers(node: Node) -> list[Json]:
    """cpu_s: null where they have no threads."""
    cpu_us: list[int] | list[None] = node.engine.read_cpu_us() or [None] * len(node.engine)
    return [
        {
            "listen": format_address(endpoint),
            "cpu_s": None if used_us is None else used_us / 1_000_000,
            "memory": _fields(engine.memory()),
        }
        for endpoint, used_us, engine in zip(
            node.config.worker_endpoints, cpu_us, node.engine.engines, strict=True
        )
    ]


def _fields(stats: DataclassInstance) -> Json:
    """`dataclasses.asdict` without its copies."""
    return {field.name: getattr(stats, field.name) for field in dataclasses.fields(stats)}


def _quantiles(delays: DelayHistogram) -> Json:
    """Since the node's start, in microseconds; null before the first packet."""
    return {"p50": delays.quantile_us(0.5), "p99": delays.quantile_us(0.99)}


def _overload(node: Node) -> Json:
    """What is shed now, and what was since the node's start."""
    counted = node.engine.verdicts().items()
    shed = {name.removeprefix("shed_"): n for name, n in counted if name.startswith("shed_")}
    return {**_fields(node.engine.overload()), "shed": shed}


def _neighbour(node: Node, name: str) -> Json:
    neighbour = node.neighbours[name]
    stats = neighbour.stats()
    return {
        "name": name,
        "node_id": neighbour.peer.node_id,
        "address": format_address(neighbour.peer.address),
        "is_static": neighbour.peer.is_static,
        "rate_bps": neighbour.peer.rate_bps,
        "handshake": neighbour.handshake.state,
        "workers": max(1, len(neighbour.worker_ports)),
        "pairs": sorted(neighbour.pairs),
        **_fields(stats),
        "time_in_node_us": _quantiles(neighbour.delays()),
        "hop": _hop(stats),
    }


def _hop(stats: LinkStats) -> Json:
    """What became of what the link from there has lost. too_late: asked for in vain until nobody
    had a use for it; unavailable: the neighbour had it no more, or had never sent it."""
    return {
        "lost": stats.lost,
        "repaired_in_time": stats.repaired,
        "too_late": stats.given_up,
        "unavailable": stats.gone + stats.voided,
    }


def _dropped(node: Node) -> dict[str, int]:
    """Packets that this node left out on purpose, by kind: what it shed under overload, and what
    viewers' paths had no room for."""
    kinds = ("shed_", "dropped_")
    return {name: n for name, n in node.engine.verdicts().items() if name.startswith(kinds)}


def _qoe(qoe: Qoe) -> Json:
    """Of all views since the node's start; relay/qoe says what each figure is."""
    return {
        "views": qoe.views,
        "begun": qoe.begun,
        "zero_stall_ratio": qoe.zero_stall_ratio,
        "fast_start_up_ratio": qoe.fast_start_up_ratio,
        "stalls": qoe.stalls,
        "stalled_s": qoe.stalled_us / 1_000_000,
        "stalls_are": "estimated from what leaves this node",
        "first_packet_ms": _ms_quantiles(qoe.first_packet),
        "start_up_ms": _ms_quantiles(qoe.start_up),
        "cdn_path_delay_ms": _ms_quantiles(qoe.path_delay),
        "streaming_delay_ms": _ms_quantiles(qoe.streaming_delay),
    }


def _ms_quantiles(histogram: Histogram) -> Json:
    """Null while there is nothing."""
    return {
        "mean": _ms(histogram.mean_us),
        "p50": _ms(histogram.quantile_us(0.5)),
        "p95": _ms(histogram.quantile_us(0.95)),
    }


def _ms(us: int | None) -> float | None:
    return None if us is None else us / 1_000


def _view(node: Node, viewer: Viewer) -> Json | None:
    """Sampled once a second; null once it has left."""
    view = node.qoe.find(viewer.number)
    if view is None:
        return None
    return {
        "first_packet_ms": _ms(view.first_packet_us),
        "start_up_ms": _ms(view.start_us),
        "is_fast_start": view.is_fast,
        "stalls": view.stalls,
        "stalled_s": view.stalled_us / 1_000_000,
        "cdn_path_delay_ms": _ms(view.path_delay_us),
        "streaming_delay_ms": _ms(view.streaming_delay_us),
    }


def _copies(node: Node, broadcast: Broadcast) -> Json | None:
    """For premium viewers: the way that brings everything once more, empty while there is none, and
    whether no relay is on both. Null if nobody wants it."""
    if not broadcast.premium:
        return None
    ancestors = broadcast.told_copies[0]
    return {
        "path": [*ancestors, node.config.name] if ancestors else [],
        "is_disjoint": broadcast.told_copies[1],
        "premium_viewers": len(broadcast.premium),
    }


def _standby(node: Node, broadcast: Broadcast) -> list[str]:
    """The second way, as `path` is told; empty if there is none that has agreed."""
    way = broadcast.standby
    return [*way.ancestors, node.config.name] if way is not None and way.ancestors else []


def _broadcast(node: Node, name: str) -> Json | None:
    broadcast = node.subscriptions.find(name)
    if broadcast is None:
        return None
    upstream = broadcast.upstream
    return {
        "name": name,
        "state": broadcast.state.value,
        "upstream": upstream.route.peer if upstream else None,
        "path": list(node.path_of(name)),
        "standby": _standby(node, broadcast),
        "copies": _copies(node, broadcast),
        "subscribers": sorted(broadcast.nodes),
        "viewers": len(broadcast.viewers),
        "tracks": {
            stream.track.media: {
                "worker": stream.home,
                "copies": sorted(set(stream.handles) - {stream.home}),
                "codec": stream.track.codec,
                "payload_type": stream.track.payload_type,
                "clock_rate": stream.track.clock_rate,
                "is_started": stream.is_started,
                **_fields(node.engine.stream_stats(stream.handle)),
            }
            for stream in node.streams.of(name)
        },
    }
