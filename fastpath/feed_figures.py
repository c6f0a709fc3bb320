"""What a feed from memory counted, as values."""

from __future__ import annotations

from dataclasses import dataclass, fields

BATCH_RANGES = ("1", "2", "3-4", "5-8", "9-16", "17-32", "33-64")


@dataclass(frozen=True, slots=True)
class FeedFigures:
    """Since the feed was made, or between two moments: `later - earlier`."""

    turns: int
    packets_in: int
    packets_out: int
    """Media."""
    others_out: int
    """Probes, feedback, control."""
    batches: int
    """Of media: each would be one send."""
    batch_packets: dict[str, int]
    """Batches by how many packets they had."""
    engine_ns: int
    """CPU time of the thread in the engine's part of the turns: what arrived, what left, timers;
    without making packets and without the reading of the clock."""

    def __sub__(self, earlier: FeedFigures) -> FeedFigures:
        values = {
            field.name: getattr(self, field.name) - getattr(earlier, field.name)
            for field in fields(self)
            if field.name != "batch_packets"
        }
        left = {name: n - earlier.batch_packets[name] for name, n in self.batch_packets.items()}
        return FeedFigures(**values, batch_packets=left)

    @property
    def ns_per_packet_out(self) -> float:
        return self.engine_ns / self.packets_out if self.packets_out else float("nan")

    @property
    def ns_per_packet_in(self) -> float:
        return self.engine_ns / self.packets_in if self.packets_in else float("nan")
