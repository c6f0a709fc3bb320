"""An engine whose work takes time, in virtual time: what arrives waits until it is taken.

A relay: one neighbour sends streams, with frames, key frames and B frames; another follows all.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from fastpath import Engine, Media, PortKind
from fastpath.events import Event
from fastpath.reference.wire import Header, PacketType, parse
from rtp.payload.marks import Marks
from tests.support.chain import key
from tests.support.peer import header, seal

UPSTREAM, DOWNSTREAM = ("10.0.0.2", 7000), ("10.0.0.3", 7000)
FRAME_US, AUDIO_US, CONTROL_US = 33_333, 20_000, 50_000
GOP_FRAMES = 12
FIRST_SEQ = (1 << 32) - 400  # numbers wrap within a second
FIRST_HOP_SEQ = (1 << 32) - 3_000

KEPT_US, SHED_US, UNCHECKED_US = 200, 20, 4  # of the worker, per packet
TURN_US = 4_000


@dataclass
class Source:
    """One stream. marks: of each packet sent, by its number counted from the first."""

    stream_id: int
    is_video: bool
    phase_us: int
    frame: int = 0
    marks: list[int] = field(default_factory=list)

    def packets(self, size: int) -> Iterator[int]:
        """The marks of one frame's packets: I P B P B ..., a key frame three times as large."""
        kind = self.frame % GOP_FRAMES
        self.frame += 1
        if not self.is_video:
            yield Marks.FRAME_START | Marks.FRAME_END
            return
        count = 3 * size if kind == 0 else size
        of_frame = Marks.KEY if kind == 0 else Marks(0)
        if kind and kind % 2 == 0:
            of_frame |= Marks.DISCARDABLE
        for at in range(count):
            marks = of_frame
            if at == 0:
                marks |= Marks.FRAME_START
                if kind == 0:
                    marks |= Marks.GOP_START
            if at == count - 1:
                marks |= Marks.FRAME_END
            yield marks


