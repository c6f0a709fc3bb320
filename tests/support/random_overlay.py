"""The surroundings of an engine under random traffic: producers, neighbours, and lossy wires.

Numbers begin near their wraps: stream_seq near 2^32, RTP sequence numbers near 2^16.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

from fastpath import PortKind
from fastpath.reference.siphash import siphash24
from fastpath.reference.wire import LOW_32, Digest, Flag, Header, PacketType, parse, tag
from rtp.payload.marks import Marks
from tests.support.twins import Address, Datagram, Twins

REQUEST, VOID, GONE, CLOCK, KEY_WANTED, ARRIVALS, SKIP = 1, 2, 3, 4, 5, 6, 8  # feedback messages
HELLO_KEY = b"hello key of all"


@dataclass(eq=False)
class Source:
    """What the producer of one stream sends, wherever it enters the engine."""

    stream_id: int
    is_video: bool
    next_seq: int
    number: int
    jumps: int = 0
    frame_left: int = 0
    is_key: bool = False
    is_discardable: bool = False
    packets: dict[int, tuple[int, bytes]] = field(default_factory=dict)  # marks, RTP packet
    timestamp: int = (1 << 32) - 20_000  # RTP time of the newest frame
    clock: tuple[int, int] | None = None  # RTP time last told, and when

    @property
    def clock_rate(self) -> int:
        return 90_000 if self.is_video else 48_000

    def _next_timestamp(self, rng: random.Random) -> None:
        """A frame later, or one before as of a B frame; or the encoder has begun anew."""
        step = rng.choice((3_000, 3_000, 9_000, -3_000))
        if rng.random() < 0.05:
            ten_s = 10 * self.clock_rate
            step = rng.choice((-ten_s - 1, -ten_s, -ten_s + 1, rng.getrandbits(32)))
        self.timestamp = (self.timestamp + step) & LOW_32

    def packet(self, rng: random.Random, size: int) -> int:
        """Make the next packet; its stream_seq, extended."""
        marks = 0
        if self.frame_left == 0:
            self.frame_left = rng.choice((1, 1, 2, 5)) if self.is_video else 1
            self.is_key = not self.is_video or rng.random() < 0.15
            self.is_discardable = not self.is_key and rng.random() < 0.3
            marks = Marks.FRAME_START | (Marks.GOP_START if self.is_key and self.is_video else 0)
            self._next_timestamp(rng)
        self.frame_left -= 1
        if self.is_key:
            marks |= Marks.KEY
        if self.is_discardable:
            marks |= Marks.DISCARDABLE
        if self.frame_left == 0:
            marks |= Marks.FRAME_END
        if rng.random() < 0.02:
            marks = rng.randrange(32)
        first = bytes([0x80, rng.choice((96, 0xE0))]) + (self.number & 0xFFFF).to_bytes(2)
        payload = first + self.timestamp.to_bytes(4) + rng.randbytes(max(size, 12) - 8)
        self.packets[self.next_seq] = marks, payload[: size if size < 12 else None]
        self.number += 1
        self.next_seq += 1
        return self.next_seq - 1


@dataclass(eq=False)
class Neighbour:
    """The other end of a node link: it numbers and tags what it sends, and hears what is sent."""

    address: Address
    link: int
    send_key: bytes
    node_id: int = 0
    old_address: Address | None = None  # where the engine may think it is
    hop_seq: int = 0
    sent: dict[int, tuple[int, int]] = field(default_factory=dict)  # hop_seq -> id, stream_seq
    wanted: list[int] = field(default_factory=list)  # hop_seq that the engine asks for
    heard: list[int] = field(default_factory=list)  # hop_seq of what the engine sent
    probe_us: int = 0
    probed_at_us: int = 0
    next_keys: bytes | None = None


class Overlay:
    """The twins, and all that is around them. What goes to them may get lost, late or twice."""

    def __init__(self, seed: int, digest: Digest = siphash24) -> None:
        rng = self.rng = random.Random(seed)
        self.digest = digest
        self.now_us = 1_000_000 + rng.randrange(5_000_000)
        settings = {
            "repair": rng.random() < 0.93,
            "repair_early": rng.random() < 0.7,
            "reorder_us": rng.choice((0, 1, 2_000, 20_000, 20_000)),
            "repair_scan_us": rng.choice((50_000, 7_001)),
            "repair_deadline_us": rng.choice((300_000, 1_000_000, 150_000)),
            "probe_interval_us": rng.choice((50_000, 50_000, 50_000, 1_300, 700_000, 3_000_000)),
            "max_lag_us": rng.choice((500_000, 500_000, 50_000, 0)),
            "max_lag_bytes": rng.choice((524_288, 16_384)),
            "gop_cache": rng.random() < 0.9,
            "start_at_gop": rng.random() < 0.2,
        }
        self.twins = Twins(settings, digest)
        self.port = self.twins.call("open_port", kind=PortKind.OVERLAY)
        self.other_port = self.twins.call("open_port", kind=PortKind.OVERLAY)
        self.viewer_port = self.twins.call("open_port", kind=PortKind.VIEWER)
        self.neighbours: list[Neighbour] = []
        self.viewer_links: list[int] = []
        self.sources: dict[int, Source] = {}  # by stream handle
        self.orphans: list[Source] = []  # streams that the engine does not know yet, or no more
        self.upstreams: dict[int, Neighbour | None] = {}
        self.seconds: dict[int, Neighbour] = {}  # that deliver as well
        self.arriving: list[Datagram] = []
        self.old: list[Datagram] = []
        self.viewers = self.nodes = self.moves = 0
        self.viewer_cursors: set[int] = set()
        self.loss = rng.choice((0, 0.02, 0.2, 0.5))
        self.disorder = rng.choice((0, 0.05, 0.3))
        self.largest = rng.choice((30, 200, 1436))
        self.patience = rng.choice((0.1, 0.5, 1.0))
        self.curiosity = rng.choice((0.0, 0.1, 0.9))  # of neighbours, about when their packets come

    def step(self) -> None:
        """Let time pass, and let what is under way arrive, get lost, or come twice or late."""
        rng = self.rng
        due_us = self.twins.native.next_timer_us()
        if due_us is not None and rng.random() < 0.4:
            self.now_us = max(self.now_us, due_us + rng.choice((0, 0, 0, -1, 1, 700)))
        else:
            longest = rng.choice((1, 300, 2_000, 20_000, 100_000, 2_000_000))
            self.now_us += rng.randint(1, longest)
        delivered, kept = [], []
        for datagram in self.arriving:
            if rng.random() < self.loss:
                continue
            if rng.random() < self.disorder:
                kept.append(datagram)
                continue
            delivered += [datagram] * (2 if rng.random() < 0.02 else 1)
        if rng.random() < self.disorder:
            rng.shuffle(delivered)
        self.arriving = kept
        self.old = (self.old + delivered)[-200:]
        arrived_us, spent_us = self.load()
        sent, _events = self.twins.turn(
            self.now_us, delivered, arrived_us=arrived_us, spent_us=spent_us
        )
        for port, destination, data in sent:
            for neighbour in self.neighbours:
                if destination in (neighbour.address, neighbour.old_address):
                    assert port == self.port
                    self.hear(neighbour, data)

    def load(self) -> tuple[int, int]:
        """When what arrives in a turn came, and what the turn before has cost: no load at all."""
        return self.now_us, 0

    def hear(self, neighbour: Neighbour, data: bytes) -> None:
        header = parse(data)
        assert isinstance(header, Header)
        if header.type == PacketType.HELLO:
            return
        neighbour.heard = [*neighbour.heard[-300:], header.hop_seq]
        payload = data[header.header_bytes + 8 :]
        if header.type == PacketType.PROBE:
            neighbour.probe_us, neighbour.probed_at_us = int.from_bytes(payload[:8]), self.now_us
        elif header.type == PacketType.FEEDBACK and payload[0] == REQUEST:
            for base, bitmap in struct.iter_unpack(">II", payload[1:]):
                bits = [base, *(base + 1 + bit for bit in range(32) if bitmap >> bit & 1)]
                neighbour.wanted += [number & LOW_32 for number in bits]

    def transmit(
        self, neighbour: Neighbour, payload: bytes, kind: PacketType, **fields: int
    ) -> None:
        """A datagram under the neighbour's next number."""
        neighbour.hop_seq += 1
        if neighbour.next_keys is not None and self.rng.random() < 0.4:
            neighbour.send_key, neighbour.next_keys = neighbour.next_keys, None
            neighbour.hop_seq = self.rng.choice((1, 1, 2, 30))
            neighbour.sent.clear()
        hop_seq = neighbour.hop_seq
        head = Header(kind, hop_seq=hop_seq & LOW_32, send_ts=self.now_us & LOW_32, **fields).pack()
        data = head + tag(head, payload, neighbour.send_key, hop_seq, self.digest) + payload
        self.arriving.append((self.port, neighbour.address, data))

    def transmit_media(
        self, neighbour: Neighbour, source: Source, seq: int, *, repairs: int | None = None
    ) -> None:
        marks, payload = source.packets[seq]
        flags = self.rng.choice((0, 0, 0, 0, 0, 0, Flag.SEALED, Flag.DUPLICATE))
        self.transmit(
            neighbour,
            payload,
            PacketType.MEDIA,
            flags=flags | (0 if repairs is None else Flag.REPAIR),
            hop_limit=self.rng.choice((8, 8, 8, 8, 8, 8, 8, 2, 1, 0)) if marks & 8 else 7,
            traffic_class=2 if source.is_video else 1,
            marks=marks,
            delay=self.rng.choice((0, 40, 40, 41, 400, 0xFFFF)),
            stream_id=source.stream_id,
            stream_seq=seq & LOW_32,
            repairs_hop_seq=repairs or 0,
        )
        neighbour.sent[neighbour.hop_seq & LOW_32] = source.stream_id, seq

    def any_neighbour(self) -> Neighbour:
        return self.rng.choice(self.neighbours)

    def any_source(self) -> tuple[Source, Neighbour] | None:
        """A stream and where its packets come from; now and then from the wrong neighbour."""
        rng = self.rng
        known = [(self.sources[s], self.upstreams[s]) for s in self.sources]
        known += [(self.sources[s], second) for s, second in self.seconds.items()]
        known += [(source, None) for source in self.orphans]
        if not known or not self.neighbours:
            return None
        source, upstream = rng.choice(known)
        if upstream is None or rng.random() < 0.01:
            upstream = rng.choice(self.neighbours)
        return source, upstream

    def source_of(self, stream_id: int) -> Source | None:
        sources = [*self.sources.values(), *self.orphans]
        return next((s for s in sources if s.stream_id == stream_id), None)
