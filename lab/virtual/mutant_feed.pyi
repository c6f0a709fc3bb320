"""Packets that an engine must survive, made natively: millions in a minute.

Takes the real packets that a feed makes, leaves about a third as they are, loses some, and makes of
the others: flipped bits, truncations, swapped and edge-valued fields, routes, destinations and repair
blocks, all types, feedback about real and unreal numbers, probes, HELLOs, replays, noise, and whole
coalesced buffers of such; most with a tag that fits, so that what lies behind it is reached.
"""

from typing import final

from fastpath.memory_feed import MemoryFeed

@final
class MutantFeed:
    def __new__(
        cls, feed: MemoryFeed, *, seed: int, hello_key: bytes, fanout: int
    ) -> MutantFeed:
        """feed: in virtual time; sources without streams speak as the engine's subscribers.
        hello_key: of all links. fanout: links that a packet leaves on."""
    def add_port(self, port: int) -> None:
        """A port of the engine for RTP or RTCP that is to get mutants, too. At most eight."""
    def run(self, packets: int) -> int:
        """Hand over that many more. Returns how many it were in all."""
    def next_hop_seq(self, source: int) -> int:
        """With which the source's valid packets go on."""
