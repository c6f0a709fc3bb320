"""A relay between nodes without its sockets: an engine, its links and streams, fed from memory."""

from __future__ import annotations

import random
from dataclasses import dataclass

from fastpath import Engine, Media, PortKind
from fastpath.feed_figures import FeedFigures
from fastpath.memory_feed import MemoryFeed

RATE_BPS = 10**15  # never the limit
PORT = 7000
LARGEST_RING = 4_096
FIRST_RING = 1_024  # of video
LARGE_BLOCK_BYTES = 2_048  # of three quarters of the slab


@dataclass(frozen=True)
class MemoryCase:
    """streams: spread evenly over `sources` incoming links; each goes out on `fanout` links, which
    take turns where there are more `outgoing` ones. A turn is `bursts_a_turn` frames of `burst`
    packets, of as many streams as there are; in virtual time `turn_us` pass between turns."""

    fanout: int = 1
    payload_bytes: int = 1200
    streams: int = 1
    sources: int = 1
    outgoing: int = 0  # 0: as many as fanout
    burst: int = 8
    bursts_a_turn: int = 8
    turn_us: int = 200
    slab_bytes: int = 128 << 20
    first_hop_seq: int = 1
    first_stream_seq: int = 1

    @property
    def packets_a_turn(self) -> int:
        return self.burst * self.bursts_a_turn


class MemoryNode:
    """Keys are drawn from the seed. Call `run`; events are read between its turns."""

    def __init__(self, case: MemoryCase, seed: int = 1) -> None:
        rng = random.Random(seed)
        outgoing = max(case.outgoing, case.fanout)
        self.case = case
        self.engine = Engine(
            node_id=1,
            streams=case.streams,
            cursors=case.streams * case.fanout,
            node_links=case.sources + outgoing,
            viewer_links=1,
            ports=1,
            slab_bytes=case.slab_bytes,
        )
        self.feed = MemoryFeed(
            self.engine,
            packet_bytes=case.payload_bytes,
            burst=case.burst,
            bursts_a_turn=case.bursts_a_turn,
            turn_us=case.turn_us,
        )
        self.port = self.engine.open_port(PortKind.OVERLAY)
        self.incoming: list[int] = []
        for number in range(case.sources):
            key = rng.randbytes(16)
            address = f"10.1.{number >> 8}.{number & 255}", PORT
            self.incoming.append(self._add_link(address, 2 + number, key, rng))
            self.feed.add_source(
                port=self.port, address=address, key=key, first_hop_seq=case.first_hop_seq
            )
        self.outgoing = [
            self._add_link(
                (f"10.2.{number >> 8}.{number & 255}", PORT),
                2 + case.sources + number,
                rng.randbytes(16),
                rng,
            )
            for number in range(outgoing)
        ]
        self.streams = []
        for number in range(case.streams):
            stream_id = rng.getrandbits(31) << 1 | 1
            source = number % case.sources
            stream = self.engine.add_stream(
                stream_id=stream_id,
                media=Media.VIDEO,
                first_stream_seq=case.first_stream_seq,
                upstream=self.incoming[source],
            )
            self.streams.append(stream)
            self.feed.add_stream(
                source=source, stream_id=stream_id, first_stream_seq=case.first_stream_seq
            )
            for branch in range(case.fanout):
                link = self.outgoing[(number * case.fanout + branch) % outgoing]
                self.engine.add_cursor(stream=stream, link=link, start_seq=case.first_stream_seq)

    def _add_link(self, address: tuple[str, int], node: int, key: bytes, rng: random.Random) -> int:
        link = self.engine.add_link(
            port=self.port,
            address=address,
            peer_node=node,
            hello_key=rng.randbytes(16),
            rate_bps=RATE_BPS,
        )
        self.engine.offer_keys(
            link,
            receive_key=key,
            send_key=rng.randbytes(16),
            send_now=True,
            first_hop_seq=self.case.first_hop_seq,
            peer_first_hop_seq=self.case.first_hop_seq,
        )
        return link

    def run(self, turns: int, turns_at_once: int = 256) -> FeedFigures:
        """What these turns took, and what came of them."""
        before = self.feed.figures()
        while turns > 0:
            self.feed.run(min(turns, turns_at_once))
            self.engine.events()
            turns -= turns_at_once
        return self.feed.figures() - before

    def warm_up(self) -> None:
        """Until rings and slab are as after a while: each ring, or the slab, was full once.

        A single saturated stream has the largest ring, which every packet would outgrow."""
        case = self.case
        blocks = case.slab_bytes * 3 // 4 // LARGE_BLOCK_BYTES
        packets = min(case.streams * FIRST_RING, blocks) * 5 // 4
        self.run(max(packets, LARGEST_RING * 5 // 4) // case.packets_a_turn + 1)
