"""Which answers to path requests are worth waiting for."""

from __future__ import annotations

from controller.core.members import Members
from controller.core.start import Start
from controller.paths import NoPath, PathAnswer, Paths, UnknownConsumer, UnknownProducer


class Patience:
    """wait_us: how long after a node has come its links may be on their way."""

    def __init__(self, start: Start, members: Members, wait_us: int) -> None:
        self._start = start
        self._members = members
        self._wait_us = wait_us

    def may_change(self, answer: PathAnswer, now_us: int) -> bool:
        """Whether measurements or nodes under way may make another answer of it."""
        if isinstance(answer, UnknownConsumer):
            return True
        if self._start.is_settling:
            return not isinstance(answer, Paths) or self._lacks_table(answer.consumer)
        ends: tuple[str, ...] = ()
        match answer:
            case NoPath(_, producer, consumer):
                ends = (producer, consumer)
            case UnknownProducer(_, producer):
                ends = (producer,)
        return any(self._has_just_come(node, now_us) for node in ends)

    def _lacks_table(self, node: str) -> bool:
        """Tables wait, so it has no neighbours to go by."""
        member = self._members.get(node)
        return member is None or not member.holds_table

    def _has_just_come(self, node: str, now_us: int) -> bool:
        member = self._members.get(node)
        return member is not None and now_us < member.joined_us + self._wait_us
