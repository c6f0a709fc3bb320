"""An overlay of many nodes as a brain sees it: what each says when it comes, and measures."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from control_client.codec import encode
from control_client.messages import (
    Capacity,
    Hello,
    Inventory,
    LinkReport,
    NodeLoad,
    ProducedStream,
    Report,
    TableVersion,
    TrackDescriptor,
)
from control_client.tokens import token_hash
from controller.brain import Brain
from controller.core.events import BrainEvent
from controller.core.settings import BrainSettings
from controller.tables.registry import KnownNode

S = 1_000_000
CAPACITY = Capacity(node_links=2_000, streams=4_096, cursors=8_192, viewers=1_024)
TRACKS = (
    TrackDescriptor("video", "H264", 96, 90_000),
    TrackDescriptor("audio", "opus", 111, 48_000),
)


@dataclass(frozen=True, slots=True)
class LargeOverlay:
    """streams: broadcasts of two tracks, dealt out to the nodes in turn."""

    nodes: int
    streams: int
    seed: int = 1

    def brain(self, term: int, state: bytes | None, now_us: int) -> Brain:
        """One start of it."""
        known = (KnownNode(_name(n), n + 1, token_hash(_name(n))) for n in range(self.nodes))
        return Brain(
            BrainSettings(tuple(known)),
            term=term,
            master_key=bytes(32),
            state=state,
            rng=Random(self.seed),
            now_us=now_us,
        )

    def join(self, brain: Brain, table: TableVersion | None, now_us: int) -> list[int]:
        """All of them connect; returns their connections."""
        connections = []
        for number in range(self.nodes):
            connection = brain.open_connection("192.0.2.1:1", now_us)
            name = _name(number)
            brain.receive(connection, encode(Hello(1, 1, name, name, number)), now_us)
            inventory = Inventory(
                f"10.{number >> 8}.{number & 255}.1:7000",
                CAPACITY,
                table=table,
                streams=tuple(_stream(n) for n in range(number, self.streams, self.nodes)),
            )
            brain.receive(connection, encode(inventory), now_us)
            connections.append(connection)
        return connections

    def report(self, brain: Brain, connections: list[int], now_us: int) -> None:
        """Each on its links to all others."""
        rng = Random(self.seed)
        for number, connection in enumerate(connections):
            links = tuple(
                LinkReport(_name(n), True, rng.randrange(1_000, 200_000), 0, 0, 0)
                for n in range(self.nodes)
                if n != number
            )
            report = Report(60 * S, NodeLoad(100, 100, 1, 1), links)
            brain.receive(connection, encode(report), now_us)


def drain(brain: Brain) -> list[BrainEvent]:
    """A turn, whose messages go nowhere; its events."""
    while brain.next_output() is not None:
        pass
    events = []
    while (event := brain.next_event()) is not None:
        events.append(event)
    return events


def _name(number: int) -> str:
    return f"n{number}"


def _stream(number: int) -> ProducedStream:
    return ProducedStream(f"s{number}", TRACKS, (2 * number + 1, 2 * number + 2))
