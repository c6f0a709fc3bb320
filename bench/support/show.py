"""Two whole nodes in virtual time: broadcasts start at one, viewers are at the other, with real
engines, handshakes and subscriptions. What viewers are sent is handed on as it leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from lab.link import LinkConfig
from lab.virtual_network import VirtualNetwork
from relay.config import NodeConfig
from relay.edge.plain_rtp import Viewer
from relay.events import NodeEvent
from relay.node import Node
from relay.workers import new_engine
from service.address import Address

START_US = 1_000_000
HOME, EDGE = ("10.0.0.1", 7000), ("10.0.0.2", 7000)
ENCODER: Address = ("10.0.8.8", 40_000)
VIEWERS_NET = "10.9."
VIDEO: dict[str, Any] = {
    "kind": "video",
    "codec": "H264",
    "payload_type": 96,
    "clock_rate": 90_000,
}
AUDIO: dict[str, Any] = {
    "kind": "audio",
    "codec": "opus",
    "payload_type": 111,
    "clock_rate": 48_000,
}
Sent = Callable[[int, Address, bytes], None]


def ingest(name: str, port: int, bitrates_bps: Sequence[int]) -> dict[str, Any]:
    """A broadcast with audio and one or several bitrates of its video, the best first."""
    host = HOME[0]
    tracks = [{**AUDIO, "listen": f"{host}:{port}"}]
    for version, bitrate_bps in enumerate(bitrates_bps):
        listen = f"{host}:{port + 2 + 2 * version}"
        tracks.append({**VIDEO, "listen": listen, "version": version, "bitrate_bps": bitrate_bps})
    return {"name": name, "tracks": tracks}


class Show:
    """on_sent: of each packet to a viewer, with the time and where it goes. edge: more of the
    configuration of the viewers' node."""

    def __init__(
        self,
        ingests: list[dict[str, Any]],
        on_sent: Sent,
        *,
        one_way_us: int = 20_000,
        seed: int = 1,
        edge: Mapping[str, Any] | None = None,
    ) -> None:
        self.now_us = START_US
        self.events: list[tuple[int, NodeEvent]] = []
        self._on_sent = on_sent
        self._network = VirtualNetwork(seed)
        self._network.connect(HOME, EDGE, LinkConfig(one_way_us))
        self._due: dict[Address, list[tuple[int, Address, bytes]]] = {HOME: [], EDGE: []}
        common = {"limits": {"ports": 64, "viewers": 256, "cursors": 1024, "streams": 64}}
        secret = "5c" * 32
        configs: dict[Address, dict[str, Any]] = {
            HOME: {"name": "home", "node_id": 1, "ingests": ingests},
            EDGE: {"name": "edge", "node_id": 2, "paths": [{"stream": "*", "via": ["home"]}]}
            | dict(edge or {}),
        }
        self._nodes = {}
        for address, config in configs.items():
            peer = EDGE if address == HOME else HOME
            neighbour = {
                "name": configs[peer]["name"],
                "node_id": configs[peer]["node_id"],
                "address": f"{peer[0]}:{peer[1]}",
                "secret": secret,
            }
            listen = f"{address[0]}:{address[1]}"
            whole = {**common, **config, "listen": listen, "neighbours": [neighbour]}
            checked = NodeConfig.model_validate(whole)
            engine = new_engine(checked)
            node = Node(checked, engine, Random(seed * 10 + address[1]))
            node.start(self.now_us)
            self._nodes[address] = node, engine
        self.home, self.edge = self._nodes[HOME][0], self._nodes[EDGE][0]

    def add_viewer(self, number: int, stream: str, **options: Any) -> Viewer:
        """At the edge, for ever. options: of Node.add_viewer."""
        host = f"{VIEWERS_NET}{number >> 8}.{number & 255}"
        addresses = {"video": (host, 6004), "audio": (host, 6006)}
        options = {"rtcp": "none", "expiry_us": None} | options
        return self.edge.add_viewer(stream, addresses, self.now_us, **options)

    def encode(self, broadcast: str, media: str, packets: Sequence[bytes]) -> None:
        """RTP of an encoder, now; of a further version: its own broadcast's name."""
        port = self.home.ports.ingests[broadcast, media]
        self._due[HOME] += [(port, ENCODER, packet) for packet in packets]
        self._settle()

    def from_viewer(self, number: int, packets: Sequence[bytes]) -> None:
        """RTCP of a viewer, now."""
        self.post_from_viewer(number, packets)
        self._settle()

    def post_from_viewer(self, number: int, packets: Sequence[bytes]) -> None:
        """RTCP of a viewer, taken in with what comes next."""
        source = f"{VIEWERS_NET}{number >> 8}.{number & 255}", 6005
        port = self.edge.ports.viewers[0]
        self._due[EDGE] += [(port, source, packet) for packet in packets]

    def run_until(self, end_us: int) -> None:
        """Let everything happen that is due by then."""
        self._settle()
        while (due_us := self._next_us()) is not None and due_us <= end_us:
            self.now_us = max(self.now_us, due_us)
            self._settle()
        self.now_us = end_us

    def _next_us(self) -> int | None:
        times = [self._network.next_timer_us()]
        for node, engine in self._nodes.values():
            times += [engine.next_timer_us(), node.next_timer_us()]
        return min((time_us for time_us in times if time_us is not None), default=None)

    def _settle(self) -> None:
        for source, destination, data in self._network.receive(self.now_us):
            port = self._nodes[destination][0].ports.overlay
            self._due[destination].append((port, source, data))
        for address, (node, engine) in self._nodes.items():
            node.handle_timer(self.now_us)
            for _ in range(4):  # until the two have nothing more to say to each other now
                due, self._due[address] = self._due[address], []
                for _port, to, data in engine.turn(self.now_us, due):
                    if to[0].startswith(VIEWERS_NET):
                        self._on_sent(self.now_us, to, data)
                    else:
                        self._network.send(address, to, data, self.now_us)
                node.handle_engine_events(self.now_us)
            while (event := node.next_event()) is not None:
                self.events.append((self.now_us, event))
