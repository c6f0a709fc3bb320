"""What a node has asked the brain and not been answered: repeated on each new connection.

A path is wanted by a viewer who waits, so asking ends in time, with or without the brain. An
announcement stands until it is answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from control_client.messages import AnnounceStream, AskPath, ProducedStream

ASK_TIME_OUT_US = 4_000_000  # chosen: below the 4.5 s after which a node gives up on a SUBSCRIBE
MAX_REQUESTS = 512  # chosen: twice what a node may produce, and half of what an outbox holds

Message: TypeAlias = AskPath | AnnounceStream


@dataclass(frozen=True, slots=True)
class Request:
    """One of them. deadline_us: None stands until it is answered."""

    message: Message
    broadcast: str
    deadline_us: int | None


class Requests:
    """first_transaction: drawn, so that no answer to a node before its restart counts."""

    def __init__(self, first_transaction: int) -> None:
        self._transaction = first_transaction
        self._pending: dict[int, Request] = {}

    def __iter__(self) -> Iterator[Request]:
        return iter(tuple(self._pending.values()))

    def ask(self, broadcast: str, now_us: int) -> AskPath | None:
        """The message to send. None: it is asked for already. Raises OverflowError if full."""
        if self._find(AskPath, broadcast) is not None:
            return None
        message = AskPath(self._next(), broadcast)
        self._add(Request(message, broadcast, now_us + ASK_TIME_OUT_US))
        return message

    def announce(self, stream: ProducedStream) -> AnnounceStream:
        """The message to send; it replaces an earlier one of that name. Raises OverflowError."""
        self.withdraw(stream.broadcast)
        message = AnnounceStream(self._next(), stream)
        self._add(Request(message, stream.broadcast, None))
        return message

    def withdraw(self, broadcast: str) -> None:
        """The broadcast is over: its announcement needs no answer."""
        request = self._find(AnnounceStream, broadcast)
        if request is not None:
            del self._pending[request.message.transaction]

    def take(
        self, transaction: int, broadcast: str | None = None, kind: type[Message] | None = None
    ) -> Request | None:
        """What an answer answers. None: nothing that stands, so it is late or foreign."""
        request = self._pending.get(transaction)
        if request is None or (broadcast is not None and request.broadcast != broadcast):
            return None
        if kind is not None and not isinstance(request.message, kind):
            return None
        return self._pending.pop(transaction)

    def take_expired(self, now_us: int) -> list[Request]:
        """Those whose time is over."""
        expired = [
            request
            for request in self._pending.values()
            if request.deadline_us is not None and now_us >= request.deadline_us
        ]
        for request in expired:
            del self._pending[request.message.transaction]
        return expired

    def next_timer_us(self) -> int | None:
        """When the next one's time is over."""
        times = (request.deadline_us for request in self._pending.values())
        return min((time_us for time_us in times if time_us is not None), default=None)

    def _find(self, kind: type[Message], broadcast: str) -> Request | None:
        for request in self._pending.values():
            if request.broadcast == broadcast and isinstance(request.message, kind):
                return request
        return None

    def _next(self) -> int:
        self._transaction = (self._transaction + 1) & 0xFFFFFFFF
        return self._transaction

    def _add(self, request: Request) -> None:
        if len(self._pending) >= MAX_REQUESTS:
            raise OverflowError(f"{MAX_REQUESTS} requests wait for the brain already")
        self._pending[request.message.transaction] = request
