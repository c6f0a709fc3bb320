"""The sockets of a node, as file descriptors before and as the engine's handles after opening."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from fastpath import PortKind
from relay.config import NodeConfig, Track
from relay.workers import Workers
from service.address import Address

IngestKey: TypeAlias = tuple[str, str]
"""Stream name, and "video" or "audio"."""


@dataclass(frozen=True, slots=True)
class Ports:
    """overlays: to neighbours. viewers: to all viewers; both worker by worker. ingests: from
    encoders; tracks with the same `listen` have the same. ingest_rtcp: their reports, of tracks
    that have a port for them."""

    overlays: tuple[int, ...] = ()
    viewers: tuple[int, ...] = ()
    ingests: Mapping[IngestKey, int] = field(default_factory=dict)
    ingest_rtcp: Mapping[IngestKey, int] = field(default_factory=dict)

    @property
    def overlay(self) -> int:
        """That of the first worker, which handshakes and control messages use."""
        return self.overlays[0]


VIRTUAL = Ports()
"""No sockets: the owner of the engine moves the datagrams."""


def ingest_tracks(config: NodeConfig) -> Iterator[tuple[str, IngestKey, Track]]:
    """Every track of every ingest, with its key path in the configuration."""
    for i, ingest in enumerate(config.ingests):
        for j, track in enumerate(ingest.tracks):
            yield f"ingests[{i}].tracks[{j}]", (ingest.name, track.kind), track


def ingest_workers(config: NodeConfig) -> dict[str, int]:
    """Which worker each ingest is in: in turns, but those that share a socket together."""
    groups: list[tuple[set[Address], list[str]]] = []
    for ingest in config.ingests:
        sockets, names = {track.endpoint for track in ingest.tracks}, [ingest.name]
        for group in [group for group in groups if group[0] & sockets]:
            sockets, names = sockets | group[0], group[1] + names
            groups.remove(group)
        groups.append((sockets, names))
    return {
        name: number % config.worker_count
        for number, (_, names) in enumerate(groups)
        for name in names
    }


def open_ports(config: NodeConfig, workers: Workers, sockets: Ports) -> Ports:
    """Give bound sockets to the workers, which own them from then on."""

    def of_each(kind: PortKind, fds: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(
            workers.open_port(kind, fds[worker] if fds else -1, worker=worker)
            for worker in range(len(workers))
        )

    overlays = of_each(PortKind.OVERLAY, sockets.overlays)
    viewers = of_each(PortKind.VIEWER, sockets.viewers)
    homes = ingest_workers(config)
    opened: dict[Address, int] = {}
    ingests: dict[IngestKey, int] = {}
    reports: dict[IngestKey, int] = {}
    for _, key, track in ingest_tracks(config):
        if track.endpoint not in opened:
            fd = sockets.ingests.get(key, -1)
            opened[track.endpoint] = workers.open_port(PortKind.INGEST, fd, worker=homes[key[0]])
        ingests[key] = opened[track.endpoint]
        if track.rtcp_endpoint is not None:
            if track.rtcp_endpoint not in opened:
                fd = sockets.ingest_rtcp.get(key, -1)
                opened[track.rtcp_endpoint] = workers.open_port(
                    PortKind.INGEST_RTCP, fd, rtp_port=ingests[key]
                )
            reports[key] = opened[track.rtcp_endpoint]
    return Ports(overlays, viewers, ingests, reports)
