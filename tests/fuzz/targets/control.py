"""Control messages: the strict decoder, and a whole node that gets them from its neighbours.

A story plays to node "b" between "a", where its streams come from, and "c", which asks for them;
its neighbours are real handshakes and hand-made packets. The node also produces a stream itself.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from fastpath.engine import Transmit
from relay.errors import MessageError, RefusalCode, Refused
from relay.handshake import Handshake, OfferKeys, SendHello
from relay.hkdf import Endpoint, hello_key
from relay.messages import (
    End,
    Error,
    Message,
    Ok,
    Subscribe,
    Track,
    Unsubscribe,
    UpstreamLost,
    decode,
    encode,
)
from relay.node import Node
from relay.status import node_status
from relay.workers import new_engine
from tests.fuzz import records
from tests.fuzz.targets import overlay_twin as twin
from tests.fuzz.targets.overlay_story import TAG
from tests.fuzz.targets.promises import check_memory
from tests.fuzz.targets.target import Target
from tests.relay.overlay import address_of, config_of, demo_ingest
from tests.support.chain import key_slice, rtp
from tests.support.peer import header

B = 2
SECRETS = {1: "0102", 3: "0203"}  # as config_of makes them
VIEWER = ("10.0.9.9", 6004)
MAX_ROUNDS = 8  # of node and engine talking to each other at one moment
MAX_TURNS = 40
SMALL = {"streams": 6, "cursors": 8, "node_links": 2, "viewers": 2, "ports": 6, "slab_mib": 4}


class NeighbourSide:
    """The far end of one of the node's links."""

    def __init__(self, node_id: int, now_us: int) -> None:
        self.address = address_of(node_id)
        self.secret = bytes.fromhex(SECRETS[node_id] + "07" * 30)
        self.handshake = Handshake(
            own=Endpoint(node_id), peer=Endpoint(B), secret=self.secret, rng=Random(node_id),
            start_us=now_us,
        )  # fmt: skip
        self.keys: OfferKeys | None = None
        self.hop_seq = 0

    def outputs(self) -> list[bytes]:
        """HELLOs to send now; keys are noted."""
        hellos = []
        while (event := self.handshake.next_event()) is not None:
            match event:
                case SendHello(payload):
                    hellos.append(self.hello(payload))
                case OfferKeys():
                    self.keys = event
        return hellos

    def hello(self, payload: bytes) -> bytes:
        return twin.sealed(header(kind=twin.HELLO) + TAG + payload, hello_key(self.secret))

    def control(self, payload: bytes) -> bytes:
        self.hop_seq += 1
        assert self.keys is not None
        head = header(kind=twin.CONTROL, hop_seq=self.hop_seq)
        return twin.sealed(head + TAG + payload, self.keys.send_key)


class World:
    """The node and what it hears."""

    def __init__(self) -> None:
        self.now_us = 1_000_000
        config = config_of(
            "b", B, {"a": 1, "c": 3}, ingests=demo_ingest(B), limits=SMALL,
            paths=[{"stream": "*", "via": ["a"]}],
        )  # fmt: skip
        self.engine = new_engine(config)
        self.node = Node(config, self.engine, Random(7))
        self.node.start(self.now_us)
        self.sides = {name: NeighbourSide(i, self.now_us) for name, i in (("a", 1), ("c", 3))}
        self.viewers: list[str] = []
        self.step()
        for side in self.sides.values():
            side.handshake.handle_timer(self.now_us)
            for hello in side.outputs():
                self.deliver(side, hello)
            assert side.keys is not None
            side.hop_seq = 1
            probe = header(kind=twin.PROBE, hop_seq=1) + TAG + bytes(20)
            self.deliver(side, twin.sealed(probe, side.keys.send_key))

    def deliver(self, side: NeighbourSide, data: bytes) -> None:
        self.step((self.node.ports.overlay, side.address, data))

    def step(self, *datagrams: tuple[int, tuple[str, int], bytes]) -> None:
        """Until node and engine have nothing more to say to each other now."""
        due = list(datagrams)
        self.node.handle_timer(self.now_us)
        for _ in range(MAX_ROUNDS):
            sent = self.engine.turn(self.now_us, due)
            due = []
            self.node.handle_engine_events(self.now_us)
            for transmit in sent:
                due += self._hear(transmit)
            if not sent:
                break
        while self.node.next_event() is not None:
            pass

    def _hear(self, transmit: Transmit) -> list[tuple[int, tuple[str, int], bytes]]:
        """A neighbour's side answers HELLO; what else the node says must be valid."""
        _, destination, data = transmit
        for side in self.sides.values():
            if side.address != destination:
                continue
            found = twin.parse(data)
            assert isinstance(found, dict)
            payload = data[found["header_bytes"] + twin.TAG_BYTES :]
            if found["type"] == twin.CONTROL:
                decode(payload)
            elif found["type"] == twin.HELLO and side.keys is None:
                side.handshake.on_hello(payload, self.now_us)
                return [(self.node.ports.overlay, side.address, hello) for hello in side.outputs()]
        return []

    def check(self) -> None:
        check_memory(self.engine.memory())
        node_status(self.node, self.now_us)
        counted = self.engine.verdicts()
        assert counted["command_stale"] == 0, "the node named something that is gone"

    # -- records

    def message(self, name: str, payload: bytes) -> None:
        """A control packet; the decoder alone first."""
        try:
            known: Message | None = decode(payload)
        except MessageError:
            known = None
        if known is not None:
            assert decode(encode(known)) == known
        heard = self._heard()
        self.deliver(self.sides[name], self.sides[name].control(payload))
        taken = len(payload) <= 1400
        assert self._heard() == heard + taken
        assert not taken or (known is None) == (self._malformed_grew())

    def _heard(self) -> int:
        counters = self.node.counters
        received = sum(n for name, n in counters.items() if name.startswith("received_"))
        return received + counters["control_malformed"]

    def _malformed_grew(self) -> bool:
        grew = self.node.counters["control_malformed"] > self._malformed
        self._malformed = self.node.counters["control_malformed"]
        return grew

    _malformed = 0

    def hello(self, payload: bytes) -> None:
        self.deliver(self.sides["a"], self.sides["a"].hello(payload))

    def wait(self, body: bytes) -> None:
        end_us = self.now_us + 1000 * int.from_bytes(body[:2])
        for _ in range(MAX_TURNS):
            times = [self.node.next_timer_us(), self.engine.next_timer_us()]
            due_us = min((time_us for time_us in times if time_us is not None), default=end_us)
            if due_us >= end_us:
                break
            self.now_us = max(self.now_us, due_us)
            self.step()
        self.now_us = end_us
        self.step()

    def join(self, body: bytes) -> None:
        """A viewer of the stream that the body names."""
        try:
            viewer = self.node.add_viewer(body.decode("latin-1"), {"video": VIEWER}, self.now_us)
        except Refused:
            return
        self.viewers.append(viewer.id)
        self.step()

    def leave(self, _body: bytes) -> None:
        viewer = self.node.find_viewer(self.viewers.pop(0)) if self.viewers else None
        if viewer is not None:
            self.node.remove_viewer(viewer, self.now_us)
        self.step()

    def encode(self, body: bytes) -> None:
        """A packet of the node's own encoder."""
        port = self.node.ports.ingests["demo", "video"]
        number = int.from_bytes(body[:2])
        self.step((port, ("10.0.8.8", 40_000), rtp(number, number, key_slice(body[2:200]))))


