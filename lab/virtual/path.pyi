"""When does a datagram arrive, if it does: `lab.link.LinkModel`, natively."""

from typing import Final, final

from lab.link import LinkConfig

MORE: Final[int]
"""Seed of the second source of draws: the first one's, exclusive-or this."""

@final
class NativePath:
    """One path by itself, for the comparison with its model. Time begins at 0."""

    def __new__(cls, config: LinkConfig, seed: int) -> NativePath: ...
    def set_config(self, config: LinkConfig, now_us: int) -> None: ...
    def admit(self, size_bytes: int, now_us: int) -> tuple[int, ...]: ...
    def queue_us(self, now_us: int) -> int: ...
