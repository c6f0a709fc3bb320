"""The sockets of a node, as file descriptors before and as the engine's handles after opening."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from fastpath import Engine, PortKind
from relay.config import NodeConfig, Track
from service.address import Address

IngestKey: TypeAlias = tuple[str, str]
"""Stream name, and "video" or "audio"."""


@dataclass(frozen=True, slots=True)
class Ports:
    """overlay: to neighbours. viewer: to all viewers. ingests: from encoders; tracks with the same
    `listen` have the same. ingest_rtcp: their reports, of tracks that have a port for them."""

    overlay: int = -1
    viewer: int = -1
    ingests: Mapping[IngestKey, int] = field(default_factory=dict)
    ingest_rtcp: Mapping[IngestKey, int] = field(default_factory=dict)


VIRTUAL = Ports()
"""No sockets: the owner of the engine moves the datagrams."""


def ingest_tracks(config: NodeConfig) -> Iterator[tuple[str, IngestKey, Track]]:
    """Every track of every ingest, with its key path in the configuration."""
    for i, ingest in enumerate(config.ingests):
        for j, track in enumerate(ingest.tracks):
            yield f"ingests[{i}].tracks[{j}]", (ingest.name, track.kind), track


def open_ports(config: NodeConfig, engine: Engine, sockets: Ports) -> Ports:
    """Give bound sockets to the engine, which owns them from then on."""
    overlay = engine.open_port(PortKind.OVERLAY, sockets.overlay)
    viewer = engine.open_port(PortKind.VIEWER, sockets.viewer)
    opened: dict[Address, int] = {}
    ingests: dict[IngestKey, int] = {}
    reports: dict[IngestKey, int] = {}
    for _, key, track in ingest_tracks(config):
        if track.endpoint not in opened:
            fd = sockets.ingests.get(key, -1)
            opened[track.endpoint] = engine.open_port(PortKind.INGEST, fd)
        ingests[key] = opened[track.endpoint]
        if track.rtcp_endpoint is not None:
            if track.rtcp_endpoint not in opened:
                fd = sockets.ingest_rtcp.get(key, -1)
                opened[track.rtcp_endpoint] = engine.open_port(
                    PortKind.INGEST_RTCP, fd, rtp_port=ingests[key]
                )
            reports[key] = opened[track.rtcp_endpoint]
    return Ports(overlay, viewer, ingests, reports)
