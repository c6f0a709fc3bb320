"""Work that may block for ever (a look-up of a name, a file on a dead server), with a limit.

A thread that is left behind is a daemon: it holds up nothing, not even the end of the process.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Started(Generic[T]):
    """Runs in a thread of its own from now on."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._outcome: queue.SimpleQueue[tuple[T | None, BaseException | None]]
        self._outcome = queue.SimpleQueue()
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def result(self, within_s: float) -> T:
        """What the work returned, once. Raises what it raised, or TimeoutError."""
        try:
            value, error = self._outcome.get(timeout=max(within_s, 0.001))
        except queue.Empty:
            raise TimeoutError from None
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # None only if the work returned it

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._outcome.put((work(), None))
        except BaseException as error:  # noqa: BLE001  handed to whoever waits
            self._outcome.put((None, error))