class SlowWorker:
    """`run` for a time at a load; what came of it is in the attributes."""

    def __init__(self, videos: int, audios: int, seed: int = 1) -> None:
        rng = Random(seed)
        self.engine = Engine(
            streams=64, cursors=64, node_links=4, viewer_links=1, ports=2, slab_bytes=64 << 20
        )
        self.now_us = 1_000_000
        self.port = self.engine.open_port(PortKind.OVERLAY)
        self.up, self.down = (self._link(peer) for peer in (UPSTREAM, DOWNSTREAM))
        self.sources = [
            Source(
                rng.getrandbits(32) | 1,
                n < videos,
                rng.randrange(FRAME_US),
                rng.randrange(GOP_FRAMES),
            )
            for n in range(videos + audios)
        ]
        self.handles = {}
        for source in self.sources:
            handle = self.engine.add_stream(
                stream_id=source.stream_id,
                media=Media.VIDEO if source.is_video else Media.AUDIO,
                first_stream_seq=FIRST_SEQ,
                upstream=self.up,
            )
            self.handles[source.stream_id] = handle
            self.engine.add_cursor(stream=handle, link=self.down)
        self.hop_seq = FIRST_HOP_SEQ - 1
        self.queue: deque[tuple[int, bytes]] = deque()
        self.free_us = self.now_us
        self.spent_us = 0
        self.sent_media = 0
        self.sent_control = 0
        self.longest_wait_us = 0  # of control
        self.delivered: dict[int, list[int]] = {s.stream_id: [] for s in self.sources}
        self.events: list[Event] = []
        self.shed_at: list[int] = []  # turns in which something was shed
        self.steps: list[tuple[int, int]] = []
        self.keys_wanted = self.requests = 0

    def _link(self, peer: tuple[str, int]) -> int:
        link = self.engine.add_link(
            port=self.port,
            address=peer,
            peer_node=peer[1],
            hello_key=key("hello"),
            rate_bps=10_000_000_000,
        )
        self.engine.offer_keys(
            link,
            receive_key=key("peer"),
            send_key=key("own"),
            send_now=True,
            peer_first_hop_seq=FIRST_HOP_SEQ,
        )
        return link

    def run(self, duration_us: int, frame_packets: int) -> None:
        """Sources send frames of that many packets; the worker keeps up or does not."""
        begin_us, end_us = self.now_us, self.now_us + duration_us
        for at_us, data in sorted(self._arrivals(begin_us, end_us, frame_packets)):
            self.hop_seq += 1
            self._work(at_us)
            self.queue.append((at_us, self._seal(data)))
        self._work(end_us)
        self.now_us = end_us

    def finish(self) -> None:
        """Nothing more comes: see to all that waits."""
        while self.queue:
            self._work(self.now_us + 10_000)
            self.now_us += 10_000

    def _arrivals(
        self, begin_us: int, end_us: int, frame_packets: int
    ) -> Iterator[tuple[int, tuple[int, int, int]]]:
        """(time, (source, number, marks)); source -1: a control message."""
        for index, source in enumerate(self.sources):
            step_us = FRAME_US if source.is_video else AUDIO_US
            for at_us in range(begin_us + source.phase_us % step_us, end_us, step_us):
                for marks in source.packets(frame_packets):
                    source.marks.append(marks)
                    yield at_us, (index, len(source.marks) - 1, marks)
        for at_us in range(begin_us, end_us, CONTROL_US):
            yield at_us, (-1, 0, 0)

    def _seal(self, packet: tuple[int, int, int]) -> bytes:
        index, number, marks = packet
        if index < 0:
            self.sent_control += 1
            head = header(kind=PacketType.CONTROL, hop_seq=self.hop_seq)
            return seal(head, b"control", key("peer"), self.hop_seq >> 32)
        self.sent_media += 1
        source = self.sources[index]
        head = header(
            stream_id=source.stream_id,
            stream_seq=FIRST_SEQ + number,
            hop_seq=self.hop_seq,
            marks=marks,
            traffic_class=2 if source.is_video else 1,
        )
        return seal(head, b"\x80\x60" + bytes(30), key("peer"), self.hop_seq >> 32)

    # -- the worker

    def _work(self, until_us: int) -> None:
        """Turns, until the next arrival."""
        while True:
            due_us = self.engine.next_timer_us()
            at_us = self.queue[0][0] if self.queue else until_us
            at_us = max(self.free_us, at_us if due_us is None else min(at_us, due_us))
            if at_us >= until_us:
                return
            self._turn(at_us)

    def _turn(self, now_us: int) -> None:
        taken: list[tuple[int, bytes]] = []
        while self.queue and len(taken) < TURN_US // KEPT_US and self.queue[0][0] <= now_us:
            taken.append(self.queue.popleft())
        arrived_us = taken[0][0] if taken else now_us
        for at_us, data in taken:
            if data[0] & 15 == PacketType.CONTROL:
                self.longest_wait_us = max(self.longest_wait_us, now_us - at_us)
        before = Counter(self.engine.verdicts())
        sent = self.engine.turn(
            now_us,
            [(self.port, UPSTREAM, data) for _, data in taken],
            arrived_us=arrived_us,
            spent_us=self.spent_us,
        )
        for _port, destination, data in sent:
            self._hear(destination, data)
        self.events += self.engine.events()
        done = Counter(self.engine.verdicts())
        done.subtract(before)
        shed = {name: count for name, count in done.items() if name.startswith("shed_") and count}
        if shed:
            self.shed_at.append(now_us)
        self.steps.append((now_us, self.engine.overload().step))
        unchecked = sum(count for name, count in shed.items() if "unchecked" in name)
        self.spent_us = (
            KEPT_US * (done["accepted"] + done["accepted_late"])
            + SHED_US * (sum(shed.values()) - unchecked)
            + UNCHECKED_US * unchecked
        )
        self.free_us = now_us + max(self.spent_us, 1)

    def _hear(self, destination: tuple[str, int], data: bytes) -> None:
        found = parse(data)
        assert isinstance(found, Header)
        if destination == DOWNSTREAM and found.type == PacketType.MEDIA:
            number = (found.stream_seq - FIRST_SEQ) & 0xFFFFFFFF
            self.delivered[found.stream_id].append(number)
        elif destination == UPSTREAM and found.type == PacketType.FEEDBACK:
            kind = data[found.header_bytes + 8]
            self.requests += kind == 1
            self.keys_wanted += kind == 5

    # -- what came of it

    def shed(self) -> dict[str, int]:
        """Packets by verdict, those not 0."""
        verdicts = self.engine.verdicts().items()
        return {name: count for name, count in verdicts if name.startswith("shed_") and count}

    def undecodable(self) -> int:
        """Delivered packets that something before them is missing for."""
        wrong = 0
        for source in self.sources:
            if not source.is_video:
                continue
            got = set(self.delivered[source.stream_id])
            is_whole = True  # all that may be referred to since the last key frame is here
            for number, marks in enumerate(source.marks):
                if marks & Marks.GOP_START:
                    is_whole = number in got
                wrong += number in got and not is_whole
                if number not in got and not marks & Marks.DISCARDABLE:
                    is_whole = False
        return wrong
