"""What a node tells about itself and its links. Out-of-range values are refused on construction.

A link is directed. Node A's measurement of peer B tells how full A -> B is, which A fills, and how
much is lost of B -> A, as only a receiver can count that.
Source: LiveNet (SIGCOMM 2022) 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.errors import InvalidMeasurementError

MAX_RTT_US = 60_000_000  # chosen: beyond a minute it is a broken clock, not a round trip


def _check_share(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:  # also refuses NaN
        raise InvalidMeasurementError(f"{name} is {value}, allowed is 0 to 1")


@dataclass(frozen=True, slots=True)
class LinkMeasurement:
    """One link as one of its ends sees it.

    rtt_us: round trip, 1 us to 1 min; None if the peer did not answer. loss: fraction of packets
    from the peer that were lost before repair, 0..1. utilisation: of the capacity towards the peer,
    0..1.
    """

    peer: str
    rtt_us: int | None
    loss: float = 0.0
    utilisation: float = 0.0

    def __post_init__(self) -> None:
        if self.rtt_us is not None and not 1 <= self.rtt_us <= MAX_RTT_US:
            raise InvalidMeasurementError(f"rtt_us is {self.rtt_us}, allowed is 1 to {MAX_RTT_US}")
        _check_share("loss", self.loss)
        _check_share("utilisation", self.utilisation)


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a node sends each period. cpu, memory: shares in use, 0..1.

    streams: stream copies under way; stream_limit: how many the node is made for, at least 1.
    links: those that carried data or were pinged since the last report.
    """

    node: str
    cpu: float
    memory: float
    streams: int
    stream_limit: int
    links: tuple[LinkMeasurement, ...] = ()

    def __post_init__(self) -> None:
        _check_share("cpu", self.cpu)
        _check_share("memory", self.memory)
        if self.streams < 0:
            raise InvalidMeasurementError(f"streams is {self.streams}, allowed is 0 and more")
        if self.stream_limit < 1:
            raise InvalidMeasurementError(f"stream_limit is {self.stream_limit}, at least 1")

    @property
    def load(self) -> float:
        """0..1: the scarcest of the three. LiveNet combines them by a formula it does not give."""
        return max(self.cpu, self.memory, min(1.0, self.streams / self.stream_limit))
