"""A whole engine in virtual time, fed a story: what neighbours, encoders and strangers send.

Random bytes never pass a 64-bit tag, so most records are tagged anew with the link's key: behind
the tag lies nearly all of the code. The engine relays STREAM_ID from PEER to NEXT and to a viewer,
and has an encoder's stream of its own, which it sends to PEER. See `Kind` for the records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastpath import Codec, Engine, EngineFullError, Media, PortKind
from fastpath.events import Event, LinkKeyed, LinkMoved
from fastpath.stats import LinkStats
from rtp.rtcp.compound import parse_compound
from tests.fuzz import records
from tests.fuzz.targets import overlay_twin as twin
from tests.fuzz.targets.exact import exact
from tests.fuzz.targets.overlay_story import Kind, seeds
from tests.fuzz.targets.promises import (
    UNPROVEN,
    check_memory,
    check_verdict,
    packet_verdicts,
)
from tests.fuzz.targets.target import Target
from tests.support.chain import ENCODER, STREAM_ID, VIEWER, key

Address = tuple[str, int]
PEER: Address = ("10.0.0.2", 7000)
NEXT: Address = ("10.0.0.3", 7000)
STRANGER: Address = ("10.0.0.4", 7000)
VIEWER_RTCP: Address = ("192.0.2.9", 6001)
OWN_STREAM_ID = 0xBEEF
MAX_OVERLAY_BYTES = 1472
MAX_HOLES = 4096
MAX_TURNS = 40  # of timers in one record
SETTLE_US = 2_000_000  # the early store's second, and more
HELLO_KEY = key("hello")


def _signed(step: int) -> int:
    """The step of a 32-bit number that is meant."""
    return (step + (1 << 31)) % (1 << 32) - (1 << 31)


@dataclass(slots=True)
class Side:
    """One neighbour: the keys of its link, and the newest number it used."""

    address: Address
    link: int
    receive_key: bytes
    send_key: bytes
    hop_seq: int = 0


class World:
    """The engine, its neighbours, and the promises checked at each step."""

    def __init__(self) -> None:
        self.engine = Engine(
            streams=4, cursors=8, node_links=3, viewer_links=2, ports=4, slab_bytes=1 << 18
        )  # fmt: skip
        self.now_us = 1_000_000
        self.overlay = self.engine.open_port(PortKind.OVERLAY)
        self.ingest = self.engine.open_port(PortKind.INGEST)
        self.viewer = self.engine.open_port(PortKind.VIEWER)
        self.peer = self._join(PEER, 2)
        self.next = self._join(NEXT, 3)
        self.sides = {PEER: self.peer, NEXT: self.next}
        self.streams = [
            self._add_stream(STREAM_ID, self.peer.link),
            self._add_stream(OWN_STREAM_ID, None),
        ]
        self.engine.set_ingest(
            self.ingest, stream=self.streams[1], codec=Codec.H264, payload_type=96
        )
        self.engine.add_cursor(stream=self.streams[0], link=self.next.link)
        self.engine.add_cursor(stream=self.streams[1], link=self.peer.link)
        leg = self.engine.add_viewer_link(rate_bps=50_000_000)
        self.engine.add_viewer_cursor(
            stream=self.streams[0], link=leg, port=self.viewer, address=VIEWER, ssrc=7,
            payload_type=100, first_sequence_number=65_530, rtcp_address=VIEWER_RTCP,
            rtx_payload_type=101, rtx_ssrc=8, rtx_first_sequence_number=65_534,
        )  # fmt: skip
        self.turn()

    def _join(self, address: Address, node: int) -> Side:
        link = self.engine.add_link(
            port=self.overlay, address=address, peer_node=node, hello_key=HELLO_KEY,
            rate_bps=100_000_000,
        )  # fmt: skip
        side = Side(address, link, key(f"from {node}"), key(f"to {node}"))
        self.engine.offer_keys(
            link, receive_key=side.receive_key, send_key=side.send_key, send_now=True
        )
        return side

    def _add_stream(self, stream_id: int, upstream: int | None) -> int:
        return self.engine.add_stream(
            stream_id=stream_id, media=Media.VIDEO, first_stream_seq=1, upstream=upstream
        )

    # -- time and datagrams

    def turn(self, *datagrams: tuple[int, Address, memoryview]) -> tuple[list[bytes], list[Event]]:
        sent = self.engine.turn(self.now_us, datagrams)
        for _, destination, data in sent:
            self._check_sent(destination, data)
        events = self.engine.events()
        for event in events:
            if isinstance(event, LinkMoved):
                self._move(event)
        return [data for _, _, data in sent], events

    def _move(self, event: LinkMoved) -> None:
        """A neighbour was heard from another address: that is where it is now."""
        for side in (self.peer, self.next):
            if side.link == event.link:
                side.address = event.address
        self.sides = {side.address: side for side in (self.peer, self.next)}

    def deliver(self, port: int, source: Address, data: bytes) -> None:
        """One datagram in a turn of its own, after all else that is due now."""
        self.turn()
        before, held = packet_verdicts(self.engine), self.engine.memory().held_early_packets[0]
        state = self._state()
        # What waits for its link's budget may leave when anything makes the link ready.
        is_backlogged = any(s.backlogged for s in self._link_stats())
        sent, events = self.turn((port, source, exact(data)))
        answers = 0 if is_backlogged else len(sent)
        changed = check_verdict(before, packet_verdicts(self.engine), held, answers, events)
        if changed <= UNPROVEN and not events and self._proves_nothing(data, changed):
            assert self._state() == state, changed
        self.check()

    def _proves_nothing(self, data: bytes, changed: set[str]) -> bool:
        """Whether no key of any link fits: a malformed body under a tag that fits is a packet."""
        if not changed & {"malformed", "oversized", "unknown_type", "hello_rate_limited"}:
            return True
        return not any(
            twin.is_authentic(data, side.receive_key, (side.hop_seq >> 32) + step)
            for side in self.sides.values()
            for step in (0, 1)
        )

    def _state(self) -> object:
        engine = self.engine
        return (
            self._link_stats(),
            [engine.stream_stats(stream) for stream in self.streams],
            engine.memory(),
            engine.next_timer_us(),
        )

    def _link_stats(self) -> list[LinkStats]:
        return [self.engine.link_stats(side.link) for side in self.sides.values()]

    def wait(self, duration_us: int) -> None:
        end_us = self.now_us + duration_us
        for _ in range(MAX_TURNS):
            due_us = self.engine.next_timer_us()
            if due_us is None or due_us > end_us:
                break
            self.now_us = max(self.now_us, due_us)
            self.turn()
        self.now_us = end_us
        self.turn()
        self.check()

    def check(self) -> None:
        check_memory(self.engine.memory())
        for stats in self._link_stats():
            assert stats.lost == stats.repaired + stats.voided + stats.gone + stats.given_up
            assert 0 <= stats.holes_open <= MAX_HOLES

    def _check_sent(self, destination: Address, data: bytes) -> None:
        assert 0 < len(data) <= MAX_OVERLAY_BYTES
        if destination == VIEWER:
            ssrc = {100: 7, 101: 8}[data[1] & 0x7F]
            assert data[8:12] == ssrc.to_bytes(4)
            return
        if destination in (VIEWER_RTCP, ENCODER):
            assert parse_compound(data)
            return
        # In the turn in which it moves, a neighbour has two addresses.
        side = self.sides.get(destination, self.peer if self.peer.address == PEER else self.next)
        is_hello = data[0] & 15 == twin.HELLO
        assert twin.is_authentic(data, HELLO_KEY if is_hello else side.send_key), data[:32].hex()

    def finish(self) -> None:
        """All streams go: no block may stay behind."""
        for stream in self.streams:
            self.engine.remove_stream(stream)
        self.streams = []
        self.wait(SETTLE_US)
        memory = self.engine.memory()
        assert memory.small_blocks[0] == memory.large_blocks[0] == 0
        assert memory.held_early_packets[0] == 0

    # -- records

    def tagged(
        self,
        body: bytes,
        hop_seq: int | None,
        side: Side | None = None,
        source: Address | None = None,
    ) -> None:
        """A datagram of a neighbour with a tag that fits; hop_seq: 64 bits, None: its own."""
        side = side or self.peer
        found = twin.parse(body)
        if isinstance(found, str):
            self.deliver(self.overlay, source or side.address, body)
            return
        number = hop_seq
        if number is None:
            number = side.hop_seq + _signed(found["hop_seq"] - side.hop_seq)
        number = max(number, 0)
        low = (number & 0xFFFFFFFF).to_bytes(4)
        body = body[: twin.HOP_SEQ.start] + low + body[twin.HOP_SEQ.stop :]
        data = twin.sealed(body, side.receive_key, number >> 32)
        self.deliver(self.overlay, source or side.address, data)
        is_heard = source is None or source == side.address
        if is_heard and found["type"] != twin.HELLO and found["epoch"] == 0:
            side.hop_seq = max(side.hop_seq, number)

    def near(self, body: bytes, side: Side | None = None) -> None:
        """First byte: how far from the next number (signed)."""
        side = side or self.peer
        step = int.from_bytes(body[:1], signed=True)
        self.tagged(body[1:], side.hop_seq + 1 + step, side)

    def hello(self, body: bytes) -> None:
        self.deliver(self.overlay, PEER, twin.sealed(body, HELLO_KEY))

    def strange_hello(self, body: bytes) -> None:
        self.deliver(self.overlay, STRANGER, twin.sealed(body, HELLO_KEY))

    def moved(self, body: bytes) -> None:
        """The peer's next packet, from the stranger's address."""
        self.tagged(body, self.peer.hop_seq + 1, source=STRANGER)

    def rekeyed(self, body: bytes) -> None:
        """Offer new keys; the body, if it is a packet, comes tagged under them."""
        old = self.peer.receive_key, self.peer.send_key
        new = key(f"new {body[:4].hex()}"), key(f"own {body[:4].hex()}")
        self.engine.offer_keys(self.peer.link, receive_key=new[0], send_key=new[1], send_now=False)
        self.turn()
        data = twin.sealed(body, new[0])
        before = self.peer.send_key
        # What is sent in the turn that takes the keys is under the new ones.
        found = twin.parse(data)
        if isinstance(found, dict) and found["type"] != twin.HELLO:
            sent = self.engine.turn(self.now_us, [(self.overlay, PEER, data)])
            is_keyed = any(isinstance(event, LinkKeyed) for event in self.engine.events())
            self.peer.receive_key, self.peer.send_key = new if is_keyed else old
            self.peer.hop_seq = found["hop_seq"] if is_keyed else self.peer.hop_seq
            for _, destination, packet in sent:
                self._check_sent(destination, packet)
        assert before == old[1]
        self.check()

    def command(self, body: bytes) -> None:
        """A stream comes or goes."""
        which, stream_id = body[:1], int.from_bytes(body[1:5])
        if which < b"\x55" and stream_id:
            try:
                self.streams.append(self._add_stream(stream_id, self.peer.link))
            except EngineFullError:
                return
        elif which < b"\xaa" and self.streams:
            self.engine.remove_stream(self.streams.pop(stream_id % len(self.streams)))
        elif self.streams:
            stream = self.streams[stream_id % len(self.streams)]
            link = (self.peer, self.next)[stream_id >> 8 & 1].link
            try:
                self.engine.add_cursor(stream=stream, link=link)
            except EngineFullError:
                return
        self.turn()
        self.check()


KINDS: dict[Kind, Callable[[World, bytes], None]] = {
    Kind.NEXT_NUMBER: lambda world, body: world.tagged(body, world.peer.hop_seq + 1),
    Kind.NEAR: World.near,
    Kind.AS_IT_IS: lambda world, body: world.tagged(body, None),
    Kind.FROM_NEXT: lambda world, body: world.near(body, world.next),
    Kind.WAIT: lambda world, body: world.wait(100 * int.from_bytes(body[:2])),
    Kind.RTP: lambda world, body: world.deliver(world.ingest, ENCODER, body),
    Kind.HELLO: World.hello,
    Kind.COMMAND: World.command,
    Kind.REKEYED: World.rekeyed,
    Kind.RAW: lambda world, body: world.deliver(world.overlay, PEER, body),
    Kind.STRANGE: lambda world, body: world.deliver(world.overlay, STRANGER, body),
    Kind.INBOUND: lambda world, body: world.deliver(world.viewer, VIEWER, body),
    Kind.STRANGE_HELLO: World.strange_hello,
    Kind.MOVED: World.moved,
}


def run(data: bytes) -> None:
    world = World()
    for kind, body in records.split(data):
        KINDS[Kind(kind % len(Kind))](world, body)
    world.finish()


TARGET = Target("overlay", run, seeds, is_story=True, most_bytes=12_000)
