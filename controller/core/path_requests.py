"""Nodes that ask for paths, and what they are answered.

All that ask for one broadcast at one node in a turn share one look-up. An answer that measurements
under way may still change waits for them, for a while: right after a start of the brain, and while
a node has just come and its links have not been measured yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from control_client.errors import RequestCode
from control_client.messages import Paths as PathsMessage
from control_client.messages import RequestError
from controller.core.ways import ways
from controller.paths import (
    NoPath,
    PathAnswer,
    PathDecision,
    Paths,
    UnknownConsumer,
    UnknownProducer,
    UnknownStream,
)

MAX_WAITING = 100_000  # chosen: 600 nodes with all the requests a node may have, three times over

MayChange: TypeAlias = Callable[[PathAnswer, int], bool]


@dataclass(frozen=True, slots=True)
class Answer:
    """One message for each who asked. transaction: of the request."""

    node: str
    message: PathsMessage | RequestError
    broadcast: str
    answer: PathAnswer | None


@dataclass(frozen=True, slots=True)
class _Request:
    node: str
    transaction: int
    broadcast: str
    until_us: int


class PathRequests:
    """may_change: whether an answer is to wait for news. patience_us: how long."""

    def __init__(self, decision: PathDecision, may_change: MayChange, patience_us: int) -> None:
        self.lookups = 0
        self.answered = 0
        self.refused = 0
        self._decision = decision
        self._may_change = may_change
        self._patience_us = patience_us
        self._new: list[_Request] = []
        self._waiting: list[_Request] = []
        self._too_many: list[Answer] = []

    @property
    def waiting(self) -> int:
        """Not answered yet."""
        return len(self._new) + len(self._waiting)

    def ask(self, node: str, transaction: int, broadcast: str, now_us: int) -> None:
        """`answers` will answer."""
        if self.waiting >= MAX_WAITING:
            text = f"{MAX_WAITING} path requests wait already"
            error = RequestError(transaction, RequestCode.FULL, text)
            self._too_many.append(Answer(node, error, broadcast, None))
            return
        self._new.append(_Request(node, transaction, broadcast, now_us + self._patience_us))

    def on_left(self, node: str) -> None:
        """It asks again on its next connection."""
        self._new = [request for request in self._new if request.node != node]
        self._waiting = [request for request in self._waiting if request.node != node]

    def look_again(self) -> None:
        """Something has changed: who waits may have an answer now."""
        self._new = self._waiting + self._new
        self._waiting = []

    def handle_timer(self, now_us: int) -> None:
        if any(now_us >= request.until_us for request in self._waiting):
            self.look_again()

    def next_timer_us(self) -> int | None:
        return min((request.until_us for request in self._waiting), default=None)

    def answers(self, now_us: int) -> list[Answer]:
        """To all who asked since, or waited, and can be told."""
        requests, self._new = self._new, []
        for ticket, request in enumerate(requests):
            self._decision.request(ticket, request.broadcast, request.node)
        found, self._too_many = self._too_many, []
        self.refused += len(found)
        for decision in self._decision.decide(now_us) if requests else ():
            self.lookups += 1
            may_change = self._may_change(decision.answer, now_us)
            for ticket in decision.tickets:
                request = requests[ticket]
                if may_change and now_us < request.until_us:
                    self._waiting.append(request)
                    continue
                message = reply(request.transaction, request.broadcast, decision.answer)
                self.answered += isinstance(message, PathsMessage)
                self.refused += isinstance(message, RequestError)
                found.append(Answer(request.node, message, request.broadcast, decision.answer))
        return found


def reply(transaction: int, broadcast: str, answer: PathAnswer) -> PathsMessage | RequestError:
    """An answer as a message."""
    if isinstance(answer, Paths):
        return PathsMessage(transaction, broadcast, ways(answer))
    code, text = explain_refusal(answer)
    return RequestError(transaction, code, text)


def explain_refusal(
    answer: UnknownStream | UnknownConsumer | UnknownProducer | NoPath,
) -> tuple[RequestCode, str]:
    """One line for whoever asked."""
    match answer:
        case UnknownStream(stream):
            return RequestCode.NO_SUCH_STREAM, f"no node announces {stream}, or it has ended"
        case UnknownConsumer(consumer):
            return RequestCode.NOT_READY, f"{consumer} is not part of the network yet"
        case UnknownProducer(broadcast, producer):
            return RequestCode.NO_PATH, f"{producer}, which produces {broadcast}, is away"
        case NoPath(broadcast, producer, consumer):
            text = f"no links that are up join {producer}, which produces {broadcast}"
            return RequestCode.NO_PATH, f"{text}, to {consumer}"
