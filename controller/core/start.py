"""When tables may be made after a start of the brain.

Nodes forward by the tables they have, and come back one after the other. A table made too early
would lack whoever is not back yet, and its node would lose links that work. So tables wait until
all are back that were connected when the state was saved, or some seconds have passed. A brain
without a state cannot know who its nodes' neighbours are; if they have tables it waits until every
node it knows is back, or has had time to be.
"""

from __future__ import annotations

from collections.abc import Collection

from control_client.messages import TableVersion
from controller.core.settings import BrainSettings


class Start:
    """expected: nodes that were connected before. term: of this start, which its tables bear.
    state: whether there was one, or one that could not be used."""

    def __init__(
        self,
        settings: BrainSettings,
        expected: frozenset[str],
        *,
        term: int,
        has_state: bool,
        lost_state: bool,
        now_us: int,
    ) -> None:
        self._settings = settings
        self._expected = expected
        self._term = term
        self._has_state = has_state
        self._start_us = now_us
        self._until_us: int | None = None
        if expected or lost_state:
            self._until_us = now_us + settings.settle_us

    @property
    def is_settling(self) -> bool:
        """Tables wait."""
        return self._until_us is not None

    def on_joined(self, table: TableVersion | None, now_us: int) -> None:
        """A node is there. One that has a table of an earlier start makes the others' return
        matter, if there is no state to know them by."""
        is_earlier = table is not None and table.term != self._term
        until_us = self._start_us + self._settings.lost_state_settle_us
        if is_earlier and not self._has_state and now_us < until_us:
            self._expected = frozenset(node.name for node in self._settings.nodes)
            self._until_us = until_us

    def update(self, connected: Collection[str], now_us: int) -> frozenset[str] | None:
        """Whether it is over now: those who are missing, else None."""
        if self._until_us is None:
            return None
        missing = self._expected.difference(connected)
        has_waited = now_us >= self._until_us
        if not has_waited and (missing or not self._expected):
            return None
        self._until_us = None
        return missing

    def next_timer_us(self) -> int | None:
        return self._until_us
