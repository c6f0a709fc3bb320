"""One neighbour takes a stream over from another: where cursors begin, and who may deliver.

Packet numbers are about to wrap.
"""

from __future__ import annotations

import pytest

from fastpath import Engine, Media, PortKind
from fastpath.events import CursorStarted, Event, UpstreamFlows
from rtp.payload.marks import Marks
from tests.support.chain import STREAM_ID, key
from tests.support.peer import FEEDBACK, MEDIA, Address, header, media_payload, seal

FIRST = 0xFFFFFFF0  # 16 before the wrap
KEY = Marks.KEY | Marks.GOP_START
ONE, TWO, DOWN = (("10.0.0.2", 7000), ("10.0.0.3", 7000), ("10.0.0.4", 7000))
VIEWER = ("198.51.100.1", 6000)


class Bench:
    """An engine between two upstreams and one downstream, all keyed; `stream` comes from ONE."""

    def __init__(self) -> None:
        self.engine = Engine(
            streams=4, cursors=8, node_links=4, viewer_links=2, ports=4, slab_bytes=8 << 20
        )
        self.now_us = 5_000_000
        self.port = self.engine.open_port(PortKind.OVERLAY)
        self.links: dict[Address, int] = {}
        self.hop_seq: dict[Address, int] = {}
        for node, peer in enumerate((ONE, TWO, DOWN)):
            self.hop_seq[peer] = 0
            self.links[peer] = link = self.engine.add_link(
                port=self.port,
                address=peer,
                peer_node=2 + node,
                hello_key=key("hello"),
                rate_bps=1_000_000_000,
            )
            self.engine.offer_keys(
                link, receive_key=key(peer[0]), send_key=key("engine"), send_now=True
            )
        self.stream = self.engine.add_stream(
            stream_id=STREAM_ID,
            media=Media.VIDEO,
            first_stream_seq=FIRST,
            upstream=self.links[ONE],
        )
        self.sent: list[int] = []
        self.viewed: list[int] = []  # by what the packets hold
        self.events: list[Event] = []
        self.turn()

    def packet(self, peer: Address, number: int, marks: int = 0) -> tuple[int, Address, bytes]:
        """Packet FIRST + number of the stream."""
        self.hop_seq[peer] += 1
        seq = (FIRST + number) & 0xFFFFFFFF
        marks |= Marks.FRAME_START | Marks.FRAME_END
        head = header(hop_seq=self.hop_seq[peer], stream_seq=seq, marks=marks)
        return self.port, peer, seal(head, media_payload(number & 0xFFFF), key(peer[0]))

    def turn(self, *packets: tuple[int, Address, bytes], after_us: int = 1_000) -> None:
        self.now_us += after_us
        for _, to, data in self.engine.turn(self.now_us, packets):
            if to == DOWN and data[0] & 15 == MEDIA:
                self.sent.append((int.from_bytes(data[12:16]) - FIRST) & 0xFFFFFFFF)
            elif to == VIEWER:
                self.viewed.append(int.from_bytes(data[4:8]) // 3000)
        self.events += self.engine.events()

    def deliver(self, peer: Address, *numbers: int) -> None:
        self.turn(*(self.packet(peer, n, KEY if n == 0 else 0) for n in numbers))

    def add_cursor(self, number: int) -> int:
        cursor = self.engine.add_cursor(
            stream=self.stream,
            link=self.links[DOWN],
            start_seq=(FIRST + number) & 0xFFFFFFFF,
        )
        self.turn()
        return cursor

    def flows(self) -> list[UpstreamFlows]:
        return [event for event in self.events if isinstance(event, UpstreamFlows)]

    def lacking(self) -> int:
        return (self.engine.stream_stats(self.stream).first_lacking_seq - FIRST) & 0xFFFFFFFF


def test_a_cursor_begins_where_it_is_told() -> None:
    bench = Bench()
    bench.deliver(ONE, *range(30))
    bench.add_cursor(20)  # past the wrap
    assert bench.sent == list(range(20, 30))
    (started,) = [event for event in bench.events if isinstance(event, CursorStarted)]
    assert started.first_stream_seq == 4
    assert bench.engine.verdicts()["start_not_held"] == 0


def test_a_cursor_ahead_of_the_ring_waits_for_its_packet() -> None:
    bench = Bench()
    bench.deliver(ONE, *range(10))
    cursor = bench.add_cursor(13)
    assert bench.engine.cursor_stats(cursor).lag_packets == 0
    bench.deliver(ONE, *range(10, 18))
    assert bench.sent == [13, 14, 15, 16, 17]
    bench.deliver(ONE, 18)
    assert bench.sent[-1] == 18


@pytest.mark.parametrize("number", [-1, -2000, 10 + 4097, 1 << 31])
def test_a_place_that_the_ring_has_not_is_counted(number: int) -> None:
    """Video begins at the newest key frame then."""
    bench = Bench()
    bench.deliver(ONE, *range(10))
    bench.add_cursor(number)
    assert bench.sent == list(range(10))
    assert bench.engine.verdicts()["start_not_held"] == 1


def test_what_is_lacking_is_the_lowest_young_hole() -> None:
    bench = Bench()
    bench.deliver(ONE, *range(10))
    assert bench.lacking() == 10
    bench.deliver(ONE, 12, 13, 20)
    assert bench.lacking() == 10
    bench.deliver(ONE, 10, 11)
    assert bench.lacking() == 14
    for number in range(21, 46):  # 2.5 s: nobody waits for 14 to 19 any more
        bench.turn(bench.packet(ONE, number), after_us=100_000)
    assert bench.lacking() == 46


def test_two_upstreams_feed_one_ring_and_the_newcomer_is_told() -> None:
    bench = Bench()
    bench.add_cursor(0)
    bench.deliver(ONE, 0, 1, 2)
    bench.deliver(TWO, 3)
    assert bench.engine.verdicts()["wrong_upstream"] == 1
    bench.engine.set_upstream(bench.stream, bench.links[ONE], second=bench.links[TWO])
    bench.deliver(ONE, 3, 5)
    assert bench.flows() == []
    bench.turn(bench.packet(TWO, 4), bench.packet(TWO, 5), after_us=7_000)
    assert bench.flows() == [UpstreamFlows(bench.stream, 7_000)]
    bench.deliver(ONE, 6)
    bench.deliver(TWO, 6, 7)
    bench.engine.set_upstream(bench.stream, bench.links[TWO])
    bench.deliver(ONE, 8)
    bench.deliver(TWO, 8)
    assert bench.sent == [0, 1, 2, 3, 5, 4, 6, 7, 8]
    stats = bench.engine.stream_stats(bench.stream)
    assert (stats.packets, stats.duplicates) == (9, 2)
    assert bench.engine.verdicts()["wrong_upstream"] == 2
    assert len(bench.flows()) == 1


def test_a_removed_link_delivers_for_nobody() -> None:
    bench = Bench()
    bench.engine.set_upstream(bench.stream, bench.links[ONE], second=bench.links[TWO])
    bench.engine.remove_link(bench.links[TWO])
    bench.turn()
    bench.links[TWO] = bench.engine.add_link(
        port=bench.port, address=TWO, peer_node=9, hello_key=key("hello"), rate_bps=1_000_000
    )
    bench.engine.offer_keys(
        bench.links[TWO], receive_key=key(TWO[0]), send_key=key("engine"), send_now=True
    )
    bench.hop_seq[TWO] = 0
    bench.deliver(TWO, 0)
    assert bench.engine.verdicts()["wrong_upstream"] == 1
    assert bench.flows() == []


def test_what_one_of_two_upstreams_left_out_is_taken_from_the_other() -> None:
    """SKIP from an overloaded node: what the other path brings later still reaches viewers."""
    bench = Bench()
    viewer_port = bench.engine.open_port(PortKind.VIEWER)
    bench.engine.add_viewer_cursor(
        stream=bench.stream,
        link=bench.engine.add_viewer_link(rate_bps=1_000_000_000),
        port=viewer_port,
        address=VIEWER,
        ssrc=1,
        payload_type=96,
        first_sequence_number=0,
    )
    bench.engine.set_upstream(bench.stream, bench.links[ONE], second=bench.links[TWO])
    bench.deliver(ONE, 0, 1)
    bench.deliver(TWO, 0, 1)
    skip = b"\x08" + STREAM_ID.to_bytes(4) + (FIRST + 2).to_bytes(4) + (3).to_bytes(4)
    bench.hop_seq[ONE] += 1
    head = header(kind=FEEDBACK, stream_id=0, hop_seq=bench.hop_seq[ONE], stream_seq=0)
    bench.turn((bench.port, ONE, seal(head, skip, key(ONE[0]))))
    bench.turn(bench.packet(ONE, 5, KEY))
    bench.deliver(TWO, 2, 3, 4)
    bench.turn(bench.packet(TWO, 5, KEY))
    assert sorted(bench.viewed) == [0, 1, 2, 3, 4, 5]


def test_clock_and_gone_are_the_first_upstream_s_to_say() -> None:
    bench = Bench()
    bench.deliver(ONE, 0, 2)
    bench.engine.set_upstream(bench.stream, bench.links[ONE], second=bench.links[TWO])
    gone = b"\x03" + STREAM_ID.to_bytes(4) + (FIRST + 1).to_bytes(4) + b"\0\0\0\1" + bytes(4)
    for peer, expected in ((TWO, 0), (ONE, 1)):
        bench.hop_seq[peer] += 1
        head = header(kind=FEEDBACK, stream_id=0, hop_seq=bench.hop_seq[peer], stream_seq=0)
        bench.turn((bench.port, peer, seal(head, gone, key(peer[0]))))
        assert bench.engine.stream_stats(bench.stream).gone == expected
    bench.deliver(TWO, 1)  # it is had from there after all
    assert bench.engine.stream_stats(bench.stream).late == 1
