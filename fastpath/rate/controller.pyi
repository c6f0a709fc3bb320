"""A rate controller: bytes sent and feedback in, a target rate and probes out. Sans-IO.

Times are integer microseconds of one monotonic clock, rates bit/s of UDP payload.
"""

from typing import final

from fastpath.rate.config import PacketResult, Probe, RateConfig, RateKind, RateState

@final
class Controller:
    def __new__(cls, kind: RateKind, config: RateConfig, now_us: int) -> Controller:
        """min_bps is raised to 5 kbit/s, max_bps to min_bps. OverflowError beyond 64 bits."""
    @property
    def target_bps(self) -> int:
        """What media may take, within [min_bps, max_bps]."""
    @property
    def pacing_bps(self) -> int:
        """At what the pacer lets it go: the target or more."""
    @property
    def unusable(self) -> int:
        """Results that made no sense: sent in the future, or more than a minute ago."""
    def set_config(self, config: RateConfig, now_us: int) -> None:
        """Limits, what is needed, streams. Kind, profile and is_node_link stay."""
    def on_sent(self, size: int, now_us: int, is_awaited: bool = True) -> None:
        """is_awaited: news of it will come soon, so its absence means something."""
    def on_feedback(self, results: list[PacketResult], rtt_us: int, now_us: int) -> None:
        """Each packet's fate once, in the order sent. rtt_us: 0 if it is not known."""
    def on_receiver_report(
        self, fraction_lost: int, packets: int, rtt_us: int, jitter_us: int, now_us: int
    ) -> None:
        """fraction_lost: of RFC 3550 6.4.1, over `packets` sent since the last report."""
    def on_route_change(self, start_bps: int, now_us: int) -> None:
        """Forget what was measured. start_bps: a rate known to be good there; 0: the target."""
    def on_tick(self, now_us: int) -> None: ...
    def take_probe(self, now_us: int) -> Probe | None: ...
    def state(self) -> RateState: ...

def state_bytes() -> int:
    """Of one controller."""
