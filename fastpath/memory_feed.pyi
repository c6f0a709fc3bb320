"""An engine fed from memory: valid media of many streams, through its own receive path.

For measurements: what a node does with a packet, without the kernel and without sockets. The feed
stands at the far end of the engine's incoming links: it makes overlay datagrams under their keys,
puts them into buffers as the kernel coalesces them (one source, equal sizes, at most 64 packets and
65,000 bytes), hands these over as socket_io does, and ends the turn. What the engine sends is
counted, and sent through its sockets only if that is asked for.

The engine is set up as ever (ports, links with offered keys, streams with an upstream, cursors).
"""

from typing import final

from fastpath.engine import Address, Engine
from fastpath.feed_figures import FeedFigures

@final
class MemoryFeed:
    def __new__(
        cls,
        engine: Engine,
        *,
        packet_bytes: int = 1200,
        burst: int = 8,
        bursts_a_turn: int = 8,
        bursts_a_gop: int = 60,
        now_us: int = 1000000,
        turn_us: int = 1000,
        sends: bool = False,
    ) -> MemoryFeed:
        """packet_bytes: of RTP, 16 to 1,436; datagrams are 32 larger. A turn has `bursts_a_turn`
        bursts of `burst` packets (at most 4,096 packets in all); the streams take turns, so with few
        of them one has several bursts. A burst is a frame; every `bursts_a_gop`-th of a stream is a
        key frame. turn_us: how far virtual time moves each turn, from `now_us` on; 0: the machine's
        monotonic clock. sends: packets leave through the engine's ports, which then need sockets.
        The engine may not run in a thread, before or after."""
    def add_source(
        self, *, port: int, address: Address, key: bytes, first_hop_seq: int = 1
    ) -> int:
        """The peer of one link: the engine's port, the peer's address, and the 16-byte key that the
        engine receives under. Returns its number."""
    def add_stream(self, *, source: int, stream_id: int, first_stream_seq: int = 1) -> int:
        """A stream that comes from this source (IndexError if there is none). Returns its number."""
    def run(self, turns: int) -> FeedFigures:
        """So many turns, without the GIL. Returns the figures since the feed was made. The caller
        reads the engine's events; those that find no room are counted by the engine."""
    def run_through(self, turns: int, *, relay: int, take: int, send: int) -> FeedFigures:
        """The same packets through another relay, in the engine's place, to compare: addresses of
        its state and of two C functions, `take(relay, data, size, segment_bytes)` for each buffer and
        `send(relay)` at the end of a turn. What it sends it counts itself; `engine_ns` is its time."""
    def figures(self) -> FeedFigures: ...
    @property
    def now_us(self) -> int:
        """Of the newest turn."""
    @property
    def engine_turn_address(self) -> int:
        """Of the native function that is the engine's part of a turn, for tools that count what it
        executes (its symbol ends in `run_engine_turn`)."""
