"""Which worker a broadcast lives in: its home, where encoder or upstream deliver it.

All tracks of a broadcast have one home, for they share a clock. One that has an ingest here lives
where that ingest's socket is, others where least is done when they are first wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from relay.workers import Workers

HOME_WEIGHT = 4  # chosen: a broadcast's tracks, and as much again for what it is about to be sent


class Placement:
    """ingests: the workers of those configured here."""

    def __init__(self, workers: Workers, ingests: Mapping[str, int]) -> None:
        self._workers = workers
        self._ingests = ingests
        self._homes: dict[str, int] = {}
        self._counts: Counter[int] = Counter()

    def home(self, broadcast: str) -> int:
        """Its worker; one is chosen if it has none."""
        if len(self._workers) == 1:
            return 0
        found = self._homes.get(broadcast, self._ingests.get(broadcast))
        return self.set_home(broadcast, self.least_loaded()) if found is None else found

    def set_home(self, broadcast: str, worker: int) -> int:
        """Its worker from now on."""
        self.forget(broadcast)
        self._homes[broadcast] = worker
        self._counts[worker] += 1
        return worker

    def forget(self, broadcast: str) -> None:
        """It is no longer here, or starts here again."""
        if (worker := self._homes.pop(broadcast, None)) is not None:
            self._counts[worker] -= 1

    def least_loaded(self, but: Collection[int] = ()) -> int:
        """By cursors, which are what costs; the first of equals. Raises ValueError if all are
        excepted."""
        workers = [worker for worker in range(len(self._workers)) if worker not in but]
        return min(workers, key=self._load)

    def _load(self, worker: int) -> int:
        cursors = self._workers.engines[worker].used("cursors")
        return cursors + HOME_WEIGHT * self._counts[worker]
