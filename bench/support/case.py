"""What is measured, and how thoroughly."""

from __future__ import annotations

from dataclasses import dataclass

LEG_BYTES = 32  # header and tag of an overlay datagram


@dataclass(frozen=True)
class Case:
    """kind: "node" (overlay in, overlay out) or "edge" (plain RTP in and out).
    pacing: "saturated" (one stream in bursts of 16), "frames" (streams as encoders make them) or
    "even" (single packets, evenly spaced)."""

    fanout: int  # links that a packet goes to
    payload_bytes: int  # of an RTP packet, header included
    receiver: str  # "gro" or "plain"
    kind: str = "node"
    streams: int = 1
    pacing: str = "saturated"
    links: int = 0  # in all; 0: as many as `fanout`. Stream n goes to group n % (links / fanout)
    rate_pps: float | None = None  # packets/s out; None: the highest rate is searched

    def __post_init__(self) -> None:
        if self.link_count % self.fanout != 0:
            raise ValueError(f"{self.links} links are no multiple of fan-out {self.fanout}")
        if self.kind == "edge" and (self.streams > 1 or self.link_count != self.fanout):
            raise ValueError("the edge is measured with one stream to all viewers")

    @property
    def link_count(self) -> int:
        return self.links or self.fanout

    @property
    def is_overlay(self) -> bool:
        return self.kind == "node"

    @property
    def datagram_bytes(self) -> int:
        return self.payload_bytes + (LEG_BYTES if self.is_overlay else 0)

    @property
    def name(self) -> str:
        """For people: what is unusual about it is named."""
        parts = [self.kind, f"{self.fanout} x {self.payload_bytes} {self.receiver}"]
        if self.streams > 1 or self.pacing != "saturated":
            parts.append(f"{self.streams} stream{'s' * (self.streams > 1)} {self.pacing}")
        if self.link_count != self.fanout:
            parts.append(f"{self.link_count} links")
        return " ".join(parts)


@dataclass(frozen=True)
class Plan:
    searches: int  # of each relay; medians are taken
    trial_s: float
    patience_s: float  # what a case may spend on repeating trials that others disturbed
    # Encoders send for so long before anything is measured: rings (2 s) are then as full as they
    # get, and no memory is touched for the first time.
    fill_s: float = 2.5
