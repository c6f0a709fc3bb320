"""Millions of mutated packets through one engine: what still holds afterwards?

    python -m tests.fuzz.mutants --packets 10000000 --seed 1      prints JSON

The engine has two upstream and two downstream neighbours, an ingest and a viewer. When all mutants
are through, valid streams that are new to it must pass without a loss over the same links, and when
all streams are removed, all memory must be free. Runs on a build with sanitizers as on any other.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from dataclasses import asdict, dataclass

from fastpath import Codec, Engine, Media, PortKind
from fastpath.memory_feed import MemoryFeed
from lab.virtual.mutant_feed import MutantFeed

UPSTREAM, DOWNSTREAM = 2, 2
STREAMS = 6
RATE_BPS = 10**12
HELLO_KEY = b"adjacency secret"
CHUNK = 20_000  # packets between two looks at the events
TURN_US = 500
CHECK_TURNS = 200
CALM_US = 2_000_000  # early packets are held 1 s


class BrokenError(Exception):
    """An invariant does not hold; the text says which."""


@dataclass(frozen=True)
class MutantReport:
    seed: int
    packets: int
    seconds: float
    verdicts: dict[str, int]
    """Of the mutants; those that never came are left out."""
    events: int
    forwarded: int
    """Valid packets afterwards, times the fan-out."""


class MutantRun:
    """One engine and its tormentor. payload_bytes: of the real packets."""

    def __init__(self, seed: int, payload_bytes: int = 300) -> None:
        self._rng = random.Random(seed)
        self._seed = seed
        self._events = 0
        self.engine = Engine(
            node_id=1,
            streams=STREAMS + 2,
            cursors=64,
            node_links=UPSTREAM + DOWNSTREAM,
            viewer_links=2,
            ports=4,
            slab_bytes=4 << 20,
        )
        self._port = self.engine.open_port(PortKind.OVERLAY)
        self._keys = [self._rng.randbytes(16) for _ in range(UPSTREAM + DOWNSTREAM)]
        self._links = [self._add_link(number) for number in range(len(self._keys))]
        self._payload_bytes = payload_bytes
        self.feed = self._make_feed([1 << 32] * len(self._keys), 1_000_000)
        self.streams = self._add_streams(self.feed)
        self._mutants = MutantFeed(self.feed, seed=seed, hello_key=HELLO_KEY, fanout=DOWNSTREAM)
        self._add_edges()

    def _address(self, number: int) -> tuple[str, int]:
        return f"10.1.0.{number + 1}", 7000

    def _add_link(self, number: int) -> int:
        link = self.engine.add_link(
            port=self._port,
            address=self._address(number),
            peer_node=2 + number,
            hello_key=HELLO_KEY,
            rate_bps=RATE_BPS,
        )
        self.engine.offer_keys(
            link,
            receive_key=self._keys[number],
            send_key=self._rng.randbytes(16),
            send_now=True,
            peer_first_hop_seq=1 << 32,
        )
        return link

    def _make_feed(self, hop_seqs: list[int], now_us: int) -> MemoryFeed:
        feed = MemoryFeed(
            self.engine,
            packet_bytes=self._payload_bytes,
            burst=4,
            bursts_a_turn=STREAMS,
            bursts_a_gop=20,
            now_us=now_us,
            turn_us=TURN_US,
        )
        for number, key in enumerate(self._keys):
            feed.add_source(
                port=self._port,
                address=self._address(number),
                key=key,
                first_hop_seq=hop_seqs[number],
            )
        return feed

    def _add_streams(self, feed: MemoryFeed) -> list[int]:
        """Half of them from each upstream link, to all downstream links; their numbers wrap."""
        streams = []
        first = (1 << 32) - 100
        for number in range(STREAMS):
            stream_id, source = self._rng.getrandbits(31) << 1 | 1, number % UPSTREAM
            stream = self.engine.add_stream(
                stream_id=stream_id,
                media=Media.AUDIO if number == 0 else Media.VIDEO,
                first_stream_seq=first,
                upstream=self._links[source],
            )
            feed.add_stream(source=source, stream_id=stream_id, first_stream_seq=first)
            for link in self._links[UPSTREAM:]:
                self.engine.add_cursor(stream=stream, link=link, start_seq=first)
            streams.append(stream)
        return streams

    def _add_edges(self) -> None:
        """An ingest with its RTCP, and a viewer of a relayed stream and of the ingest's."""
        ingest = self.engine.open_port(PortKind.INGEST)
        rtcp = self.engine.open_port(PortKind.INGEST_RTCP, rtp_port=ingest)
        viewers = self.engine.open_port(PortKind.VIEWER)
        stream = self.engine.add_stream(
            stream_id=2, media=Media.VIDEO, first_stream_seq=1, upstream=None
        )
        self.engine.set_ingest(ingest, stream=stream, codec=Codec.H264, payload_type=96)
        link = self.engine.add_viewer_link(rate_bps=RATE_BPS)
        for number, source in enumerate((stream, self.streams[1])):
            self.engine.add_viewer_cursor(
                stream=source,
                link=link,
                port=viewers,
                address=(self._address(number)[0], 6000),
                ssrc=77 + number,
                payload_type=96,
                first_sequence_number=65_500,
            )
        self.streams.append(stream)
        for port in (ingest, rtcp, viewers):
            self._mutants.add_port(port)

    def run(self, packets: int) -> MutantReport:
        """All mutants, then the checks. Raises BrokenError."""
        began = time.monotonic()
        done = 0
        while done < packets:
            done = self._mutants.run(min(CHUNK, packets - done))
            self._events += len(self.engine.events())
        verdicts = {name: n for name, n in self.engine.verdicts().items() if n}
        self.remove(self.streams, self.feed.now_us)
        forwarded = self._check_forwarding()
        return MutantReport(
            self._seed,
            done,
            round(time.monotonic() - began, 1),
            verdicts,
            self._events,
            forwarded,
        )

    def _check_forwarding(self) -> int:
        """New streams over the same links: each packet is accepted and leaves on each link."""
        hop_seqs = [self._mutants.next_hop_seq(n) for n in range(len(self._keys))]
        # What the mutants left on its way, repairs above all, has come to its end.
        feed = self._make_feed(hop_seqs, self.feed.now_us + CALM_US)
        self.engine.turn(feed.now_us)
        streams = self._add_streams(feed)
        before = self.engine.verdicts()["accepted"]
        figures = feed.run(CHECK_TURNS)
        self.engine.events()
        accepted = self.engine.verdicts()["accepted"] - before
        if accepted != figures.packets_in:
            raise BrokenError(f"{accepted} of {figures.packets_in} valid packets accepted")
        for stream in streams:
            expected = figures.packets_in // STREAMS
            if (held := self.engine.stream_stats(stream).packets) != expected:
                raise BrokenError(f"a stream has {held} of {expected} packets")
        if figures.packets_out != figures.packets_in * DOWNSTREAM:
            raise BrokenError(f"{figures.packets_out} left of {figures.packets_in} that came")
        self.remove(streams, feed.now_us)
        return figures.packets_out

    def remove(self, streams: list[int], now_us: int) -> None:
        """Without streams, and once early packets have expired, no memory is in use."""
        for stream in streams:
            self.engine.remove_stream(stream)
        self.engine.turn(now_us + 1)
        self.engine.turn(now_us + CALM_US)
        self.engine.events()
        memory = self.engine.memory()
        for name in ("small_blocks", "large_blocks", "held_early_packets", "streams", "cursors"):
            used, limit = getattr(memory, name)
            if used != 0:
                raise BrokenError(f"{used} of {limit} {name} are still in use")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="Mutated packets through one engine.")
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    # Small and large blocks, and packets as large as a link carries.
    sizes = (100, 300, 1436)
    for number, size in enumerate(sizes):
        seed = options.seed + number
        sys.stderr.write(f"seed {seed}, packets of {size} bytes\n")
        report = MutantRun(seed, size).run(-(-options.packets // len(sizes)))
        sys.stdout.write(json.dumps(asdict(report)) + "\n")


if __name__ == "__main__":
    main()
