"""What a node shows of itself: plain JSON values, read from the node at the moment of the call."""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

from relay.control.agent import ControlAgent
from relay.edge.plain_rtp import Viewer
from relay.node import Node
from relay.slowpath.broadcast import Broadcast
from service.address import format_address

Json: TypeAlias = dict[str, object]
PLAIN_TEXT_CONTROL = "control_tls"  # beside the engine's gro, gso, timestamps, huge_pages


def node_status(
    node: Node, uptime_us: int, agent: ControlAgent | None = None, now_us: int = 0
) -> Json:
    """GET /status. agent: of a node with a controller."""
    config = node.config
    fallbacks = node.engine.fallbacks()
    if config.controller is not None and config.controller.is_plain_text:
        fallbacks = [*fallbacks, PLAIN_TEXT_CONTROL]
    return {
        "node": config.name,
        "node_id": config.node_id,
        "listen": config.listen,
        "advertised_as": config.advertised_as or config.listen,
        "uptime_s": uptime_us / 1_000_000,
        "workers": _workers(node),
        "neighbours": [_neighbour(node, name) for name in node.neighbours],
        "streams": [
            _broadcast(node, broadcast.name) for broadcast in node.subscriptions.broadcasts
        ],
        "viewers": [viewer_status(node, viewer) for viewer in node.edge.viewers],
        "memory": dataclasses.asdict(node.engine.memory()),
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
        "state": node.state_of(viewer.broadcast).value,
        "path": list(node.path_of(viewer.broadcast)),
        "tracks": {
            media: {
                "to": format_address(viewer.addresses[media]),
                "ssrc": leg.ssrc,
                "payload_type": leg.stream.track.payload_type,
                "codec": leg.stream.track.codec,
                "clock_rate": leg.stream.track.clock_rate,
                "fmtp": leg.stream.track.fmtp,
                **dataclasses.asdict(node.engine.cursor_stats(leg.cursor)),
            }
            for media, leg in viewer.legs.items()
        },
    }


def _workers(node: Node) -> list[Json]:
    """cpu_s: null where they have no threads."""
    cpu_us: list[int] | list[None] = node.engine.read_cpu_us() or [None] * len(node.engine)
    return [
        {
            "listen": format_address(endpoint),
            "cpu_s": None if used_us is None else used_us / 1_000_000,
            "memory": dataclasses.asdict(engine.memory()),
        }
        for endpoint, used_us, engine in zip(
            node.config.worker_endpoints, cpu_us, node.engine.engines, strict=True
        )
    ]


def _neighbour(node: Node, name: str) -> Json:
    neighbour = node.neighbours[name]
    return {
        "name": name,
        "node_id": neighbour.peer.node_id,
        "address": format_address(neighbour.peer.address),
        "is_static": neighbour.peer.is_static,
        "rate_bps": neighbour.peer.rate_bps,
        "handshake": neighbour.handshake.state,
        "workers": max(1, len(neighbour.worker_ports)),
        "pairs": sorted(neighbour.pairs),
        **dataclasses.asdict(neighbour.stats()),
    }


def _standby(node: Node, broadcast: Broadcast) -> list[str]:
    """The second way, as `path` is told; empty if there is none that has agreed."""
    way = broadcast.standby
    return [*way.ancestors, node.config.name] if way is not None and way.ancestors else []


def _broadcast(node: Node, name: str) -> Json:
    broadcast = node.subscriptions.find(name)
    assert broadcast is not None
    upstream = broadcast.upstream
    return {
        "name": name,
        "state": broadcast.state.value,
        "upstream": upstream.route.peer if upstream else None,
        "path": list(node.path_of(name)),
        "standby": _standby(node, broadcast),
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
                **dataclasses.asdict(node.engine.stream_stats(stream.handle)),
            }
            for stream in node.streams.of(name)
        },
    }
