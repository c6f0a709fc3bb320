"""What a node shows of itself: plain JSON values, read from the node at the moment of the call."""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

from relay.address import format_address
from relay.edge.plain_rtp import Viewer
from relay.node import Node

Json: TypeAlias = dict[str, object]


def node_status(node: Node, uptime_us: int) -> Json:
    """GET /status."""
    config = node.config
    return {
        "node": config.name,
        "node_id": config.node_id,
        "listen": config.listen,
        "advertised_as": config.advertised_as or config.listen,
        "uptime_s": uptime_us / 1_000_000,
        "neighbours": [_neighbour(node, name) for name in node.neighbours],
        "streams": [
            _broadcast(node, broadcast.name) for broadcast in node.subscriptions.broadcasts
        ],
        "viewers": [viewer_status(node, viewer) for viewer in node.edge.viewers],
        "memory": dataclasses.asdict(node.engine.memory()),
        "fallbacks": node.engine.fallbacks(),
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


def _neighbour(node: Node, name: str) -> Json:
    neighbour = node.neighbours[name]
    return {
        "name": name,
        "node_id": neighbour.peer.node_id,
        "address": format_address(neighbour.peer.address),
        "is_static": neighbour.peer.is_static,
        "rate_bps": neighbour.peer.rate_bps,
        "handshake": neighbour.handshake.state,
        **dataclasses.asdict(node.engine.link_stats(neighbour.link)),
    }


def _broadcast(node: Node, name: str) -> Json:
    broadcast = node.subscriptions.find(name)
    assert broadcast is not None
    upstream = broadcast.upstream
    return {
        "name": name,
        "state": broadcast.state.value,
        "upstream": upstream.route.peer if upstream else None,
        "path": list(node.path_of(name)),
        "subscribers": sorted(broadcast.nodes),
        "viewers": len(broadcast.viewers),
        "tracks": {
            stream.track.media: {
                "codec": stream.track.codec,
                "payload_type": stream.track.payload_type,
                "clock_rate": stream.track.clock_rate,
                "is_started": stream.is_started,
                **dataclasses.asdict(node.engine.stream_stats(stream.handle)),
            }
            for stream in node.streams.of(name)
        },
    }
