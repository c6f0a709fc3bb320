"""A link through the engine's public calls: what it refuses, its keys, its numbers, its budget."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise

import pytest

from fastpath import Codec, Engine, EngineFullError, Media, PortKind
from fastpath.events import ControlReceived, HelloReceived, LinkDown, LinkKeyed, LinkUp
from lab.link import LinkConfig
from tests.support.chain import Chain, key, rtp
from tests.support.encoder import Encoder
from tests.support.faults import Faults
from tests.support.peer import (
    CONTROL,
    FEEDBACK,
    HELLO,
    PADDING,
    PEER,
    PROBE,
    PeerBench,
    header,
    items,
    media_payload,
    seal,
)

PROBE_INTERVAL_US = 50_000
MAX_RTP_BYTES = 1_436
MAX_OVERLAY_BYTES = 1_472
Forge = Callable[[PeerBench], bytes]


def started() -> PeerBench:
    """A link that is up, numbers 1..3 used, nothing waiting to be sent."""
    bench = PeerBench()
    bench.turn(bench.media(1), bench.media(2), bench.probe())
    bench.turn()
    return bench


def with_flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def old_number(bench: PeerBench) -> bytes:
    """Authentic once, but the window of 8,192 has moved on."""
    bench.turn(bench.media(3, hop_seq=9_000))
    return bench.media(1, hop_seq=1)


def forged(_bench: PeerBench) -> bytes:
    return seal(header(hop_seq=4), media_payload(3), key("forger"))


FORGERIES: dict[str, tuple[str, Forge]] = {
    "one byte": ("truncated", lambda b: b.media(3)[:1]),
    "no room for the tag": ("truncated", lambda b: b.media(3)[:31]),
    "no room for the repair block": ("truncated", lambda _: header(flags=4) + bytes(8)),
    "RTP": ("wrong_version", lambda _: media_payload(3)),
    "version 11": ("wrong_version", lambda b: b"\xb0" + b.media(3)[1:]),
    "type 7": ("unknown_type", lambda b: b"\xc7" + b.media(3)[1:]),
    "seven segments": ("malformed", lambda b: b.packet(bytes(20), count=7)),
    "more left than there are": ("malformed", lambda b: b.packet(bytes(20), left=1)),
    "epoch 1": ("wrong_epoch", lambda b: b.media(3, epoch=1)),
    "before the window": ("before_window", old_number),
    "number 0": ("before_window", lambda b: b.media(3, hop_seq=0)),
    "another key": ("bad_tag", forged),
    "flipped marks": ("bad_tag", lambda b: with_flip(b.media(3), 4)),
    "flipped stream_seq": ("bad_tag", lambda b: with_flip(b.media(3), 15)),
    "flipped tag": ("bad_tag", lambda b: with_flip(b.media(3), 31)),
    "flipped payload": ("bad_tag", lambda b: with_flip(b.media(3), 47)),
    "longer payload": ("bad_tag", lambda b: b.media(3) + b"."),
    "shorter payload": ("bad_tag", lambda b: b.media(3)[:-1]),
    "our own packet": ("bad_tag", lambda b: seal(header(hop_seq=4), media_payload(3), b.send_key)),
    "media replayed": ("replayed", lambda b: b.media(1, hop_seq=1)),
    "probe replayed": ("replayed", lambda b: b.probe(hop_seq=3)),
    "larger than the path": ("oversized", lambda b: b.packet(bytes(MAX_OVERLAY_BYTES - 32)) + b"."),
    "HELLO under another key": ("bad_tag", lambda b: b.packet(b"hello", kind=HELLO)),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_changes_one_counter_and_nothing_else(name: str) -> None:
    verdict, forge = FORGERIES[name]
    bench = started()
    data = forge(bench)
    bench.turn()
    before, counted = bench.state(), bench.engine.verdicts()
    events = len(bench.events)
    assert bench.turn(data) == []
    counted[verdict] += 1
    assert bench.engine.verdicts() == counted
    assert bench.state() == before
    assert len(bench.events) == events


def test_truncation_at_each_length_is_refused() -> None:
    bench = started()
    data = bench.media(3)
    for size in range(len(data)):
        before = bench.state()
        assert bench.turn(data[:size]) == []
        assert bench.state() == before
    assert bench.counted()["truncated"] == 32
    assert bench.counted()["bad_tag"] == len(data) - 32
    bench.turn(data)
    assert bench.counted()["accepted"] == 3


@pytest.mark.parametrize("source", [("10.0.0.3", 7000), ("10.0.0.2", 7001), ("::a00:2", 7000)])
def test_an_unknown_peer_is_not_answered(source: tuple[str, int]) -> None:
    bench = started()
    before, data = bench.state(), bench.media(3)
    assert bench.turn(data, source=source) == []
    assert bench.counted()["unknown_peer"] == 1
    assert bench.state() == before


def test_a_peer_is_known_on_its_own_port_only() -> None:
    bench = started()
    other = bench.engine.open_port(PortKind.OVERLAY)
    assert bench.turn(bench.media(3), port=other) == []
    assert bench.counted()["unknown_peer"] == 1


@pytest.mark.parametrize(
    ("verdict", "make"),
    [
        (
            "source_route_refused",
            lambda b: seal(
                header(hop_seq=4, left=1, count=1, rest=b"\0\2"), media_payload(3), b.receive_key
            ),
        ),
        ("hop_limit_reached", lambda b: b.media(3, hop_limit=0)),
        ("malformed", lambda b: b.packet(bytes(11))),
        ("oversized", lambda b: b.packet(media_payload(3, MAX_RTP_BYTES - 13))),
        ("too_old_for_ring", lambda b: b.media(-1)),
        ("duplicate_packet", lambda b: b.media(2)),
        ("unknown_type", lambda b: b.packet(bytes(20), kind=4)),
    ],
)
def test_an_authentic_packet_that_cannot_be_used(verdict: str, make: Forge) -> None:
    """It counts as received on the link, and no more."""
    bench = started()
    link, stream = bench.engine.link_stats(bench.link), bench.engine.stream_stats(bench.stream)
    memory, counted = bench.engine.memory(), bench.engine.verdicts()
    assert bench.turn(make(bench)) == []
    counted[verdict] += 1
    assert bench.engine.verdicts() == counted
    assert bench.engine.link_stats(bench.link).received_packets == link.received_packets + 1
    after = bench.engine.stream_stats(bench.stream)
    assert (after.packets, after.held_packets) == (stream.packets, stream.held_packets)
    assert after.next_stream_seq == stream.next_stream_seq
    assert bench.engine.memory() == memory


def test_the_largest_packet_is_taken() -> None:
    bench = started()
    bench.turn(bench.packet(media_payload(3, MAX_RTP_BYTES - 14), stream_seq=3))
    assert bench.counted()["accepted"] == 3


def test_media_from_a_link_it_does_not_come_from() -> None:
    bench = started()
    bench.engine.set_upstream(bench.stream, None)
    bench.turn(bench.media(3))
    assert bench.counted()["wrong_upstream"] == 1
    assert bench.engine.stream_stats(bench.stream).packets == 2
    bench.engine.set_upstream(bench.stream, bench.link)
    bench.turn(bench.media(3))
    assert bench.engine.stream_stats(bench.stream).packets == 3


def test_hop_limit_ends_a_path() -> None:
    """FIB legs begin at 8: the ninth node gets the packet with 1 left, the tenth nothing."""
    chain = Chain([LinkConfig(delay_us=1_000)] * 9)
    limits: dict[int, int] = {}
    faults = Faults(chain)
    chain.run(200_000)
    chain.encode(*Encoder().gop(3))
    chain.run(100_000)
    for leg in faults.legs:
        if leg.kind == 0:
            limits[leg.destination] = leg.data[3]
    assert limits == {node: 9 - node for node in range(1, 9)}
    packets = [node.engine.stream_stats(node.stream).packets for node in chain.nodes]
    assert packets == [3] * 9 + [0]
    assert chain.nodes[8].engine.verdicts()["hop_limit_reached"] == 3


# -- keys


def test_a_flood_of_control_leaves_room_for_what_is_said_once() -> None:
    bench = started()
    bench.events.clear()
    flood = [bench.packet(b"x", kind=3) for _ in range(2_100)]
    bench.engine.turn(bench.now_us, [(bench.port, PEER, data) for data in flood])
    bench.engine.turn(bench.now_us + 400_000)
    events = bench.engine.events()
    assert bench.engine.verdicts()["events_lost"] > 0
    assert LinkDown(bench.link) in events


def test_an_echo_that_cannot_be_is_no_round_trip() -> None:
    bench = started()
    before = bench.engine.link_stats(bench.link).rtt_us
    bench.now_us += 60_000_000
    bench.turn(bench.packet(struct.pack(">QQI", 1, 1, 0), kind=2))
    assert bench.engine.link_stats(bench.link).rtt_us == before


def test_without_keys_nothing_is_taken_and_control_is_not_sent() -> None:
    bench = PeerBench(keyed=False)
    assert bench.turn(bench.media(1)) == []
    assert bench.counted()["no_keys"] == 1
    bench.engine.send_control(bench.link, b"text")
    assert bench.turn() == []
    assert bench.counted()["control_unsent"] == 1
    assert not bench.engine.link_stats(bench.link).has_keys


def test_offered_keys_become_the_link_s_when_a_packet_verifies() -> None:
    bench = PeerBench(keyed=False)
    bench.engine.offer_keys(
        bench.link, receive_key=bench.receive_key, send_key=bench.send_key, send_now=False
    )
    assert bench.turn() == []
    bench.turn(forged(bench))
    assert bench.counted()["bad_tag"] == 1
    assert bench.events == []
    bench.turn(bench.media(1))
    ((_, probe),) = bench.wait(1_000)
    assert bench.events[:2] == [LinkKeyed(bench.link), LinkUp(bench.link)]
    assert probe == seal(probe[:24], probe[32:], bench.send_key)
    assert int.from_bytes(probe[16:20]) == 1


def test_a_second_pair_of_keys_takes_over_with_its_first_packet_and_not_before() -> None:
    bench = started()
    old = [bench.media(n, hop_seq=n) for n in (1, 2)] + [bench.media(n) for n in (3, 4)]
    new_receive, new_send = key("peer 2"), key("engine 2")
    bench.engine.offer_keys(bench.link, receive_key=new_receive, send_key=new_send, send_now=True)
    bench.events.clear()
    sent_before = bench.engine.link_stats(bench.link).sent_packets
    assert sent_before > 0
    # The old pair is still in use, both ways.
    bench.turn(old[2])
    assert bench.counted()["accepted"] == 3
    bench.engine.send_control(bench.link, b"old")
    (control,) = bench.turn()
    assert control == seal(control[:24], b"old", bench.send_key)
    bench.turn(forged(bench))
    assert bench.events == []
    # The first packet under the new pair; its number begins anew.
    first = bench.packet(media_payload(5), hop_seq=1, tag_key=new_receive, stream_seq=5)
    bench.turn(first)
    assert bench.events == [LinkKeyed(bench.link)]
    bench.engine.send_control(bench.link, b"new")
    control = next(data for data in bench.turn() if data[0] == 0xC3)
    assert control == seal(control[:24], b"new", new_send)
    assert int.from_bytes(control[16:20]) <= 3
    # Old packets, seen before or not, and the new one again, are refused.
    before = bench.state()
    counted = bench.engine.verdicts()
    assert bench.turn(*old, first) == []
    counted["bad_tag"] += len(old)
    counted["replayed"] += 1
    assert bench.engine.verdicts() == counted
    assert bench.state() == before


def test_keys_in_use_that_are_offered_again_do_not_reopen_the_window() -> None:
    """Else a packet older than the window would verify as the first of a new pair."""
    bench = started()
    old = bench.media(1, hop_seq=1)
    bench.turn(bench.media(3, hop_seq=9_000))
    for send_now in (False, True):
        bench.engine.offer_keys(
            bench.link, receive_key=bench.receive_key, send_key=bench.send_key, send_now=send_now
        )
    bench.turn()
    bench.events.clear()
    before = bench.state()
    assert bench.turn(old) == []
    assert bench.counted()["before_window"] == 1
    assert bench.state() == before
    assert bench.events == []


@pytest.mark.parametrize("size", [0, 15, 17])
def test_keys_have_16_bytes(size: int) -> None:
    bench = PeerBench()
    with pytest.raises(ValueError):
        bench.engine.offer_keys(
            bench.link, receive_key=bytes(16), send_key=bytes(size), send_now=True
        )


# -- numbers


def test_hop_seq_goes_on_across_2_to_the_32() -> None:
    """Receiving side. (The sending side would take 2^32 packets to get there.)"""
    bench = PeerBench()
    near = 2**32 - 3
    bench.turn(bench.media(1, hop_seq=near))
    assert bench.engine.link_stats(bench.link).given_up == near - 1 - 4096
    for n in range(1, 8):
        if n != 4:  # hop_seq 2^32 + 1 is lost
            bench.turn(bench.media(1 + n, hop_seq=near + n))
    assert bench.engine.stream_stats(bench.stream).packets == 7
    # The high half is part of the tag: the same low half of the first round is no forgery's help.
    before = bench.state()
    bench.turn(seal(header(hop_seq=5, stream_seq=9), media_payload(9), bench.receive_key))
    assert bench.counted()["bad_tag"] == 1
    assert bench.turn(bench.media(8, hop_seq=near + 7), bench.media(1, hop_seq=near)) == []
    assert bench.counted()["replayed"] == 2
    assert bench.state() == before
    # The repair of 2^32 + 1 names its low half.
    bench.turn(bench.media(5, hop_seq=near + 8, repairs=1))
    assert bench.engine.link_stats(bench.link).repaired == 1
    assert bench.engine.stream_stats(bench.stream).packets == 8


@pytest.mark.parametrize("ahead", [1, 63, 64, 8_191, 8_192, 100_000])
def test_the_window_is_8192_wide(ahead: int) -> None:
    bench = PeerBench()
    bench.turn(bench.media(1, hop_seq=1), bench.media(2, hop_seq=3))
    bench.turn(bench.media(3, hop_seq=3 + ahead))
    bench.turn(bench.media(4, hop_seq=2))
    outcome = "accepted" if ahead + 1 < 8_192 else "before_window"
    assert bench.counted().get("before_window", 0) == (outcome == "before_window")
    assert bench.counted()["accepted"] == 3 + (outcome == "accepted")
    bench.turn(bench.media(5, hop_seq=3 + ahead))
    assert bench.counted()["replayed"] == 1


def test_holes_are_bounded_and_the_rest_given_up() -> None:
    bench = PeerBench()
    bench.turn(bench.media(1, hop_seq=1), bench.media(2, hop_seq=5_002))
    stats = bench.engine.link_stats(bench.link)
    assert (stats.holes_open, stats.given_up, stats.lost) == (4096, 904, 904)
    bench.turn(bench.media(3, hop_seq=5_004))
    stats = bench.engine.link_stats(bench.link)
    assert (stats.holes_open, stats.given_up, stats.lost) == (4096, 905, 905)


def test_void_and_gone_close_the_holes_they_name() -> None:
    bench = PeerBench()
    bench.turn(bench.media(1, hop_seq=1), bench.media(6, hop_seq=6))
    assert bench.engine.link_stats(bench.link).holes_open == 4
    bench.turn(bench.packet(b"\2" + struct.pack(">II", 2, 0b10), kind=FEEDBACK, hop_seq=7))
    stats = bench.engine.link_stats(bench.link)
    assert (stats.holes_open, stats.voided, stats.lost) == (2, 2, 2)
    gone = b"\3" + bench.media(1)[8:12] + struct.pack(">III", 3, 1, 3)
    bench.turn(bench.packet(gone, kind=FEEDBACK, hop_seq=8))
    stats = bench.engine.link_stats(bench.link)
    assert (stats.holes_open, stats.gone, stats.lost) == (1, 1, 3)
    # Named twice, counted once.
    bench.turn(bench.packet(b"\2" + items(2, 4, 99), kind=FEEDBACK, hop_seq=9))
    assert bench.engine.link_stats(bench.link).voided == 2


# -- HELLO, control, probes, liveness


def hello(bench: PeerBench, text: bytes) -> bytes:
    return seal(header(kind=HELLO, hop_seq=0), text, bench.hello_key)


def test_hello_passes_without_keys_and_may_be_a_replay() -> None:
    bench = PeerBench(keyed=False)
    assert bench.turn(hello(bench, b"once"), hello(bench, b"once")) == []
    assert bench.events == [HelloReceived(bench.link, b"once")] * 2
    bench.engine.send_hello(bench.link, b"mine")
    (sent,) = bench.turn()
    assert sent == seal(sent[:24], b"mine", bench.hello_key)
    assert sent[0] == 0xC6


def test_hello_is_limited_to_bursts_of_10_and_20_a_second() -> None:
    bench = PeerBench(keyed=False)
    bench.turn(*[hello(bench, b"h")] * 15)
    assert (bench.counted()["hello_taken"], bench.counted()["hello_rate_limited"]) == (10, 5)
    for _ in range(100):
        bench.now_us += 10_000
        bench.turn(hello(bench, b"h"))
    assert bench.counted()["hello_taken"] == 30
    # A forged one takes no share of it.
    bench.now_us += 50_000
    bench.turn(*[seal(header(kind=HELLO), b"h", key("forger"))] * 20, hello(bench, b"h"))
    assert bench.counted()["hello_taken"] == 31
    assert bench.counted()["bad_tag"] == 20


def test_control_goes_both_ways() -> None:
    bench = started()
    bench.turn(bench.packet(b"question", kind=CONTROL))
    assert bench.events[-1] == ControlReceived(bench.link, b"question")
    bench.engine.send_control(bench.link, b"a" * 1_400)
    (sent,) = bench.turn()
    assert sent == seal(sent[:24], b"a" * 1_400, bench.send_key)
    with pytest.raises(ValueError):
        bench.engine.send_control(bench.link, b"a" * 1_401)
    bench.turn(bench.packet(b"padding", kind=PADDING))
    assert bench.counted()["padding_taken"] == 1


def test_round_trip_is_what_the_echo_says() -> None:
    bench = PeerBench()
    for _ in range(3):
        sent_us = bench.now_us
        bench.now_us += 30_000
        # Sent 30 ms ago, 12 of which it lay at the peer.
        bench.turn(bench.packet(struct.pack(">QQI", 1, sent_us, 12_000), kind=PROBE))
        assert bench.engine.link_stats(bench.link).rtt_us == 18_000
    sent_us = bench.now_us
    bench.now_us += 30_000
    bench.turn(bench.packet(struct.pack(">QQI", 1, sent_us, 4_000), kind=PROBE))
    assert bench.engine.link_stats(bench.link).rtt_us == (7 * 18_000 + 26_000) // 8
    bench.turn(bench.packet(bytes(19), kind=PROBE))
    assert bench.counted()["malformed"] == 1


def test_probes_echo_and_keep_their_interval() -> None:
    bench = started()
    arrived_us = bench.now_us
    probes = [(t, data) for t, data in bench.wait(500_000) if data[0] == 0xC2]
    assert [b - a for (a, _), (b, _) in pairwise(probes)] == [PROBE_INTERVAL_US] * (len(probes) - 1)
    assert len(probes) == 10
    for time_us, data in probes:
        own, echo, held = struct.unpack(">QQI", data[32:])
        assert (own, echo, held) == (time_us, arrived_us, time_us - arrived_us)


def test_a_silent_link_is_down_after_three_probe_intervals_and_up_again() -> None:
    bench = started()
    last_us = bench.now_us
    bench.events.clear()
    bench.wait(3 * PROBE_INTERVAL_US)
    assert bench.events == []
    bench.wait(PROBE_INTERVAL_US)
    assert bench.events == [LinkDown(bench.link)]
    assert not bench.engine.link_stats(bench.link).is_up
    assert bench.now_us == last_us + 4 * PROBE_INTERVAL_US
    bench.turn(forged(bench))
    assert bench.events == [LinkDown(bench.link)]
    bench.turn(bench.probe())
    assert bench.events == [LinkDown(bench.link), LinkUp(bench.link)]


# -- budget


class Sender:
    """Encoders on one engine, all sent to one peer."""

    def __init__(self, rate_bps: int, streams: int) -> None:
        self.bench = PeerBench(with_stream=False)
        engine = self.bench.engine
        engine.set_link_rate(self.bench.link, rate_bps)
        self.ports, self.cursors = [], []
        self.encoders = [Encoder(size=900, ssrc=n + 1) for n in range(streams)]
        for n in range(streams):
            stream = engine.add_stream(
                stream_id=n + 1, media=Media.VIDEO, first_stream_seq=1, upstream=None
            )
            port = engine.open_port(PortKind.INGEST)
            engine.set_ingest(port, stream=stream, codec=Codec.H264, payload_type=96)
            self.ports.append(port)
            self.cursors.append(engine.add_cursor(stream=stream, link=self.bench.link))
        self.sent: list[tuple[int, bytes]] = []

    def encode(self, *counts: int) -> None:
        """That many packets of each encoder, now."""
        given = [
            (port, ("192.0.2.1", 4000), packet)
            for port, encoder, count in zip(self.ports, self.encoders, counts, strict=True)
            for packet in encoder.gop(count)
        ]
        out = self.bench.engine.turn(self.bench.now_us, given)
        self.sent += [(self.bench.now_us, data) for _, _, data in out]

    def wait(self, duration_us: int) -> None:
        self.sent += self.bench.wait(duration_us)

    def media(self) -> list[tuple[int, bytes]]:
        return [(t, data) for t, data in self.sent if data[0] == 0xC0]


def test_a_link_keeps_its_rate() -> None:
    sender = Sender(2_000_000, 1)
    start_us = sender.bench.now_us
    sender.encode(500)
    sender.wait(1_000_000)
    media = sender.media()
    assert sender.bench.engine.link_stats(sender.bench.link).backlogged == 1
    size = 32 + 12 + 2 + 900
    # At any moment: the rate, 5 ms of credit, one packet begun within them, a probe and a clock.
    total = 0
    for time_us, data in sender.sent:
        total += len(data)
        assert 8 * (total - size - 52 - 49) <= 2 * (time_us - start_us + 5_000)
    assert 8 * total >= 0.99 * 2 * 1_000_000
    sender.wait(2_000_000)
    assert len(sender.media()) == 500
    assert [data[32:] for _, data in sender.media()] == list(sender.encoders[0].sent.values())
    assert len(media) < 500


def test_control_does_not_wait_behind_media() -> None:
    sender = Sender(1_000_000, 1)
    sender.encode(300)
    sender.wait(100_000)
    sender.bench.engine.send_control(sender.bench.link, b"urgent")
    out = sender.bench.turn()
    assert out[0][0] == 0xC3
    assert sender.bench.engine.link_stats(sender.bench.link).backlogged == 1


def test_two_backlogged_streams_share_a_link_evenly() -> None:
    """However long the backlog lasts: no stream's turn grows while it waits for the budget."""
    sender = Sender(4_000_000, 2)
    sender.encode(10, 10)
    for _ in range(200):
        sender.encode(5, 5)  # 2 x 3.8 Mbit/s
        sender.wait(10_000)
    shares = [0, 0]
    for time_us, data in sender.media():
        if time_us >= 1_100_000:
            shares[int.from_bytes(data[8:12]) - 1] += len(data)
    assert sum(shares) * 8 > 0.95 * 4 * 1_900_000
    assert abs(shares[0] - shares[1]) <= 4 * 16_384


