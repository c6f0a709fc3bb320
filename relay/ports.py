"""The sockets of a node, as file descriptors before and as the engine's handles after opening."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from fastpath import PortKind
from relay.config import NodeConfig, Track
from relay.messages import version_name
from relay.workers import Workers
from service.address import Address

IngestKey: TypeAlias = tuple[str, str]
"""Broadcast (of one version), and "video" or "audio"."""


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
            name = version_name(ingest.name, track.version)
            yield f"ingests[{i}].tracks[{j}]", (name, track.kind), track


def ingest_workers(config: NodeConfig) -> dict[str, int]:
    """Which worker each ingest is in: in turns, but those that share a socket together."""
    leaders: dict[str, str] = {}  # who stands for it: itself, or one that shares a socket with it
    users: dict[Address, str] = {}

    def leader_of(name: str) -> str:
        while (leader := leaders[name]) != name:
            leaders[name] = leaders[leader]  # half the way for those who ask later
            name = leader
        return name

    for ingest in config.ingests:
        leaders[ingest.name] = ingest.name
        for track in ingest.tracks:
            first = leader_of(users.setdefault(track.endpoint, ingest.name))
            leaders[leader_of(ingest.name)] = first
    turns: dict[str, int] = {}
    return {
        part.name: turns.setdefault(leader_of(ingest.name), len(turns)) % config.worker_count
        for ingest in config.ingests
        for part in ingest.by_version
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
