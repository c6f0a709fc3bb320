"""Which table each node has, and what to send so that it has the wanted one.

A node has at most one table under way. What changes meanwhile is sent as one difference once it has
answered, onto the table it acknowledged if its content is still known here, as a whole otherwise.
A version is given once in a term (one start of the brain), whatever the node: so (term, version)
only rises, and never stands for two contents, even if a node goes and comes back.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from control_client.errors import TableRefusalCode
from control_client.messages import Table, TableApplied, TableRefused, TableVersion
from control_client.table import HeldTable, NodeTable

ANSWER_TIME_OUT_US = 10_000_000  # chosen: above a slow disk's write; repeating is harmless


@dataclass(frozen=True, slots=True)
class SendTable:
    """To this node."""

    node: str
    message: Table


@dataclass(frozen=True, slots=True)
class TableStatus:
    """For people. applied: None until the node has told. problem: why it has not the wanted one."""

    wanted: TableVersion
    applied: TableVersion | None
    is_joined: bool
    is_stored: bool
    problem: str

    @property
    def is_current(self) -> bool:
        """Whether the node has what it should have."""
        return self.applied == self.wanted


@dataclass(slots=True)
class _Node:
    """version: of `wanted`. applied_version: what the node says; `applied`: its content too."""

    wanted: NodeTable
    version: int
    applied_version: TableVersion | None = None
    applied: HeldTable | None = None
    sent: HeldTable | None = None
    sent_us: int = 0
    is_joined: bool = False
    is_stored: bool = False
    refused: TableRefused | None = None


class Distribution:
    """Of all nodes."""

    def __init__(self, term: int) -> None:
        self.counters: Counter[str] = Counter()
        self._term = term
        self._last_version = 0
        self._nodes: dict[str, _Node] = {}
        self._joined: dict[str, TableVersion | None] = {}
        self._events: deque[SendTable] = deque()

    def next_event(self) -> SendTable | None:
        """Take the oldest output."""
        return self._events.popleft() if self._events else None

    def next_timer_us(self) -> int | None:
        """When `handle_timer` is due."""
        times = [node.sent_us for node in self._nodes.values() if node.sent and node.is_joined]
        return min(times) + ANSWER_TIME_OUT_US if times else None

    def handle_timer(self, now_us: int) -> None:
        """Send again, as a whole, what was not answered."""
        for name, node in self._nodes.items():
            if node.is_joined and node.sent and now_us >= node.sent_us + ANSWER_TIME_OUT_US:
                self.counters["answers_missing"] += 1
                node.sent = node.applied = None
                self._advance(name, node, now_us)

    def status(self, name: str) -> TableStatus | None:
        """None: no table is wanted for it."""
        node = self._nodes.get(name)
        if node is None:
            return None
        problem = f"{node.refused.text} ({node.refused.code.value})" if node.refused else ""
        return TableStatus(
            self._version_of(node),
            node.applied_version,
            node.is_joined,
            node.is_stored,
            problem or ("" if node.is_joined else "the node is away"),
        )

    def set_tables(self, tables: Mapping[str, NodeTable], now_us: int) -> None:
        """What is wanted from now on, of all nodes; joined or not."""
        for name in self._nodes.keys() - tables.keys():
            del self._nodes[name]
        for name, table in tables.items():
            node = self._nodes.get(name)
            if node is None:
                node = self._nodes[name] = _Node(table, self._next_version())
                if name in self._joined:
                    self._join(node, self._joined[name])
            elif table is not node.wanted and table != node.wanted:
                node.wanted = table
                node.version = self._next_version()
                node.refused = None
            self._advance(name, node, now_us)

    def on_joined(self, name: str, held: TableVersion | None, now_us: int) -> None:
        """held: what the node says it has in force."""
        self._joined[name] = held
        node = self._nodes.get(name)
        if node is not None:
            self._join(node, held)
            self._advance(name, node, now_us)

    def on_left(self, name: str) -> None:
        """The node is away. What was sent may or may not be applied: it will tell."""
        self._joined.pop(name, None)
        node = self._nodes.get(name)
        if node is not None:
            node.is_joined = False

    def on_applied(self, name: str, answer: TableApplied, now_us: int) -> None:
        """The node has put a table in force."""
        if name in self._joined:
            self._joined[name] = answer.version
        node = self._nodes.get(name)
        if node is None:
            return
        if node.sent is not None and node.sent.version == answer.version:
            node.applied, node.sent = node.sent, None
        elif node.applied is None or node.applied.version != answer.version:
            self.counters["answers_late"] += 1
            return
        node.applied_version = answer.version
        node.is_stored = answer.is_stored
        self._advance(name, node, now_us)

    def on_refused(self, name: str, answer: TableRefused, now_us: int) -> None:
        """The node has not. A change that has no base there is sent as a whole; a table that it
        cannot use is not sent again before it changes or the node comes back."""
        node = self._nodes.get(name)
        if node is None or node.sent is None or node.sent.version != answer.version:
            self.counters["answers_late"] += 1
            return
        self.counters[f"refused_{answer.code.value}"] += 1
        was_whole = node.applied is None
        node.sent = None
        node.applied_version = answer.held
        if node.applied is not None and node.applied.version != answer.held:
            node.applied = None
        if answer.code is TableRefusalCode.WRONG_BASE and not was_whole:
            node.applied = None
        else:
            node.refused = answer
        self._advance(name, node, now_us)

    def _join(self, node: _Node, held: TableVersion | None) -> None:
        candidates = (node.sent, node.applied)
        node.applied = next((t for t in candidates if t is not None and t.version == held), None)
        node.applied_version = held
        node.sent = node.refused = None
        node.is_joined = True

    def _advance(self, name: str, node: _Node, now_us: int) -> None:
        version = self._version_of(node)
        if not node.is_joined or node.sent is not None or node.refused is not None:
            return
        if node.applied_version == version:
            return
        if node.applied is None:
            message = node.wanted.as_message(version)
            self.counters["sent_whole"] += 1
        else:
            message = node.wanted.change_from(node.applied.table, node.applied.version, version)
            self.counters["sent_change"] += 1
        node.sent = HeldTable(version, node.wanted)
        node.sent_us = now_us
        self._events.append(SendTable(name, message))

    def _next_version(self) -> int:
        self._last_version += 1
        return self._last_version

    def _version_of(self, node: _Node) -> TableVersion:
        return TableVersion(self._term, node.version)
