"""Repeatable random numbers for what runs per packet."""

from typing import final

@final
class Draws:
    """The same numbers as the native side draws from this 64-bit seed."""

    def __new__(cls, seed: int) -> Draws: ...
    def random(self) -> float:
        """Evenly from 0 to below 1."""
