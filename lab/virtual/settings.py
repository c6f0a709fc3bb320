"""Configurations of the nodes and of the brain of a scenario, without a file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from control_client.tokens import token_hash
from controller.core.settings import BrainSettings, LinkRule
from controller.paths import RehomeConfig
from controller.tables.node_session import Intervals
from controller.tables.registry import KnownNode
from lab.scenario.model import Broadcast, MoveViewer, Scenario
from lab.scenario.topology import Pair, ceilings, pair_of
from lab.virtual.clock import Luck
from relay.config import NodeConfig

START_US = 1_000_000  # of the clock; nothing may depend on it
_SLAB_MIB = 32  # holds seven broadcasts of 3 Mbit/s and a key frame each 2 s three times over
_SLAB_BPS = 21_000_000  # these
_STREAMS = 16
_FIRST_PORT = 8000


def address_of(number: int) -> str:
    """Where a host's overlay socket is: see `world`."""
    return f"10.0.{number >> 8}.{number & 255}:7000"


def viewer_addresses(number: int) -> dict[str, tuple[str, int]]:
    """Where a viewer's media goes: see `world`."""
    host = f"10.{128 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
    return {"video": (host, 6004), "audio": (host, 6006)}


def node_configs(
    scenario: Scenario, joined: set[Pair], luck: Luck, tables: Mapping[str, Mapping[str, object]]
) -> list[NodeConfig]:
    """In the order of the file; a node's number is its place, its id one more. tables: what every
    node has in place of defaults."""
    numbers = {node.name: number for number, node in enumerate(scenario.nodes)}
    workers = {node.name: node.workers for node in scenario.nodes}
    viewers = {name: 0 for name in numbers}
    for entry in scenario.viewers:
        moves = {
            event.to
            for event in scenario.events
            if isinstance(event, MoveViewer) and event.viewer == entry.name
        }
        for name in {entry.node} | moves:
            viewers[name] += entry.count
    sent_bps = sum(sum(each.bitrates) for each in scenario.broadcasts)
    slabs = 1 + sent_bps // _SLAB_BPS if sent_bps > 4 * _SLAB_BPS else 1
    tracks = sum(len(each.bitrates) for each in scenario.broadcasts)
    configs = []
    for name, number in numbers.items():
        hosted = [b for b in scenario.broadcasts if name in scenario.hosts_of(b)]
        ports = itertools.count(_FIRST_PORT, 4)
        config: dict[str, Any] = {
            **tables,
            "name": name,
            "node_id": number + 1,
            "listen": address_of(number),
            "workers": scenario.nodes[number].workers,
            "viewers_per_worker": scenario.nodes[number].viewers_per_worker,
            "rate": scenario.rate.model_dump(),
            "dropping": scenario.dropping.model_dump(),
            "gop_cache": {"enabled": scenario.nodes[number].gop_cache},
            "viewers": {
                **tables.get("viewers", {}),
                "listen": f"10.0.{number >> 8}.{number & 255}:7100",
            },
            "ingests": [_ingest(broadcast, number, ports) for broadcast in hosted],
            "limits": {
                "streams": (_STREAMS + 8 * tracks) * workers[name],
                "cursors": (64 + 16 * len(numbers) + 2 * tracks) * workers[name]
                + 4 * viewers[name],
                "node_links": max(4, len(numbers)),
                "viewers": 8 + 2 * viewers[name],
                "ports": 6 + 2 * workers[name] + 4 * sum(len(b.bitrates) for b in hosted),
                "slab_mib": _SLAB_MIB * workers[name] * slabs,
            },
        }
        if scenario.brain is not None:
            token = luck.token("token", name)
            config["controller"] = {"url": "wss://brain.test:443/control", "token": token}
        else:
            config["neighbours"] = [
                {
                    "name": peer,
                    "node_id": peer_number + 1,
                    "address": address_of(peer_number),
                    "secret": luck.token("secret", *pair_of(name, peer)),
                    **_ceiling(scenario, name, peer),
                }
                for peer, peer_number in numbers.items()
                if peer != name and pair_of(name, peer) in joined
            ]
            config["paths"] = [
                {"stream": path.stream, "via": path.via}
                for path in scenario.paths
                if path.node == name
            ]
        configs.append(NodeConfig.model_validate(config))
    return configs


def _ceiling(scenario: Scenario, a: str, b: str) -> dict[str, Any]:
    ceiling_bps = ceilings(scenario).get(pair_of(a, b))
    return {} if ceiling_bps is None else {"rate_bps": ceiling_bps}


def brain_settings(scenario: Scenario, joined: set[Pair], luck: Luck) -> BrainSettings:
    """Every joined pair, and no other, is a link."""
    assert scenario.brain is not None
    brain = scenario.brain
    return BrainSettings(
        nodes=tuple(
            KnownNode(node.name, number + 1, token_hash(luck.token("token", node.name)))
            for number, node in enumerate(scenario.nodes)
        ),
        last_resort=frozenset(node.name for node in scenario.nodes if node.last_resort),
        links=tuple(LinkRule(a, b) for a, b in sorted(joined)),
        joins_all_pairs=False,
        intervals=Intervals(report_us=round(brain.report_s * 1_000_000)),
        rehome=RehomeConfig(hold_us=round(brain.rehome_hold_s * 1_000_000)),
    )


def _ingest(broadcast: Broadcast, number: int, ports: Iterator[int]) -> dict[str, Any]:
    """Each version of its video is a track of its own. ports: the first of four for each."""
    host = f"10.0.{number >> 8}.{number & 255}"
    video: dict[str, Any] = {
        "kind": "video",
        "codec": broadcast.codec,
        "payload_type": 96,
        "clock_rate": 90_000,
        "fmtp": "packetization-mode=1" if broadcast.codec == "H264" else "",
    }
    tracks: list[dict[str, Any]] = []
    for version, bitrate_bps in enumerate(broadcast.bitrates):
        port = next(ports)
        said = {"version": version, "bitrate_bps": bitrate_bps}
        tracks.append({**video, "listen": f"{host}:{port}", **said})
        if broadcast.audio and version == 0:
            audio = {"kind": "audio", "codec": "opus", "payload_type": 111, "clock_rate": 48_000}
            tracks.append({**audio, "listen": f"{host}:{port + 2}"})
    return {"name": broadcast.name, "tracks": tracks}
