"""Whole nodes with real engines, joined by the lab's emulated links in virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from fastpath import Engine
from lab.link import LinkConfig
from lab.virtual_network import VirtualNetwork
from relay.config import NodeConfig
from relay.events import NodeEvent
from relay.node import Node
from relay.workers import new_engine
from service.address import Address

SECRET = "07" * 32
ONE_WAY_US = 20_000
VIEWER: Address = ("10.0.9.9", 6004)
AUDIO_VIEWER: Address = ("10.0.9.9", 6006)
SMALL = {"streams": 16, "cursors": 64, "node_links": 4, "viewers": 8, "ports": 8, "slab_mib": 8}


def address_of(node_id: int) -> Address:
    return f"10.0.0.{node_id}", 7000


def config_of(name: str, node_id: int, neighbours: dict[str, int], **parts: Any) -> NodeConfig:
    return NodeConfig.model_validate(
        {
            "name": name,
            "node_id": node_id,
            "listen": "{}:{}".format(*address_of(node_id)),
            "neighbours": [
                {
                    "name": peer,
                    "node_id": peer_id,
                    "address": "{}:{}".format(*address_of(peer_id)),
                    "secret": f"{min(node_id, peer_id):02x}{max(node_id, peer_id):02x}"
                    + SECRET[4:],
                }
                for peer, peer_id in neighbours.items()
            ],
            "limits": SMALL,
            **parts,
        }
    )


def demo_ingest(node_id: int) -> list[dict[str, Any]]:
    video = {"kind": "video", "codec": "H264", "payload_type": 96, "clock_rate": 90_000}
    audio = {"kind": "audio", "codec": "opus", "payload_type": 111, "clock_rate": 48_000}
    tracks = [{**video, "listen": f"10.0.0.{node_id}:5004", "fmtp": "packetization-mode=1"}]
    tracks += [{**audio, "listen": f"10.0.0.{node_id}:5006"}]
    return [{"name": "demo", "tracks": tracks}]


@dataclass
class Running:
    """A node, its engine, and what it reported."""

    node: Node
    engine: Engine
    address: Address
    events: list[tuple[int, NodeEvent]] = field(default_factory=list)
    due: list[tuple[int, Address, bytes]] = field(default_factory=list)

    def of(self, kind: type[NodeEvent]) -> list[NodeEvent]:
        return [event for _, event in self.events if isinstance(event, kind)]


class Overlay:
    """Nodes by name, one clock. Viewers' datagrams end up in `received`, RTCP in `reports`."""

    def __init__(self, seed: int = 1) -> None:
        self.now_us = 1_000_000
        self.network = VirtualNetwork(seed)
        self.nodes: dict[str, Running] = {}
        self.received: list[tuple[int, Address, bytes]] = []
        self.reports: list[tuple[int, Address, bytes]] = []
        self._seed = seed
        self._configs: dict[tuple[int, int], LinkConfig] = {}

    def start(self, config: NodeConfig) -> Running:
        """Start a node, or start it anew: another engine and other random numbers."""
        self._seed += 1
        engine = new_engine(config)
        node = Node(config, engine, Random(self._seed))
        running = Running(node, engine, address_of(config.node_id))
        node.start(self.now_us)
        self.nodes[config.name] = running
        return running

    def connect(self, a: int, b: int, one_way_us: int = ONE_WAY_US, **parts: float) -> None:
        """parts: of LinkConfig."""
        config = self._configs[a, b] = LinkConfig(one_way_us, **parts)  # type: ignore[arg-type]
        self.network.connect(address_of(a), address_of(b), config)

    def cut(self, a: int, b: int) -> None:
        self._set(a, b, self._configs[a, b].with_cut())

    def mend(self, a: int, b: int) -> None:
        self._set(a, b, self._configs[a, b])

    def kill(self, name: str) -> None:
        """No goodbye."""
        del self.nodes[name]

    def ingest(self, name: str, media: str, packet: bytes) -> None:
        """Nothing happens while the node is dead."""
        if (running := self.nodes.get(name)) is None:
            return
        port = running.node.ports.ingests["demo", media]
        running.due.append((port, ("10.0.8.8", 40_000), packet))

    def run_until(self, end_us: int) -> None:
        """Let everything happen that is due by then."""
        self._settle()
        while (due_us := self._next_us()) is not None and due_us <= end_us:
            self.now_us = max(self.now_us, due_us)
            self._settle()
        self.now_us = end_us
        self._settle()

    def run_for(self, duration_us: int) -> None:
        self.run_until(self.now_us + duration_us)

    def _set(self, a: int, b: int, config: LinkConfig) -> None:
        for src, dst in ((a, b), (b, a)):
            self.network.set_config(address_of(src), address_of(dst), config, self.now_us)

    def _next_us(self) -> int | None:
        times = [self.network.next_timer_us()]
        for running in self.nodes.values():
            times += [running.engine.next_timer_us(), running.node.next_timer_us()]
        return min((time_us for time_us in times if time_us is not None), default=None)

    def _settle(self) -> None:
        for source, destination, data in self.network.receive(self.now_us):
            for running in self.nodes.values():
                if running.address == destination:
                    running.due.append((running.node.ports.overlay, source, data))
        for running in self.nodes.values():
            self._turn(running)

    def _turn(self, running: Running) -> None:
        """Until the node and its engine have nothing more to say to each other now."""
        now_us = self.now_us
        running.node.handle_timer(now_us)
        for _ in range(4):
            due, running.due = running.due, []
            for _port, destination, data in running.engine.turn(now_us, due):
                if destination[0] == VIEWER[0] and 200 <= data[1] <= 206:
                    self.reports.append((now_us, destination, data))
                elif destination[0] == VIEWER[0]:
                    self.received.append((now_us, destination, data))
                else:
                    self.network.send(running.address, destination, data, now_us)
            running.node.handle_engine_events(now_us)
        while (event := running.node.next_event()) is not None:
            running.events.append((now_us, event))
            self.on_event(running, event)

    def on_event(self, running: Running, event: NodeEvent) -> None:
        """For those who answer."""
