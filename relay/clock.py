"""The clock of a whole node, the engine's own. Only shells read it."""

import time


def now_us() -> int:
    """Microseconds since some moment; it never goes back."""
    return time.monotonic_ns() // 1000
