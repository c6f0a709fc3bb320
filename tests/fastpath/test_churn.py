"""A hundred thousand streams come and go on one engine, and leave nothing behind."""

from __future__ import annotations

import os
from random import Random

from fastpath import Engine, Media, PortKind
from tests.support.chain import key, key_slice, other_slice, rtp
from tests.support.peer import header, seal

STREAMS = 100_000
AT_ONCE = 50
PEER = ("10.0.0.2", 7000)
NEXT = ("10.0.0.3", 7000)
KEY_FRAME, OTHER_FRAME = 1 | 2 | 4 | 16, 2 | 4
MOST_GROWTH_KIB = 4 << 10


def resident_kib() -> int:
    """Of this process (proc(5), VmRSS)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


class Churn:
    """Streams from a peer, each with a node downstream and a viewer; they end in random order."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.engine = Engine(
            streams=AT_ONCE, cursors=2 * AT_ONCE, node_links=2, viewer_links=AT_ONCE, ports=2,
            slab_bytes=8 << 20,
        )  # fmt: skip
        self.now_us = 1_000_000
        self.port = self.engine.open_port(PortKind.OVERLAY)
        self.viewer_port = self.engine.open_port(PortKind.VIEWER)
        self.up, self.down = self._link(PEER, 2), self._link(NEXT, 3)
        self.hop_seq = 0
        self.number = 0
        self.packets = 0

    def run(self, streams: int) -> None:
        for _ in range(streams // AT_ONCE):
            self._round()

    def used(self) -> dict[str, int]:
        memory = self.engine.memory()
        tables = ("streams", "cursors", "viewer_links", "small_blocks", "large_blocks")
        return {table: getattr(memory, table)[0] for table in (*tables, "held_early_packets")}

    def _link(self, address: tuple[str, int], node: int) -> int:
        link = self.engine.add_link(
            port=self.port,
            address=address,
            peer_node=node,
            hello_key=key("hello"),
            rate_bps=10_000_000_000,
        )
        self.engine.offer_keys(link, receive_key=key("in"), send_key=key("out"), send_now=True)
        return link

    def _round(self) -> None:
        """Fifty begin, get two packets each (some before they are known), and end."""
        engine, rng = self.engine, self.rng
        ids = range(self.number + 1, self.number + AT_ONCE + 1)
        self.number += AT_ONCE
        early = [self._packet(i, 1, KEY_FRAME) for i in ids if i % 5 == 0]
        self._turn(early)
        streams, links = [], []
        for stream_id in ids:
            stream = engine.add_stream(
                stream_id=stream_id,
                media=Media.AUDIO if stream_id % 7 == 0 else Media.VIDEO,
                first_stream_seq=1,
                upstream=self.up,
            )
            engine.add_cursor(stream=stream, link=self.down)
            link = engine.add_viewer_link(rate_bps=1_000_000_000)
            engine.add_viewer_cursor(
                stream=stream,
                link=link,
                port=self.viewer_port,
                address=("10.9.0.1", 1024 + stream_id % 60_000),
                ssrc=stream_id,
                payload_type=100,
                first_sequence_number=65_535,
            )
            streams.append(stream)
            links.append(link)
        self._turn([self._packet(i, 1, KEY_FRAME) for i in ids if i % 5])
        self._turn([self._packet(i, 2, OTHER_FRAME) for i in ids])
        assert self.used()["streams"] == AT_ONCE
        for stream in rng.sample(streams, AT_ONCE):
            engine.remove_stream(stream)
        for link in rng.sample(links, AT_ONCE):
            engine.remove_link(link)
        self._turn([])

    def _packet(self, stream_id: int, seq: int, marks: int) -> bytes:
        self.hop_seq += 1
        slice_ = key_slice(b"k" * 40) if marks == KEY_FRAME else other_slice(b"o" * 900)
        payload = rtp(seq, 3_000 * seq, slice_)
        head = header(stream_id=stream_id, stream_seq=seq, hop_seq=self.hop_seq, marks=marks)
        return seal(head, payload, key("in"))

    def _turn(self, datagrams: list[bytes]) -> None:
        """And the timers that are due by then."""
        self.now_us += 1_000
        sent = self.engine.turn(self.now_us, [(self.port, PEER, data) for data in datagrams])
        self.packets += sum(data[0] >> 6 == 2 for _, _, data in sent)
        self.engine.events()


def test_a_hundred_thousand_streams_leave_nothing_behind() -> None:
    churn = Churn(seed=4)
    churn.run(5_000)  # allocators and caches are warm
    before_kib = resident_kib()
    churn.run(STREAMS)
    assert churn.number >= STREAMS
    assert set(churn.used().values()) == {0}, churn.used()
    # Every viewer got both packets, but of audio, which starts live, not the one from before it.
    assert churn.packets == 2 * churn.number - churn.number // 35
    verdicts = churn.engine.verdicts()
    assert verdicts["held_early"] == churn.number // 5
    assert (verdicts["events_lost"], verdicts["no_block_left"], verdicts["command_stale"]) == (
        0,
        0,
        0,
    )
    # The address sanitizer keeps what was freed.
    if "libasan" not in os.environ.get("LD_PRELOAD", ""):
        assert resident_kib() - before_kib < MOST_GROWTH_KIB
