"""A node's whole side of the control channel, over real sockets: session, connection, tables."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from control_client.connection import ControlConnection, Tls
from control_client.session_events import ConnectionLost, SessionEvent
from tests.support.control_channel import ChannelNode

PATIENCE_S = 20.0


@dataclass
class Client:
    """A node and its connection. `problems`: why connections ended, in order."""

    node: ChannelNode = field(default_factory=ChannelNode)
    problems: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def connect(self, url: str, tls: Tls | None = None) -> ControlConnection:
        self.node.restart(now_us())
        self.connection = ControlConnection(
            url, self.node.session, self._on_event, tls=tls, allow_plain_text=tls is None
        )
        return self.connection

    def _on_event(self, event: SessionEvent) -> None:
        self.node.on_event(event, now_us())
        if isinstance(event, ConnectionLost):
            self.problems.append(event.reason)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), 0.02)


def now_us() -> int:
    return time.monotonic_ns() // 1000