KINDS: tuple[Callable[[World, bytes], None], ...] = (
    lambda world, body: world.message("a", body),
    lambda world, body: world.message("c", body),
    World.wait,
    World.join,
    World.leave,
    World.encode,
    World.hello,
)
FROM_A, FROM_C, WAIT, JOIN, LEAVE, ENCODE, HELLO = range(len(KINDS))


def run(data: bytes) -> None:
    world = World()
    for kind, body in records.split(data, limit=24):
        KINDS[kind % len(KINDS)](world, body)
        world.check()


def seeds() -> list[bytes]:
    """A subscription in each role from beginning to end, refusals, losses, changed tracks."""
    video = Track(5, "video", "H264", 96, 90_000, 0xFFFFFFFF, "packetization-mode=1")
    audio = Track(6, "audio", "opus", 111, 48_000, 1)
    other = Track(7, "video", "H264", 96, 90_000, 4)
    # The node's own transaction numbers come from its seeded rng; the first one is asked for.
    first = _first_transaction()
    join = (JOIN, b"far")
    ok = (FROM_A, encode(Ok(first, "far", (video, audio), ("p", "a"))))
    subscribe = encode(Subscribe(7, "far", ("a",), ("c",)))
    demo = encode(Subscribe(8, "demo", (), ("c",)))
    stories: list[list[records.Record]] = [
        [join, ok, (WAIT, b"\x20\0"), (LEAVE, b""), (WAIT, b"\x20\0")],
        [join, ok, (FROM_A, encode(UpstreamLost((5, 6)))), ok, (FROM_A, encode(End((5,))))],
        [join, ok, (FROM_A, encode(Ok(first, "far", (other,), ("p", "a"), "lost")))],
        [join, (FROM_A, encode(Error(first, "far", RefusalCode.NO_SUCH_STREAM, "no")))],
        [join, (WAIT, b"\x80\0")],
        [(FROM_C, subscribe), ok, (FROM_C, subscribe), (FROM_C, encode(Unsubscribe(7, "far")))],
        [
            (FROM_C, demo),
            (ENCODE, b"\xff\xff"),
            (ENCODE, b"\0\0"),
            (WAIT, b"\x40\0"),
            (FROM_C, demo),
        ],
        [
            (FROM_C, encode(Subscribe(9, "x", ("c", "b"), ("c",)))),
            (FROM_C, encode(Subscribe(9, "x", (), ("c",)))),
        ],
        [
            (FROM_C, encode(Subscribe(9, f"s{n}", ("a",), ("q", "c"), "gop", "standby")))
            for n in range(9)
        ],
        [(FROM_C, b"\xc1"), (FROM_A, b""), (FROM_A, bytes(1400)), (FROM_A, b"\x91" * 1400)],
        [
            (HELLO, bytes(range(32))),
            (HELLO, bytes(32)),
            (HELLO, b"x"),
            (WAIT, b"\x10\0"),
            (FROM_C, demo),
        ],
        [(JOIN, b"demo"), (JOIN, b"demo"), (JOIN, b"demo"), (LEAVE, b""), (ENCODE, b"\0\1")],
    ]
    return [records.join(story) for story in stories]


def _first_transaction() -> int:
    """What the node asks with first, read from what it sends."""
    world = World()
    asked: list[Message] = []
    world.node.add_viewer("far", {"video": VIEWER}, world.now_us)
    for _, _, data in world.engine.turn(world.now_us):
        if data[0] & 15 == twin.CONTROL:
            asked.append(decode(data[32:]))
    (message,) = asked
    assert isinstance(message, Subscribe)
    return message.transaction


TARGET = Target("control", run, seeds, is_story=True, traced=("relay.",), most_bytes=6_000)
