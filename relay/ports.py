"""The sockets of a node, as file descriptors before and as the engine's handles after opening."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from fastpath import Engine, PortKind
from relay.config import NodeConfig

IngestKey: TypeAlias = tuple[str, str]
"""Stream name, and "video" or "audio"."""


@dataclass(frozen=True, slots=True)
class Ports:
    """overlay: to neighbours. viewer: to all viewers. ingests: from encoders."""

    overlay: int = -1
    viewer: int = -1
    ingests: Mapping[IngestKey, int] = field(default_factory=dict)


VIRTUAL = Ports()
"""No sockets: the owner of the engine moves the datagrams."""


def open_ports(config: NodeConfig, engine: Engine, sockets: Ports) -> Ports:
    """Give bound sockets to the engine, which owns them from then on."""
    return Ports(
        overlay=engine.open_port(PortKind.OVERLAY, sockets.overlay),
        viewer=engine.open_port(PortKind.VIEWER, sockets.viewer),
        ingests={
            key: engine.open_port(PortKind.INGEST, sockets.ingests.get(key, -1))
            for ingest in config.ingests
            for key in ((ingest.name, track.kind) for track in ingest.tracks)
        },
    )
