"""Which nodes there are, and which connection speaks for each.

Of two connections with one name the first one stays, unless both come from the same start of the
same process (boot id): then the old one is a connection whose end was not noticed. A second boot id
is either a second machine with a copied configuration, and if the newer one won the two would push
each other out for ever; or a restarted node whose host vanished without closing its connection,
which then waits until that is given up (`dead_after_us`), forwarding by its stored table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from control_client.errors import RefusalCode
from control_client.messages import LOWEST_SCHEMA, SCHEMA_VERSION, Hello, Refusal
from control_client.refusals import refusal
from control_client.tokens import NO_TOKEN_HASH, token_matches
from controller.tables.adjacency_secrets import Party


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A node that the operator has added. generation: see `adjacency_secrets`."""

    name: str
    node_id: int
    token_hash: str
    generation: int = 1

    @property
    def party(self) -> Party:
        """As adjacency secrets know it."""
        return Party(self.name, self.generation)


@dataclass(frozen=True, slots=True)
class Admitted:
    """replaces: the earlier connection of the same start, now to be closed."""

    node: KnownNode
    replaces: int | None


Admission: TypeAlias = Admitted | Refusal


@dataclass(frozen=True, slots=True)
class _Occupant:
    connection: int
    peer: str
    boot_id: int


class NodeRegistry:
    """connection: any number that names one, for as long as the brain runs."""

    def __init__(self, nodes: Iterable[KnownNode]) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._occupants: dict[str, _Occupant] = {}

    @property
    def connected(self) -> dict[str, int]:
        """Connections by node."""
        return {name: occupant.connection for name, occupant in self._occupants.items()}

    def set_nodes(self, nodes: Iterable[KnownNode]) -> list[int]:
        """Another list. Returns the connections that it no longer allows; a raised generation is
        for links, and their two ends are best told while they are here."""
        known = {node.name: node for node in nodes}
        revoked = [
            name
            for name in self._occupants
            if _entitlement(known.get(name)) != _entitlement(self._nodes.get(name))
        ]
        self._nodes = known
        return [self._occupants[name].connection for name in revoked]

    def admit(self, hello: Hello, connection: int, peer: str) -> Admission:
        """peer: whence it connected, for texts. A refusal changes nothing."""
        if (unspoken := _schema_refusal(hello)) is not None:
            return unspoken
        node = self._nodes.get(hello.node)
        # Compared also for a name that is not known, so that the time tells nothing of the list.
        is_good = token_matches(hello.token, node.token_hash if node else NO_TOKEN_HASH)
        if node is None:
            text = f"no node {hello.node} is known here; add it, or mend its name"
            return refusal(RefusalCode.UNKNOWN_NODE, text)
        if not is_good:
            return refusal(RefusalCode.BAD_TOKEN, f"the token is not the one of {hello.node}")
        occupant = self._occupants.get(node.name)
        if occupant is not None and occupant.boot_id != hello.boot_id:
            text = f"{node.name} is connected already, from {occupant.peer}"
            return refusal(RefusalCode.NAME_TAKEN, text)
        self._occupants[node.name] = _Occupant(connection, peer, hello.boot_id)
        return Admitted(node, occupant.connection if occupant else None)

    def leave(self, name: str, connection: int) -> None:
        """The connection is over; one that was replaced no longer speaks for the node."""
        occupant = self._occupants.get(name)
        if occupant is not None and occupant.connection == connection:
            del self._occupants[name]


def _entitlement(node: KnownNode | None) -> tuple[int, str] | None:
    """What a connection was let in by."""
    return None if node is None else (node.node_id, node.token_hash)


def _schema_refusal(hello: Hello) -> Refusal | None:
    theirs = f"{hello.node} speaks control schemas {hello.lowest_schema} to {hello.highest_schema}"
    ours = f"this brain {LOWEST_SCHEMA} to {SCHEMA_VERSION}"
    if hello.lowest_schema > SCHEMA_VERSION:
        text = f"{theirs}, {ours}: upgrade the brain"
        return refusal(RefusalCode.SCHEMA_TOO_NEW, text)
    if hello.highest_schema < LOWEST_SCHEMA:
        text = f"{theirs}, {ours}: upgrade the node"
        return refusal(RefusalCode.SCHEMA_TOO_OLD, text)
    return None
