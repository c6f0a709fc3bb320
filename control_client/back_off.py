"""When to connect again: full jitter (a uniform draw below a limit that doubles), so that six
hundred nodes do not come back to a restarted brain at once."""

from random import Random

FIRST_LIMIT_US = 1_000_000  # chosen: after one broken connection, half a second on average
# chosen: a brain that is back is found within this; 600 nodes that look for it are 120 a second
AWAY_LIMIT_US = 10_000_000
LONGEST_LIMIT_US = 30_000_000  # chosen: after a refusal, which somebody has to mend
SHORTEST_US = 100_000  # chosen: a draw near zero must not become a busy loop


class BackOff:
    """Of one node."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._limit_us = FIRST_LIMIT_US

    def next_delay_us(self) -> int:
        """How long to wait now; the next one is drawn from twice the range."""
        limit_us = self._limit_us
        self._limit_us = min(2 * limit_us, AWAY_LIMIT_US)
        return self._rng.randrange(SHORTEST_US, limit_us)

    def reset(self) -> None:
        """A connection has proved itself."""
        self._limit_us = FIRST_LIMIT_US

    def slow_down(self) -> None:
        """Refused: somebody has to mend something first, and hurrying does not help."""
        self._limit_us = LONGEST_LIMIT_US
