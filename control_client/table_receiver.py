"""Which tables a node takes: (term, version) only rises, and a change only goes onto its own base.

Pure: the session sends what this returns. What is refused changes nothing.
"""

from __future__ import annotations

from typing import TypeAlias

from control_client.errors import TableError, TableRefusalCode
from control_client.messages import Table, TableApplied, TableRefused, TableVersion
from control_client.session_events import ApplyTable
from control_client.table import HeldTable, NodeTable

Verdict: TypeAlias = ApplyTable | TableApplied | TableRefused


class TableReceiver:
    """held: what was stored before the node's restart, if anything."""

    def __init__(self, own_name: str, held: HeldTable | None = None) -> None:
        self._own_name = own_name
        self.held = held
        self._is_stored = held is not None
        self._offered: HeldTable | None = None

    @property
    def version(self) -> TableVersion | None:
        """Of the table in force."""
        return self.held.version if self.held else None

    def receive(self, message: Table, term: int) -> Verdict:
        """What to do about a table. term: what the brain called its own in Welcome."""
        if message.version == self.version:
            return TableApplied(message.version, self._is_stored)  # its answer was lost
        if self.version is not None and message.version < self.version:
            text = f"table {message.version} is older than {self.version}, which is in force"
            return self._refuse(message, TableRefusalCode.STALE, text)
        if message.version.term != term:
            is_older = message.version.term < term
            code = TableRefusalCode.STALE if is_older else TableRefusalCode.INVALID
            text = f"table {message.version} is not of the brain's term {term}"
            return self._refuse(message, code, text)
        if message.base is not None and message.base != self.version:
            held = self.version or "no table"
            text = f"table {message.version} changes {message.base}, but {held} is in force"
            return self._refuse(message, TableRefusalCode.WRONG_BASE, text)
        try:
            table = (self.held.table if self.held else NodeTable()).apply(message)
            if self._own_name in table.neighbours:
                raise TableError(f"neighbours: {self._own_name} is this node itself")
        except TableError as error:
            return self._refuse(message, TableRefusalCode.INVALID, str(error))
        self._offered = HeldTable(message.version, table)
        return ApplyTable(message.version, table, message)

    def discard(self) -> None:
        """What is held cannot be put in force."""
        self.held, self._is_stored = None, False

    def on_applied(self, version: TableVersion, is_stored: bool) -> TableApplied | None:
        """It is in force. None: another table was offered since, or this one is known."""
        if self._offered is None and version == self.version and is_stored != self._is_stored:
            self._is_stored = is_stored  # stored at last
            return TableApplied(version, is_stored)
        if self._offered is None or self._offered.version != version:
            return None
        self.held, self._offered = self._offered, None
        self._is_stored = is_stored
        return TableApplied(version, is_stored)

    def on_refused(
        self, version: TableVersion, code: TableRefusalCode, text: str
    ) -> TableRefused | None:
        """The node could not put it in force. None: another table was offered since."""
        if self._offered is None or self._offered.version != version:
            return None
        self._offered = None
        return TableRefused(version, code, text[:300], self.version)

    def _refuse(self, message: Table, code: TableRefusalCode, text: str) -> TableRefused:
        return TableRefused(message.version, code, text[:300], self.version)
