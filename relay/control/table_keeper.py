"""The table in force: what a node is told, put into it and kept on disk by the shell.

A table is in force as a whole or not at all. The brain is told once the shell has stored it, or
could not; that is tried again then.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from control_client.errors import TableRefusalCode
from control_client.messages import TableVersion
from control_client.session import NodeSession
from control_client.table import HeldTable, NodeTable
from fastpath import EngineFullError
from relay.control.agent_events import (
    StoredTableUnusable,
    StoreTable,
    TableInForce,
    TableNotStored,
    TableStored,
)
from relay.neighbourhood import NeighboursRefusedError
from relay.node import Node

STORE_RETRY_US = 60_000_000  # chosen: a full disk is not mended within seconds

KeeperEvent: TypeAlias = (
    StoreTable | TableInForce | TableStored | TableNotStored | StoredTableUnusable
)


class TableKeeper:
    """Of one node. The session's held table is put in force at once."""

    def __init__(self, node: Node, session: NodeSession, now_us: int) -> None:
        self.in_force: HeldTable | None = None
        self.in_force_since_us = now_us
        self.is_stored = False
        self._node = node
        self._session = session
        self._events: deque[KeeperEvent] = deque()
        self._store_again_us: int | None = None
        if session.held is not None:
            self._use_stored(session.held, now_us)

    def next_event(self) -> KeeperEvent | None:
        """Take the oldest output."""
        return self._events.popleft() if self._events else None

    def next_timer_us(self) -> int | None:
        """When `handle_timer` is due."""
        return self._store_again_us

    def handle_timer(self, now_us: int) -> None:
        """Try the disk again."""
        if self._store_again_us is not None and now_us >= self._store_again_us:
            self._store()

    def apply(self, held: HeldTable, now_us: int) -> None:
        """What the brain has sent; refused if this node cannot have it."""
        problem = self._put_in_force(held, now_us)
        if problem is not None:
            self._session.on_table_refused(held.version, *problem, now_us=now_us)
            return
        self.is_stored = False
        self._tell(held, from_disk=False)
        self._store()

    def on_stored(self, version: TableVersion, problem: str | None, now_us: int) -> None:
        """StoreTable was carried out, or could not be: why."""
        if self.in_force is None or self.in_force.version != version:
            return  # a newer one is being stored
        self.is_stored = problem is None
        if problem is None:
            self._events.append(TableStored(version))
        else:
            self._store_again_us = now_us + STORE_RETRY_US
            self._events.append(TableNotStored(version, problem))
        self._session.on_table_applied(version, is_stored=self.is_stored, now_us=now_us)

    def _use_stored(self, held: HeldTable, now_us: int) -> None:
        """The brain need not be there for it."""
        problem = self._put_in_force(held, now_us)
        if problem is None:
            self.is_stored = True
            self._tell(held, from_disk=True)
        else:
            self._session.discard_table()
            self._events.append(StoredTableUnusable(held.version, problem[1]))

    def _put_in_force(self, held: HeldTable, now_us: int) -> tuple[TableRefusalCode, str] | None:
        """None, or why it cannot be; what was in force is then untouched."""
        name = self._node.config.name
        for broadcast, paths in held.table.paths.items():
            if any(name in path.via for path in paths):
                return TableRefusalCode.INVALID, f"paths: {broadcast} goes through {name} itself"
        try:
            self._node.set_neighbours(held.table.neighbours.values(), now_us)
        except NeighboursRefusedError as error:
            return error.code, str(error)
        except EngineFullError as error:
            return TableRefusalCode.NO_ROOM, str(error)
        self._node.set_pushed_paths(_pushed(held.table))
        self.in_force, self.in_force_since_us = held, now_us
        return None

    def _tell(self, held: HeldTable, *, from_disk: bool) -> None:
        neighbours, paths = len(held.table.neighbours), len(held.table.paths)
        self._events.append(TableInForce(held.version, neighbours, paths, from_disk))

    def _store(self) -> None:
        assert self.in_force is not None
        self._store_again_us = None
        self._events.append(StoreTable(self.in_force))


def _pushed(table: NodeTable) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Of broadcasts that start here there is no path."""
    ways = {name: tuple(p.via for p in paths if p.via) for name, paths in table.paths.items()}
    return {name: vias for name, vias in ways.items() if vias}
