"""Python's garbage collector in a process that has to answer at any time.

A full collection looks at every object there is: with 10,000 viewers it holds the event loop up for
a tenth of a second. So what has outlived one is not looked at again, and full collections come
often, with little to do. What is let go is freed by its count of references, as ever; only cycles
among what has lived long would stay, and nodes make none (`tests/relay/test_collector.py`).
"""

from __future__ import annotations

import gc

# chosen: some 10,000 new objects a full collection, 5 ms on a slow core (700, 10, 3: 12 ms); the
# first is Python's own
THRESHOLDS = (700, 5, 1)


def spare_what_lasts() -> None:
    """From now on, for the whole process."""
    gc.collect()
    gc.freeze()
    gc.collect()  # else the next full one waits until a quarter as much as now is there is new
    gc.set_threshold(*THRESHOLDS)
    if _freeze not in gc.callbacks:
        gc.callbacks.append(_freeze)


def _freeze(phase: str, info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] == 2:
        gc.freeze()