# -- tables


def test_tables_say_when_they_are_full() -> None:
    bench = PeerBench()

    def add(n: int) -> int:
        return bench.engine.add_link(
            port=bench.port,
            address=("10.0.0.3", 1 + n),
            peer_node=3,
            hello_key=bytes(16),
            rate_bps=1,
        )

    added = [add(n) for n in range(3)]
    with pytest.raises(EngineFullError) as full:
        add(3)
    bench.engine.remove_link(added[0])
    assert add(3) not in added
    assert (full.value.table, full.value.limit) == ("node_links", 4)


def test_a_removed_link_is_unknown_and_its_handle_not_reused() -> None:
    bench = started()
    data = bench.media(3)
    bench.engine.remove_link(bench.link)
    assert bench.turn(data) == []
    assert bench.counted()["unknown_peer"] == 1
    again = bench.engine.add_link(
        port=bench.port, address=PEER, peer_node=2, hello_key=bytes(16), rate_bps=1_000_000
    )
    assert again != bench.link
    bench.turn(data)
    assert bench.counted()["no_keys"] == 1
    with pytest.raises(KeyError):
        bench.engine.remove_link(bench.link)


CHURN = """
from fastpath import Engine, Media, PortKind
engine = Engine(streams=4, cursors=4, node_links=1, viewer_links=1, ports=1, slab_bytes=1 << 16)
port = engine.open_port(PortKind.OVERLAY)
now_us = 1_000_000
for _ in range(20):
    for _ in range(600):
        link = engine.add_link(
            port=port, address=("10.0.0.2", 7000), peer_node=2, hello_key=bytes(16), rate_bps=1
        )
        engine.offer_keys(link, receive_key=bytes(16), send_key=bytes(16), send_now=True)
        engine.remove_link(link)
    now_us += 1000
    assert engine.turn(now_us) == []
engine.add_link(
    port=port, address=("10.0.0.2", 7000), peer_node=2, hello_key=bytes(16), rate_bps=1000000
)
engine.turn(now_us)
del engine
print("done")
"""


def test_links_that_come_and_go_between_two_turns_write_nowhere_else() -> None:
    """In a process of its own, with the allocator's checks on: an overrun would kill it."""
    result = subprocess.run(
        [sys.executable, "-c", CHURN],
        env=os.environ
        | {"MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr


def test_sizes_are_checked_at_start() -> None:
    for options in ({"streams": 0}, {"slab_bytes": 1000}, {"probe_interval_us": 999}):
        with pytest.raises(ValueError):
            Engine(**options)  # type: ignore[arg-type]


def test_plain_rtp_on_an_overlay_port_is_no_overlay_packet() -> None:
    bench = started()
    assert bench.turn(rtp(1, 1, b"\x65\x88")) == []
    assert bench.counted()["truncated"] == 1
