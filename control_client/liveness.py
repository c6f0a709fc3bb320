"""Whether the other side of a connection is alive, and when to show that this one is.

Each side says something at least every `heartbeat_us` and gives up when it has heard nothing for
`dead_after_us`. WebSocket pings are not used: they are answered below the session, and would call a
peer alive whose session no longer runs.
"""

HEARTBEAT_US = 5_000_000  # chosen: 600 nodes are 120 small messages a second at the brain
DEAD_AFTER_US = 15_000_000  # chosen: three missed, as between nodes; media does not wait for it
OPENING_US = 10_000_000  # chosen: connecting and each step of the opening, TLS over a bad path too


class Liveness:
    """Of one open connection."""

    def __init__(self, heartbeat_us: int, dead_after_us: int, now_us: int) -> None:
        self._heartbeat_us = heartbeat_us
        self._dead_after_us = dead_after_us
        self._sent_us = now_us
        self._heard_us = now_us

    def on_sent(self, now_us: int) -> None:
        """Anything was sent."""
        self._sent_us = now_us

    def on_heard(self, now_us: int) -> None:
        """A message that decoded has come. Garbage is no sign of life."""
        self._heard_us = now_us

    def is_heartbeat_due(self, now_us: int) -> bool:
        """Whether it is time to say something."""
        return now_us >= self._sent_us + self._heartbeat_us

    def is_dead(self, now_us: int) -> bool:
        """Whether the other side has been silent for too long."""
        return now_us >= self._heard_us + self._dead_after_us

    def next_timer_us(self) -> int:
        """When one of the two may change."""
        return min(self._sent_us + self._heartbeat_us, self._heard_us + self._dead_after_us)
