"""Engines in a chain, in virtual time: RTP goes in at the first, a viewer's comes out of the last.

Keys and streams are set by hand; the node's own protocol is tested in tests/relay.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastpath import Codec, Engine, Media, PortKind
from fastpath.events import Event
from lab.link import LinkConfig
from lab.virtual_network import VirtualNetwork

Address = tuple[str, int]
ENCODER: Address = ("192.0.2.1", 4000)
VIEWER: Address = ("192.0.2.9", 6000)
STREAM_ID = 0xC0FFEE
NODE_RATE_BPS = 100_000_000


def key(text: str) -> bytes:
    """A readable 16-byte key."""
    return text.encode().ljust(16, b".")


def rtp(
    number: int,
    timestamp: int,
    payload: bytes,
    *,
    marker: bool = False,
    payload_type: int = 96,
    ssrc: int = 0x1234,
) -> bytes:
    """An RTP packet without extensions (RFC 3550 5.1)."""
    second = (0x80 if marker else 0) | payload_type
    return (
        struct.pack(">BBHII", 0x80, second, number & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload
    )


def key_slice(text: bytes = b"") -> bytes:
    """A single NAL unit packet: IDR slice with first_mb_in_slice 0."""
    return b"\x65\x88" + text


def other_slice(text: bytes = b"") -> bytes:
    """A referenced P slice with first_mb_in_slice 0."""
    return b"\x41\x9a" + text


@dataclass
class Node:
    engine: Engine
    overlay: int
    address: Address
    events: list[Event] = field(default_factory=list)
    links: dict[str, int] = field(default_factory=dict)
    stream: int = -1


class Chain:
    """Nodes 0 .. n-1; link i joins node i and node i+1."""

    def __init__(
        self,
        links: list[LinkConfig],
        *,
        seed: int = 1,
        first_seq: int = 1,
        subscribe: bool = True,
        first_hop_seq: int = 1,
        first_node: dict[str, object] | None = None,
        link_options: dict[str, object] | None = None,
        **options: object,
    ) -> None:
        """options: of every engine; first_node: those that differ at node 0; link_options: of every
        link's end."""
        self.now_us = 1_000_000
        self.link_options: dict[str, Any] = {"rate_bps": NODE_RATE_BPS} | (link_options or {})
        self.first_hop_seq = first_hop_seq
        self.network = VirtualNetwork(seed)
        self.viewer_packets: list[tuple[int, bytes]] = []
        self.viewer_host: list[tuple[int, int, bytes]] = []  # all that came there: time, port, data
        self.drop: Callable[[Address, Address, bytes], bool] = lambda *_: False
        self.nodes = [
            self._node(i, options | (first_node or {}) if i == 0 else options)
            for i in range(len(links) + 1)
        ]
        for i, config in enumerate(links):
            self._join(self.nodes[i], self.nodes[i + 1], config, f"{i}")
        for i, node in enumerate(self.nodes):
            upstream = node.links.get("up")
            node.stream = node.engine.add_stream(
                stream_id=STREAM_ID,
                media=Media.VIDEO,
                first_stream_seq=first_seq,
                upstream=upstream,
            )
            if i + 1 < len(self.nodes) and subscribe:
                node.engine.add_cursor(stream=node.stream, link=node.links["down"])
        first = self.nodes[0].engine
        self.ingest = first.open_port(PortKind.INGEST)
        first.set_ingest(
            self.ingest, stream=self.nodes[0].stream, codec=Codec.H264, payload_type=96
        )
        self.viewer_port = self.nodes[-1].engine.open_port(PortKind.VIEWER)

    def _node(self, index: int, options: dict[str, object]) -> Node:
        sizes: dict[str, object] = {
            "streams": 64,
            "cursors": 64,
            "node_links": 4,
            "viewer_links": 16,
            "ports": 8,
            "slab_bytes": 16 << 20,
        }
        engine = Engine(**(sizes | options))  # type: ignore[arg-type]
        return Node(engine, engine.open_port(PortKind.OVERLAY), ("10.0.0.1", 7000 + index))

    def _join(self, left: Node, right: Node, config: LinkConfig, name: str) -> None:
        self.network.connect(left.address, right.address, config)
        for side, peer, role in ((left, right, "down"), (right, left, "up")):
            link = side.engine.add_link(
                port=side.overlay,
                address=peer.address,
                peer_node=1,
                hello_key=key("hello"),
                **self.link_options,
            )
            mine, theirs = ("left", "right") if side is left else ("right", "left")
            side.engine.offer_keys(
                link,
                receive_key=key(theirs + name),
                send_key=key(mine + name),
                send_now=True,
                first_hop_seq=self.first_hop_seq,
                peer_first_hop_seq=self.first_hop_seq,
            )
            side.links[role] = link

    def add_viewer(self, *, rate_bps: int = 20_000_000, first_number: int = 65530) -> int:
        """A plain-RTP viewer of the last node; its cursor."""
        node = self.nodes[-1]
        link = node.engine.add_viewer_link(rate_bps=rate_bps)
        return node.engine.add_viewer_cursor(
            stream=node.stream,
            link=link,
            port=self.viewer_port,
            address=VIEWER,
            ssrc=0xABCD,
            payload_type=100,
            first_sequence_number=first_number,
        )

    def encode(self, *packets: bytes, port: int | None = None, source: Address = ENCODER) -> None:
        """Hand RTP packets to the first node, now; port: not the ingest, but this one."""
        port = self.ingest if port is None else port
        self._turn(self.nodes[0], [(port, source, packet) for packet in packets])

    def run(self, duration_us: int) -> None:
        """Let that much virtual time pass."""
        end_us = self.now_us + duration_us
        for node in self.nodes:
            self._turn(node, [])
        while True:
            due = [t for n in self.nodes if (t := n.engine.next_timer_us()) is not None]
            if (arrival := self.network.next_timer_us()) is not None:
                due.append(arrival)
            next_us = min(due, default=end_us + 1)
            if next_us > end_us:
                break
            self.now_us = max(self.now_us, next_us)
            arrived: dict[Address, list[tuple[int, Address, bytes]]] = {}
            for source, destination, data in self.network.receive(self.now_us):
                arrived.setdefault(destination, []).append((0, source, data))
            for node in self.nodes:
                datagrams = [(node.overlay, s, d) for _, s, d in arrived.get(node.address, [])]
                timer = node.engine.next_timer_us()
                if datagrams or (timer is not None and timer <= self.now_us):
                    self._turn(node, datagrams)
        self.now_us = end_us

    def _turn(self, node: Node, datagrams: list[tuple[int, Address, bytes]]) -> None:
        for _, destination, data in node.engine.turn(self.now_us, datagrams):
            if destination[0] == VIEWER[0]:
                self.viewer_host.append((self.now_us, destination[1], data))
                if destination == VIEWER:
                    self.viewer_packets.append((self.now_us, data))
            elif not self.drop(node.address, destination, data):
                self.network.send(node.address, destination, data, self.now_us)
        node.events += node.engine.events()
