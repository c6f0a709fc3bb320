"""The nodes as they last said they are: where they are reached, what they take, how full they are.

A member stays one for a while after its connection ended (`BrainSettings.member_us`): it may well
go on forwarding, and its neighbours must not lose their links to it because the brain does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from control_client.messages import Capacity, Hello, Inventory, NodeLoad
from controller.tables.registry import KnownNode


@dataclass(slots=True)
class Member:
    """connection: None while it is away. joined_us: when its present or last connection began.
    holds_table: whether it had a table then."""

    known: KnownNode
    address: str
    capacity: Capacity
    admin_url: str
    software: str
    boot_id: int
    seen_us: int
    joined_us: int
    connection: int | None = None
    holds_table: bool = False
    load: NodeLoad | None = None

    @property
    def name(self) -> str:
        return self.known.name


class Members:
    """By name. version: rises when somebody comes, goes for good, or is reached elsewhere."""

    def __init__(self, member_us: int) -> None:
        self.version = 0
        self._member_us = member_us
        self._members: dict[str, Member] = {}

    def all(self) -> tuple[Member, ...]:
        """By name."""
        return tuple(self._members[name] for name in sorted(self._members))

    def get(self, name: str) -> Member | None:
        return self._members.get(name)

    def connected(self) -> frozenset[str]:
        """Who is there."""
        members = self._members.values()
        return frozenset(member.name for member in members if member.connection is not None)

    def connection_of(self, name: str) -> int | None:
        """None: it is away, or unknown."""
        member = self._members.get(name)
        return member.connection if member else None

    def on_joined(
        self, known: KnownNode, hello: Hello, inventory: Inventory, connection: int, now_us: int
    ) -> Member | None:
        """Returns what was known of it before."""
        before = self._members.get(known.name)
        member = self._members[known.name] = Member(
            known=known,
            address=inventory.address,
            capacity=inventory.capacity,
            admin_url=inventory.admin_url,
            software=hello.software,
            boot_id=hello.boot_id,
            seen_us=now_us,
            joined_us=now_us,
            connection=connection,
            holds_table=inventory.table is not None,
        )
        if before is None or _place(before) != _place(member):
            self.version += 1
        return before

    def on_left(self, name: str, connection: int, now_us: int) -> None:
        member = self._members.get(name)
        if member is not None and member.connection == connection:
            member.connection = None
            member.seen_us = now_us

    def restore(self, members: Iterable[Member]) -> None:
        """Of a saved state."""
        self._members.update((member.name, member) for member in members)
        self.version += 1

    def keep_only(self, known: Iterable[KnownNode]) -> None:
        """Another list of nodes: who is not in it is no member."""
        by_name = {node.name: node for node in known}
        kept = {}
        for name, member in self._members.items():
            if name in by_name:
                member.known = by_name[name]
                kept[name] = member
        self._members = kept
        self.version += 1

    def handle_timer(self, now_us: int) -> bool:
        """Forget who was not seen for too long. Returns whether anybody was."""
        gone = [m.name for m in self._away() if now_us >= m.seen_us + self._member_us]
        for name in gone:
            del self._members[name]
        self.version += bool(gone)
        return bool(gone)

    def next_timer_us(self) -> int | None:
        seen_us = min((member.seen_us for member in self._away()), default=None)
        return None if seen_us is None else seen_us + self._member_us

    def _away(self) -> list[Member]:
        return [member for member in self._members.values() if member.connection is None]


def _place(member: Member) -> tuple[KnownNode, str, int]:
    return member.known, member.address, member.capacity.node_links
