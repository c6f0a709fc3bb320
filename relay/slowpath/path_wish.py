"""When a broadcast's paths are asked for: at once, or again and again, ever less often. Pure.

Used for two wishes that never stand at the same time: any path at all, and a second one.
"""

from __future__ import annotations

FIRST_PAUSE_US = 5_000_000  # chosen: a brain hears of a change with the next report at the earliest
LONGEST_PAUSE_US = 60_000_000  # chosen: the period of the nodes' reports
SHORTEST_PAUSE_US = 1_000_000  # chosen: between two that are urgent
ANSWER_BY_US = 4_500_000  # chosen: before a viewer's request of 5 s gives up


class PathWish:
    """One broadcast's. All times are those of the node's clock."""

    def __init__(self) -> None:
        self.is_unanswered = False
        self._answer_by_us = 0
        self._due_us: int | None = None
        self._asked_us: int | None = None
        self._pause_us = FIRST_PAUSE_US

    def want(self, now_us: int, *, is_urgent: bool = False) -> None:
        """Due now, but not sooner after the last time than is fitting."""
        due_us = now_us
        if self._asked_us is not None:
            pause_us = SHORTEST_PAUSE_US if is_urgent else self._pause_us
            due_us = max(now_us, self._asked_us + pause_us)
        if self._due_us is None or due_us < self._due_us:
            self._due_us = due_us

    def on_asked(self, now_us: int, *, is_question: bool) -> None:
        """It was due. is_question: somebody outside was asked, and will answer."""
        self._due_us, self._asked_us = None, now_us
        self._pause_us = min(2 * self._pause_us, LONGEST_PAUSE_US)
        self.is_unanswered = is_question
        self._answer_by_us = now_us + ANSWER_BY_US

    def on_answer(self) -> None:
        """Whatever the answer is."""
        self.is_unanswered = False

    def on_fulfilled(self) -> None:
        """There is nothing to wish for."""
        self._due_us, self._pause_us = None, FIRST_PAUSE_US

    def next_timer_us(self) -> int | None:
        """When `is_due` or `is_overdue` changes."""
        return self._answer_by_us if self.is_unanswered else self._due_us

    def is_due(self, now_us: int) -> bool:
        """Ask now, and say `on_asked`."""
        return not self.is_unanswered and self._due_us is not None and now_us >= self._due_us

    def is_overdue(self, now_us: int) -> bool:
        """Nobody has answered, and nobody will."""
        return self.is_unanswered and now_us >= self._answer_by_us
